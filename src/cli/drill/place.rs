//! Where a drill takes place: its broker, its two queues, and a directory for ledgers and logs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use oncue::connect::{KEY_FILE_VARIABLE, KEY_VARIABLE, key_path};
use oncue::queue::QueueName;
use oncue::seal::{FileKeys, Keyring};
use oncue::{Client, Connect, Error, Result};

use crate::cli::target::existing;

/// Where a drill takes place. The directory goes with it, unless it is kept.
pub(super) struct Place {
    pub(super) url: String,
    pub(super) client: Client,
    /// Where the drill happens, and where its calm phases do.
    pub(super) queue: QueueName,
    pub(super) calm: QueueName,
    /// The key of a broker of its own.
    key: Option<PathBuf>,
    folder: Folder,
}

/// A directory only its owner can read, removed when dropped unless it is kept.
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    fn new(seed: u64) -> Result<Self> {
        let name = format!("oncue-drill-{seed:x}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One that is there already is somebody else's.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Error::system(format!("cannot make the directory {}", path.display())).because(error)
        })?;
        Ok(Self { path, kept: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What is left is in the directory for what is temporary.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Place {
    /// The broker named, which must be there, else a SQLite file of its own. Refuses queues that exist.
    pub(super) async fn new(named: Option<&str>, seed: u64) -> Result<Self> {
        let [queue, calm] = ["", "-calm"].map(|end| format!("drill-{seed:x}{end}"));
        let (queue, calm) = (QueueName::parse(&queue)?, QueueName::parse(&calm)?);
        if named.is_some_and(|url| url.split('?').next() == Some("sqlite::memory:")) {
            return Err(Error::invalid(
                "a drill is of several processes, and each would have a sqlite::memory: of its own; name a file, or leave \
                 the broker out",
            ));
        }
        let folder = Folder::new(seed)?;
        let (url, key) = match named {
            Some(url) => (existing(url), None),
            None => {
                let file = folder.path.join("drill.db");
                let key = key_path(&file);
                FileKeys::create(&key, &Keyring::generate()?)?;
                (format!("sqlite:{}", file.display()), Some(key))
            }
        };
        let how = Connect::new(&url);
        let client = Client::open(match &key {
            Some(key) => how.keys(FileKeys(key.clone())),
            None => how,
        })
        .await?;
        let stats = client.broker().stats().await?;
        if let Some(held) = stats.iter().find(|held| [&queue, &calm].contains(&&held.queue)) {
            return Err(Error::refused(format!(
                "queue {} exists: a drill with this seed was here; use another --seed",
                held.queue
            )));
        }
        Ok(Self { url, client, queue, calm, key, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// What stays behind on a broker that was named, if the drill ends before all its tasks have.
    pub(super) fn left(&self) -> String {
        match self.key {
            Some(_) => String::new(),
            None => {
                format!("; what had not ended stays in the queues {} and {}", self.queue, self.calm)
            }
        }
    }

    /// The ledger of a process, and what it says on its standard error.
    pub(super) fn ledger(&self, name: &str) -> PathBuf {
        self.folder.path.join(format!("{name}.ledger"))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.path.join(format!("{name}.log"))
    }

    /// Lets a process find the keys; those of a broker that was named it finds as this process did.
    pub(super) fn lend_keys(&self, command: &mut Command) {
        if let Some(key) = &self.key {
            command.env_remove(KEY_VARIABLE).env(KEY_FILE_VARIABLE, key);
        }
    }

    /// Leaves the directory where it is.
    pub(super) fn keep(&mut self) {
        self.folder.kept = true;
    }
}
