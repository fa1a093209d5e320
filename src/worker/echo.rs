//! An echo: for how long a thread of the worker has not turned, since something on it blocks or never yields.
//!
//! Only asks and answers. An async handler that does not yield stops the others on its thread; leases go on, since
//! beats have a thread of their own. What is done about it is the business of whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;

use crate::clock::boottime;

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
}

impl Echo {
    pub(crate) fn new(thread: ArbiterHandle) -> Self {
        let (heard, question, silent) = Default::default();
        Self { thread, heard, question, looked: boottime(), silent }
    }

    /// For how long the thread has been silent; asks again if it is not. A look counts for `look_max` at most: who
    /// asks was not there in between, since the process was stopped or the machine slept, and neither was the
    /// thread.
    pub(crate) fn probe(&mut self, now: Duration, look_max: Duration) -> Duration {
        let passed = now.saturating_sub(self.looked).min(look_max);
        self.looked = now;
        if self.heard.load(Ordering::Acquire) < self.question {
            self.silent += passed;
            return self.silent;
        }
        self.question += 1;
        self.silent = Duration::ZERO;
        let (heard, question) = (self.heard.clone(), self.question);
        // A thread that is gone stays silent.
        self.thread.spawn_fn(move || heard.store(question, Ordering::Release));
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(2);

    #[test]
    fn a_blocked_thread_is_silent_until_it_turns() {
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
            let mut look = |looks: u32| echo.probe(start + LOOK * looks, LOOK);
            assert_eq!(look(0), Duration::ZERO, "asked");
            assert_eq!([1, 2, 3].map(&mut look), [LOOK, LOOK * 2, LOOK * 3]);
            free.send(()).expect("it waits");
            let (answer, answered) = std::sync::mpsc::channel();
            arbiter.spawn_fn(move || answer.send(()).expect("the test listens"));
            answered.recv().expect("it turns again");
            assert_eq!(echo.probe(start + LOOK * 4, LOOK), Duration::ZERO, "answered, asked anew");
        });
    }

    #[test]
    fn a_process_that_slept_finds_no_thread_silent_for_it() {
        actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let mut echo = Echo::new(arbiter.handle());
            let (free, gate) = std::sync::mpsc::channel::<()>();
            arbiter.spawn_fn(move || {
                let _ = gate.recv();
            });
            let start = boottime();
            assert_eq!(echo.probe(start, LOOK), Duration::ZERO, "asked");
            assert_eq!(echo.probe(start + LOOK * 100, LOOK), LOOK, "nobody looked meanwhile");
            assert_eq!(echo.probe(start + LOOK * 101, LOOK), LOOK * 2);
            drop(free);
        });
    }
}
