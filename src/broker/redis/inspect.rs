//! The reading side: counts, pages, one task, check values of keys.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use super::fault::Class;
use super::keys::{QueueKeys, namespace_key};
use super::{Inner, reply};
use crate::broker::{
    Gathering, Kept, LOCK_NAMES_MAX, Listing, LockName, PAGE_ROWS_MAX, Page, QueueStats, Settings,
    TaskView, Ticket,
};
use crate::clock::Timestamp;
use crate::envelope::Stored;
use crate::error::{Error, Result};
use crate::queue::{Kind, KindHash, QueueName};
use crate::state::{Reason, State};
use crate::task::{TaskId, Trail};

/// The names of all queues, sorted.
pub(super) async fn queues(broker: &Inner) -> Result<Vec<QueueName>> {
    let mut names = Cmd::new();
    names.arg("SMEMBERS").arg(namespace_key(&broker.options.namespace, "queues"));
    let mut queues = Vec::new();
    for name in reply::array(broker.io.link.call(&names).await?)? {
        // What is no name of ours was not written by us.
        let name = String::from_utf8(reply::bytes(name)?).unwrap_or_default();
        queues.extend(QueueName::parse(&name).ok());
    }
    queues.sort();
    Ok(queues)
}

/// Every queue with its counts.
pub(super) async fn stats(broker: Arc<Inner>) -> Result<Vec<QueueStats>> {
    let queues = queues(&broker).await?;
    let each = queues.into_iter().map(|queue| one_queue(&broker, queue));
    futures::future::try_join_all(each).await
}

async fn one_queue(broker: &Inner, queue: QueueName) -> Result<QueueStats> {
    let mut call = broker.library.call_ro("stats", &broker.keys(&queue).records());
    broker.stamp(&mut call);
    let told: [Value; 16] = reply::parts(broker.io.link.call(&call).await?)?;
    let mut stats = QueueStats::empty(queue);
    let states = [
        State::Scheduled,
        State::Pending,
        State::Active,
        State::Retry,
        State::Completed,
        State::Archived,
    ];
    for (state, count) in states.iter().zip(&told) {
        stats.counts[usize::from(state.code())] = reply::count(count)?;
    }
    (stats.completed, stats.failed) = (reply::count(&told[6])?, reply::count(&told[7])?);
    stats.oldest = reply::time(&told[8])?;
    stats.paused = reply::integer(&told[9])? == 1;
    stats.limit = u64::try_from(reply::integer(&told[10])?).ok();
    stats.counts[usize::from(State::Aggregating.code())] = reply::count(&told[11])?;
    stats.trimmed = reply::count(&told[12])?;
    let [.., bytes, settings, kinds] = told;
    stats.bytes = number(bytes)?;
    stats.settings = self::settings(settings, kinds)?;
    Ok(stats)
}

/// A number in words; none if there are none.
fn number(value: Value) -> Result<Option<u64>> {
    let word = reply::bytes(value)?;
    // What is no number was not written by us.
    Ok(std::str::from_utf8(&word).ok().and_then(|word| word.parse().ok()))
}

/// Settings of a queue: numbers, and limits of kinds, each `number, space, kind`.
fn settings(numbers: Value, kinds: Value) -> Result<Settings> {
    let [bytes, concurrency, completed, archived, age] = reply::parts(numbers)?;
    let limit = |stored: Vec<u8>| {
        let (most, kind) = std::str::from_utf8(&stored).ok()?.split_once(' ')?;
        Some((Kind::parse(kind).ok()?, most.parse().ok()?))
    };
    let kinds: Result<Vec<_>> = reply::array(kinds)?.into_iter().map(reply::bytes).collect();
    let mut kinds: Vec<_> = kinds?.into_iter().filter_map(limit).collect();
    kinds.sort();
    Ok(Settings {
        bytes: number(bytes)?,
        concurrency: number(concurrency)?,
        kinds,
        completed: number(completed)?,
        archived: number(archived)?,
        archived_for: number(age)?.map(Duration::from_millis),
    })
}

