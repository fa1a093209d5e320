//! Query plans: what runs often searches, never scans or sorts, and is planned once.

use rusqlite::{StatementStatus, params_from_iter};

use super::*;
use crate::broker::sqlite::writer::Haste;
use crate::broker::sqlite::{
    advance, concurrency, dequeue, enqueue, forget, found, gathering, group, inspect, keep, line,
    lock, note, operate, reclaim, retire, room, session, settle, task as tasks, timetable, txn,
};
use crate::state::State;

const ROUNDS: i32 = 9;

/// Runs it with other values each time; answers how often it was planned anew, and the plan.
fn plan(conn: &rusqlite::Connection, sql: &str) -> rusqlite::Result<(i32, Vec<String>)> {
    let mut statement = conn.prepare(sql)?;
    let parameters = i64::try_from(statement.parameter_count()).unwrap_or(0);
    for round in 0..ROUNDS {
        let mut rows = statement
            .query(params_from_iter((0..parameters).map(|at| at * 7 + i64::from(round))))?;
        while rows.next()?.is_some() {}
    }
    let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let steps =
        explain.query_map(params_from_iter((0..parameters).map(|at| at + 1)), |row| row.get(3))?;
    Ok((statement.get_status(StatementStatus::RePrepare), steps.collect::<Result<_, _>>()?))
}

#[tokio::test]
async fn what_runs_often_is_planned_once_and_searches() {
    let bench = Bench::new();
    let broker = bench.open();
    store(&broker, "a", Due::Now).await;
    let hot = [
        line::FIRST,
        line::GROUP,
        line::SINCE,
        line::SINCE_FROM_END,
        advance::NEXT,
        advance::DUE,
        reclaim::EXPIRED,
        reclaim::DEAD,
        reclaim::HELD,
        retire::HELD,
        retire::BACK,
        settle::FIND,
        settle::MOVE,
        tasks::TASK,
        tasks::RECORD,
        tasks::HOLD,
        tasks::DELETE_TASK,
        session::FIND,
        txn::TALLY,
        enqueue::SEEN,
        enqueue::REMEMBERED,
        room::ROOM,
        enqueue::KNOWN,
        dequeue::STANDING,
        concurrency::MOST,
        concurrency::ACTIVE,
        keep::STANDING,
        txn::COUNTED,
        tasks::HOLD_GROUPED,
        tasks::LENGTH,
        group::TERMS,
        group::LANE,
        group::OPEN,
        group::GROW,
        group::ENTER,
        group::JOINED,
        group::IN,
        group::OUT,
        group::SHRINK,
        group::DISSOLVE,
        group::FORGET,
        gathering::NEXT,
        gathering::DUE,
        gathering::CLOSE,
        gathering::CLOSED,
        gathering::AFTER,
        gathering::MEMBERS,
        operate::MARKED,
        tasks::MARK,
        tasks::MARKS,
        found::BY_ID,
        found::BY_ROW,
        found::READY,
        found::PUT_OFF,
        found::ARCHIVE,
        lock::HOLDER,
        lock::MOVE,
        lock::FREE,
        forget::LOCKS,
        note::READ,
        note::DELETE,
        timetable::FIND,
        timetable::COUNT,
        timetable::TICKS,
        timetable::PASS,
        timetable::FORGET,
    ];
    let pages = [State::Scheduled, State::Pending, State::Aggregating].map(inspect::paging);
    // These read the oldest row of a table, which SQLite calls a scan.
    let oldest = [enqueue::FORGET, forget::IS_DUE];
    let searching = hot.map(str::to_owned).into_iter().chain(pages).map(|sql| (sql, true));
    for (sql, searches) in searching.chain(oldest.map(|sql| (sql.to_owned(), false))) {
        let shown = sql.clone();
        // In a transaction that is rolled back: some of them write.
        let planned = broker.0.writer.call(Haste::Look, move |tx| {
            let undone = tx.conn.unchecked_transaction()?;
            let planned = plan(&undone, &sql)?;
            undone.rollback()?;
            Ok(Some(planned))
        });
        let (again, steps) = planned.await.expect(&shown);
        let scans = |step: &str| step.starts_with("SCAN") && step != "SCAN CONSTANT ROW";
        let bad = |step: &String| searches && scans(step) || step.contains("TEMP B-TREE");
        assert!(!steps.iter().any(bad), "{shown}: {steps:?}");
        // Once or twice while the first values are learnt; never each time.
        assert!(again < ROUNDS / 2, "{shown}: planned anew {again} times");
    }
}
