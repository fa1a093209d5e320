//! The calls of a history, one by one: the broker answers first, the model must say the same.

use std::time::Duration;

use oncue::broker::*;
use oncue::queue::KindHash;
use oncue::task::{Due, TaskId};

use super::census::claimed;
use super::run::{KINDS_ASKED, Run, Sent, Verdict, agree, coded};
use super::{Deed, End, Plan};
use crate::fixture::*;
use crate::model::{Book, Standing};

impl Run {
    pub fn enqueue_new(&mut self, plans: &[Plan], lost: bool) -> Verdict {
        let batch = self.new_batch(plans);
        for _ in 0..=usize::from(lost) {
            self.enqueue(&batch)?;
        }
        self.sent(batch);
        Ok(())
    }

    /// A batch of new tasks under an id of its own.
    pub fn new_batch(&mut self, plans: &[Plan]) -> Batch {
        let tasks: Vec<_> = plans.iter().map(|plan| self.seal(plan)).collect();
        self.serial += 1;
        let id = BatchId(u128::from(self.serial).to_be_bytes());
        Batch { id, ..Batch::new(self.bench.queue.clone(), tasks) }
    }

    /// Remembers a batch, so that it can be sent again.
    pub fn sent(&mut self, batch: Batch) {
        let now = self.bench.now();
        self.batches.push(Sent { batch, first: now, last: now });
    }

    /// Tasks that are due in the same millisecond join their group in any order: so none of them are.
    pub fn apart(&mut self, due: Due) -> Due {
        self.serial += 1;
        let off = Duration::from_millis(500 + self.serial % 250);
        match due {
            Due::Now => Due::Now,
            Due::In(delay) => Due::In(delay + off),
            Due::At(at) => Due::At(at.plus(off)),
        }
    }

    pub fn seal(&mut self, plan: &Plan) -> NewTask {
        let pick = plan.again.and_then(|pick| pick.checked_rem(self.tasks.len()));
        let old = pick.map(|at| self.tasks[at].clone());
        let certain = |id| self.book(|book| book.is_id_certain(id));
        if let Some(old) = old.filter(|task| certain(task.envelope.id())) {
            let front = plan.front && old.group.is_none();
            let moves = |lock: &Lock| lock.conflict == Conflict::Reschedule;
            let apart = old.group.is_some() || old.lock.as_deref().is_some_and(moves);
            let due = if apart { self.apart(plan.due) } else { plan.due };
            return NewTask { due, front, ..old };
        }
        let gathers = plan.join.is_some();
        let moves = plan.want.is_some_and(|want| want.conflict == Conflict::Reschedule);
        let due = if gathers || moves { self.apart(plan.due) } else { plan.due };
        // Ids in no order, so that no broker gets away with sorting by them.
        self.serial += 1;
        let scattered =
            u128::from(self.serial).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let spec = task(KINDS_ASKED[plan.kind])
            .id(TaskId::from_bytes(scattered.to_be_bytes()))
            .priority(if gathers { 0 } else { plan.priority })
            .remember(plan.remember)
            .body(plan.body)
            .due(due);
        let spec = plan.join.iter().fold(spec, |spec, join| spec.group(join.terms()));
        let spec = if plan.front && !gathers { spec.front() } else { spec };
        let spec = plan.want.iter().fold(spec, |spec, want| spec.lock(want.lock()));
        let task = spec.seal(&self.bench.queue, self.bench.now());
        self.tasks.push(task.clone());
        task
    }

    pub fn enqueue(&mut self, batch: &Batch) -> Verdict {
        self.enqueue_both(batch, batch)
    }

    /// The same batch, as each side calls it.
    pub fn enqueue_both(&mut self, theirs: &Batch, ours: &Batch) -> Verdict {
        let tasks = theirs.tasks.clone();
        let theirs = coded(run(self.bench.broker.enqueue(theirs.clone())));
        let ours = coded(run(self.model.enqueue(ours.clone())));
        agree("enqueue", &theirs, &ours)?;
        self.refused = theirs.is_err();
        for (task, answer) in tasks.iter().zip(theirs.unwrap_or_default()) {
            if let Enqueued::Created | Enqueued::Replaced(_) = answer {
                self.created += 1;
                self.trails.remove(&task.envelope.id());
            }
            self.ended += usize::from(matches!(answer, Enqueued::Replaced(_)));
            self.hear(task, answer);
        }
        Ok(())
    }

    /// Between an hour after the first sending and one after the last, the contract leaves it open.
    pub fn repeat(&mut self, pick: usize) -> Verdict {
        let Some(at) = pick.checked_rem(self.batches.len()) else { return Ok(()) };
        let (now, sent) = (self.bench.now(), &mut self.batches[at]);
        let forgotten = now >= sent.last.plus(BATCH_MEMORY);
        if now >= sent.first.plus(BATCH_MEMORY) && !forgotten {
            return Ok(());
        }
        let book = |id| self.model.at(&self.bench.queue, |book| book.is_id_certain(id));
        if !sent.batch.tasks.iter().all(|task| book(task.envelope.id())) {
            return Ok(());
        }
        sent.last = now;
        if forgotten {
            sent.first = now;
        }
        let batch = sent.batch.clone();
        self.enqueue(&batch)
    }

