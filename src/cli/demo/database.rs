//! The demo's database: made where nothing is, or where only a former demo was, and removed again.

use std::path::{Path, PathBuf};

use oncue::connect::key_path;
use oncue::state::State;
use oncue::{Connect, Error, Result};

use super::tasks::QUEUE;
use crate::cli::file::DatabaseFile;
use crate::cli::target;

/// A database of the demo.
pub(super) struct Database {
    file: DatabaseFile,
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
        let file = DatabaseFile::new(folder.join(file));
        let exists = file.path().symlink_metadata().is_ok();
        let owns_key = exists || !key_path(file.path()).exists();
        let database = Self { file, name: name.to_owned(), owns_key };
        if exists {
            database.check_former().await?;
            database.file.remove().await;
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
        let mut files = self.file.all();
        files.push(key_path(self.file.path()));
        files
    }

    /// Removes the database, and the key if it is the demo's own.
    pub(super) async fn remove(&self) {
        self.file.remove().await;
        if self.owns_key {
            // With a key from the environment there is none.
            let _ = std::fs::remove_file(key_path(self.file.path()));
        }
    }
}
