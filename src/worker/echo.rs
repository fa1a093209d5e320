//! An echo: for how long a thread of the worker has not turned, since something on it blocks or never yields.
//!
//! Only asks and answers. An async handler that does not yield stops the others on its thread; leases go on, since
//! beats have a thread of their own. What is done about it is the business of whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::boottime;

/// Something short that a thread is to do.
pub(crate) type Errand = Box<dyn FnOnce() + Send>;

/// The echo of one thread.
pub(crate) struct Echo {
    ask: Box<dyn Fn(Errand) + Send>,
    /// Number of the last question answered.
    heard: Arc<AtomicU64>,
    question: u64,
    /// When it was last looked at.
    looked: Duration,
    /// How long the question has been open, counting only time in which somebody looked.
    silent: Duration,
}

impl Echo {
    /// `ask` has the thread run an errand; of one that is gone it does nothing, so it stays silent.
    pub(crate) fn new(ask: impl Fn(Errand) + Send + 'static) -> Self {
        let (heard, question, silent) = Default::default();
        let ask = Box::new(ask);
        Self { ask, heard, question, looked: boottime(), silent }
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
        (self.ask)(Box::new(move || heard.store(question, Ordering::Release)));
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(2);

    fn echo_of(arbiter: &actix_rt::Arbiter) -> Echo {
        let handle = arbiter.handle();
        Echo::new(move |errand| {
            handle.spawn_fn(errand);
        })
    }

    #[test]
    fn a_blocked_thread_is_silent_until_it_turns() {
        actix_rt::System::new().block_on(async {
            let arbiter = actix_rt::Arbiter::new();
            let mut echo = echo_of(&arbiter);
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
            let mut echo = echo_of(&arbiter);
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
