//! One child as the worker sees it: started, told, heard, and followed to its end.
//!
//! At rest it belongs to no runtime, so a child that one thread made ready another may use.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::codec::PAYLOAD_BYTES_MAX;
use crate::error::{Error, Result};

use super::child::Step;
use super::ending::Ending;
use super::frame;
use super::limits::Limits;
use super::order::{Answer, Caged, Call, Go, Kept, Order, Ready, Said, Word};
use super::pool::Hold;
use super::program::Program;
use super::spawner::{self, Body};
use super::tail::Tail;

/// How long a child may take until it is ready. A main that does not give way may do anything meanwhile.
const START_MAX: Duration = Duration::from_secs(10);
/// How long a child that closed its streams may take to end.
const END_MAX: Duration = Duration::from_secs(1);
/// Shortest and longest wait between two looks at whether it ended.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Everything it takes to start one more child.
pub(super) struct Plan {
    pub(super) kind: String,
    /// The name of its handler in the program, or the program.
    pub(super) work: Work,
    pub(super) limits: Limits,
    /// How many tasks one child runs.
    pub(super) recycle: u32,
}

/// What a child does.
pub(super) enum Work {
    Handler(&'static str),
    Program(Program),
}

/// A child that waits for its next task.
pub(super) struct Idle {
    body: Body,
    streams: [OwnedFd; 3],
    used: u32,
}

impl Idle {
    /// Whether it lives and waits. Of one that spoke unasked nobody knows which task its next answer is for.
    pub(super) fn is_fit(&self) -> bool {
        let mut said = [PollFd::new(&self.streams[1], PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.body.is_alive() && matches!(poll(&mut said, Some(&now)), Ok(0))
    }
}

/// A child at work.
pub(super) struct Live {
    /// Closed once all is said.
    calls: Option<Sender>,
    answers: Receiver,
    errors: Receiver,
    tail: Tail,
    used: u32,
    body: Body,
}

impl Live {
    fn open(body: Body, [calls, answers, errors]: [OwnedFd; 3], used: u32) -> io::Result<Self> {
        let (calls, tail) = (Some(Sender::from_owned_fd(calls)?), Tail::default());
        let (answers, errors) =
            (Receiver::from_owned_fd(answers)?, Receiver::from_owned_fd(errors)?);
        Ok(Self { calls, answers, errors, tail, used, body })
    }

    /// Starts a child and waits until it is inside its cage. Also what this system cannot enforce.
    pub(super) async fn start(plan: &Plan) -> Result<(Self, Vec<String>)> {
        let unreadable = |error| Error::system("the streams of a child").because(error);
        let processes = plan.limits.processes;
        let step = if plan.limits.forks() { Step::Keep { processes } } else { Step::Cage };
        let (body, streams) = spawner::start(&plan.kind, step).await?;
        let mut child = Self::open(body, streams, 0).map_err(unreadable)?;
        match tokio::time::timeout(START_MAX, child.get_ready(plan)).await {
            Ok(Ok(lacks)) => Ok((child, lacks)),
            Ok(Err(error)) if error.is_invalid() => Err(error),
            Ok(Err(error)) => Err(child.not_ready(plan, error).await),
            Err(_) => {
                let late = Error::timeout(format!("no word from it within {START_MAX:?}"));
                Err(child.not_ready(plan, late).await)
            }
        }
    }

    async fn get_ready(&mut self, plan: &Plan) -> Result<Vec<String>> {
        let program = match &plan.work {
            Work::Handler(_) => None,
            Work::Program(program) => Some(program.clone()),
        };
        // What is not in its group yet hears nothing.
        let ungrouped = match plan.limits.forks() {
            true => self.hear::<Kept>().await?.ungrouped,
            false => None,
        };
        let order = Order { limits: plan.limits.clone(), calls: plan.recycle, program, ungrouped };
        self.say(&frame::frame(&order)?).await?;
        let caged: Caged = self.hear().await?;
        if let Some(why) = caged.failed {
            return Err(Error::invalid(format!(
                "the child for kind {} cannot be caged: {why}",
                plan.kind
            )));
        }
        if plan.limits.required && !caged.lacks.is_empty() {
            return Err(Error::invalid(format!(
                "kind {} requires all its limits, and this system lacks some: {}",
                plan.kind,
                caged.lacks.join("; ")
            )));
        }
        if let Work::Handler(name) = plan.work {
            let ready: Ready = self.hear().await?;
            let known = ready.handlers.iter().find(|(kind, _)| *kind == plan.kind);
            match known {
                None => return Err(unknown(&plan.kind)),
                Some((_, other)) if other != name => {
                    return Err(Error::invalid(format!(
                        "kind {} is handled by {name} in the worker and by {other} in its children; \
                         hand the worker what `oncue::child` returns",
                        plan.kind
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(caged.lacks)
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        let closed = || Error::corrupt("the child hears nothing");
        let calls = self.calls.as_mut().ok_or_else(closed)?;
        calls.write_all(bytes).await.map_err(|error| closed().because(error))
    }

    async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let heard = frame::receive(&mut self.answers).await?;
        heard.ok_or_else(|| Error::corrupt("the child says nothing"))
    }

    /// Why it did not get ready, in the words of whoever knows best.
    async fn not_ready(mut self, plan: &Plan, error: Error) -> Error {
        let ending = self.end(&plan.limits).await;
        let (kind, message, stderr) = (&plan.kind, ending.message, ending.stderr);
        let first = match &*ending.class {
            // So it looks when `main` did something else first.
            class if class == "protocol" || class.starts_with("exit(") => {
                "; is `oncue::child` the first line of main, and nothing printed before it?"
            }
            _ => "",
        };
        Error::system(format!(
            "the child for kind {kind} did not get ready: {error}; {message}; what it printed: {stderr:?}{first}"
        ))
    }

    /// Runs one task. What it holds is free when the task is answered, or else when the child is gone.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        limits: &Limits,
        hear: &dyn Fn(Word) -> Result<()>,
    ) -> Result<Answer, Ending> {
        self.used += 1;
        // What was printed before is no part of this task.
        self.tail.rest(&self.errors);
        self.tail = Tail::default();
        let refused = |error: Error| Ending::new("protocol", format!("{error:?}"), String::new());
        let call = frame::frame(call).map_err(refused)?;
        let own = u64::from(self.used);
        let heard = {
            let Self { calls, answers, errors, tail, .. } = &mut *self;
            let exchange = async {
                if let Some(calls) = calls {
                    // One that does not listen may still answer, or ended, which is seen below.
                    let _ = calls.write_all(&call).await;
                }
                loop {
                    match frame::receive(answers).await? {
                        Some(Said::Word(word)) => {
                            hear(word)?;
                            // It may say words without end: whoever ends its run, and its neighbours, have their
                            // turn between any two.
                            tokio::task::yield_now().await;
                        }
                        Some(Said::Answer(number, answer)) if number == own => {
                            return Result::<_>::Ok(Some(answer));
                        }
                        // One too many of a task before: not the answer of this one.
                        Some(Said::Answer(..)) => tokio::task::yield_now().await,
                        None => return Ok(None),
                    }
                }
            };
            tokio::select! {
                biased;
                heard = exchange => Some(heard),
                () = pass(limits.wall) => None,
                () = tail.follow(errors) => None,
            }
        };
        match heard {
            Some(Ok(Some(answer))) => {
                self.tail.rest(&self.errors);
                Ok(answer)
            }
            Some(Ok(None)) => Err(self.end(limits).await),
            Some(Err(error)) if error.is_corrupt() => Err(self.end(limits).await),
            Some(Err(error)) => {
                let message = format!("what the child answered is no answer: {error}");
                Err(Ending::new("protocol", message, self.stderr()))
            }
            None => Err(self.late(limits)),
        }
    }

    /// Gives a program its payload, and takes what it prints until it ends: its exit code, and its result.
    pub(super) async fn feed(
        &mut self,
        payload: &[u8],
        limits: &Limits,
    ) -> Result<(i32, Vec<u8>), Ending> {
        self.used += 1;
        let refused = |error: Error| Ending::new("protocol", format!("{error:?}"), String::new());
        let go = frame::frame(&Go).map_err(refused)?;
        let (calls, mut printed) = (self.calls.take(), Vec::new());
        let ended = {
            let Self { answers, errors, tail, body, .. } = &mut *self;
            let feed = async {
                if let Some(mut calls) = calls {
                    // One that does not read its payload may do without.
                    let _ = calls.write_all(&go).await;
                    let _ = calls.write_all(payload).await;
                }
            };
            let finish = async {
                // One byte more than allowed, so that it is seen.
                let mut result = answers.take(PAYLOAD_BYTES_MAX as u64 + 1);
                let _ = result.read_to_end(&mut printed).await;
                if printed.len() <= PAYLOAD_BYTES_MAX {
                    // It closed its output, and may be at work still.
                    gone(body).await;
                }
            };
            // As long as it lives it is fed and heard, whatever it closed, and there is one time for all of it.
            tokio::select! {
                biased;
                () = finish => true,
                () = pass(limits.wall) => false,
                ((), ()) = async { tokio::join!(feed, tail.follow(errors)) } => false,
            }
        };
        if !ended {
            return Err(self.late(limits));
        }
        if printed.len() > PAYLOAD_BYTES_MAX {
            let message = format!("the result is over {PAYLOAD_BYTES_MAX} bytes");
            return Err(Ending::new("result", message, self.stderr()));
        }
        let cpu = self.cpu();
        let status = self.body.child().wait().ok();
        match status.and_then(|status| status.code()) {
            Some(code) => {
                self.tail.rest(&self.errors);
                Ok((code, printed))
            }
            None => Err(Ending::of(status, cpu, limits, self.stderr())),
        }
    }

    fn late(&mut self, limits: &Limits) -> Ending {
        let message = format!("still running after {:?}", limits.wall.unwrap_or_default());
        Ending::new("wall", message, self.stderr())
    }

    /// What it printed last.
    pub(super) fn stderr(&mut self) -> String {
        self.tail.rest(&self.errors);
        self.tail.text()
    }

    /// Waits for the end of a child that is about to end, and says how it did.
    async fn end(&mut self, limits: &Limits) -> Ending {
        if tokio::time::timeout(END_MAX, gone(&self.body)).await.is_err() {
            let message = "the child broke off and goes on without us";
            return Ending::new("protocol", message, self.stderr());
        }
        let cpu = self.cpu();
        let status: Option<ExitStatus> = self.body.child().wait().ok();
        Ending::of(status, cpu, limits, self.stderr())
    }

    /// The processor time of a child that ended and is not buried yet; zero if it is not to be learned.
    fn cpu(&mut self) -> Duration {
        let path = format!("/proc/{}/stat", self.body.child().id());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // After the name: 11 fields, then user and system time, its own and of those it waited for.
        let fields =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(4));
        let ticks: u64 = fields.into_iter().flatten().filter_map(|n| n.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second())
    }

    /// Keeps what a run holds until the child is gone, or takes it back.
    pub(super) fn hold(&mut self, hold: Option<Hold>) -> Option<Hold> {
        self.body.hold(hold)
    }

    /// Whether it may run another task.
    pub(super) fn may_rest(&self, plan: &Plan) -> bool {
        self.used < plan.recycle
    }

    /// To rest, if it may be used again.
    pub(super) fn rest(self, plan: &Plan) -> Option<Idle> {
        if !self.may_rest(plan) {
            return None;
        }
        let streams = [
            self.calls?.into_nonblocking_fd().ok()?,
            self.answers.into_nonblocking_fd().ok()?,
            self.errors.into_nonblocking_fd().ok()?,
        ];
        Some(Idle { body: self.body, streams, used: self.used })
    }

    /// Back to work, on the runtime of whoever asks.
    pub(super) fn wake(idle: Idle) -> io::Result<Self> {
        Self::open(idle.body, idle.streams, idle.used)
    }
}

fn unknown(kind: &str) -> Error {
    Error::invalid(format!(
        "a child of this program does not know kind {kind}; name its handler in `oncue::child`, \
         the first line of main"
    ))
}

/// Waits until a child ended. Its streams close a moment before; one that closed them itself is looked at now and
/// then.
async fn gone(body: &Body) {
    let mut wait = LOOK.0;
    while body.is_alive() {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LOOK.1);
    }
}

async fn pass(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