/// The gatherings of a queue, the oldest first.
pub(super) async fn groups(broker: Arc<Inner>, queue: QueueName) -> Result<Vec<Gathering>> {
    let mut call = broker.library.call_ro("groups", &broker.keys(&queue).records());
    call.arg(PAGE_ROWS_MAX);
    broker.stamp(&mut call);
    let mut all = Vec::new();
    for row in reply::array(broker.io.link.call(&call).await?)? {
        let [group, tasks, since, closes] = reply::parts(row)?;
        let group = reply::bytes(group)?;
        // What has no kind and name of ours was not written by us.
        let Some((kind, name)) = group.split_first_chunk() else { continue };
        let Ok(name) = String::from_utf8(name.to_vec()) else { continue };
        all.push(Gathering {
            kind: KindHash(*kind),
            name,
            tasks: reply::count(&tasks)?,
            since: Timestamp(reply::count(&since)?),
            closes: reply::time(&closes)?,
        });
    }
    all.sort_by_key(|gathering| gathering.since);
    Ok(all)
}

/// The task that holds a lock under any of these names.
pub(super) async fn holder(
    broker: Arc<Inner>,
    queue: QueueName,
    names: Vec<LockName>,
) -> Result<Option<TaskId>> {
    if names.len() > LOCK_NAMES_MAX {
        return Err(Error::invalid(format!(
            "{} names of a lock; ask for at most {LOCK_NAMES_MAX}",
            names.len()
        )));
    }
    let mut call = broker.library.call_ro("holder", &broker.keys(&queue).records());
    for name in &names {
        call.arg(&name.0[..]);
    }
    broker.stamp(&mut call);
    let told = reply::ids(broker.io.link.call(&call).await?)?;
    Ok(told.first().copied().map(TaskId::from_bytes))
}

/// How functions call a state; none for those no task of ours is in.
pub(super) fn letter(state: State) -> Option<&'static str> {
    Some(match state {
        State::Scheduled => "s",
        State::Pending => "p",
        State::Active => "a",
        State::Retry => "r",
        State::Completed => "c",
        State::Archived => "x",
        State::Aggregating => "g",
        State::Waiting => return None,
    })
}

/// The state functions call so.
pub(super) fn state_of(told: &[u8]) -> Result<State> {
    let state = State::ALL.iter().find(|known| letter(**known).map(str::as_bytes) == Some(told));
    state.copied().ok_or_else(|| Error::corrupt("Redis answered a state nobody knows"))
}

/// One task; without a `search` through all that is held, one that runs is told pending.
pub(super) async fn show(
    broker: Arc<Inner>,
    queue: QueueName,
    id: TaskId,
    search: bool,
) -> Result<Option<TaskView>> {
    let keys = broker.keys(&queue);
    broker.interest.touch(&broker.beats.link, &keys);
    let mut fetch = Cmd::new();
    fetch.arg("HGET").arg(keys.records()).arg(&id.as_bytes()[..]);
    let Some(record) = reply::maybe_bytes(broker.io.link.call(&fetch).await?)? else {
        return Ok(None);
    };
    let (stored, ticket) = ticket_of(id, record);
    let mut call = broker.library.call_ro("show", &keys.records());
    call.arg(&ticket.to_bytes()[..]).arg(u8::from(search));
    broker.stamp(&mut call);
    let told = reply::array(broker.io.link.call(&call).await?)?;
    if told.is_empty() {
        return Ok(None);
    }
    let [state, time, trail, kept] = reply::parts(Value::Array(told))?;
    let state = state_of(&reply::bytes(state)?)?;
    let (trail, kept) = (reply::bytes(trail)?, reply::bytes(kept)?);
    Ok(Some(view(state, reply::time(&time)?, stored, &trail, &kept)))
}

/// A record with its ticket. What does not decode has none of its own: it is looked for as pending.
pub(super) fn ticket_of(id: TaskId, record: Vec<u8>) -> (Stored, Ticket) {
    let stored = Stored::found(id, Some(record), None);
    let ticket = match stored.header() {
        Ok(header) => Ticket::of(id, &header),
        Err(_) => Ticket { id, priority: 0, class: 0, kind: KindHash([0; 5]), claim: 0 },
    };
    (stored, ticket)
}

