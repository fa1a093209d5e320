//! The writer: one thread, one connection, and group commit.
//!
//! Whatever waits when a transaction begins goes into it, so that many callers share one sync; there is
//! no timer. Each command stands for itself all the same: one that is refused has changed nothing and
//! fails alone; if SQLite fails, or a command panics, everything is rolled back and each command gets a
//! transaction of its own. A panic anywhere else loses the commands in hand, whose callers are told, and the
//! connection: the thread begins again on a new one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Durability;
use super::fault::{Halt, Step, explain};
use super::file::Anchor;
use super::open::{Use, connect};
use super::precedence::Precedence;
use super::txn::{Desk, Txn};
use crate::broker::Reply;
use crate::broker::lives::{Fate, Lives};
use crate::broker::marks::Marks;
use crate::error::{Error, Result};
use crate::failpoint::Planned;

/// Commands that wait for the writer; more wait in their callers.
const MAILBOX_MAX: usize = 1_024;
/// Most commands in one transaction.
const GROUP_MAX: usize = 256;
/// After this long a transaction takes no further command: others want the lock, too.
const GROUP_HOLD: Duration = Duration::from_millis(50);
/// Longest wait for the database to close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

const ORDERS: &str = "SELECT value FROM oncue_meta WHERE name = 'orders'";

/// How a command is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// Reads first, without a transaction; gets one if it then answers none.
    Look,
    /// Writes what may be lost with the power: it is found and done again.
    Soft,
    /// Writes what must be on disk before it is answered.
    Hard,
}

enum Message {
    Run(Box<dyn Command>),
    /// Look whether other processes committed.
    Knock,
}

trait Command: Send {
    fn haste(&self) -> Haste;
    fn is_abandoned(&self) -> bool;
    /// Whether it has its answer; if not it must be run in a transaction.
    fn run(&mut self, tx: &mut Txn<'_>) -> Step<bool>;
    fn fail(&mut self, error: Error);
    fn reply(self: Box<Self>);
}

struct Call<F, T> {
    haste: Haste,
    body: F,
    answer: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Command for Call<F, T>
where
    F: FnMut(&mut Txn<'_>) -> Step<Option<T>> + Send,
    T: Send,
{
    fn haste(&self) -> Haste {
        self.haste
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, tx: &mut Txn<'_>) -> Step<bool> {
        tx.turn();
        self.answer = (self.body)(tx)?.map(Ok);
        Ok(self.answer.is_some())
    }

    fn fail(&mut self, error: Error) {
        self.answer = Some(Err(error));
    }

    fn reply(self: Box<Self>) {
        let answer = self.answer.unwrap_or_else(|| Err(Error::system("a command has no answer")));
        // Whoever asked may have left.
        let _ = self.reply.send(answer);
    }
}

/// Held by whatever keeps the database open.
pub(super) type Open = std::sync::mpsc::Sender<()>;

/// Dropped after the mailboxes, it waits until the database is closed: a process that ends right after
/// leaves no write-ahead log behind. Bounded, for a reply nobody polls keeps its mailbox.
pub(super) struct Closing(Mutex<std::sync::mpsc::Receiver<()>>);

impl Closing {
    pub(super) fn new() -> (Open, Self) {
        let (open, closed) = std::sync::mpsc::channel();
        (open, Self(Mutex::new(closed)))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Ok(closed) = self.0.get_mut() {
            // Nothing is ever sent: this ends with the last sender.
            let _ = closed.recv_timeout(CLOSE_WAIT);
        }
    }
}

/// Sends commands to a writer, which ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Mailbox {
    messages: mpsc::Sender<Message>,
    fate: Arc<Fate>,
}

impl Mailbox {
    /// Runs a command. `body` may be run more than once; only its last run counts.
    pub(super) fn call<T: Send + 'static>(
        &self,
        haste: Haste,
        body: impl FnMut(&mut Txn<'_>) -> Step<Option<T>> + Send + 'static,
    ) -> Reply<T> {
        let Self { messages, fate } = self.clone();
        Box::pin(async move {
            fate.admit()?;
            let (reply, answer) = oneshot::channel();
            let call = Box::new(Call { haste, body, answer: None, reply });
            let sent = messages.send(Message::Run(call)).await;
            drop(messages);
            sent.map_err(|_| fate.lost())?;
            answer.await.map_err(|_| fate.lost())?
        })
    }

