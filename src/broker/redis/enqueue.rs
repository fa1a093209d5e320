//! Enqueue: batches on their way to the same queue share a call.
//!
//! While one call is on its way the next batches gather (no timers). Each keeps its id, so that it can be sent
//! again, alone or with others. Records of new ids go by an HSET in the same transaction: they need not pass
//! through Lua, which costs more than all the rest.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;

use super::fault::{Class, Fault};
use super::held::ENTRY_IDS;
use super::{Inner, reply, timetable};
use crate::broker::{
    BATCH_BYTES_MAX, BATCH_TASKS_MAX, Batch, Conflict, Enqueued, Lock, NewTask, Reply, Ticket,
};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::{Due, Group, TaskId};

/// Calls on their way at once to one queue.
const CALLS_MAX: usize = 2;
/// Most bytes of records that wait for one queue: 64 MiB.
const WAITING_MAX: usize = 64 * 1024 * 1024;
/// How often, and how far apart, it is tried to delete what a refused call stored.
const TAKE_BACKS_MAX: usize = 20;
const TAKE_BACK_PAUSE: Duration = Duration::from_millis(100);

/// What waits to be sent, by queue.
#[derive(Default)]
pub(super) struct Piles(Mutex<HashMap<QueueName, Pile>>);

#[derive(Default)]
struct Pile {
    waiting: VecDeque<Job>,
    /// Of the records that wait.
    bytes: usize,
    flying: usize,
}

struct Job {
    batch: Batch,
    bytes: usize,
    since: Instant,
    answer: oneshot::Sender<Result<Vec<Enqueued>>>,
}

impl Piles {
    fn lock(&self) -> MutexGuard<'_, HashMap<QueueName, Pile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many jobs as fit one call. Those that waited as long as an answer may take
    /// are told that there was none: they were never sent.
    fn take(&self, queue: &QueueName, patience: Duration) -> Vec<Job> {
        let mut piles = self.lock();
        let Some(pile) = piles.get_mut(queue) else { return Vec::new() };
        while pile.waiting.front().is_some_and(|job| job.since.elapsed() > patience) {
            let Some(job) = pile.pop() else { break };
            let error = Error::unreachable("Redis did not answer for too long; this was not sent");
            let _ = job.answer.send(Err(error));
        }
        let (mut group, mut tasks, mut bytes) = (Vec::new(), 0, 0);
        while let Some(job) = pile.waiting.front() {
            tasks += job.batch.tasks.len();
            bytes += job.bytes;
            // A tick is compared for all of a call.
            let is_alone = job.batch.tick.is_some();
            let is_over = tasks > BATCH_TASKS_MAX || bytes > BATCH_BYTES_MAX;
            if !group.is_empty() && (is_over || is_alone) {
                break;
            }
            group.extend(pile.pop());
            if is_alone {
                break;
            }
        }
        if group.is_empty() {
            Self::land(&mut piles, queue);
        }
        group
    }

    /// A flight is over; what waits when the last one is has nobody to send it.
    fn land(piles: &mut HashMap<QueueName, Pile>, queue: &QueueName) -> Option<Pile> {
        let pile = piles.get_mut(queue)?;
        pile.flying -= 1;
        if pile.flying == 0 { piles.remove(queue) } else { None }
    }
}

/// A flight, counted in its pile until it is over. One that ends with its thread, or by a panic, drops what it carries:
/// those callers are told that their answer is lost.
struct Flight {
    broker: Arc<Inner>,
    queue: QueueName,
    over: bool,
}

impl Flight {
    /// What is to be sent next; nothing: it is over.
    fn take(&mut self) -> Vec<Job> {
        let group = self.broker.piles.take(&self.queue, self.broker.options.response_timeout);
        self.over = group.is_empty();
        group
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.over {
            let abandoned = Piles::land(&mut self.broker.piles.lock(), &self.queue);
            // Not under the lock: whoever waits for these is woken.
            drop(abandoned);
        }
    }
}

impl Pile {
    fn pop(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.bytes -= job.bytes;
        Some(job)
    }
}

