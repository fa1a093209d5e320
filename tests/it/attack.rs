//! Attacks on a database file and on whoever reads it: each must fail, beside a control that succeeds.

#[cfg(feature = "cli")]
mod hidden;
mod limits;
mod moved;
#[cfg(feature = "cli")]
mod printed;
mod rows;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncue::{Client, Handle, RetryPolicy, Task, TaskError, TaskResult};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A database and somebody who may write to its file, without the key.
struct Scene {
    folder: TempDir,
    client: Client,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("oncue.db").display());
        let client = oncue::block_on(oncue::connect(&url)).expect("a database");
        Self { folder, client }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("oncue.db")
    }

    fn put<T: Task>(&self, task: T) -> Handle {
        oncue::block_on(self.client.enqueue(task)).expect("enqueued")
    }

    /// What the attacker does to the file; `?1` is the task, if there is one.
    fn alter(&self, sql: &str, task: Option<&Handle>) {
        let conn = Connection::open(self.path()).expect("opens");
        conn.busy_timeout(Duration::from_secs(20)).expect("patience");
        let changed = match task {
            Some(task) => conn.execute(sql, [task.id().as_bytes()]),
            None => conn.execute(sql, []),
        };
        assert!(changed.expect(sql) > 0, "{sql} changed nothing");
    }

    /// Runs the binary on the database.
    #[cfg(feature = "cli")]
    fn oncue(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_oncue"));
        command.args(args).current_dir(self.folder.path()).stdin(std::process::Stdio::null());
        for name in ["ONCUE_BROKER", "ONCUE_KEY", "ONCUE_KEY_FILE", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }
}

/// Which tasks reached a handler.
type Calls = Arc<Mutex<Vec<(&'static str, u64)>>>;

/// Takes money.
#[derive(Serialize, Deserialize)]
struct Charge(u64);

impl Task for Charge {
    const KIND: &'static str = "charge";
    const RETENTION: Duration = Duration::from_secs(600);
    const RETRY: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(1));
    const MAX_RETRY: u32 = 0;
}

/// Gives it back: of the same shape.
#[derive(Serialize, Deserialize)]
struct Refund(u64);

impl Task for Refund {
    const KIND: &'static str = "refund";
    const RETENTION: Duration = Duration::from_secs(600);
}

async fn charge(task: Charge, calls: oncue::Data<Calls>) -> TaskResult<u64> {
    calls.lock().expect("calls").push(("charge", task.0));
    if task.0 == FAILS { Err(TaskError::new("no money ".repeat(900))) } else { Ok(task.0) }
}

async fn refund(task: Refund, calls: oncue::Data<Calls>) -> TaskResult<u64> {
    calls.lock().expect("calls").push(("refund", task.0));
    Ok(task.0)
}

/// A charge that fails.
const FAILS: u64 = 666;
