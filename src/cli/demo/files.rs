//! Which files the demo digests: those of a directory that are not hidden and no cache, such as what cargo builds.
//!
//! The walk is on a thread of its own and waits for whoever enqueues; it ends with its receiver.

use std::path::{Path, PathBuf};

use oncue::broker::BATCH_TASKS_MAX;
use oncue::{Error, Result};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use walkdir::{DirEntry, WalkDir};

/// Bytes of paths in one batch: far below what a batch may hold, whatever JSON makes of them.
const BATCH_PATH_BYTES: usize = 256 * 1024;
/// Batches that are ready before one is taken.
const AHEAD: usize = 4;

/// The directory in full; what is none is refused.
pub(super) fn root(dir: &Path) -> Result<PathBuf> {
    let shown = dir.display();
    let root = dir.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no directory {shown}")),
        _ => Error::invalid(format!("cannot use directory {shown}")).because(error),
    })?;
    if root.is_dir() {
        Ok(root)
    } else {
        Err(Error::invalid(format!("{shown} is not a directory")))
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// Whether a directory says that all in it can be made anew (<https://bford.info/cachedir/>).
fn is_cache(entry: &DirEntry) -> bool {
    entry.file_type().is_dir() && entry.path().join("CACHEDIR.TAG").is_file()
}

/// Batches of paths below `root`, at most `limit` paths, without those in `except`.
pub(super) fn walk(root: PathBuf, limit: usize, except: Vec<PathBuf>) -> Receiver<Vec<PathBuf>> {
    let (batches, receiver) = channel(AHEAD);
    // Nobody waits for it: without a receiver it ends at its next batch.
    tokio::task::spawn_blocking(move || send(&root, limit, &except, &batches));
    receiver
}

fn send(root: &Path, limit: usize, except: &[PathBuf], batches: &Sender<Vec<PathBuf>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let files = WalkDir::new(root)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry) && !is_cache(entry))
        // What cannot be listed has no files to digest.
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| !except.iter().any(|path| path == entry.path()))
        .filter_map(|entry| entry.path().strip_prefix(root).map(Path::to_path_buf).ok())
        .take(limit);
    for path in files {
        bytes += path.as_os_str().len();
        batch.push(path);
        if batch.len() == BATCH_TASKS_MAX || bytes > BATCH_PATH_BYTES {
            bytes = 0;
            if batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
    }
    if !batch.is_empty() {
        // Without a receiver the demo is over.
        let _ = batches.blocking_send(batch);
    }
}
