//! An echo: whether a worker thread still turns, or a handler blocks it.
//!
//! Only asks and tells. An async handler that does not yield stops the others on its thread; leases go on, since
//! beats have a thread of their own. What is done about it is `threads`' and the Supervisor's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;

use crate::clock::boottime;

/// A look counts for a quarter of the patience at most: who asks was not there in between, since the process was
/// stopped or the machine slept, and neither was the thread.
const LOOKS_MIN: u32 = 4;

/// The echo of one thread.
pub(crate) struct Echo {
    thread: ArbiterHandle,
    /// Number of the last question answered.
    heard: Arc<AtomicU64>,
    question: u64,
    /// When it was last looked at.
    looked: Duration,
    /// For how long the question has been open, as far as somebody looked.
    silent: Duration,
    told: bool,
}

impl Echo {
    pub(crate) fn new(thread: ArbiterHandle) -> Self {
        let (heard, question, silent, told) = Default::default();
        Self { thread, heard, question, looked: boottime(), silent, told }
    }

    /// Asks again if the last question was answered; answers for how long the thread has been silent, once
    /// each time that is too long.
    pub(crate) fn probe(&mut self, now: Duration, stuck_after: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.looked).min(stuck_after / LOOKS_MIN);
        self.looked = now;
        if self.heard.load(Ordering::Acquire) < self.question {
            self.silent += passed;
            let stuck = self.silent >= stuck_after && !self.told;
            self.told |= stuck;
            return stuck.then_some(self.silent);
        }
        self.question += 1;
        (self.silent, self.told) = (Duration::ZERO, false);
        let (heard, question) = (self.heard.clone(), self.question);
        // A thread that is gone stays silent.
        self.thread.spawn_fn(move || heard.store(question, Ordering::Release));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    #[test]
    fn a_blocked_thread_is_told_once_and_forgiven() {
        actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let mut echo = Echo::new(arbiter.handle());
            let (blocking, blocked) = std::sync::mpsc::channel();
            let (free, gate) = std::sync::mpsc::channel::<()>();
            arbiter.spawn_fn(move || {
                blocking.send(()).expect("the test listens");
                let _ = gate.recv();
            });
            blocked.recv().expect("the thread is blocked");
            let start = boottime();
            let mut look = |quarters: u32| echo.probe(start + AFTER / LOOKS_MIN * quarters, AFTER);
            assert_eq!(look(0), None, "asked");
            assert_eq!([1, 2, 3].map(&mut look), [None; 3], "not yet");
            assert_eq!(look(4), Some(AFTER), "told");
            assert_eq!(look(5), None, "once");
            free.send(()).expect("it waits");
            let (answer, answered) = std::sync::mpsc::channel();
            arbiter.spawn_fn(move || answer.send(()).expect("the test listens"));
            answered.recv().expect("it turns again");
            assert_eq!(echo.probe(start + AFTER * 2, AFTER), None, "answered, asked anew");
        });
    }

    #[test]
    fn a_process_that_slept_finds_no_thread_stuck_for_it() {
        actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let mut echo = Echo::new(arbiter.handle());
            let (free, gate) = std::sync::mpsc::channel::<()>();
            arbiter.spawn_fn(move || {
                let _ = gate.recv();
            });
            let start = boottime();
            assert_eq!(echo.probe(start, AFTER), None, "asked");
            let awake = start + AFTER * 100;
            assert_eq!(echo.probe(awake, AFTER), None, "nobody looked meanwhile");
            let look = |quarters: u32| awake + AFTER / LOOKS_MIN * quarters;
            assert_eq!([1, 2].map(|at| echo.probe(look(at), AFTER)), [None; 2]);
            assert!(echo.probe(look(3), AFTER).is_some(), "by now it should have turned");
            drop(free);
        });
    }
}
