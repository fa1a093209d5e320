//! The kinds of task of the demo and their handlers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use data_encoding::HEXLOWER;
use oncue::handler::Output;
use oncue::{Data, Job, RetryPolicy, Task, TaskContext, TaskError, TaskResult};
use ring::digest::{Context as Hash, SHA256};
use serde::{Deserialize, Serialize};

use crate::cli::pickup::Pickups;

/// Where all of the demo happens.
pub(super) const QUEUE: &str = "oncue-demo";
/// Panics that say this are part of the play.
const PLANNED: &str = "a planned panic";
/// Read at once from a file.
const CHUNK_BYTES: usize = 256 * 1024;

/// Silences panics that are planned; all others are told as before.
pub(super) fn hush_planned_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(PLANNED) {
            tell(panic);
        }
    }));
}

/// A path in a payload, which is JSON: as text, or as bytes where it is none.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<PathBuf> for Name {
    fn from(path: PathBuf) -> Self {
        match path.into_os_string().into_string() {
            Ok(text) => Self::Text(text),
            Err(other) => Self::Bytes(other.as_bytes().to_vec()),
        }
    }
}

impl From<Name> for PathBuf {
    fn from(name: Name) -> Self {
        match name {
            Name::Text(text) => text.into(),
            Name::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

/// Digest one file; the path is below the directory of the demo.
#[derive(Serialize, Deserialize)]
pub(super) struct DigestFile {
    pub(super) path: Name,
}

impl Task for DigestFile {
    const KIND: &'static str = "file:digest";
    const QUEUE: &'static str = QUEUE;
    const MAX_RETRY: u32 = 1;
    const TIMEOUT: Duration = Duration::from_secs(60);
}

/// What is known of one file.
#[derive(Clone, Serialize)]
pub(super) struct Facts {
    sha256: String,
    bytes: u64,
    lines: u64,
}

/// The directory, and what is known of its files so far.
pub(super) struct Tree {
    root: PathBuf,
    facts: Mutex<BTreeMap<PathBuf, Facts>>,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, facts: Mutex::default() }
    }
}

/// Reads a file. One that cannot be read is archived: no retry makes it readable.
pub(super) fn digest(
    task: DigestFile,
    tree: Data<Arc<Tree>>,
    context: TaskContext,
) -> TaskResult<Facts> {
    let path = PathBuf::from(task.path);
    let facts = read(&tree.root.join(&path), &context).map_err(|error| {
        TaskError::skip_retry(format!("cannot read {}: {error}", path.display()))
            .class("unreadable")
    })?;
    tree.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(path, facts.clone());
    Ok(facts)
}

fn read(path: &Path, context: &TaskContext) -> std::io::Result<Facts> {
    let mut file = File::open(path)?;
    let (mut hash, mut chunk) = (Hash::new(&SHA256), vec![0; CHUNK_BYTES]);
    let (mut bytes, mut lines, mut last) = (0, 0, b'\n');
    loop {
        if context.is_cancelled() {
            return Err(std::io::Error::other("stopped"));
        }
        let chunk = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => &chunk[..count],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(chunk);
        bytes += chunk.len() as u64;
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        last = chunk.last().copied().unwrap_or(last);
    }
    // A last line without its end is a line.
    lines += u64::from(last != b'\n');
    Ok(Facts { sha256: HEXLOWER.encode(hash.finish().as_ref()), bytes, lines })
}

/// Sum up the directory.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportTree;

impl Task for ReportTree {
    const KIND: &'static str = "tree:report";
    const QUEUE: &'static str = QUEUE;
    const RETENTION: Duration = Duration::from_secs(24 * 3600);
}

/// The directory summed up. `sha256` is over every path, its length before it, and its file's digest.
#[derive(Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) sha256: String,
}

pub(super) fn report(_: ReportTree, tree: Data<Arc<Tree>>) -> TaskResult<Report> {
    let facts = tree.facts.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut hash, mut bytes, mut lines) = (Hash::new(&SHA256), 0, 0);
    for (path, facts) in &*facts {
        let path = path.as_os_str().as_bytes();
        hash.update(&(path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update(facts.sha256.as_bytes());
        bytes += facts.bytes;
        lines += facts.lines;
    }
    let sha256 = HEXLOWER.encode(hash.finish().as_ref());
    Ok(Report { files: facts.len() as u64, bytes, lines, sha256 })
}

/// Fetch something that answers at the third attempt only.
#[derive(Serialize, Deserialize)]
pub(super) struct FlakyFetch {
    pub(super) url: String,
}

impl Task for FlakyFetch {
    const KIND: &'static str = "flaky:fetch";
    const QUEUE: &'static str = QUEUE;
    const MAX_RETRY: u32 = 5;
    const RETRY: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(200));
}

pub(super) async fn fetch(task: FlakyFetch, context: TaskContext) -> TaskResult<String> {
    match context.attempt() {
        1 | 2 => Err(TaskError::new(format!("{} did not answer", task.url))),
        attempt => Ok(format!("{} answered at attempt {attempt}", task.url)),
    }
}

/// Greet somebody.
#[derive(Serialize, Deserialize)]
pub(super) struct Greet {
    pub(super) name: String,
}

impl Task for Greet {
    const KIND: &'static str = "actor:greet";
    const QUEUE: &'static str = QUEUE;
    const MAX_RETRY: u32 = 5;
    const RETRY: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(200));
}

/// An actor that panics on the first task it ever gets. Its factory makes a fresh one.
pub(super) struct Greeter {
    panicked: Arc<AtomicBool>,
    greeted: u32,
}

impl Greeter {
    /// What they share is whether one of them panicked.
    pub(super) fn new(panicked: &Arc<AtomicBool>) -> Self {
        Self { panicked: panicked.clone(), greeted: 0 }
    }
}

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<Job<Greet>> for Greeter {
    type Result = TaskResult<Output>;

    fn handle(&mut self, job: Job<Greet>, _: &mut Self::Context) -> Self::Result {
        if !self.panicked.swap(true, Ordering::AcqRel) {
            panic!("{PLANNED}");
        }
        self.greeted += 1;
        Output::of(&format!("hello {}, you are number {}", job.task.name, self.greeted))
    }
}

/// Something to be done later.
#[derive(Serialize, Deserialize)]
pub(super) struct LaterNote {
    pub(super) text: String,
}

impl Task for LaterNote {
    const KIND: &'static str = "later:note";
    const QUEUE: &'static str = QUEUE;
}

pub(super) async fn note(task: LaterNote) -> TaskResult<String> {
    Ok(task.text)
}

/// Nothing but its pickup.
#[derive(Serialize, Deserialize)]
pub(super) struct Probe;

impl Task for Probe {
    const KIND: &'static str = "pickup:probe";
    const QUEUE: &'static str = QUEUE;
}

pub(super) async fn probe(
    _: Probe,
    pickups: Data<Arc<Pickups>>,
    context: TaskContext,
) -> TaskResult {
    pickups.started(&context);
    Ok(())
}
