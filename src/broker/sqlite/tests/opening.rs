//! Opening: whose file it is, and what becomes of it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::broker::Inspect;
use crate::broker::sqlite::writer::Haste;
use crate::error::Error;

fn refusal(options: Options) -> Error {
    SqliteBroker::open(options).expect_err("refused")
}

#[tokio::test]
async fn a_new_file_is_ours_alone_and_is_made_once() {
    let bench = Bench::new();
    let broker = bench.open();
    assert!(broker.created());
    assert_eq!(broker.path(), Some(&*bench.path()));
    broker.enqueue(one()).await.expect("stored");
    for end in ["", "-wal", "-shm"] {
        let file = format!("{}{end}", bench.path().display());
        let mode = fs::metadata(&file).expect(&file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let other = bench.open();
    assert!(!other.created());
    assert_eq!(other.stats().await.expect("reads")[0].total(), 1);
    assert!(SqliteBroker::open(Options::memory()).expect("opens").path().is_none());
}

#[test]
fn of_many_that_open_at_once_one_makes_the_queue() {
    let bench = Bench::new();
    let start = std::sync::Barrier::new(8);
    let open = || {
        start.wait();
        bench.open()
    };
    let brokers: Vec<SqliteBroker> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().expect("opens")).collect()
    });
    assert_eq!(brokers.iter().filter(|broker| broker.created()).count(), 1);
}

#[test]
fn what_is_missing_is_made_only_if_allowed() {
    let bench = Bench::new();
    assert!(refusal(bench.options().create(false)).is_not_found());
    assert!(!bench.path().exists());
    assert!(refusal(Options::file(bench.path().join("b.db"))).is_not_found());
    fs::write(bench.path(), "").expect("written");
    assert!(refusal(bench.options().create(false)).is_not_found());
    // Somebody made the file and died.
    assert!(bench.open().created());
    assert!(refusal(Options::file(bench.dir.path())).is_invalid());
}

#[test]
fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    let conn = Connection::open(bench.path()).expect("opens");
    conn.execute_batch("CREATE TABLE t (a)").expect("writes");
    drop(conn);
    let before = fs::read(bench.path()).expect("reads");
    assert!(refusal(bench.options()).is_corrupt());
    assert_eq!(fs::read(bench.path()).expect("reads"), before);

    fs::write(bench.path(), "this is a letter to my grandmother, ".repeat(99)).expect("written");
    assert!(refusal(bench.options()).is_corrupt());
}

#[test]
fn a_newer_schema_is_refused() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = Connection::open(bench.path()).expect("opens");
    conn.busy_timeout(LEASE).expect("set");
    conn.execute("UPDATE oncue_meta SET value = 99 WHERE name = 'schema'", []).expect("writes");
    drop(conn);
    let error = refusal(bench.options());
    assert!(error.is_newer() && error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn what_cannot_be_written_is_refused() {
    // Nobody, not even root, makes files there.
    assert!(Path::new("/sys").exists());
    let error = refusal(Options::file("/sys/oncue.db"));
    assert!(error.is_refused() && error.to_string().contains("/sys/oncue.db"), "{error:?}");
    let bench = Bench::new();
    drop(bench.open());
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o400)).expect("set");
    if !rustix::process::geteuid().is_root() {
        assert!(refusal(bench.options()).is_refused());
    }
}

#[tokio::test]
async fn damaged_pages_are_noticed() {
    let bench = Bench::new();
    let broker = bench.open();
    let tasks = (0..500).map(|_| task(TaskId::fresh(), header("a"), Due::Now)).collect();
    broker.enqueue(batch(tasks)).await.expect("stored");
    broker
        .0
        .writer
        .call(Haste::Look, |tx| Ok(Some(tx.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?)))
        .await
        .expect("copied into the file");
    // A copy, so that no page is in a cache and no log covers it.
    let copy = bench.dir.path().join("copy.db");
    fs::copy(bench.path(), &copy).expect("copied");
    let file = fs::OpenOptions::new().write(true).open(&copy).expect("opens");
    let length = fs::metadata(&copy).expect("there").len();
    file.write_all_at(&vec![0xA5; usize::try_from(length).expect("small") - 4096], 4096)
        .expect("damaged");
    let error = match SqliteBroker::open(Options::file(&copy)) {
        Err(error) => error,
        Ok(broker) => {
            broker.dequeue(ask(&Session::fresh(queue()), 9, &["a"])).await.expect_err("damaged")
        }
    };
    assert!(error.is_corrupt() && error.to_string().contains("copy.db"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_vanishes_is_not_made_anew() {
    let bench = Bench::new();
    let broker = bench.open();
    broker.enqueue(one()).await.expect("stored");
    fs::rename(bench.path(), bench.dir.path().join("elsewhere")).expect("moved");
    assert!(broker.enqueue(one()).await.expect_err("gone").is_not_found());
    assert!(!bench.path().exists());
    fs::rename(bench.dir.path().join("elsewhere"), bench.path()).expect("moved back");
    broker.enqueue(one()).await.expect("stored");
    assert_eq!(broker.stats().await.expect("reads")[0].total(), 2);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_harms_nothing() {
    let bench = Bench::new();
    let broker = bench.open();
    let pages = |limit: i64| {
        broker.0.writer.call(Haste::Look, move |tx| {
            let set = format!("PRAGMA max_page_count = {limit}");
            Ok(Some(tx.conn.query_row(&set, [], |row| row.get::<_, i64>(0))?))
        })
    };
    broker.enqueue(one()).await.expect("stored");
    pages(200).await.expect("limited");
    let big =
        || batch((0..20).map(|_| sized(TaskId::fresh(), header("a"), Due::Now, 9_000)).collect());
    let mut stored = 1;
    let error = loop {
        match broker.enqueue(big()).await {
            Ok(answers) => stored += answers.len(),
            Err(error) => break error,
        }
    };
    assert!(error.is_full() && stored > 20, "{error:?}");
    let session = Session::fresh(queue());
    let claims =
        broker.dequeue(ask(&session, 5, &["a"])).await.expect("what is there can be claimed");
    assert_eq!(claims.len(), 5);
    pages(1_000_000).await.expect("room again");
    broker.enqueue(big()).await.expect("stored");
    assert_eq!(broker.stats().await.expect("reads")[0].total(), stored as u64 + 20);
    let sound = broker.0.writer.call(Haste::Look, |tx| {
        Ok(Some(tx.conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?))
    });
    assert_eq!(sound.await.expect("reads"), "ok");
}

#[test]
fn writes_beyond_a_file_size_limit_are_full() {
    let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_WRITE);
    let error = super::super::fault::explain(rusqlite::Error::SqliteFailure(failed, None), "x.db");
    assert!(error.is_full(), "{error:?}");
}