    /// Something that asks the writer to look around, without keeping it alive.
    pub(super) fn knocker(&self) -> Knocker {
        Knocker(self.messages.downgrade())
    }
}

/// See [`Mailbox::knocker`].
pub(super) struct Knocker(mpsc::WeakSender<Message>);

impl Knocker {
    /// Whether there still is a writer.
    pub(super) fn knock(&self) -> bool {
        // A full mailbox looks by itself: every transaction does.
        self.0.upgrade().is_some_and(|sender| {
            !matches!(sender.try_send(Message::Knock), Err(mpsc::error::TrySendError::Closed(_)))
        })
    }
}

/// What a writer is made of.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) desk: Desk,
    pub(super) durability: Durability,
    /// None in memory.
    pub(super) anchor: Option<Anchor>,
    /// The database, in messages.
    pub(super) name: Arc<str>,
    /// None for the one that only writes beats: it wakes nobody.
    pub(super) marks: Option<Arc<Marks>>,
    pub(super) precedence: Arc<Precedence>,
    pub(super) planned: Planned,
}

impl Writer {
    /// Starts the thread; it lets go of `open` when the database is closed.
    pub(super) fn start(self, thread: &'static str, open: Open) -> Result<Mailbox> {
        let (sender, mut messages) = mpsc::channel(MAILBOX_MAX);
        let version = data_version(&self.conn).map_err(|error| explain(error, &self.name))?;
        let lives = Lives::new(thread);
        let fate = lives.fate();
        let mailbox = Mailbox { messages: sender, fate: lives.fate() };
        std::thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || {
                let mut running =
                    Running { writer: self, thread, version, orders: 0, synchronous: None };
                let mut is_first = true;
                lives.keep(|| {
                    if !std::mem::replace(&mut is_first, false) {
                        running.renew().map_err(|error| error.to_string())?;
                    }
                    running.serve(&mut messages, &fate);
                    Ok(())
                });
                running.close();
                drop(open);
            })
            .map_err(|error| Error::system("no thread for the SQLite writer").because(error))?;
        Ok(mailbox)
    }
}

fn orders(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached(ORDERS)?.query_row([], |row| row.get(0))
}

fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

struct Running {
    writer: Writer,
    thread: &'static str,
    /// How many orders there were when last looked.
    orders: i64,
    /// `PRAGMA data_version` as last seen: changed by the commits of others only.
    version: i64,
    /// Whether commits sync; unknown at first.
    synchronous: Option<bool>,
}

type Queue = VecDeque<Box<dyn Command>>;

impl Running {
    /// What the life before this one left behind is undone. In memory the connection is the database, and is kept.
    fn renew(&mut self) -> Result<()> {
        self.roll_back();
        let Writer { conn, name, anchor, marks, .. } = &mut self.writer;
        if let Some(anchor) = anchor {
            let purpose = if marks.is_some() { Use::Write } else { Use::Beat };
            *conn = connect(Some(anchor.path()), purpose, name)?;
            self.synchronous = None;
        }
        self.version = data_version(conn).map_err(|error| explain(error, name))?;
        if !conn.is_autocommit() {
            return Err(Error::system("SQLite does not roll back"));
        }
        if let Some(marks) = marks {
            // What happened meanwhile, and what was committed and not told.
            marks.bump([true; 5]);
        }
        Ok(())
    }

    /// Until nobody can send anything more.
    fn serve(&mut self, messages: &mut mpsc::Receiver<Message>, fate: &Fate) {
        let mut waiting = Queue::new();
        loop {
            if waiting.is_empty() {
                match messages.blocking_recv() {
                    Some(message) => self.accept(message, &mut waiting),
                    None => return,
                }
            }
            while waiting.len() < GROUP_MAX {
                match messages.try_recv() {
                    Ok(message) => self.accept(message, &mut waiting),
                    Err(_) => break,
                }
            }
            self.writer.planned.pass(self.thread);
            self.work(&mut waiting);
            fate.answered();
        }
    }

    fn accept(&mut self, message: Message, waiting: &mut Queue) {
        match message {
            Message::Run(command) if command.is_abandoned() => {}
            Message::Run(command) => waiting.push_back(command),
            Message::Knock => {
                // An error is for the next command to find.
                let _ = self.notice_others();
            }
        }
    }

