//! How much of the disk's worth is left: the SQL of the SQLite broker without runtime and sealing, and the product.
//!
//! Both in one run, taking turns, durability full, batches of 1,000, payloads of 100 bytes; the median of five
//! rounds. Ratios within a run mean something, the figures of two runs do not. Prints one JSON object.
//!
//! The statements stand here as in `src/broker/sqlite`; a test compares them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oncue::clock::Timestamp;
use oncue::envelope::Header;
use oncue::event::Event;
use oncue::queue::{Kind, QueueName};
use oncue::seal::{Keyring, Sealer};
use oncue::task::TaskId;
use oncue::{Lane, Task, TaskResult};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

const BATCH: usize = 1_000;
const BATCHES: usize = 30;
const ROUNDS: usize = 5;
const TASKS: usize = BATCH * BATCHES;
const KIND: i64 = 7;

const SCHEMA: &str = include_str!("../src/broker/sqlite/schema.sql");
const SEEN: &str = "SELECT EXISTS (SELECT 1 FROM oncue_batch WHERE id = ?1 AND until > ?2)";
const SEE: &str = "INSERT INTO oncue_batch (id, until) VALUES (?1, ?2)
    ON CONFLICT (id) DO UPDATE SET until = excluded.until";
const FORGET: &str = "DELETE FROM oncue_batch WHERE until <= ?1
    AND row IN (SELECT row FROM oncue_batch ORDER BY row LIMIT ?2 + 0)";
const ANY_REMEMBERED: &str = "SELECT EXISTS (SELECT 1 FROM oncue_remembered)";
const TASK: &str = "INSERT INTO oncue_task
    (row, queue, id, kind, class, lane, state, place, marks, since, at)
    VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (queue, id) DO NOTHING";
const RECORD: &str = "INSERT INTO oncue_record (row, record) VALUES (?1, ?2)";
const NEXT_READ: &str = "SELECT value FROM oncue_meta WHERE name = 'next'";
const NEXT_WRITE: &str = "UPDATE oncue_meta SET value = ?1 WHERE name = 'next'";
const TALLY: &str = "UPDATE oncue_queue SET n0 = n0 + ?2, n1 = n1 + ?3, n2 = n2 + ?4, n3 = n3 + ?5,
    n4 = n4 + ?6, n5 = n5 + ?7, n6 = n6 + ?8, n7 = n7 + ?9,
    completed = completed + ?10, failed = failed + ?11 WHERE row = ?1";
const QUEUE_NEW: &str = "INSERT INTO oncue_queue (name) VALUES (?1)";
const SESSION_NEW: &str =
    "INSERT INTO oncue_session (id, queue, status, expires) VALUES (?1, ?2, ?3, ?4)";
const SESSION_FIND: &str = "SELECT row, status, expires, queue FROM oncue_session WHERE id = ?1";
const FIRST: &str = "SELECT row, place FROM oncue_task INDEXED BY oncue_task_pending
    WHERE state = 1 AND queue = ?1 AND lane = ?2 AND kind = ?3 AND place > ?4 ORDER BY place";
const CLAIM_TASK: &str =
    "SELECT id, kind, class, place, marks FROM oncue_task NOT INDEXED WHERE row = ?1";
const CLAIM_RECORD: &str = "SELECT record FROM oncue_record WHERE row = ?1";
const HOLD: &str = "UPDATE oncue_task SET state = 2, session = ?2 WHERE row = ?1";
const FIND: &str =
    "SELECT row, state, session, place, marks, since FROM oncue_task WHERE queue = ?1 AND id = ?2";
const DELETE_TASK: &str = "DELETE FROM oncue_task WHERE row = ?1";
const DELETE_RECORD: &str = "DELETE FROM oncue_record WHERE row = ?1";

#[derive(Serialize, Deserialize)]
struct Load(String);

impl Task for Load {
    const KIND: &'static str = "load";
}

impl Load {
    /// 100 bytes of JSON.
    fn new() -> Self {
        Self("x".repeat(98))
    }
}

