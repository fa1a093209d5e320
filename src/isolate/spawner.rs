//! The two threads behind all children of this program: one starts them, one reaps them. A child that does not end soon
//! is waited for by a thread of its own, so that it does not hold up the slots of others.
//!
//! The kernel tells a child of its parent's death when the *thread* that started it ends: so that thread never ends, not
//! even by a panic. A child is dead only when it is reaped: until then its slot stays taken.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
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
/// How long one that does not end may keep others waiting for their burial.
const SOON: Duration = Duration::from_millis(100);

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

    /// Sets what is freed once the child is gone; hands back what was set before.
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
        if let Err(error) = BURIED.tell("oncue-reaper", |dying| each(dying, bury), dying) {
            tracing::error!(%error, "a child that was killed stays a zombie");
        }
    }
}

/// A thread that lives as long as the program, made when it is first needed; made anew if it is gone all the same.
struct Forever<T>(Mutex<Option<Sender<T>>>);

impl<T: Send + 'static> Forever<T> {
    fn tell(&self, name: &str, life: fn(&Receiver<T>), what: T) -> Result<()> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let what = match &*thread {
            None => what,
            Some(tell) => match tell.send(what) {
                Ok(()) => return Ok(()),
                Err(SendError(what)) => {
                    tracing::error!(
                        thread = name,
                        "a thread for children is gone; it is made anew"
                    );
                    what
                }
            },
        };
        let (tell, told) = channel();
        let _ = tell.send(what);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || life(&told))
            .map_err(|error| Error::system(format!("cannot start thread {name}")).because(error))?;
        *thread = Some(tell);
        Ok(())
    }
}

/// Does this with each that comes. A panic over one loses that one alone.
fn each<T>(told: &Receiver<T>, work: impl Fn(T)) {
    while let Ok(what) = told.recv() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(what))) {
            let why = crate::panic::text(panic);
            tracing::error!(why, "a child could not be started, or buried, for a panic");
        }
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
    STARTED.tell("oncue-spawner", |orders| each(orders, spawn), order)?;
    let panicked = |_| {
        Error::system(
            "the thread that starts children panicked over this one; report what the log says",
        )
    };
    let started = started.await.map_err(panicked)?;
    started.map_err(|error| {
        Error::system("cannot start a child; is /proc mounted, is there room for a process?")
            .because(error)
    })
}

fn spawn(Start { kind, step, reply }: Start) {
    // Whoever does not wait any more drops it, which kills it.
    let _ = reply.send(spawn_one(step, &kind));
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

impl Dying {
    /// Whether it ends within this time.
    fn ends_within(&self, time: Duration) -> bool {
        let time =
            Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut ended, Some(&time)), Ok(1))
    }

    /// Waits for its end, and frees what it held.
    fn reap(mut self) {
        // Fails only if somebody else in this program reaped it.
        let _ = self.child.wait();
        drop(self.hold);
    }
}

fn bury(dying: Dying) {
    if dying.ends_within(SOON) {
        return dying.reap();
    }
    // Many processes to kill, or one the kernel cannot end yet. A thread for each: no more than there are slots.
    let wait = move || {
        if dying.kept && !dying.ends_within(KEEPER_GRACE) {
            tracing::error!("a keeper did not end; it is killed, and what it kept may live on");
            let _ = pidfd_send_signal(&dying.pidfd, Signal::KILL);
        }
        dying.reap();
    };
    let waits = std::thread::Builder::new().name("oncue-burial".to_owned()).spawn(wait);
    if let Err(error) = waits {
        tracing::error!(%error, "a child that was killed stays a zombie");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_end_keeps_no_other_waiting() {
        /// Says when it is dropped.
        struct Free(Sender<&'static str>, &'static str);
        impl Drop for Free {
            fn drop(&mut self) {
                let _ = self.0.send(self.1);
            }
        }
        let (hear, heard) = channel();
        let body = |command: &str, name| {
            let child = std::process::Command::new("/bin/sh").args(["-c", command]).spawn();
            let child = child.expect("starts");
            let pid = Pid::from_child(&child);
            let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).expect("a descriptor");
            let hold: Hold = Box::new(Free(hear.clone(), name));
            (pid, Dying { child, pidfd, kept: true, hold: Some(hold) })
        };
        let (stuck, first) = body("exec sleep 600", "first");
        let (_, second) = body("exit 0", "second");
        bury(first);
        bury(second);
        assert_eq!(heard.recv(), Ok("second"));
        rustix::process::kill_process(stuck, Signal::KILL).expect("killed");
        assert_eq!(heard.recv(), Ok("first"));
    }

    /// Dropped with the channel it is in.
    struct Told(Sender<&'static str>, &'static str);

    #[test]
    fn a_panic_over_one_does_not_end_the_thread() {
        static THREAD: Forever<Told> = Forever(Mutex::new(None));
        let (hear, heard) = channel();
        let tell = |what| {
            let life = |told: &Receiver<Told>| {
                each(told, |Told(hear, what)| {
                    assert_ne!(what, "panic");
                    hear.send(what).expect("heard");
                });
            };
            THREAD.tell("x", life, Told(hear.clone(), what)).expect("told");
        };
        ["a", "panic", "b"].into_iter().for_each(tell);
        assert_eq!([heard.recv(), heard.recv()], [Ok("a"), Ok("b")]);
    }

    #[test]
    fn a_thread_that_is_gone_is_made_anew() {
        static THREAD: Forever<Told> = Forever(Mutex::new(None));
        // Without a guard: the first ends it.
        let life = |told: &Receiver<Told>| {
            while let Ok(Told(hear, what)) = told.recv() {
                assert_ne!(what, "panic");
                hear.send(what).expect("heard");
            }
        };
        let (hear, heard) = channel();
        THREAD.tell("x", life, Told(hear, "panic")).expect("told");
        assert!(heard.recv().is_err(), "it panicked");
        // Its channel may live for a moment longer, and what it takes in is lost with it.
        let answer = loop {
            let (hear, heard) = channel();
            THREAD.tell("x", life, Told(hear, "again")).expect("told");
            if let Ok(answer) = heard.recv() {
                break answer;
            }
        };
        assert_eq!(answer, "again");
    }
}
