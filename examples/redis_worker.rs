//! Greets whoever `redis_producer` names, until Ctrl-C or SIGTERM; with `--count 3` it ends after three.
//!
//! Start as many as you like. When one dies, its tasks run on another after its lease, 15 s.

use std::sync::Arc;

use oncue::worker::Event;
use oncue::{Task, TaskResult};
use tokio::sync::Semaphore;

#[derive(serde::Serialize, serde::Deserialize)]
struct Greet(String);

impl Task for Greet {
    const KIND: &'static str = "greet";
}

async fn greet(task: Greet) -> TaskResult<String> {
    println!("greeting {}", task.0);
    Ok(format!("hello {}", task.0))
}
