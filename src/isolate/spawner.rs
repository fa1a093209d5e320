//! The two threads behind all children of this program: one that starts them, one that buries them.
//!
//! The kernel tells a child of its parent's death when the *thread* that started it ends: so that thread never ends.
//! A child is dead only when it is reaped: until then its slot stays taken.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

use super::child::Step;
use super::pool::Hold;

/// How long a keeper may take to kill what it keeps before it is killed itself.
const KEEPER_GRACE: Duration = Duration::from_secs(5);

/// A child, killed with all it started when this is dropped.
pub(super) struct Body(Option<Dying>);

/// A child on its way out, with what is free once it is gone.
struct Dying {
    child: Child,
    pidfd: OwnedFd,
    kept: bool,
    hold: Option<Hold>,
}

impl Body {
    fn inner(&mut self) -> &mut Dying {
        self.0.as_mut().expect("a child that is not dropped")
    }

    /// What is free once the child is gone; the last one is handed back.
    pub(super) fn hold(&mut self, hold: Option<Hold>) -> Option<Hold> {
        std::mem::replace(&mut self.inner().hold, hold)
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.inner().child
    }

    /// Readable once the child ended.
    pub(super) fn ended(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_ref().expect("a child that is not dropped").pidfd.as_fd()
    }

    pub(super) fn is_alive(&self) -> bool {
        let mut seen = [PollFd::from_borrowed_fd(self.ended(), PollFlags::IN)];
        matches!(poll(&mut seen, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Some(dying) = self.0.take() else { return };
        // At once, whoever buries it: a keeper is asked, and kills what it keeps.
        let signal = if dying.kept { Signal::TERM } else { Signal::KILL };
        let _ = pidfd_send_signal(&dying.pidfd, signal);
        match BURIED.tell("oncue-reaper", bury) {
            Ok(grave) => drop(grave.send(dying)),
            Err(error) => tracing::error!(%error, "a child that was killed stays a zombie"),
        }
    }
}

/// A thread that lives as long as the program, made when it is first needed.
struct Forever<T>(Mutex<Option<Sender<T>>>);

impl<T: Send + 'static> Forever<T> {
    fn tell(&self, name: &str, life: fn(&Receiver<T>)) -> Result<Sender<T>> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = &*thread {
            return Ok(told.clone());
        }
        let (tell, told) = channel();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || life(&told))
            .map_err(|error| Error::system(format!("cannot start thread {name}")).because(error))?;
        Ok(thread.insert(tell).clone())
    }
}

/// Children to be started. As many as runs that wait for one.
static STARTED: Forever<Start> = Forever(Mutex::new(None));
/// Children to be buried. As many as there were.
static BURIED: Forever<Dying> = Forever(Mutex::new(None));

struct Start {
    kind: String,
    step: Step,
    reply: oneshot::Sender<std::io::Result<(Body, [OwnedFd; 3])>>,
}

/// Starts a child or a keeper at its first step, with our ends of its standard streams.
pub(super) async fn start(kind: &str, step: Step) -> Result<(Body, [OwnedFd; 3])> {
    let (reply, started) = oneshot::channel();
    let order = Start { kind: kind.to_owned(), step, reply };
    let gone = || Error::system("the thread that starts children is gone");
    STARTED.tell("oncue-spawner", spawn)?.send(order).map_err(|_| gone())?;
    let started = started.await.map_err(|_| gone())?;
    started.map_err(|error| {
        Error::system("cannot start a child; is /proc mounted, is there room for a process?")
            .because(error)
    })
}

fn spawn(orders: &Receiver<Start>) {
    while let Ok(Start { kind, step, reply }) = orders.recv() {
        // Whoever does not wait any more drops it, which kills it.
        let _ = reply.send(spawn_one(step, &kind));
    }
}

fn spawn_one(step: Step, kind: &str) -> std::io::Result<(Body, [OwnedFd; 3])> {
    let mut command = step.command(kind);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::NONBLOCK) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.into());
        }
    };
    let missing = || std::io::Error::other("a standard stream is missing");
    let streams = [
        child.stdin.take().ok_or_else(missing)?.into(),
        child.stdout.take().ok_or_else(missing)?.into(),
        child.stderr.take().ok_or_else(missing)?.into(),
    ];
    let kept = matches!(step, Step::Keep { .. });
    Ok((Body(Some(Dying { child, pidfd, kept, hold: None })), streams))
}

fn bury(dying: &Receiver<Dying>) {
    while let Ok(mut dying) = dying.recv() {
        if dying.kept {
            let grace = Timespec { tv_sec: KEEPER_GRACE.as_secs() as i64, tv_nsec: 0 };
            let mut ended = [PollFd::new(&dying.pidfd, PollFlags::IN)];
            if !matches!(poll(&mut ended, Some(&grace)), Ok(1)) {
                tracing::error!("a keeper did not end; it is killed, and what it kept may live on");
                let _ = pidfd_send_signal(&dying.pidfd, Signal::KILL);
            }
        }
        // Fails only if somebody else in this program reaped it.
        let _ = dying.child.wait();
        drop(dying.hold);
    }
}
