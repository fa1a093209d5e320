//! The suite, mounted on Redis.

use std::sync::Arc;

use oncue::broker::redis::{Options, RedisBroker};
use oncue::clock::ManualClock;

use crate::fixture::{Bench, Opened};

#[path = "conformance/mod.rs"]
mod conformance;

pub fn open_at(clock: Arc<ManualClock>) -> Opened {
    let url = format!("unix://{}", std::env::var("ONCUE_TEST_REDIS").expect("a server"));
    let options = Options::parse(&url).expect("a URL").namespace(uuid::Uuid::new_v4().to_string()).clock(clock);
    Opened { broker: Arc::new(RedisBroker::open(options).expect("a broker")), guard: None }
}

fn open() -> Bench {
    Bench::new(&open_at)
}

#[test]
fn random_histories_agree_with_the_model() {
    crate::sequences::check(&open_at, 64);
}
