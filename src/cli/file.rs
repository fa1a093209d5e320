//! The files a SQLite database consists of: for commands that measure or remove their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the last handle may take to close.
const CLOSING: Duration = Duration::from_secs(2);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(2);

/// A database and what SQLite keeps beside it.
pub(super) struct DatabaseFile(PathBuf);

impl DatabaseFile {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(end);
        path.into()
    }

    fn log(&self) -> PathBuf {
        self.beside("-wal")
    }

    /// The database, its log, its shared memory.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        vec![self.0.clone(), self.log(), self.beside("-shm")]
    }

    /// Waits until the handles this process dropped are closed: the last of them empties the log. If another
    /// process works with the file, that may never be, and the wait ends.
    pub(super) async fn at_rest(&self) {
        let log = self.log();
        let empty = async {
            while log.metadata().is_ok_and(|meta| meta.len() > 0) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(CLOSING, empty).await;
    }

    /// Bytes of the database and its log, at rest.
    pub(super) async fn size(&self) -> u64 {
        self.at_rest().await;
        let sizes = [self.0.clone(), self.log()].map(|path| path.metadata().map(|meta| meta.len()));
        sizes.into_iter().flatten().sum()
    }

    /// Removes it, at rest.
    pub(super) async fn remove(&self) {
        self.at_rest().await;
        for path in self.all() {
            // What is not there needs no removing.
            let _ = std::fs::remove_file(path);
        }
    }
}
