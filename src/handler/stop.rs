//! What a run is told from outside: to stop, that its task is cancelled, that its lease is lost. One small allocation
//! per run.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

const ASKED: u8 = 1;
const LOST: u8 = 2;
const CANCELLED: u8 = 4;
const BEGAN: u8 = 8;
const ENDED: u8 = 16;

/// Told by the worker, heard by the run. Never taken back.
#[derive(Default)]
pub(crate) struct Stop {
    told: AtomicU8,
    news: Notify,
}

impl Stop {
    fn tell(&self, what: u8) {
        self.told.fetch_or(what, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    /// The run is to stop.
    pub(crate) fn ask(&self) {
        self.tell(ASKED);
    }

    /// Its task belongs to somebody else: it is to stop, and nothing of it is settled.
    pub(crate) fn lose(&self) {
        self.tell(ASKED | LOST);
    }

    /// Its task is cancelled: it is to stop, and will not run again.
    pub(crate) fn cancel(&self) {
        self.tell(ASKED | CANCELLED);
    }

    /// The handler is to be called; answers whether it may be: the task of a run that was given up is another's.
    pub(crate) fn begin(&self) -> bool {
        let begin = |told| (told & (ENDED | LOST) == 0).then_some(told | BEGAN);
        self.told.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_ok()
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.is(BEGAN)
    }

    /// Whether the handler was called and its claim is not settled.
    pub(crate) fn is_running(&self) -> bool {
        self.told.load(Ordering::Acquire) & (BEGAN | ENDED) == BEGAN
    }

    /// Its claim is settled, by the run itself or by who gave it up; answers whether this is the first to do so.
    pub(crate) fn end(&self) -> bool {
        self.told.fetch_or(ENDED, Ordering::AcqRel) & ENDED == 0
    }

    fn is(&self, what: u8) -> bool {
        self.told.load(Ordering::Acquire) & what != 0
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is(ASKED)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is(LOST)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is(CANCELLED)
    }

    /// Ends once the run is to stop.
    pub(crate) async fn asked(&self) {
        self.heard(ASKED).await;
    }

    /// Ends once the task is cancelled, or the lease lost.
    pub(crate) async fn voided(&self) {
        self.heard(CANCELLED | LOST).await;
    }

    async fn heard(&self, what: u8) {
        loop {
            // Made before the look: what is told after it ends this.
            let news = self.news.notified();
            if self.is(what) {
                return;
            }
            news.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_was_told_stays_told_and_wakes_who_waits() {
        let stop = Stop::default();
        let (mut asked, mut voided) = (Box::pin(stop.asked()), Box::pin(stop.voided()));
        assert!((&mut asked).now_or_never().is_none() && (&mut voided).now_or_never().is_none());
        stop.ask();
        assert!(asked.now_or_never().is_some() && (&mut voided).now_or_never().is_none());
        assert!(stop.is_asked() && !stop.is_cancelled() && !stop.is_lost());
        stop.cancel();
        assert!(voided.now_or_never().is_some() && stop.asked().now_or_never().is_some());
        assert!(stop.is_cancelled() && !stop.is_lost());
        stop.lose();
        assert!(stop.is_lost() && stop.is_cancelled());
        assert!(!stop.has_begun() && stop.end() && !stop.end(), "a claim is settled once");
    }
}