    pub fn oversize(&mut self, plan: Plan) -> Verdict {
        let task = self.seal(&plan);
        let tasks = vec![task; BATCH_TASKS_MAX + 1];
        self.enqueue(&Batch::new(self.bench.queue.clone(), tasks))
    }

    pub fn dequeue_by_hand(
        &mut self,
        hand: usize,
        max: usize,
        lane: Lane,
        limits: [usize; 4],
        lost: bool,
    ) -> Verdict {
        let session = self.hands[hand].clone();
        let (held, forgotten) = self.book(|book| {
            let known = book.desks.contains_key(&session.id);
            (book.held(session.id), known && !book.is_remembered(session.id))
        });
        let kinds = KINDS_ASKED.map(KindHash::of).into_iter().zip(limits);
        let accept = kinds.filter(|(_, limit)| *limit > 0).collect();
        let ask = Ask { session: session.clone(), lease: LEASE, max, lane, accept };
        let granted = !forgotten && self.dequeue(&ask)?;
        if granted && lost {
            self.retire(&session, &held)?;
        }
        if !granted || lost {
            self.hands[hand] = self.open_session();
        }
        Ok(())
    }

    /// Whether the claim was granted.
    pub fn dequeue(&mut self, ask: &Ask) -> Verdict<bool> {
        let theirs = run(self.bench.broker.dequeue(ask.clone()));
        let pick = |claim: &Claim| (claim.id(), claim.group);
        let choice: Vec<_> = theirs.iter().flatten().map(pick).collect();
        let choice = theirs.is_ok().then_some(&choice[..]);
        let ours = self.book(|book| book.dequeue_as(ask, choice));
        self.compare_claims("dequeue", theirs, ours)
    }

    pub fn compare_claims(
        &mut self,
        verb: &str,
        theirs: oncue::Result<Vec<Claim>>,
        ours: oncue::Result<Vec<Claim>>,
    ) -> Verdict<bool> {
        if let (Ok(theirs), Err(breach)) = (&theirs, &ours) {
            return Err(format!("{verb}: {:?} is against the contract: {breach}", ids(theirs)));
        }
        self.refused = theirs.is_err();
        self.claims.extend(theirs.iter().flatten().cloned());
        let (theirs, ours) = (coded(theirs.map(claimed)), coded(ours.map(claimed)));
        agree(verb, &theirs, &ours)?;
        Ok(theirs.is_ok())
    }

    pub fn settle_held(&mut self, pick: usize, deeds: &[(usize, Deed)], lost: bool) -> Verdict {
        let busy = |session: &&Session| !self.book(|book| book.held(session.id)).is_empty();
        let busy: Vec<_> = self.sessions.iter().filter(busy).cloned().collect();
        let Some(at) = pick.checked_rem(busy.len()) else { return Ok(()) };
        let held = self.book(|book| book.held(busy[at].id));
        let mut settlements = Vec::new();
        for (pick, deed) in deeds {
            let id = held[pick % held.len()];
            if let Some(at) = self.claims.iter().rposition(|claim| claim.id() == id) {
                settlements.push(self.settlement(at, *deed));
            }
        }
        self.settle(&busy[at], &settlements)?;
        if lost && !self.refused && self.book(|book| book.is_certain(busy[at].id)) {
            self.settle(&busy[at], &settlements)?;
        }
        Ok(())
    }

    /// Whether a ticket of an earlier claim settles a later one of the same session, the contract leaves open.
    pub fn stray(&mut self, pick: usize, ticket: usize, deed: Deed) -> Verdict {
        let session = self.any_session(pick);
        let Some(at) = ticket.checked_rem(self.claims.len()) else { return Ok(()) };
        let settlement = self.settlement(at, deed);
        if self.is_stray_certain(&session, at) {
            self.settle(&session, &[settlement])
        } else {
            Ok(())
        }
    }

    /// Whether the contract says what this session may do with the ticket of this claim.
    pub fn is_stray_certain(&self, session: &Session, at: usize) -> bool {
        let id = self.claims[at].id();
        let was_claimed_again = self.claims[at + 1..].iter().any(|claim| claim.id() == id);
        let is_held = self.book(|book| book.held(session.id)).contains(&id);
        self.book(|book| book.is_certain(session.id)) && !(is_held && was_claimed_again)
    }

    pub fn settle(&mut self, session: &Session, list: &[Settlement]) -> Verdict {
        let theirs = coded(run(self.bench.broker.settle(session.clone(), list.to_vec())));
        let ours = coded(run(self.model.settle(session.clone(), list.to_vec())));
        agree("settle", &theirs, &ours)?;
        self.refused = theirs.is_err();
        let answers = list.iter().zip(theirs.unwrap_or_default());
        for (settlement, _) in answers.filter(|(_, what)| *what == Settled::Done) {
            self.ended += usize::from(settlement.order.leads_to().is_none());
            if let Some(trail) = &settlement.trail {
                self.trails.insert(settlement.ticket.id, trail.clone());
            }
        }
        Ok(())
    }

