//! Workers that are there, and what they are told.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Step;
use super::operate::{cancelled, ordered};
use super::session;
use super::task::{self, ms, time};
use super::txn::Txn;
use crate::broker::{
    About, Beat, Beaten, Orders, Presence, Present, RESTARTS_MAX, Signal, WorkerId,
};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::queue::Kind;

/// Most workers forgotten by one beat of another.
const FORGET_MAX: i64 = 100;

const REPORT: &str = "INSERT INTO oncue_worker (id, about, until) VALUES (?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET about = excluded.about, until = excluded.until
    RETURNING row, quiet, stop";
const RESTARTS: &str = "SELECT kind, times FROM oncue_restart WHERE worker = ?1";
const OLD: &str = "SELECT row FROM oncue_worker WHERE until <= ?1 LIMIT ?2 + 0";
const FORGET: &str = "DELETE FROM oncue_worker WHERE row = ?1";
const FORGET_RESTARTS: &str = "DELETE FROM oncue_restart WHERE worker = ?1";
const ALL: &str = "SELECT row, id, about, until, quiet, stop FROM oncue_worker WHERE until > ?1";
const FIND: &str = "SELECT row FROM oncue_worker WHERE id = ?1 AND until > ?2";
const QUIET: &str = "UPDATE oncue_worker SET quiet = 1 WHERE row = ?1";
const STOP: &str = "UPDATE oncue_worker SET stop = 1 WHERE row = ?1";
const COUNT: &str = "SELECT count(*) FROM oncue_restart WHERE worker = ?1 AND kind <> ?2";
const RESTART: &str = "INSERT INTO oncue_restart (worker, kind, times) VALUES (?1, ?2, 1)
    ON CONFLICT (worker, kind) DO UPDATE SET times = times + 1";

/// A sign of life of a worker and its sessions; answers with what it is told.
pub(super) fn beat(tx: &mut Txn<'_>, beat: &Beat) -> Step<Option<Beaten>> {
    let (lost, alive) = session::beat(tx, beat)?;
    let mut orders = match &beat.presence {
        Some(presence) => report(tx, presence)?,
        None => Orders::default(),
    };
    orders.cancel = cancelled(tx, &alive)?;
    Ok(Some(Beaten { lost, orders, ..Beaten::default() }))
}

fn report(tx: &mut Txn<'_>, presence: &Presence) -> Step<Orders> {
    let now = tx.now();
    let mut old = tx.conn.prepare_cached(OLD)?;
    let old: Vec<i64> =
        old.query_map([ms(now), FORGET_MAX], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for row in old {
        tx.conn.prepare_cached(FORGET)?.execute([row])?;
        tx.conn.prepare_cached(FORGET_RESTARTS)?.execute([row])?;
    }
    let (about, until) = (presence.encode()?, ms(now.plus(presence.lasts)));
    let mut report = tx.conn.prepare_cached(REPORT)?;
    let (row, quiet, stop) = report.query_row(params![presence.worker.0, about, until], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    orders(tx.conn, row, quiet, stop)
}

fn orders(conn: &Connection, worker: i64, quiet: bool, stop: bool) -> Step<Orders> {
    let mut query = conn.prepare_cached(RESTARTS)?;
    let rows: Vec<(String, i64)> = query
        .query_map([worker], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let kinds = rows.into_iter().filter_map(|(kind, times)| {
        Some((Kind::parse(&kind).ok()?, u64::try_from(times).unwrap_or(0)))
    });
    Ok(Orders { quiet, stop, restart: kinds.take(RESTARTS_MAX).collect(), cancel: Vec::new() })
}

/// Every worker that is there.
pub(super) fn workers(conn: &Connection, now: Timestamp) -> Step<Vec<Present>> {
    let mut query = conn.prepare_cached(ALL)?;
    let mut rows = query.query([ms(now)])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let orders = orders(conn, row.get(0)?, row.get(4)?, row.get(5)?)?;
        // What is no id of a worker was not written by us, and hides no other.
        let Ok(id) = row.get(1) else { continue };
        let (worker, about) = (WorkerId(id), row.get_ref(2)?.as_bytes().unwrap_or(b""));
        let (about, until) = (About::decode(about), time(row.get(3)?));
        all.push(Present { worker, about, until, orders });
    }
    all.sort_by_key(|present| (present.about.started, present.worker));
    Ok(all)
}

/// Tells a worker; false if it is not there.
pub(super) fn signal(tx: &mut Txn<'_>, worker: WorkerId, signal: &Signal) -> Step<Option<bool>> {
    let mut find = tx.conn.prepare_cached(FIND)?;
    let found = find.query_row(params![worker.0, ms(tx.now())], |row| row.get(0)).optional()?;
    let Some(row) = found else { return Ok(Some(false)) };
    let row: i64 = row;
    match signal {
        Signal::Quiet => tx.conn.prepare_cached(QUIET)?.execute([row])?,
        Signal::Stop => tx.conn.prepare_cached(STOP)?.execute([row])?,
        Signal::Restart(kind) => {
            let mut count = tx.conn.prepare_cached(COUNT)?;
            let others: i64 = count.query_row(params![row, kind.as_str()], |row| row.get(0))?;
            if others >= task::count(RESTARTS_MAX) {
                return Err(Error::too_large(format!(
                    "this worker was told to restart {RESTARTS_MAX} kinds; stop it and start another"
                ))
                .into());
            }
            tx.conn.prepare_cached(RESTART)?.execute(params![row, kind.as_str()])?
        }
    };
    ordered(tx)?;
    Ok(Some(true))
}
