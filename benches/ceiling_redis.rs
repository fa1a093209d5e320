//! How much of Redis's worth is left: the calls of the Redis broker by a bare client, without runtime and sealing,
//! and the product.
//!
//! Both in one run, taking turns, on one server of its own without persistence; batches of 1,000, payloads of
//! 100 bytes; the median of five rounds. Ratios within a run mean something, the figures of two runs do not.
//! Prints one JSON object. `ONCUE_REDIS_SERVER` names another server than `redis-server`.

use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use oncue::event::Event;
use oncue::queue::Kind;
use oncue::seal::{KeySource, Keyring};
use oncue::task::TaskId;
use oncue::{Client, Connect, Lane, Task, TaskResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

const BATCH: usize = 1_000;
const BATCHES: usize = 100;
const TASKS: usize = BATCH * BATCHES;
const ROUNDS: usize = 5;
/// Calls under way, and sessions that drain.
const CALLS: usize = 4;
/// Bytes of the product's record of such a task.
const RECORD: usize = 252;
const RAW: &str = "oncue:{default/raw}:";

#[derive(Serialize, Deserialize)]
struct Load(String);

impl Task for Load {
    const KIND: &'static str = "load";
}

async fn nothing(_: Load) -> TaskResult {
    Ok(())
}

/// A server of the bench's own, ended with it.
struct Server(Child, tempfile::TempDir);

impl Server {
    fn start() -> Result<Self, Box<dyn Error>> {
        let home = tempfile::tempdir()?;
        let program =
            std::env::var("ONCUE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(home.path().join("s"))
            .current_dir(home.path())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("no redis-server ({error}); apt-get install -y redis-server")
            })?;
        let server = Self(child, home);
        let begun = Instant::now();
        while !server.1.path().join("s").exists() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    fn url(&self) -> String {
        format!("unix://{}", self.1.path().join("s").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The keys of the bench.
struct Keys(String);

impl KeySource for Keys {
    fn load(&self) -> oncue::Result<Keyring> {
        Keyring::parse(&self.0)
    }
}

/// Tasks per second of one round.
#[derive(Clone, Copy)]
struct Rates {
    enqueue: f64,
    drain: f64,
}

fn per_second(begun: Instant) -> f64 {
    TASKS as f64 / begun.elapsed().as_secs_f64()
}

fn function(verb: &str) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg("FCALL").arg(format!("oncue_1_{verb}")).arg(KEYS.len());
    KEYS.iter().for_each(|key| {
        cmd.arg(format!("{RAW}{key}"));
    });
    cmd
}

/// What every function is given: see `src/broker/redis/library.rs`.
const KEYS: &[&str] = &["t"];

/// Most ids of one argument: see `src/broker/redis/held.rs`.
const ENTRY_IDS: usize = 128;

fn suffix() -> Vec<u8> {
    let hash = Kind::parse("raw").expect("a kind").hash();
    [&[0, 1, 0], &hash.0[..]].concat()
}

async fn enqueue_raw(mut conn: MultiplexedConnection, record: &[u8]) -> redis::RedisResult<()> {
    let ids: Vec<TaskId> = (0..BATCH).map(|_| TaskId::fresh()).collect();
    let mut call = function("enqueue");
    call.arg(1).arg(&TaskId::fresh().as_bytes()[..]).arg(BATCH);
    call.arg(suffix()).arg("n").arg(BATCH.div_ceil(ENTRY_IDS));
    for some in ids.chunks(ENTRY_IDS) {
        let some: Vec<&[u8]> = some.iter().map(|id| &id.as_bytes()[..]).collect();
        call.arg(some.concat());
    }
    let mut store = Cmd::new();
    store.arg("HSET").arg(format!("{RAW}t"));
    for id in &ids {
        store.arg(&id.as_bytes()[..]).arg(record);
    }
    let mut pipe = redis::pipe();
    pipe.atomic().add_command(call).add_command(store);
    pipe.query_async::<Vec<Value>>(&mut conn).await.map(drop)
}

/// Claims and settles until nothing is left; answers how much that was.
async fn drain_raw(mut conn: MultiplexedConnection) -> redis::RedisResult<usize> {
    let (session, mut drained) = (TaskId::fresh(), 0);
    for round in 0_u64.. {
        let number = round * BATCH as u64;
        let mut claim = function("dequeue");
        claim.arg(&session.as_bytes()[..]).arg(60_000).arg(BATCH).arg("p").arg(0);
        claim.arg(number).arg(&suffix()[3..]).arg(BATCH);
        let (claims, _, _): (Vec<Vec<u8>>, Value, Value) = claim.query_async(&mut conn).await?;
        if claims.is_empty() {
            break;
        }
        let mut fetch = Cmd::new();
        fetch.arg("HMGET").arg(format!("{RAW}t"));
        let mut settle = function("settle");
        settle.arg(&session.as_bytes()[..]).arg(claims.len() / 2);
        let mut tasks = 0;
        for (claim, number) in claims.chunks_exact(2).zip(number..) {
            settle.arg([&number.to_be_bytes(), &claim[0][..]].concat()).arg(&claim[1]);
            claim[1].chunks_exact(16).for_each(|id| {
                fetch.arg(id);
            });
            tasks += claim[1].len() / 16;
        }
        let records: Value = fetch.query_async(&mut conn).await?;
        assert!(matches!(records, Value::Array(all) if all.len() == tasks));
        let refused: Vec<u8> = settle.query_async(&mut conn).await?;
        assert!(refused.is_empty(), "every claim is held");
        drained += tasks;
    }
    Ok(drained)
}

async fn ceiling(url: &str) -> Result<Rates, Box<dyn Error>> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
    let client = redis::Client::open(url)?;
    let conn = client.get_multiplexed_async_connection_with_config(&config).await?;
    let record = vec![b'x'; RECORD];
    let begun = Instant::now();
    for _ in 0..BATCHES / CALLS {
        try_join_all((0..CALLS).map(|_| enqueue_raw(conn.clone(), &record))).await?;
    }
    let enqueue = per_second(begun);
    let begun = Instant::now();
    let drained: usize =
        try_join_all((0..CALLS).map(|_| drain_raw(conn.clone()))).await?.into_iter().sum();
    assert_eq!(drained, TASKS);
    Ok(Rates { enqueue, drain: per_second(begun) })
}

async fn product(client: &Client) -> oncue::Result<Rates> {
    let load = || Load("x".repeat(98));
    let begun = Instant::now();
    for _ in 0..BATCHES / CALLS {
        let batches = (0..CALLS).map(|_| client.enqueue_all((0..BATCH).map(|_| load())));
        try_join_all(batches).await?;
    }
    let enqueue = per_second(begun);
    let settled = Arc::new((AtomicUsize::new(0), Notify::new()));
    let told = settled.clone();
    let count = move |event: &Event| {
        if let Event::Settled { .. } = event
            && told.0.fetch_add(1, Ordering::Relaxed) + 1 == TASKS
        {
            told.1.notify_one();
        }
    };
    let lane = Lane::weighted([(Load::QUEUE, 1)]).concurrency(2 * BATCH);
    let begun = Instant::now();
    let worker = client.worker().handle(nothing).lane(lane).on_event(count).start().await?;
    settled.1.notified().await;
    let drain = per_second(begun);
    let report = worker.shutdown().await?;
    assert_eq!(report.completed, TASKS as u64, "{report:?}");
    Ok(Rates { enqueue, drain })
}

fn median(rounds: &[Rates], rate: impl Fn(&Rates) -> f64) -> f64 {
    let mut rates: Vec<f64> = rounds.iter().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::start()?;
    let keys = Keyring::generate()?.to_text().to_string();
    let (raw, ours) = oncue::block_on(async {
        let client = Client::open(Connect::new(server.url()).keys(Keys(keys))).await?;
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(product(&client).await?);
            raw.push(ceiling(&server.url()).await?);
        }
        Ok::<_, Box<dyn Error>>((raw, ours))
    })?;
    let rates = |rate: fn(&Rates) -> f64| (median(&raw, rate), median(&ours, rate));
    let (ceiling_enqueue, product_enqueue) = rates(|rates| rates.enqueue);
    let (ceiling_drain, product_drain) = rates(|rates| rates.drain);
    let ratio = |ours: f64, ceiling: f64| (ours / ceiling * 1000.0).round() / 1000.0;
    let told = serde_json::json!({
        "ceiling_enqueue_per_s": ceiling_enqueue.round(),
        "product_enqueue_per_s": product_enqueue.round(),
        "enqueue_ratio": ratio(product_enqueue, ceiling_enqueue),
        "ceiling_drain_per_s": ceiling_drain.round(),
        "product_drain_per_s": product_drain.round(),
        "drain_ratio": ratio(product_drain, ceiling_drain),
    });
    println!("{told}");
    Ok(())
}
