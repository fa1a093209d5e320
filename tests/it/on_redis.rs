//! The suite, mounted on Redis: a server of its own for each test, a namespace of its own for each history.

use std::sync::{Arc, LazyLock};

use oncue::broker::redis::{Options, RedisBroker};
use oncue::clock::ManualClock;
use uuid::Uuid;

use crate::fixture::{Bench, Opened};
use crate::redis_servers::server::Server;

#[path = "conformance/mod.rs"]
mod conformance;

fn open_at(server: Arc<Server>, clock: Arc<ManualClock>) -> Opened {
    let options = Options::parse(&server.url()).expect("a URL");
    let options = options.namespace(Uuid::new_v4().to_string()).clock(clock);
    let broker = RedisBroker::open(options).expect("a broker");
    Opened { broker: Arc::new(broker), guard: Some(Box::new(server)) }
}

fn open() -> Bench {
    Bench::new(&|clock| open_at(Arc::new(Server::start()), clock))
}

#[test]
fn random_histories_agree_with_the_model() {
    let server = LazyLock::new(|| Arc::new(Server::start()));
    crate::sequences::check(&|clock| open_at(server.clone(), clock), 64);
}
