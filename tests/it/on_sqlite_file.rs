//! The suite, mounted on SQLite in a file.

use std::sync::Arc;

use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::clock::ManualClock;

use crate::fixture::{Bench, Opened};

#[path = "conformance/mod.rs"]
mod conformance;

fn open_file(clock: Arc<ManualClock>) -> Opened {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::file(folder.path().join("tasks.db")).clock(clock);
    let broker = SqliteBroker::open(options).expect("a broker");
    Opened { broker: Arc::new(broker), guard: Some(Box::new(folder)) }
}

fn open() -> Bench {
    Bench::new(&open_file)
}

#[test]
fn random_histories_agree_with_the_model() {
    crate::sequences::check(&open_file, 64);
}
