//! An echo: whether a worker thread still turns, or a handler blocks it.
//!
//! Only asks and tells. An async handler that does not yield stops the others on its thread; leases go on, since
//! beats have a thread of their own. What is done about it is `threads`' and the Supervisor's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;

use crate::clock::boottime;

/// The echo of one thread.
pub(crate) struct Echo {
    thread: ArbiterHandle,
    asked: Option<Duration>,
    /// Number of the last question answered.
    heard: Arc<AtomicU64>,
    question: u64,
    told: bool,
}

impl Echo {
    pub(crate) fn new(thread: ArbiterHandle) -> Self {
        Self { thread, asked: None, heard: Arc::default(), question: 0, told: false }
    }

    /// Asks again if the last question was answered; answers for how long the thread has been silent, once
    /// each time that is too long.
    pub(crate) fn probe(&mut self, now: Duration, stuck_after: Duration) -> Option<Duration> {
        if let Some(asked) = self.asked
            && self.heard.load(Ordering::Acquire) < self.question
        {
            let silent = now.saturating_sub(asked);
            let stuck = silent >= stuck_after && !self.told;
            self.told |= stuck;
            return stuck.then_some(silent);
        }
        self.question += 1;
        self.told = false;
        self.asked = Some(boottime());
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
            assert_eq!(echo.probe(start, AFTER), None, "asked");
            assert_eq!(echo.probe(start + AFTER / 2, AFTER), None, "not yet");
            let late = boottime() + AFTER;
            assert!(echo.probe(late, AFTER).is_some(), "told");
            assert_eq!(echo.probe(late, AFTER), None, "once");
            free.send(()).expect("it waits");
            let (answer, answered) = std::sync::mpsc::channel();
            arbiter.spawn_fn(move || answer.send(()).expect("the test listens"));
            answered.recv().expect("it turns again");
            assert_eq!(echo.probe(late * 2, AFTER), None, "answered, asked anew");
        });
    }
}
