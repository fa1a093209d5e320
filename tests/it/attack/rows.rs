//! Rows that no oncue ever wrote: workers and readers bear them, and everybody else's tasks go on.

use std::path::Path;

use oncue::Lane;
use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::broker::{Operate, Page};
use oncue::queue::QueueName;
use oncue::state::State;

use super::*;
use crate::fixture::{Bench, GAP, KINDS, LEASE, Opened, SECOND, ids, task, tasks};
use crate::runtime::company::Company;

/// What is done to a pending task, and whether it still may run: what was sealed is untouched then.
const ALTERED: [(&str, bool); 24] = [
    ("UPDATE oncue_record SET record = x'' WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = x'00' WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = x'0001ff' WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = x'000101' WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = zeroblob(20000000) WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = substr(record, 1, 40) WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = substr(record, 1, 90) WHERE row = ROW", false),
    ("UPDATE oncue_record SET record = CAST(record || x'00' AS BLOB) WHERE row = ROW", false),
    ("DELETE FROM oncue_record WHERE row = ROW", false),
    ("UPDATE oncue_task SET id = x'' WHERE row = ROW", false),
    ("UPDATE oncue_task SET id = zeroblob(17) WHERE row = ROW", false),
    ("UPDATE oncue_task SET id = zeroblob(16) WHERE row = ROW", false),
    ("UPDATE oncue_task SET marks = -1 WHERE row = ROW", false),
    ("INSERT INTO oncue_trail SELECT row, zeroblob(99) FROM oncue_task WHERE row = ROW", true),
    ("UPDATE oncue_task SET class = -1 WHERE row = ROW", true),
    ("UPDATE oncue_task SET class = 9223372036854775807 WHERE row = ROW", true),
    ("UPDATE oncue_task SET place = -9223372036854775807 - 1 WHERE row = ROW", true),
    ("UPDATE oncue_task SET place = 9223372036854775807 WHERE row = ROW", true),
    ("UPDATE oncue_task SET since = -9223372036854775807 - 1 WHERE row = ROW", true),
    ("UPDATE oncue_task SET since = 9223372036854775807, reason = -1 WHERE row = ROW", true),
    ("UPDATE oncue_task SET state = 0, at = -9223372036854775807 - 1 WHERE row = ROW", true),
    ("UPDATE oncue_task SET state = 3, at = 0, id = x'00' WHERE row = ROW", false),
    ("UPDATE oncue_task SET state = 4, at = 0, id = x'00' WHERE row = ROW", false),
    ("UPDATE oncue_task SET state = 9223372036854775807 WHERE row = ROW", true),
];

#[test]
fn an_altered_row_stops_no_other_task() {
    for (sql, may_run) in ALTERED {
        let scene = Scene::new();
        scene.put(Charge(7));
        let row = "(SELECT min(row) FROM oncue_task)";
        scene.alter(&sql.replace("ROW", row), None);
        let calls = Calls::default();
        let data = calls.clone();
        // One at a time: whatever stands in front is in the way.
        let company = Company::start(scene.client.clone(), |worker| {
            worker.lane(Lane::strict(["default"]).concurrency(1)).data(data).handle(charge)
        });
        let control = scene.put(Charge(1));
        company.settled(&control);
        read_all(&scene);
        oncue::block_on(company.worker.shutdown()).expect("ends");
        let ran = calls.lock().expect("calls").contains(&("charge", 7));
        assert!(may_run || !ran, "{sql}");
    }
}

/// Every list answers, whatever stands in it.
fn read_all(scene: &Scene) {
    for state in State::ALL {
        let queue = QueueName::parse("default").expect("a name");
        let page = Page { queue, state, cursor: None, rows: 10 };
        let listing = oncue::block_on(scene.client.broker().list(page)).expect("listed");
        for view in listing.tasks {
            let _ = (view.stored.header(), view.until.map(|time| time.to_string()));
        }
    }
}

#[test]
fn a_damaged_row_hides_no_other_from_readers() {
    for sql in [
        "UPDATE oncue_record SET record = x'00'",
        "INSERT INTO oncue_trail SELECT row, x'01ff' FROM oncue_task",
        "INSERT INTO oncue_trail SELECT row, x'ff' FROM oncue_task",
        "INSERT INTO oncue_result SELECT row, -1, x'' FROM oncue_task",
        "UPDATE oncue_task SET reason = 999",
        "UPDATE oncue_task SET id = x'00'",
    ] {
        let scene = Scene::new();
        scene.put(Charge(1));
        scene.alter(sql, None);
        scene.alter("INSERT INTO oncue_queue (name) VALUES (char(27) || 'Bad')", None);
        let control = scene.put(Charge(2));
        let broker = scene.client.broker();
        let page =
            Page { queue: control.queue().clone(), state: State::Pending, cursor: None, rows: 10 };
        let listing = oncue::block_on(broker.list(page)).expect(sql);
        assert!(listing.tasks.iter().any(|view| view.stored.id() == control.id()), "{sql}");
        let stats = oncue::block_on(broker.stats()).expect(sql);
        assert_eq!(stats.len(), 1, "only the queue with a name");
    }
}

fn alter(path: &Path, sql: &str) {
    let conn = Connection::open(path).expect("opens");
    assert!(conn.execute(sql, []).expect(sql) > 0, "{sql}");
}

/// What a dead worker held comes back even if some of it, or of what nobody takes, cannot be read.
#[test]
fn damage_does_not_stop_the_recovery_of_the_rest() {
    for sql in [
        "UPDATE oncue_record SET record = x'00'",
        "DELETE FROM oncue_record",
        "UPDATE oncue_task SET id = x'00'",
    ] {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.db");
        let bench = Bench::new(&|clock| {
            let options = Options::file(&path).clock(clock);
            let broker: Arc<dyn Operate> = Arc::new(SqliteBroker::open(options).expect("opens"));
            Opened { broker, guard: None }
        });
        bench.warm_up_sweeps();
        bench.put(tasks(1));
        let (first, held) = bench.take_all();
        assert_eq!((held.len(), bench.beat(&[&first]).len()), (1, 0));
        alter(&path, sql);
        sweep_past(&bench);
        let healthy = bench.put_one(task(KINDS[1]));
        assert_eq!(ids(&bench.take_all().1), [healthy], "{sql}");
        assert!(sweep_past(&bench).contains(&healthy), "{sql}");
    }
}

/// Sweeps like a worker until every lease is over; answers what was taken over.
fn sweep_past(bench: &Bench) -> Vec<oncue::TaskId> {
    let mut found = Vec::new();
    for _ in 0..(2 * (GAP + LEASE)).as_secs() / 20 {
        bench.pass(20 * SECOND);
        let sweep = bench.sweep(&bench.session());
        // A worker goes on after an error, too.
        found.extend(
            crate::fixture::run(bench.broker.reclaim(sweep)).iter().flat_map(|got| ids(got)),
        );
    }
    found
}