/// Stores a batch that was checked.
pub(super) fn enqueue(broker: &Arc<Inner>, batch: Batch) -> Reply<Vec<Enqueued>> {
    if let Err(refused) = broker.io.admit() {
        return super::ready(Err(refused));
    }
    let bytes: usize = batch.tasks.iter().map(|task| task.envelope.record_len()).sum();
    let queue = batch.queue.clone();
    let (answer, reply) = oneshot::channel();
    let starts = {
        let mut piles = broker.piles.lock();
        if !piles.contains_key(&queue) {
            piles.insert(queue.clone(), Pile::default());
        }
        if piles.get(&queue).is_some_and(|pile| pile.bytes + bytes > WAITING_MAX) {
            return super::ready(Err(Error::full(
                "too much waits to be sent to Redis; enqueue again when it answers",
            )));
        }
        piles.get_mut(&queue).is_some_and(|pile| {
            pile.bytes += bytes;
            pile.waiting.push_back(Job { batch, bytes, since: Instant::now(), answer });
            let starts = pile.flying < CALLS_MAX;
            pile.flying += usize::from(starts);
            starts
        })
    };
    if starts {
        broker.io.spawn(fly(Flight { broker: broker.clone(), queue, over: false }));
    }
    broker.io.reply(reply)
}

/// Sends what waits until nothing does.
async fn fly(mut flight: Flight) {
    loop {
        let group = flight.take();
        if group.is_empty() {
            return;
        }
        let Flight { broker, queue, .. } = &flight;
        let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
        broker.options.planned.pass("redis flight");
        let sent = send(broker, queue, &batches).await;
        broker.options.planned.pass("redis landing");
        broker.io.answered();
        match sent {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for job in group {
                    let mine = answers.by_ref().take(job.batch.tasks.len()).collect();
                    let _ = job.answer.send(Ok(mine));
                }
            }
            // What does not fit together may fit one by one.
            Err(error) if error.is_full() && group.len() > 1 => {
                for job in group {
                    let _ = job.answer.send(send(broker, queue, &[&job.batch]).await);
                }
            }
            Err(error) => {
                for job in group {
                    let _ = job.answer.send(Err(error.replicate()));
                }
            }
        }
    }
}

/// One call; an answer per task of all batches.
async fn send(broker: &Inner, queue: &QueueName, batches: &[&Batch]) -> Result<Vec<Enqueued>> {
    let keys = broker.keys(queue);
    broker.register(queue).await?;
    broker.interest.touch(&broker.beats.link, &keys);
    let tasks = batches.iter().map(|batch| batch.tasks.len()).sum();
    let (call, plain) = call(broker, &keys.records(), batches, true);
    let flags = if plain.is_empty() {
        broker.io.link.call(&call).await?
    } else {
        let mut store = Cmd::new();
        store.arg("HSET").arg(keys.records());
        for task in &plain {
            store.arg(task.envelope.id().as_bytes()).arg(task.envelope.record());
        }
        let mut pipe = Pipeline::with_capacity(2);
        pipe.atomic().ignore_errors().add_command(call).add_command(store);
        let replies: Result<[Value; 2], _> = broker.io.link.pipe(&pipe).await?.try_into();
        let [flags, stored] =
            replies.map_err(|_| Error::corrupt("Redis answered half an enqueue"))?;
        if let Value::ServerError(refusal) = &flags {
            let class = Fault::from(refusal.clone()).class;
            // The function itself remembers what must not stay when its limit is reached.
            if class != Class::Full {
                take_back(broker, &keys.records(), &plain, &stored).await;
            }
            if class.ends_connection() {
                // Among the replies of a transaction the link does not see it.
                let _ = broker.io.link.call(&broker.library.probe()).await;
            }
        } else if let Value::ServerError(refusal) = stored {
            return Err(Fault::from(refusal).into());
        }
        flags
    };
    let told = reply::bytes(flags)?;
    let (closes_first, told) = match &told[..] {
        [b'!', told @ ..] => (true, told),
        told => (false, told),
    };
    let answers = answers(told, tasks)?;
    let has_changed = |answer: &Enqueued| {
        matches!(answer, Enqueued::Created | Enqueued::Replaced(_) | Enqueued::Moved(_))
    };
    if answers.iter().any(has_changed) {
        let is_now = |task: &NewTask| matches!(task.due, Due::Now);
        let all = || batches.iter().flat_map(|batch| batch.tasks.iter());
        let has_ended = |answer: &Enqueued| matches!(answer, Enqueued::Replaced(_));
        let is_due = closes_first || !all().all(is_now);
        broker.marks.bump([true, is_due, answers.iter().any(has_ended)]);
    }
    Ok(answers)
}

