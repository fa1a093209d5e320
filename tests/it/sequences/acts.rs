//! What people do in a history.

use oncue::broker::*;

use super::run::{Run, Verdict, agree, coded};
use crate::fixture::*;

impl Run {
    pub fn cancel(&mut self, pick: usize) -> Verdict {
        let Some(at) = pick.checked_rem(self.tasks.len()) else { return Ok(()) };
        let (id, queue) = (self.tasks[at].envelope.id(), self.bench.queue.clone());
        let theirs = coded(run(self.bench.broker.cancel(queue.clone(), id)));
        let ours = coded(run(self.model.cancel(queue, id)));
        agree("cancel", &theirs, &ours)
    }

    pub fn act(&mut self, pick: usize, act: Act) -> Verdict {
        let Some(at) = pick.checked_rem(self.tasks.len()) else { return Ok(()) };
        let (id, queue) = (self.tasks[at].envelope.id(), self.bench.queue.clone());
        let act = match act {
            Act::Reschedule(due) => Act::Reschedule(self.apart(due)),
            act => act,
        };
        let theirs = coded(run(self.bench.broker.act(queue.clone(), id, act)));
        let ours = coded(run(self.model.act(queue, id, act)));
        agree("act", &theirs, &ours)?;
        self.refused = theirs != Ok(Acted::Done);
        self.ended += usize::from(act == Act::Delete && !self.refused);
        Ok(())
    }

    /// The record that is there as it is shown, by whichever side.
    pub fn edit(&mut self, pick: usize, body: usize) -> Verdict {
        let Some(at) = pick.checked_rem(self.tasks.len()) else { return Ok(()) };
        let envelope = reseal(&self.tasks[at].envelope, body);
        let Some(seen) = self.bench.show(envelope.id()).map(|view| view.stored) else {
            return Ok(());
        };
        let theirs = coded(run(self.bench.broker.replace(seen.clone(), envelope.clone())));
        let ours = coded(run(self.model.replace(seen, envelope)));
        agree("edit", &theirs, &ours)?;
        self.refused = theirs != Ok(Acted::Done);
        Ok(())
    }

    pub fn set(&mut self, setting: Setting) -> Verdict {
        let queue = self.bench.queue.clone();
        let theirs = coded(run(self.bench.broker.set(queue.clone(), setting.clone())));
        let ours = coded(run(self.model.set(queue, setting)));
        agree("set", &theirs, &ours)
    }
}
