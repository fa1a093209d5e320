//! The lives of a broker's thread: one that panics begins again.
//!
//! At once at first, then a little later each time; one that dies too often is left alone for a while, and its calls
//! are refused meanwhile, so that nobody waits for it. What a thread does, and what its death loses, is its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::restart::{Backoff, Directive, Exit, OnExceeded, Policy, Record, Standing};

/// So many deaths are borne, and such are the waits. Far shorter than a lease, so that beats get through.
const POLICY: Policy = Policy::DEFAULT
    .backoff(Backoff {
        min: Duration::from_millis(10),
        max: Duration::from_secs(1),
        jitter: 0.0,
        ..Backoff::DEFAULT
    })
    .on_exceeded(OnExceeded::Quarantine { probe_after: Duration::from_secs(1) });

/// How a thread stands, for those who call it.
pub(crate) struct Fate {
    thread: &'static str,
    /// It died too often and is left alone.
    refusing: AtomicBool,
    /// It is back from that and has answered nothing yet.
    probing: AtomicBool,
    ended: AtomicBool,
    /// What it last died of.
    why: Mutex<String>,
}

impl Fate {
    /// Refuses a call while the thread is left alone.
    pub(crate) fn admit(&self) -> Result<()> {
        if !self.refusing.load(Ordering::Acquire) {
            return Ok(());
        }
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Error::unreachable(format!(
            "the thread {} died too often and begins again in a second; nothing was done, send the call again \
             then, and report what it died of ({why})",
            self.thread
        )))
    }

    /// The thread did what it was asked.
    pub(crate) fn answered(&self) {
        if self.probing.load(Ordering::Relaxed) && self.probing.swap(false, Ordering::AcqRel) {
            tracing::info!(thread = self.thread, "a thread of the broker is well again");
        }
    }

    /// Why a call that was admitted has no answer.
    pub(crate) fn lost(&self) -> Error {
        if self.ended.load(Ordering::Acquire) {
            return Error::closed("the broker was closed");
        }
        Error::unreachable(format!(
            "the thread {} panicked before it answered; whether the call took effect is unknown: send it again, and \
             report what the log says of it",
            self.thread
        ))
    }

    /// The thread ends in order: what has no answer gets none.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// What is held against a thread.
pub(crate) struct Lives {
    fate: Arc<Fate>,
    record: Record,
}

impl Lives {
    pub(crate) fn new(thread: &'static str) -> Self {
        let fate = Fate {
            thread,
            refusing: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            why: Mutex::default(),
        };
        Self { fate: Arc::new(fate), record: Record::default() }
    }

    pub(crate) fn fate(&self) -> Arc<Fate> {
        self.fate.clone()
    }

    /// Lives until a life ends in order. One that panics died, and so did one that could not begin and says why.
    pub(crate) fn keep<V>(mut self, mut life: impl FnMut() -> Result<V, String>) -> V {
        loop {
            let why = match catch_unwind(AssertUnwindSafe(&mut life)) {
                Ok(Ok(ended)) => {
                    self.fate.end();
                    return ended;
                }
                Ok(Err(why)) => why,
                Err(panic) => crate::panic::text(panic),
            };
            std::thread::sleep(self.died(&why, Instant::now()));
            self.begins(Instant::now());
        }
    }

    /// It died of this; answers when it begins again.
    fn died(&mut self, why: &str, now: Instant) -> Duration {
        let (fate, record) = (&self.fate, &mut self.record);
        if matches!(record.standing(), Standing::Probing { .. })
            && !fate.probing.swap(false, Ordering::AcqRel)
        {
            record.answered();
        }
        why.clone_into(&mut fate.why.lock().unwrap_or_else(PoisonError::into_inner));
        let thread = fate.thread;
        match record.exited(&POLICY, 0, Exit::Abnormal, now, 0.0) {
            Directive::QuarantineUntil(until) => {
                fate.refusing.store(true, Ordering::Release);
                tracing::error!(
                    thread,
                    why,
                    "a thread of the broker died too often; calls are refused for a second"
                );
                until.saturating_duration_since(now)
            }
            Directive::RestartAfter(wait) => {
                tracing::error!(
                    thread,
                    why,
                    ?wait,
                    "a thread of the broker died and is started again"
                );
                wait
            }
            // The policy says nothing else.
            _ => POLICY.backoff.max,
        }
    }

    /// Its time to begin again has come.
    fn begins(&mut self, now: Instant) {
        if let Directive::Probe = self.record.look(now) {
            self.fate.probing.store(true, Ordering::Release);
            self.fate.refusing.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_sixth_death_in_half_a_minute_is_one_too_many_and_an_answer_makes_it_well() {
        let (mut lives, start) = (Lives::new("x"), Instant::now());
        let fate = lives.fate();
        let waits: Vec<u128> = (0..5).map(|_| lives.died("why", start).as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160]);
        fate.admit().expect("borne");
        assert_eq!(lives.died("a reason", start), S);
        let refused = fate.admit().expect_err("left alone");
        assert!(refused.is_unreachable() && refused.to_string().contains("a reason"), "{refused}");
        // A moment early it is still left alone.
        lives.begins(start + S - Duration::from_millis(1));
        assert!(fate.admit().is_err());
        lives.begins(start + S);
        fate.admit().expect("probed");
        // It answers nothing and dies: at once too often.
        assert_eq!(lives.died("again", start + S), S);
        assert!(fate.admit().is_err());
        lives.begins(start + 2 * S);
        fate.answered();
        assert_eq!(lives.died("later", start + 2 * S).as_millis(), 10, "a new count");
        fate.admit().expect("borne");
    }

    #[test]
    fn a_panic_and_a_life_that_cannot_begin_are_both_deaths() {
        let lives = Lives::new("x");
        let (fate, mut count) = (lives.fate(), 0);
        let ended = lives.keep(|| {
            count += 1;
            assert!(fate.lost().is_unreachable());
            match count {
                1 => panic!("planned"),
                2 => Err("no room".to_owned()),
                count => Ok(count),
            }
        });
        assert_eq!(ended, 3);
        assert!(fate.lost().is_closed());
    }
}