async fn nothing(_: Load) -> TaskResult {
    Ok(())
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

/// The statements on one connection, as the writer of the broker has it.
struct Raw(Connection);

impl Raw {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let conn = Connection::open(path)?;
        conn.set_prepared_statement_cache_capacity(128);
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 4000; PRAGMA mmap_size = 0;
             PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA cache_size = -16384",
        )?;
        conn.execute_batch(SCHEMA)?;
        conn.execute(QUEUE_NEW, ["default"])?;
        conn.execute(SESSION_NEW, params![[1u8; 16], 1, 0, i64::MAX])?;
        Ok(Self(conn))
    }

    fn begin(&self, synchronous: &str) -> rusqlite::Result<()> {
        self.0.pragma_update(None, "synchronous", synchronous)?;
        self.0.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.0.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).map(drop)
    }

    fn commit(&self, tally: [i64; 11]) -> rusqlite::Result<()> {
        self.0.prepare_cached(TALLY)?.execute(tally)?;
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    fn enqueue(&self, record: &[u8]) -> rusqlite::Result<()> {
        let (conn, batch, now) = (&self.0, TaskId::fresh(), 1_700_000_000_000i64);
        self.begin("FULL")?;
        conn.prepare_cached(SEEN)?
            .query_row(params![batch.as_bytes(), now], |row| row.get::<_, bool>(0))?;
        conn.prepare_cached(FORGET)?.execute([now, 2])?;
        conn.prepare_cached(SEE)?.execute(params![batch.as_bytes(), now + 1])?;
        conn.prepare_cached(ANY_REMEMBERED)?.query_row([], |row| row.get::<_, bool>(0))?;
        let first: i64 = conn.prepare_cached(NEXT_READ)?.query_row([], |row| row.get(0))?;
        let (mut task, mut store) = (conn.prepare_cached(TASK)?, conn.prepare_cached(RECORD)?);
        for row in first..first + BATCH as i64 {
            let (id, at) = (TaskId::fresh(), None::<i64>);
            let place = (4i64 << 58) | (1 << 57) | row;
            task.execute(params![row, 1, id.as_bytes(), KIND, 0, 1, place, 0, now, at])?;
            store.execute(params![row, record])?;
        }
        conn.prepare_cached(NEXT_WRITE)?.execute([first + BATCH as i64])?;
        self.commit([1, 0, BATCH as i64, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    fn find_session(&self) -> rusqlite::Result<i64> {
        self.0.prepare_cached(SESSION_FIND)?.query_row([[1u8; 16]], |row| row.get(0))
    }

    /// Claims and settles one batch; answers its size.
    fn drain(&self) -> rusqlite::Result<usize> {
        let (conn, batch) = (&self.0, BATCH as i64);
        self.begin("NORMAL")?;
        let session = self.find_session()?;
        let mut first = conn.prepare_cached(FIRST)?;
        let rows = first.query_map([1, 0, KIND, -1], |row| row.get::<_, i64>(0))?;
        let rows = rows.take(BATCH).collect::<Result<Vec<_>, _>>()?;
        let mut task = conn.prepare_cached(CLAIM_TASK)?;
        let mut record = conn.prepare_cached(CLAIM_RECORD)?;
        let mut hold = conn.prepare_cached(HOLD)?;
        let mut claims: Vec<([u8; 16], Vec<u8>)> = Vec::with_capacity(BATCH);
        for row in &rows {
            let id = task.query_row([row], |row| row.get(0))?;
            claims.push((id, record.query_row([row], |row| row.get(0))?));
            hold.execute([*row, session])?;
        }
        self.commit([1, 0, -batch, batch, 0, 0, 0, 0, 0, 0, 0])?;
        self.begin("FULL")?;
        self.find_session()?;
        let mut find = conn.prepare_cached(FIND)?;
        let mut delete_task = conn.prepare_cached(DELETE_TASK)?;
        let mut delete_record = conn.prepare_cached(DELETE_RECORD)?;
        for (id, _) in &claims {
            let row: i64 = find.query_row(params![1, id], |row| row.get(0))?;
            delete_task.execute([row])?;
            delete_record.execute([row])?;
        }
        self.commit([1, 0, 0, -batch, 0, 0, 0, 0, 0, batch, 0])?;
        Ok(claims.len())
    }
}

/// A record as long as the product's.
fn record() -> oncue::Result<Vec<u8>> {
    let sealer = Sealer::new(Keyring::generate()?, "default")?;
    let (kind, queue) = (Kind::parse(Load::KIND)?, QueueName::parse(Load::QUEUE)?);
    let header = Header {
        max_retry: Load::MAX_RETRY,
        timeout: Load::TIMEOUT,
        ..Header::new(kind, queue, Timestamp::from(std::time::SystemTime::now()))
    };
    let body = Load::CODEC.encode(&Load::new())?;
    Ok(sealer.batch(1)?.envelope(TaskId::fresh(), header, &[], &body)?.record())
}

fn ceiling(path: &Path, record: &[u8]) -> rusqlite::Result<Rates> {
    let raw = Raw::open(path)?;
    let begun = Instant::now();
    for _ in 0..BATCHES {
        raw.enqueue(record)?;
    }
    let enqueue = per_second(begun);
    let begun = Instant::now();
    for _ in 0..BATCHES {
        assert_eq!(raw.drain()?, BATCH, "the raw queue ran dry");
    }
    Ok(Rates { enqueue, drain: per_second(begun) })
}

async fn product(path: &Path) -> oncue::Result<Rates> {
    let client = oncue::connect(&format!("sqlite:{}", path.display())).await?;
    let begun = Instant::now();
    for _ in 0..BATCHES {
        client.enqueue_all((0..BATCH).map(|_| Load::new())).await?;
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // On the disk of the build, not in a temporary directory that may be memory.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let record = record()?;
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        raw.push(ceiling(&home.path().join(format!("raw-{round}.db")), &record)?);
        let path = home.path().join(format!("product-{round}.db"));
        ours.push(oncue::block_on(product(&path))?);
        // The disk settles down before the next round.
        std::thread::sleep(Duration::from_millis(200));
    }
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