fn view(
    state: State,
    time: Option<Timestamp>,
    stored: Stored,
    trail: &[u8],
    kept: &[u8],
) -> TaskView {
    let (mut reason, mut result) = (None, None);
    match (state, kept) {
        (State::Archived, [b'!', code]) => reason = Reason::from_code(*code),
        (State::Completed, [b'=', a, b, c, d, sealed @ ..]) => {
            let attempt = u32::from_be_bytes([*a, *b, *c, *d]);
            result = Some(Kept { attempt, sealed: sealed.to_vec() });
        }
        _ => {}
    }
    let trail = match trail {
        [] => Trail::default(),
        trail => Trail::decode(trail).unwrap_or_default(),
    };
    let until = time.filter(|_| !matches!(state, State::Archived | State::Aggregating));
    TaskView { state, until, reason, stored, trail, result }
}

/// A row of a page: its ticket, its time, and where the next page starts if it is the last.
struct Row {
    ticket: Ticket,
    time: Option<Timestamp>,
    cursor: [Vec<u8>; 2],
    /// It is a place its task has left.
    is_void: bool,
}

/// One page.
pub(super) async fn list(broker: Arc<Inner>, page: Page) -> Result<Listing> {
    let after = page.cursor.as_deref().map(parse_cursor).transpose()?;
    let Some(letter) = letter(page.state) else {
        return Ok(Listing { tasks: Vec::new(), cursor: None });
    };
    let keys = broker.keys(&page.queue);
    let mut call = broker.library.call_ro("list", &keys.records());
    call.arg(letter).arg(page.rows);
    for part in after.iter().flatten() {
        call.arg(&part[..]);
    }
    broker.stamp(&mut call);
    let mut rows = rows(page.state, reply::array(broker.io.link.call(&call).await?)?)?;
    let more = rows.len() > page.rows;
    rows.truncate(page.rows);
    let cursor = rows.last().filter(|_| more).map(|row| cursor(&row.cursor));
    rows.retain(|row| !row.is_void);
    Ok(Listing { tasks: views(&broker, &keys, page.state, &rows).await?, cursor })
}

fn rows(state: State, reply: Vec<Value>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut parts = reply.into_iter();
    while let Some(part) = parts.next() {
        let first = reply::bytes(part)?;
        let mut second = || parts.next().ok_or_else(|| Error::corrupt("half a row of a page"));
        let (ticket, time, cursor) = match state {
            State::Active => (first.clone(), None, [first, Vec::new()]),
            State::Pending => {
                let entry = reply::bytes(second()?)?;
                rows.extend(entry_rows(&first, &entry, &reply::bytes(second()?)?));
                continue;
            }
            _ => {
                let time = reply::time(&second()?)?;
                let text = time.unwrap_or(Timestamp(0)).0.to_string().into_bytes();
                (first.clone(), time, [text, first])
            }
        };
        // What is no ticket of ours is not shown: there is no task behind it.
        if let Ok(ticket) = Ticket::from_bytes(&ticket) {
            rows.push(Row { ticket, time, cursor, is_void: false });
        }
    }
    Ok(rows)
}

/// The rows of an entry `since 6 | turn 4 | ids` of a line, and which of them are void. A place in it is named as
/// `lua/list.lua` takes it.
fn entry_rows(line: &[u8], entry: &[u8], marks: &[u8]) -> Vec<Row> {
    let (Some((head, ids)), Some((_, suffix))) = (entry.split_at_checked(10), line.split_first())
    else {
        return Vec::new();
    };
    let last = ids.rchunks_exact(16).next().unwrap_or_default();
    let row = |(at, id): (usize, &[u8])| {
        // A line of no kind of ours has no tasks of ours.
        let ticket = Ticket::from_bytes(&[id, suffix].concat()).ok()?;
        let cursor = [line.to_vec(), [head, last, id].concat()];
        Some(Row { ticket, time: None, cursor, is_void: marks.get(at) == Some(&b'1') })
    };
    ids.chunks_exact(16).enumerate().filter_map(row).collect()
}