/// What became of so many tasks: nothing if all were created, else a letter each and then the ids of holders.
fn answers(told: &[u8], tasks: usize) -> Result<Vec<Enqueued>> {
    if told.is_empty() {
        return Ok(vec![Enqueued::Created; tasks]);
    }
    let odd = || Error::corrupt("Redis answered an enqueue of another size");
    let (letters, ids) = told.split_at_checked(tasks).ok_or_else(odd)?;
    let (ids, []) = ids.as_chunks::<16>() else { return Err(odd()) };
    let mut holders = ids.iter().map(|id| TaskId::from_bytes(*id));
    let mut holder = || holders.next().ok_or_else(odd);
    let answer = |letter: &u8| {
        Ok(match letter {
            b'1' => Enqueued::Created,
            b'h' => Enqueued::Held(holder()?),
            b'r' => Enqueued::Replaced(holder()?),
            b'm' => Enqueued::Moved(holder()?),
            b'l' => Enqueued::Late,
            _ => Enqueued::Existing,
        })
    };
    let answers = letters.iter().map(answer).collect();
    if holders.next().is_some() { Err(odd()) } else { answers }
}

/// Deletes the records of a batch that was refused, or the same batch sent again would find tasks that have no
/// state. Of a batch of which anything was there before nothing is deleted: it may have been stored by a call
/// whose reply was lost.
async fn take_back(broker: &Inner, records: &str, plain: &[&NewTask], stored: &Value) {
    if !matches!(stored, Value::Int(new) if usize::try_from(*new) == Ok(plain.len())) {
        return;
    }
    let mut delete = Cmd::new();
    delete.arg("HDEL").arg(records);
    for task in plain {
        delete.arg(&task.envelope.id().as_bytes()[..]);
    }
    for _ in 0..TAKE_BACKS_MAX {
        match broker.io.link.call(&delete).await {
            Ok(_) => return,
            Err(fault) => tracing::debug!(error = %fault.error, "records are not taken back yet"),
        }
        tokio::time::sleep(TAKE_BACK_PAUSE).await;
    }
    tracing::error!("records of a refused enqueue are left in Redis");
}

/// A batch that was stored, to be sent again in one call.
pub(super) fn repeat(broker: &Inner, records: &str, batch: &Batch) -> Cmd {
    call(broker, records, &[batch], false).0
}

