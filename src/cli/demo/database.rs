//! The demo's database: made where nothing is, or where only a former demo was, and removed again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use oncue::connect::key_path;
use oncue::state::State;
use oncue::{Connect, Error, Result};

use super::tasks::QUEUE;
use crate::cli::target;

/// How long the last handle to the file may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// A database of the demo.
pub(super) struct Database {
    path: PathBuf,
    /// The path as it was given, for messages.
    name: String,
    /// Whether the key beside it is the demo's own.
    owns_key: bool,
}

impl Database {
    /// Makes sure that nothing is lost by using this path. A former demo's file is removed; its key stays
    /// in use.
    pub(super) async fn prepare(path: &Path) -> Result<Self> {
        let name = path.to_str().filter(|name| !name.contains('?')).ok_or_else(|| {
            Error::invalid(format!("{} does not fit into a URL; name another file", path.display()))
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|error| {
            Error::not_found(format!("there is no directory {}", folder.display())).because(error)
        })?;
        let file =
            path.file_name().ok_or_else(|| Error::invalid(format!("{name:?} is no file")))?;
        let mut database = Self { path: folder.join(file), name: name.to_owned(), owns_key: false };
        let exists = database.path.symlink_metadata().is_ok();
        database.owns_key = exists || !key_path(&database.path).exists();
        if exists {
            database.check_former().await?;
            database.closed().await;
            database.remove_files(false);
        }
        Ok(database)
    }

    /// Refuses a file that is not a former demo's, or is still in use.
    async fn check_former(&self) -> Result<()> {
        let refused = |why: &str| {
            Error::refused(format!(
                "{} {why}; remove it, or name another file with --db",
                self.name
            ))
        };
        let foreign = || refused("exists and was not made by a demo");
        let broker = target::inspect(&self.url()).map_err(|error| foreign().because(error))?;
        let stats = broker.stats().await.map_err(|error| foreign().because(error))?;
        if stats.is_empty() || stats.iter().any(|stats| stats.queue.as_str() != QUEUE) {
            return Err(foreign());
        }
        if stats.iter().any(|stats| stats.count(State::Active) > 0) {
            return Err(refused("belongs to a demo that runs, or was killed"));
        }
        Ok(())
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.name)
    }

    /// How to open it.
    pub(super) fn connect(&self) -> Connect {
        Connect::new(self.url())
    }

    /// What it was called by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// All files it consists of, and its key.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = ["", "-wal", "-shm", "-journal"].map(|end| self.beside(end)).into();
        files.push(key_path(&self.path));
        files
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(end);
        path.into()
    }

    /// Waits until nobody has the file open: the last to close it removes the log beside it.
    async fn closed(&self) {
        let log = self.beside("-wal");
        let gone = async {
            while log.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Somebody else looks at it: it may be removed all the same.
        let _ = tokio::time::timeout(CLOSING, gone).await;
    }

    /// Removes the database, and the key if it is the demo's own.
    pub(super) async fn remove(&self) {
        self.closed().await;
        self.remove_files(self.owns_key);
    }

    fn remove_files(&self, with_key: bool) {
        let key = key_path(&self.path);
        for file in self.files().into_iter().filter(|file| with_key || *file != key) {
            // What is not there needs no removing.
            let _ = std::fs::remove_file(file);
        }
    }
}