    /// In which order tasks join a group again is open, and says which of them are in it once it is full: so they go
    /// back one by one.
    pub fn retire(&mut self, session: &Session, known: &[TaskId]) -> Verdict {
        let gathers =
            |book: &Book, id: &TaskId| book.tasks.get(id).is_some_and(|row| row.gathers());
        let mut back = self.book(|book| {
            let mut held = book.held(session.id);
            held.retain(|id| !known.contains(id) && gathers(book, id));
            held
        });
        let first = back.pop();
        loop {
            self.retire_once(session, &[known, &back].concat())?;
            if first.is_none() || back.pop().is_none() {
                return Ok(());
            }
        }
    }

    /// Of a session that is forgotten or dead the contract says no more than that it is harmless.
    fn retire_once(&mut self, session: &Session, known: &[TaskId]) -> Verdict {
        let (standing, forgotten) = self.book(|book| {
            let standing = book.standing(session.id);
            (standing, standing == Standing::Unknown && book.desks.contains_key(&session.id))
        });
        if forgotten {
            return Ok(());
        }
        let theirs = coded(run(self.bench.broker.retire(session.clone(), known.to_vec())));
        let ours = coded(run(self.model.retire(session.clone(), known.to_vec())));
        match theirs {
            Err(code) if standing == Standing::Dead => agree("retire", &code, &"fenced".to_owned()),
            theirs => agree("retire", &theirs, &ours),
        }
    }

    pub fn reclaim(&mut self, max: usize, known: u8) -> Verdict {
        let session = self.bench.session();
        let bit = |(n, kind): (usize, &&str)| (known >> n & 1 == 1).then(|| KindHash::of(kind));
        let known = KINDS_ASKED.iter().enumerate().filter_map(bit).collect();
        let sweep = Sweep { max, known, ..self.bench.sweep(&session) };
        let theirs = run(self.bench.broker.reclaim(sweep.clone()));
        let pick = |claim: &Claim| (claim.id(), claim.cause);
        let choice: Option<Vec<_>> =
            theirs.as_ref().ok().map(|claims| claims.iter().map(pick).collect());
        let ours = self.book(|book| book.reclaim_as(&sweep, choice.as_deref()));
        // A sweep that takes nothing opens no session: nobody asks about it again.
        if theirs.as_ref().is_ok_and(|claims| !claims.is_empty()) {
            self.sessions.push(session);
        }
        self.compare_claims("reclaim", theirs, ours).map(drop)
    }

    /// Whether a retired session that holds nothing is gone is the broker's affair: it is not named.
    pub fn beat(&mut self, mask: u16) -> Verdict {
        let closed = |book: &Book, id| {
            let retired = book.desks.get(&id).is_some_and(|desk| desk.retired.is_some());
            retired && book.held(id).is_empty()
        };
        let named = |(n, session): (usize, &Session)| {
            let chosen = mask >> (n % 16) & 1 == 1;
            (chosen && !self.book(|book| closed(book, session.id))).then(|| session.clone())
        };
        let sessions: Vec<_> = self.sessions.iter().enumerate().filter_map(named).collect();
        let beat = Beat { sessions, lease: LEASE, presence: None };
        let lost = |reply: oncue::Result<Beaten>| {
            coded(reply).map(|beaten| {
                let (mut lost, mut cancel) = (beaten.lost, beaten.orders.cancel);
                lost.sort();
                cancel.sort();
                (lost, cancel)
            })
        };
        let theirs = lost(run(self.bench.broker.beat(beat.clone())));
        agree("beat", &theirs, &lost(run(self.model.beat(beat))))
    }

    fn settlement(&mut self, claim: usize, deed: Deed) -> Settlement {
        // Apart like due times, for the same reason.
        self.serial += 1;
        let off = Duration::from_millis(500 + self.serial % 250);
        let claim = &self.claims[claim];
        let gathers = claim.stored.header().is_ok_and(|header| header.group.is_some());
        let off = if gathers { off } else { Duration::ZERO };
        let order = match deed.end {
            End::Complete { keep, result } => {
                let sealed =
                    || (claim.trail.attempts, result_of(claim, claim.trail.attempts, b"\"ok\""));
                Order::Complete { keep, result: result.then(sealed) }
            }
            End::Retry { after, front } => Order::Retry { after: after + off, front },
            End::Snooze(after) => Order::Snooze { after: after + off },
            End::Release(lane) => Order::Release { lane },
            End::Archive(reason) => Order::Archive { reason },
            End::Drop => Order::Drop,
        };
        Settlement { trail: deed.trail.map(trail), ..Settlement::new(claim.ticket, order) }
    }
}