    /// Leaves nothing behind that the next open would have to recover. That is the group writer's part.
    fn close(self) {
        if self.writer.anchor.is_some() && self.writer.marks.is_some() {
            let _ = self.writer.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        let _ = self.writer.conn.close();
    }

    fn work(&mut self, waiting: &mut Queue) {
        if let Some(Err(error)) = self.writer.anchor.as_ref().map(Anchor::check) {
            return fail_all(waiting.drain(..), &error);
        }
        let mut group = Queue::new();
        for mut command in waiting.drain(..) {
            if command.haste() != Haste::Look || !self.look(&mut *command) {
                group.push_back(command);
            } else {
                command.reply();
            }
        }
        if !group.is_empty() {
            self.commit(&mut group);
        }
        *waiting = group;
    }

    /// Runs a command outside a transaction; answers whether it is done.
    fn look(&mut self, command: &mut dyn Command) -> bool {
        let Writer { conn, desk, name, planned, .. } = &mut self.writer;
        let mut tx = Txn::new(conn, desk, false);
        match guarded(command, &mut tx, planned) {
            Ok(done) => done,
            Err(halt) => {
                command.fail(halt.into_error(name));
                true
            }
        }
    }

    /// One transaction. What it had no time for stays in the group.
    fn commit(&mut self, group: &mut Queue) {
        let hard = group.iter().any(|command| command.haste() == Haste::Hard);
        let precedence = self.writer.precedence.clone();
        let _turn = match self.writer.marks {
            Some(_) => precedence.give_way(),
            None => precedence.take(),
        };
        if let Err(error) = self.begin(hard) {
            self.roll_back();
            return fail_all(group.drain(..), &explain(error, &self.writer.name));
        }
        let mut done = Queue::new();
        let Err(halt) = self.run_group(group, &mut done) else {
            return done.into_iter().for_each(Command::reply);
        };
        self.roll_back();
        if done.len() == 1 {
            return fail_all(done.into_iter(), &halt.into_error(&self.writer.name));
        }
        while let Some(command) = done.pop_front() {
            if let Err(error) = self.commit_alone(command, hard) {
                return fail_all(done.into_iter(), &error);
            }
        }
    }

    /// Runs commands and commits. Those that ran are in `done`; after an error none of them counts.
    fn run_group(&mut self, group: &mut Queue, done: &mut Queue) -> Step<()> {
        let Writer { conn, desk, name, marks, planned, .. } = &mut self.writer;
        let began = Instant::now();
        let mut tx = Txn::new(conn, desk, true);
        while done.is_empty() || began.elapsed() < GROUP_HOLD {
            let Some(mut command) = group.pop_front() else { break };
            let before = tx.changes();
            let outcome = guarded(&mut *command, &mut tx, planned);
            let refused = match outcome {
                Ok(_) => Ok(()),
                // A refusal comes before the first change; if not, it is undone like a failure.
                Err(Halt::Refused(error)) if tx.changes() == before => {
                    command.fail(Halt::Refused(error).into_error(name));
                    Ok(())
                }
                Err(halt) => Err(halt),
            };
            done.push_back(command);
            refused?;
        }
        let wakes = tx.flush()?;
        planned.pass("sqlite commit");
        conn.prepare_cached("COMMIT")?.execute([])?;
        planned.pass("sqlite reply");
        if let Some(marks) = marks {
            marks.bump(wakes);
        }
        Ok(())
    }

    /// One command in a transaction of its own. Errs if there is none to be had.
    fn commit_alone(&mut self, command: Box<dyn Command>, hard: bool) -> Result<()> {
        let (mut group, mut done) = (Queue::from([command]), Queue::new());
        if let Err(error) = self.begin(hard) {
            self.roll_back();
            let error = explain(error, &self.writer.name);
            fail_all(group.into_iter(), &error);
            return Err(error);
        }
        match self.run_group(&mut group, &mut done) {
            Ok(()) => done.into_iter().for_each(Command::reply),
            Err(halt) => {
                self.roll_back();
                fail_all(done.into_iter(), &halt.into_error(&self.writer.name));
            }
        }
        Ok(())
    }

    fn begin(&mut self, hard: bool) -> rusqlite::Result<()> {
        let synchronous = hard && self.writer.durability == Durability::Full;
        if self.synchronous != Some(synchronous) {
            let level = if synchronous { "FULL" } else { "NORMAL" };
            self.writer.conn.pragma_update(None, "synchronous", level)?;
            self.synchronous = Some(synchronous);
        }
        self.writer.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.notice_others()
    }

    fn notice_others(&mut self) -> rusqlite::Result<()> {
        let version = data_version(&self.writer.conn)?;
        if version != self.version {
            self.version = version;
            self.writer.desk.notice_others();
            if let Some(marks) = &self.writer.marks {
                let orders = orders(&self.writer.conn)?;
                marks.bump([true, true, true, orders != self.orders, true]);
                self.orders = orders;
            }
        }
        Ok(())
    }

    fn roll_back(&mut self) {
        self.writer.desk.clear();
        if !self.writer.conn.is_autocommit() {
            // SQLite may have rolled back by itself; if it cannot at all, the next BEGIN says so.
            let _ = self.writer.conn.execute_batch("ROLLBACK");
        }
    }
}

fn fail_all(commands: impl Iterator<Item = Box<dyn Command>>, error: &Error) {
    for mut command in commands {
        command.fail(error.replicate());
        command.reply();
    }
}

/// Runs a command; its panic is its own error, not the writer's end.
fn guarded(command: &mut dyn Command, tx: &mut Txn<'_>, planned: &Planned) -> Step<bool> {
    let run = || {
        planned.pass("sqlite command");
        command.run(tx)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        tracing::error!(why = crate::panic::text(panic), "a command of the SQLite broker panicked");
        Err(Halt::Panicked)
    })
}
