//! The broker a bench works on: one that was named, or a file of its own.

use std::path::PathBuf;
use std::time::Duration;

use oncue::seal::{KeySource, Keyring};
use oncue::{Client, Connect, Error, Result};
use zeroize::Zeroizing;

use super::QUEUE;

/// How long the last handle to a file may take to close, which checkpoints its log.
const CLOSING: Duration = Duration::from_secs(2);

/// Where the bench takes place.
pub(super) struct Place {
    url: String,
    /// None for a broker without a file.
    file: Option<PathBuf>,
    /// The keyring of the bench's own file, as text; it is never written. None for a broker that was named.
    own: Option<Zeroizing<String>>,
}

impl KeySource for OwnKeys {
    fn load(&self) -> Result<Keyring> {
        Keyring::parse(&self.0)
    }
}

/// The same keys each time the bench opens its own file.
struct OwnKeys(Zeroizing<String>);

impl Place {
    /// The broker named, else a file in the current directory.
    pub(super) fn new(named: Option<&str>) -> Result<Self> {
        if let Some(url) = named {
            let file =
                url.strip_prefix("sqlite:").map(|rest| rest.split('?').next().unwrap_or(rest));
            let file = file.map(|path| path.strip_prefix("//").unwrap_or(path));
            let file = file.filter(|path| *path != ":memory:").map(PathBuf::from);
            return Ok(Self { url: url.to_owned(), file, own: None });
        }
        let name = format!("oncue-bench-{}.db", std::process::id());
        let file = PathBuf::from(&name);
        if file.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{name} exists; remove it")));
        }
        let own = Some(Keyring::generate()?.to_text());
        Ok(Self { url: format!("sqlite:{name}"), file: Some(file), own })
    }

    pub(super) async fn client(&self) -> Result<Client> {
        let connect = Connect::new(&self.url);
        Client::open(match &self.own {
            Some(text) => connect.keys(OwnKeys(text.clone())),
            None => connect,
        })
        .await
    }

    /// Whether everything is gone with the last handle.
    pub(super) fn is_volatile(&self) -> bool {
        self.file.is_none()
    }

    /// Refuses a queue that is not empty.
    pub(super) async fn check_empty(&self, client: &Client) -> Result<()> {
        let stats = client.broker().stats().await?;
        let held = stats.iter().find(|stats| stats.queue.as_str() == QUEUE);
        match held.map_or(0, |stats| stats.total()) {
            0 => Ok(()),
            count => Err(Error::refused(format!(
                "queue {QUEUE} holds {count} tasks; run them along with --yes"
            ))),
        }
    }

    /// Size of the file and its log, once nobody here has it open.
    pub(super) async fn size(&self) -> Option<u64> {
        self.closed().await;
        let sizes = self.files().into_iter().take(2).filter_map(|file| file.metadata().ok());
        self.file.as_ref().map(|_| sizes.map(|meta| meta.len()).sum())
    }

    /// The file, its log, its shared memory.
    fn files(&self) -> Vec<PathBuf> {
        let Some(file) = &self.file else { return Vec::new() };
        let beside = |end: &str| {
            let mut path = file.clone().into_os_string();
            path.push(end);
            PathBuf::from(path)
        };
        vec![file.clone(), beside("-wal"), beside("-shm")]
    }

    /// Waits until the last handle is closed. Another process may have the file open: then its log counts.
    async fn closed(&self) {
        let files = self.files();
        let gone = async {
            while files.get(1).is_some_and(|log| log.exists()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(CLOSING, gone).await;
    }

    /// Removes the bench's own file.
    pub(super) async fn remove(&self) {
        if self.own.is_some() {
            self.closed().await;
            // What is not there needs no removing.
            self.files().into_iter().for_each(|file| drop(std::fs::remove_file(file)));
        }
    }
}
