//! Settings of queues, which people change at any time. What a setting does is told where it is obeyed.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::fault::Step;
use super::task::{kind_number, ms};
use super::txn::Txn;
use crate::broker::{KIND_LIMITS_MAX, Setting, Settings, Wake};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::queue::{Kind, QueueName};

const PAUSED: &str = "UPDATE oncue_queue SET paused = ?2 WHERE row = ?1";
const LIMIT: &str = "UPDATE oncue_queue SET most = ?2 WHERE row = ?1";
const BYTES: &str = "UPDATE oncue_queue SET bytes_most = ?2, bytes = ?3 WHERE row = ?1";
const SUM: &str = "SELECT coalesce(sum(length(r.record)), 0)
    FROM oncue_task t JOIN oncue_record r ON r.row = t.row WHERE t.queue = ?1";
const CONCURRENCY: &str = "UPDATE oncue_queue SET active_most = ?2 WHERE row = ?1";
const KIND_LIMITED: &str =
    "SELECT EXISTS (SELECT 1 FROM oncue_kind WHERE queue = ?1 AND kind = ?2 AND name = ?3)";
const KINDS_LIMITED: &str = "SELECT kinds FROM oncue_queue WHERE row = ?1";
const KIND: &str = "INSERT INTO oncue_kind (queue, kind, name, most) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (queue, kind, name) DO UPDATE SET most = excluded.most";
const NO_KIND: &str = "DELETE FROM oncue_kind WHERE queue = ?1 AND kind = ?2 AND name = ?3";
const KINDS_COUNT: &str = "UPDATE oncue_queue
    SET kinds = (SELECT count(*) FROM oncue_kind WHERE queue = ?1) WHERE row = ?1";
const COMPLETED: &str = "UPDATE oncue_queue SET completed_most = ?2 WHERE row = ?1";
const ARCHIVED: &str =
    "UPDATE oncue_queue SET archived_most = ?2, archived_for = ?3 WHERE row = ?1";
const READ: &str =
    "SELECT bytes_most, active_most, completed_most, archived_most, archived_for, kinds
    FROM oncue_queue WHERE row = ?1";
const KINDS: &str = "SELECT name, most FROM oncue_kind WHERE queue = ?1 ORDER BY name";

/// Changes a setting of a queue.
pub(super) fn set(tx: &mut Txn<'_>, queue: &QueueName, setting: &Setting) -> Step<Option<()>> {
    let row = tx.queue_or_new(queue)?;
    let conn = tx.conn;
    let put = |sql: &str, most: &Option<u64>| {
        conn.prepare_cached(sql)?.execute(params![row, most.map(number)])
    };
    match setting {
        Setting::Paused(paused) => {
            conn.prepare_cached(PAUSED)?.execute(params![row, paused])?;
        }
        Setting::Limit(most) => drop(put(LIMIT, most)?),
        Setting::Bytes(most) => bytes(tx, row, *most)?,
        Setting::Concurrency(most) => drop(put(CONCURRENCY, most)?),
        Setting::KindConcurrency(kind, most) => limit_kind(tx, row, kind, *most)?,
        Setting::KeepCompleted(most) => drop(put(COMPLETED, most)?),
        Setting::KeepArchived(most, age) => {
            let age = age.map(|age| ms(Timestamp(0).plus(age)));
            let mut keep = conn.prepare_cached(ARCHIVED)?;
            keep.execute(params![row, most.map(number), age])?;
        }
    }
    // Claims, enqueues and trims may go on that could not before.
    [Wake::Ready, Wake::Settled, Wake::Due].into_iter().for_each(|wake| tx.wake(wake));
    Ok(Some(()))
}

fn number(most: u64) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Limits the bytes of a queue, and counts them: what this transaction has yet to add is left out.
fn bytes(tx: &mut Txn<'_>, queue: i64, most: Option<u64>) -> Step<()> {
    let bytes = match most {
        None => None,
        Some(_) => {
            let sum: i64 = tx.conn.prepare_cached(SUM)?.query_row([queue], |row| row.get(0))?;
            Some(sum - tx.tally(queue).bytes)
        }
    };
    tx.conn.prepare_cached(BYTES)?.execute(params![queue, most.map(number), bytes])?;
    tx.count_bytes(queue, bytes.is_some());
    Ok(())
}

fn limit_kind(tx: &Txn<'_>, queue: i64, kind: &Kind, most: Option<u64>) -> Step<()> {
    let (conn, name) = (tx.conn, kind.as_str());
    let number_of_kind = kind_number(kind.hash());
    match most {
        None => {
            conn.prepare_cached(NO_KIND)?.execute(params![queue, number_of_kind, name])?;
        }
        Some(most) => {
            let mut limited = conn.prepare_cached(KIND_LIMITED)?;
            let is_limited: bool =
                limited.query_row(params![queue, number_of_kind, name], |row| row.get(0))?;
            let limited: i64 =
                conn.prepare_cached(KINDS_LIMITED)?.query_row([queue], |row| row.get(0))?;
            if !is_limited
                && usize::try_from(limited).is_ok_and(|limited| limited >= KIND_LIMITS_MAX)
            {
                return Err(Error::too_large(format!(
                    "{limited} kinds of this queue have a limit; at most {KIND_LIMITS_MAX}: take one away first"
                ))
                .into());
            }
            let mut limit = conn.prepare_cached(KIND)?;
            limit.execute(params![queue, number_of_kind, name, number(most)])?;
        }
    }
    conn.prepare_cached(KINDS_COUNT)?.execute([queue])?;
    Ok(())
}

/// The settings of a queue, but for its pause and its limit of tasks.
pub(super) fn read(conn: &Connection, queue: i64) -> Step<Settings> {
    let most = |most: Option<i64>| most.and_then(|most| u64::try_from(most).ok());
    let mut settings = Settings::default();
    let kinds: i64 = conn.prepare_cached(READ)?.query_row([queue], |row| {
        settings.bytes = most(row.get(0)?);
        settings.concurrency = most(row.get(1)?);
        settings.completed = most(row.get(2)?);
        settings.archived = most(row.get(3)?);
        settings.archived_for = most(row.get(4)?).map(Duration::from_millis);
        row.get(5)
    })?;
    if kinds > 0 {
        let mut query = conn.prepare_cached(KINDS)?;
        let mut rows = query.query([queue])?;
        while let Some(row) = rows.next()? {
            // No call of ours writes a kind without a proper name.
            let Ok(kind) = Kind::parse(row.get_ref(0)?.as_str().unwrap_or("")) else { continue };
            settings.kinds.extend(most(row.get(1)?).map(|most| (kind, most)));
        }
    }
    Ok(settings)
}
