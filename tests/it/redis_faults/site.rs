//! What a test of a fault stands on: a server, a proxy before it, a broker behind both, and the words of a
//! caller who does as the contract says when no answer comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oncue::Result;
use oncue::broker::redis::{Options, RedisBroker};
use oncue::broker::*;
use oncue::clock::ManualClock;
use uuid::Uuid;

use super::audit::Audit;
use crate::fixture::{Bench, Opened, run};
use crate::redis_servers::PATIENCE;
use crate::redis_servers::proxy::Proxy;
use crate::redis_servers::server::Server;

/// A server and the way to it.
pub struct Site {
    pub server: Server,
    pub proxy: Proxy,
}

impl Site {
    pub fn new() -> Self {
        Self::at(Server::start())
    }

    pub fn at(server: Server) -> Self {
        let proxy = Proxy::to(&server);
        Self { server, proxy }
    }

    /// A broker by the proxy, in a namespace of its own, whose time a test moves. It is connected.
    pub fn plot(&self) -> Plot<'_> {
        let namespace = Uuid::new_v4().to_string();
        let open = |clock: Arc<ManualClock>| {
            let broker = broker(&self.proxy.url(), &namespace, clock);
            Opened { broker, guard: None }
        };
        let bench = Bench::new(&open);
        let plot = Plot { site: self, bench, namespace };
        plot.bench.stats();
        plot.bench.beat(&[&plot.bench.session()]);
        plot
    }
}

/// A broker that reads this clock.
pub fn broker(url: &str, namespace: &str, clock: Arc<ManualClock>) -> Arc<dyn Operate> {
    let options = Options::parse(url).expect("a URL").namespace(namespace).clock(clock);
    Arc::new(RedisBroker::open(options).expect("a broker"))
}

/// A namespace of its own at a site.
pub struct Plot<'s> {
    pub site: &'s Site,
    pub bench: Bench,
    pub namespace: String,
}

impl Plot<'_> {
    /// A broker that nothing stands in the way of, on the same keys.
    pub fn direct(&self) -> Bench {
        self.bench.twin(broker(&self.site.server.url(), &self.namespace, self.bench.clock.clone()))
    }

    /// What all keys of the queue begin with.
    pub fn prefix(&self) -> String {
        format!("oncue:{{{}/{}}}:", self.namespace, self.bench.queue)
    }

    /// A key of the queue.
    pub fn key(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        [self.prefix().as_bytes(), name.as_ref()].concat()
    }

    /// What a command of an admin answers; its second word is the name of a key of the queue.
    #[track_caller]
    pub fn raw<T: ::redis::FromRedisValue>(&self, verb: &str, name: &[u8], more: &[&[u8]]) -> T {
        let mut admin = self.site.server.admin().expect("an admin");
        ::redis::cmd(verb).arg(self.key(name)).arg(more).query(&mut admin).expect("an answer")
    }

    /// What is stored.
    pub fn audit(&self) -> Audit {
        Audit::of(&self.site.server, &self.prefix())
    }

    /// What is stored, but for one key.
    pub fn audit_but(&self, key: &str) -> Audit {
        Audit::without(&self.site.server, &self.prefix(), key)
    }

    /// Enqueues as a caller must: the same batch again until there is an answer.
    #[track_caller]
    pub fn enqueue(&self, batch: &Batch) -> Vec<Enqueued> {
        again(|| self.bench.broker.enqueue(batch.clone())).expect("stored")
    }

    /// Settles as a worker must: the same again until there is an answer.
    pub fn settle(&self, session: &Session, list: &[Settlement]) -> Result<Vec<Settled>> {
        again(|| self.bench.broker.settle(session.clone(), list.to_vec()))
    }

    /// Takes over what was lost, and hands it back.
    #[track_caller]
    pub fn sweep(&self) {
        let (sweeper, taken) = self.bench.take_over();
        let release = Order::Release { lane: Lane::Shared };
        for claim in &taken {
            self.bench.end(&sweeper, claim, release.clone());
        }
    }

    #[track_caller]
    pub fn retire(&self, session: &Session) -> usize {
        again(|| self.bench.broker.retire(session.clone(), Vec::new())).expect("retired")
    }

    /// Claims as a worker must: if no answer comes the session is retired, and so it is if the connection it was to be opened
    /// on is gone; another one claims.
    #[track_caller]
    pub fn claim(&self, max: usize) -> (Session, Vec<Claim>) {
        self.claim_from(Lane::Shared, max)
    }

    #[track_caller]
    pub fn claim_from(&self, lane: Lane, max: usize) -> (Session, Vec<Claim>) {
        let mut tries = 10;
        loop {
            let session = self.bench.session();
            let ask = Ask { lane, ..self.bench.ask(&session, max) };
            match run(self.bench.broker.dequeue(ask)) {
                Ok(claims) => return (session, claims),
                Err(error) if error.is_unreachable() => drop(self.retire(&session)),
                Err(error) if error.is_fenced() && tries > 0 => {
                    // It may have claimed before it was fenced.
                    tries -= 1;
                    self.retire(&session);
                }
                Err(error) => panic!("no claims: {error}"),
            }
        }
    }
}

/// Repeats a call for as long as its effect is unknown.
#[track_caller]
pub fn again<T>(call: impl Fn() -> Reply<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match run(call()) {
            Err(error) if error.is_unreachable() => {
                assert!(Instant::now() < deadline, "for {PATIENCE:?}: {error}");
            }
            answer => return answer,
        }
    }
}

/// Waits until this is so.
#[track_caller]
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    crate::redis_servers::until(what, || is_so().then_some(()));
}

/// How long it takes until this is so.
#[track_caller]
pub fn time_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    eventually(what, is_so);
    begun.elapsed()
}
