//! What Redis may answer instead of doing what it was asked: each refusal, to each verb, is a typed error, and a
//! worker that hears nothing else asks at a bounded pace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oncue::broker::redis::{Options, RedisBroker};
use oncue::broker::*;
use oncue::clock::ManualClock;
use oncue::{Error, Result};

use super::company::Shop;
use crate::fixture::*;
use crate::redis_servers::stub::{Reply, Stub};

/// A refusal, and by which word callers know it.
const ANSWERS: [(&str, &str); 19] = [
    ("LOADING Redis is loading the dataset in memory", "unreachable"),
    ("BUSY Redis is busy running a script", "unreachable"),
    ("TRYAGAIN Multiple keys request during rehashing of slot", "unreachable"),
    ("CLUSTERDOWN Hash slot not served", "unreachable"),
    ("MASTERDOWN Link with MASTER is down", "unreachable"),
    ("READONLY You can't write against a read only replica.", "unreachable"),
    ("OOM command not allowed when used memory > 'maxmemory'.", "full"),
    ("QFULL the queue is at its limit", "full"),
    ("MISCONF Redis is configured to save RDB snapshots", "not_durable"),
    ("NOREPLICAS Not enough good replicas to write.", "not_durable"),
    ("NOAUTH Authentication required.", "denied"),
    ("WRONGPASS invalid username-password pair or user is disabled.", "denied"),
    ("NOPERM User worker has no permissions to run the 'fcall' command", "denied"),
    ("ERR Function not found", "undeployed"),
    ("NOSCRIPT No matching script.", "corrupt"),
    ("CROSSSLOT Keys in request don't hash to the same slot", "corrupt"),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", "corrupt"),
    ("ERR something nobody has thought of", "corrupt"),
    ("FENCED this session is dead", "fenced"),
];

/// A stub that greets as a server with our functions would, and refuses them.
fn refusing(answer: &str) -> Stub {
    let stub = Stub::start();
    stub.answer("FUNCTION", Reply::ok());
    stub.answer("TIME", Reply::array([Reply::bulk(b"1767225600"), Reply::bulk(b"0")]));
    stub.answer("FCALL_RO", Reply::array([Reply::int(1), Reply::bulk(b"another")]));
    stub.answer("SADD", Reply::int(1));
    stub.answer("HSET", Reply::int(1));
    stub.answer("FCALL", Reply::error(answer));
    stub
}

fn verbs(bench: &Bench) -> Vec<(&'static str, Result<()>)> {
    let (session, broker) = (bench.session(), &bench.broker);
    let batch = bench.batch(tasks(1));
    let settlement = Settlement::new(
        Ticket::of(batch.tasks[0].envelope.id(), batch.tasks[0].envelope.header()),
        complete(),
    );
    let inline = bench.batch([task(KINDS[0]).key("k")]);
    let beat = Beat { sessions: vec![session.clone()], lease: LEASE, presence: None };
    vec![
        ("enqueue", run(broker.enqueue(batch)).map(drop)),
        ("enqueue inline", run(broker.enqueue(inline)).map(drop)),
        ("dequeue", run(broker.dequeue(bench.ask(&session, 1))).map(drop)),
        ("settle", run(broker.settle(session.clone(), vec![settlement])).map(drop)),
        ("retire", run(broker.retire(session.clone(), Vec::new())).map(drop)),
        ("advance", run(broker.advance(bench.queue.clone(), 1)).map(drop)),
        ("reclaim", run(broker.reclaim(bench.sweep(&session))).map(drop)),
        ("beat", run(broker.beat(beat)).map(drop)),
    ]
}

#[test]
fn every_refusal_of_every_verb_is_a_typed_error() {
    for (answer, word) in ANSWERS {
        let stub = refusing(answer);
        let open = |clock: Arc<ManualClock>| {
            let url = format!("{}?timeout=2s", stub.url());
            let options = Options::parse(&url).expect("a URL").clock(clock);
            let broker = Arc::new(RedisBroker::open(options).expect("a broker"));
            Opened { broker, guard: None }
        };
        let bench = Bench::new(&open);
        for (verb, result) in verbs(&bench) {
            let error: Error = result.expect_err("refused");
            assert_eq!(error.code(), word, "{verb}: {answer}: {error}");
        }
    }
}

/// Requests a second, at most, of one worker with one queue that is refused whatever it asks; greetings of new
/// connections included.
const PACE: usize = 150;

#[test]
fn a_worker_that_is_refused_does_not_ask_without_end() {
    for (answer, _) in ANSWERS.into_iter().filter(|(_, word)| *word != "fenced") {
        let stub = refusing(answer);
        let shop = Shop::at(&stub.url());
        let client = shop.client();
        // The worker's key is known, or it would not start.
        let checks = client.sealer().keyring().key_checks();
        let known = checks.iter().map(|(_, check)| Reply::bulk(check));
        stub.answer("HMGET", Reply::array(known));
        let worker = shop.worker_of(client, Duration::ZERO, |builder| {
            builder.shutdown_timeout(Duration::from_millis(100))
        });
        let (before, begun) = (stub.sent().len(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let asked = (stub.sent().len() - before) as f64 / begun.elapsed().as_secs_f64();
        println!("{asked:6.1} a second: {answer}");
        assert!(asked < PACE as f64, "{asked} requests a second: {answer}");
        assert!(asked >= 1.0, "it goes on asking: {answer}");
        worker.end();
    }
}