/// The call of the function, and the tasks whose records follow by HSET, if any `may_follow`.
fn call<'a>(
    broker: &Inner,
    records: &str,
    batches: &[&'a Batch],
    may_follow: bool,
) -> (Cmd, Vec<&'a NewTask>) {
    let mut call = broker.library.call("enqueue", records);
    let tick = batches.first().and_then(|batch| batch.tick.as_ref());
    call.arg(batches.len()).arg(timetable::tick(tick));
    let tasks: Vec<&NewTask> = batches.iter().flat_map(|batch| batch.tasks.iter()).collect();
    let tickets: Vec<[u8; 24]> = tasks
        .iter()
        .map(|task| Ticket::of(task.envelope.id(), task.envelope.header()).to_bytes())
        .collect();
    let may_follow = may_follow && tick.is_none() && !has_twins(&tasks);
    let is_plain = |task: &NewTask| {
        let is_bare = !task.front && task.lock.is_none() && task.group.is_none();
        may_follow && task.fresh && task.due == Due::Now && is_bare
    };
    for batch in batches {
        let follow = batch.tasks.iter().filter(|task| is_plain(task));
        let bytes: usize = follow.map(|task| task.envelope.record_len()).sum();
        call.arg(&batch.id.0[..]).arg(batch.tasks.len()).arg(bytes);
    }
    let mut plain = Vec::new();
    let mut from = 0;
    while from < tasks.len() {
        let (suffix, mode) = (&tickets[from][16..], is_plain(tasks[from]));
        let same = |at: &usize| &tickets[*at][16..] == suffix && is_plain(tasks[*at]) == mode;
        let to = (from..tasks.len()).take_while(same).last().map_or(from + 1, |last| last + 1);
        if mode {
            call.arg(suffix).arg("n").arg((to - from).div_ceil(ENTRY_IDS));
            for some in tickets[from..to].chunks(ENTRY_IDS) {
                let ids: Vec<&[u8]> = some.iter().map(|ticket| &ticket[..16]).collect();
                call.arg(ids.concat());
            }
            plain.extend(&tasks[from..to]);
        } else {
            call.arg(suffix).arg("x").arg(to - from);
            for task in &tasks[from..to] {
                call.arg(item(task));
            }
        }
        from = to;
    }
    broker.stamp(&mut call);
    (call, plain)
}

/// Whether an id comes twice. Ids of one process grow, so that it is seen at a glance.
fn has_twins(tasks: &[&NewTask]) -> bool {
    let id = |task: &NewTask| task.envelope.id();
    if tasks.windows(2).all(|pair| id(pair[0]) < id(pair[1])) {
        return false;
    }
    let mut seen = HashSet::with_capacity(tasks.len());
    !tasks.iter().all(|task| seen.insert(id(task)))
}

/// A task of mode x: `id 16 | flags 1 | due ms 8 | lock | group | record`.
fn item(task: &NewTask) -> Vec<u8> {
    let envelope = &task.envelope;
    let (flag, due) = match task.due {
        Due::Now => (0, 0),
        Due::At(at) => (2, at.0),
        Due::In(delay) => (4, super::ms(delay)),
    };
    let marks = u8::from(envelope.header().remember)
        | u8::from(task.front) << 3
        | u8::from(task.lock.is_some()) << 4
        | u8::from(task.group.is_some()) << 5;
    let mut item = Vec::with_capacity(25 + envelope.record_len());
    item.extend_from_slice(envelope.id().as_bytes());
    item.push(marks | flag);
    item.extend_from_slice(&due.to_be_bytes());
    if let Some(lock) = &task.lock {
        push_lock(&mut item, lock);
    }
    if let Some(group) = &task.group {
        push_group(&mut item, group);
    }
    item.extend_from_slice(&envelope.record());
    item
}

/// What a task wants to be the only one of, as `lua/lock.lua` takes it.
fn push_lock(item: &mut Vec<u8>, lock: &Lock) {
    let conflict = match lock.conflict {
        Conflict::Keep => 0,
        Conflict::Replace => 1,
        Conflict::Reschedule => 2,
    };
    let bits = u8::from(lock.lasts.is_some()) | u8::from(lock.within.is_some()) << 1;
    item.extend_from_slice(&[lock.names.len() as u8, lock.hold.code(), conflict, bits]);
    for span in [lock.lasts, lock.within] {
        item.extend_from_slice(&span.map(super::ms).unwrap_or_default().to_be_bytes());
    }
    lock.names.iter().for_each(|name| item.extend_from_slice(&name.0));
}

/// The group a task joins: `bytes of its name 1 | grace 6 | within 6 | most 2 | name`. Without a longest wait that is longer
/// than any other.
fn push_group(item: &mut Vec<u8>, group: &Group) {
    let within = group.within.map_or(u64::MAX, super::ms);
    item.push(group.name.len() as u8);
    for wait in [super::ms(group.grace), within] {
        item.extend_from_slice(&wait.to_be_bytes()[2..]);
    }
    item.extend_from_slice(&(group.most as u16).to_be_bytes());
    item.extend_from_slice(group.name.as_bytes());
}