async fn views(
    broker: &Inner,
    keys: &QueueKeys,
    state: State,
    rows: &[Row],
) -> Result<Vec<TaskView>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = Pipeline::with_capacity(3);
    for name in ["t", "tr", "k"] {
        let mut fetch = Cmd::new();
        fetch.arg("HMGET").arg(keys.of(name));
        for row in rows {
            fetch.arg(&row.ticket.id.as_bytes()[..]);
        }
        pipe.add_command(fetch);
    }
    let replies = broker.io.link.pipe(&pipe).await?;
    let [records, trails, kept]: [Value; 3] =
        replies.try_into().map_err(|_| Error::corrupt("Redis answered half a page"))?;
    let (trails, kept) = (reply::array(trails)?, reply::array(kept)?);
    let mut views = Vec::with_capacity(rows.len());
    let all = rows.iter().zip(reply::array(records)?).zip(trails.into_iter().zip(kept));
    for ((row, record), (trail, kept)) in all {
        let trail = reply::maybe_bytes(trail)?.unwrap_or_default();
        let kept = reply::maybe_bytes(kept)?.unwrap_or_default();
        if state == State::Pending && kept.starts_with(b"!") {
            // Cancelled while it waits: archived, though its place in the line is not given up yet.
            continue;
        }
        let stored = Stored::found(row.ticket.id, reply::maybe_bytes(record)?, None);
        views.push(view(state, row.time, stored, &trail, &kept));
    }
    Ok(views)
}

fn cursor(parts: &[Vec<u8>; 2]) -> String {
    let [first, second] = parts.each_ref().map(|part| data_encoding::HEXLOWER.encode(part));
    format!("{first}-{second}")
}

fn parse_cursor(text: &str) -> Result<[Vec<u8>; 2]> {
    let hex = |part: &str| data_encoding::HEXLOWER.decode(part.as_bytes()).ok();
    let parts = text.split_once('-').and_then(|(first, second)| Some([hex(first)?, hex(second)?]));
    parts.ok_or_else(|| Error::invalid("that is no cursor of a page before"))
}

/// Compares check values of keys; writes those that are new.
pub(super) async fn check_keys(broker: Arc<Inner>, checks: Vec<(u32, [u8; 8])>) -> Result<()> {
    if checks.is_empty() {
        return Ok(());
    }
    let key = namespace_key(&broker.options.namespace, "keys");
    let mut read = Cmd::new();
    read.arg("HMGET").arg(&key);
    for (id, _) in &checks {
        read.arg(*id);
    }
    let mut new = Vec::new();
    for ((id, proof), seen) in checks.iter().zip(reply::array(broker.io.link.call(&read).await?)?) {
        match reply::maybe_bytes(seen)? {
            Some(seen) if seen != proof => return Err(wrong_key(*id)),
            Some(_) => {}
            None => new.push((*id, proof)),
        }
    }
    for (id, proof) in new {
        let mut pipe = Pipeline::with_capacity(2);
        pipe.cmd("HSETNX").arg(&key).arg(id).arg(&proof[..]);
        pipe.cmd("HGET").arg(&key).arg(id);
        let replies = match broker.io.link.pipe(&pipe).await {
            // A full Redis must be drained, by workers that start now, too.
            Err(fault) if fault.class == Class::Full => {
                tracing::warn!(key = id, "Redis is full: the check value of a new key is not kept");
                continue;
            }
            replies => replies?,
        };
        // Another process may have been first, with another key.
        let seen = replies.into_iter().nth(1).map(reply::bytes).transpose()?;
        if seen.as_deref() != Some(&proof[..]) {
            return Err(wrong_key(id));
        }
    }
    Ok(())
}

fn wrong_key(id: u32) -> Error {
    Error::wrong_key(format!(
        "key {id} is not the key of that id that was used here before; load the right one"
    ))
}
