//! The Fetcher: claims as much as there is room for and routes it to the least loaded Processor.
//!
//! It never claims what it cannot start: slots first, then claims. A claim whose reply was lost is not
//! searched for: the session is retired, which hands it back, and the next claim is made under a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures::FutureExt;
use futures::future::{join, join_all, pending};

use crate::broker::{Ask, CLAIMS_MAX, Claim, Lane, Wake};
use crate::clock::boottime;
use crate::event::Event;
use crate::queue::{KindHash, QueueName};
use crate::task::GROUP_TASKS_MAX;

use tokio::sync::{Notify, OwnedRwLockWriteGuard};

use super::backoff::Backoff;
use super::config::{IDLE_POLL, POLL, SESSION_IDLE, jittered};
use super::counter::{NO_THREAD, each, hand_out, pieces};
use super::job::Job;
use super::slots::{Room, Slots};
use super::turn::{InHand, Turn};
use super::{Shared, settle};

/// Claims for every lane, and for the tasks that must run alone.
pub(crate) struct Fetcher(pub(crate) Arc<Shared>);

impl Actor for Fetcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // What an incarnation before this one claimed and did not hand on goes back.
        for turn in self.0.turns.current() {
            actix_rt::spawn(turn.retire(self.0.broker.clone(), self.0.config.lease));
        }
        let shared = &self.0;
        let lanes = (0..shared.lanes.len()).map(|lane| claim_shared(shared.clone(), lane));
        let claiming = join(join_all(lanes), claim_alone(shared.clone()));
        // A quiet Fetcher lives on: an actor without work would count as one that died.
        let claiming = claiming.then(|_| pending::<()>());
        context.spawn(claiming.into_actor(self).map(|(), _, _| ()));
    }
}

/// What one round over the queues of a lane came to.
enum Round {
    /// Every slot is taken.
    Full,
    /// Something was there, and more may be.
    More,
    /// The broker failed.
    Failed,
    /// Nothing more to claim; `limited`: as far as kinds had room.
    Dry { limited: bool },
}

/// The claims of one lane, until the worker is quiet.
async fn claim_shared(shared: Arc<Shared>, lane: usize) {
    let lane = &shared.lanes[lane];
    let mut desk = Desk::new(shared.clone(), Lane::Shared, lane.slots.clone());
    desk.found = lane.found.clone();
    while !shared.quiet.is_cancelled() {
        shared.fail_point("fetcher");
        // Marked before the claim: what comes after it is not missed.
        let mark = shared.broker.wait(Wake::Ready, None).await.ok();
        let round = {
            // Nothing is claimed while a task runs alone.
            let _company = shared.company.read().await;
            desk.round(&lane.order(), lane.strict).await
        };
        match round {
            Round::More => {}
            Round::Full => lane.slots.freed().await,
            Round::Failed => desk.backoff.rest(&shared, Wake::Ready, mark).await,
            Round::Dry { limited } => desk.idle(limited, mark).await,
        }
    }
}

/// How long nothing is claimed while a task that must run alone waits for the others to end; never more than a lease.
const ALONE_PATIENCE: Duration = Duration::from_secs(5);
/// For how long a worker whose runs did not end in that time is not asked to wait again.
const BUSY: Duration = Duration::from_secs(60);
/// For how long tasks run alone, one after the other, before the others have their turn; from the first that begins.
const ALONE_TURN: Duration = Duration::from_secs(1);

/// The claims of tasks that must run alone: one at a time, asked for once a second at most.
async fn claim_alone(shared: Arc<Shared>) {
    let mut desk = Desk::new(shared.clone(), Lane::Alone, shared.alone.clone());
    let mut first = 0;
    while !shared.quiet.is_cancelled() {
        let mark = shared.broker.wait(Wake::Ready, None).await.ok();
        let mut queues = shared.queues();
        // Another queue is first the next time: there is but one slot.
        let places = queues.len().max(1);
        queues.rotate_left(first % places);
        first = first.wrapping_add(1);
        let round = desk.round(&queues, false).await;
        match round {
            Round::More | Round::Full if desk.seclusion.is_some() => {
                // A run that was given up and goes on keeps its slot, maybe for ever, and nobody waits for that.
                tokio::select! {
                    () = shared.alone.freed() => {}
                    () = shared.drained() => {}
                }
                let lingers = shared.alone.free() == 0 && shared.turns.held() == 0;
                let began = desk.seclusion.as_ref().and_then(|seclusion| seclusion.began);
                if lingers || began.is_some_and(|began| began.elapsed() > ALONE_TURN) {
                    desk.seclusion = None;
                    tokio::time::sleep(jittered(POLL)).await;
                }
            }
            // It took too long for the others to end.
            Round::More | Round::Full => tokio::time::sleep(jittered(POLL)).await,
            Round::Failed => {
                desk.seclusion = None;
                desk.backoff.rest(&shared, Wake::Ready, mark).await;
            }
            Round::Dry { limited } => {
                desk.seclusion = None;
                // Whatever becomes pending wakes, and next to none of it is for this lane.
                tokio::time::sleep(jittered(POLL)).await;
                desk.idle(limited, mark).await;
            }
        }
    }
}

/// Where the claims of one lane are made: its present turn at each queue.
struct Desk {
    shared: Arc<Shared>,
    lane: Lane,
    slots: Arc<Slots>,
    turns: HashMap<QueueName, (Arc<Turn>, Instant)>,
    backoff: Backoff,
    /// Told when there are more queues.
    found: Arc<Notify>,
    seclusion: Option<Seclusion>,
    /// When it was last found that runs here are too long to wait for.
    busy: Option<Instant>,
}

/// Keeps all others from being claimed.
struct Seclusion {
    _company: OwnedRwLockWriteGuard<()>,
    /// When the first of those that run alone began.
    began: Option<Instant>,
}

/// What came of one claim.
struct Claimed {
    /// Pieces of work: a group is one.
    count: usize,
    /// Whether a kind may have more for us, but had no more room.
    limited: bool,
    /// Whether the answer was as large as it may be, so that more may be waiting: no wake-up tells of that.
    more: bool,
}

impl Desk {
    fn new(shared: Arc<Shared>, lane: Lane, slots: Arc<Slots>) -> Self {
        Self {
            shared,
            lane,
            slots,
            turns: HashMap::new(),
            backoff: Backoff::new(),
            found: Arc::default(),
            seclusion: None,
            busy: None,
        }
    }

    /// Room for the kinds that are served and whose Processors are up; a replica takes so many tasks at a time.
    fn room(&self) -> Room {
        let kinds = self.shared.places.iter().filter_map(|(kind, places)| {
            let ward = self.shared.wards.get(kind)?;
            let room = match each(&self.shared, *kind) {
                Some(most) => places.iter().map(|place| place.room(most)).sum(),
                None if places.iter().any(|place| place.is_up()) => CLAIMS_MAX,
                None => 0,
            };
            Some((*kind, room.min(ward.room())))
        });
        self.slots.reserve(CLAIMS_MAX, kinds)
    }

    /// Nothing to claim: waits until there may be.
    async fn idle(&mut self, limited: bool, mark: Option<u64>) {
        self.close_idle();
        let poll = if limited { POLL } else { IDLE_POLL };
        tokio::select! {
            () = self.shared.quiet.cancelled() => {}
            () = self.shared.woken(Wake::Ready, mark) => {}
            () = self.slots.freed(), if limited => {}
            () = self.found.notified() => {}
            () = tokio::time::sleep(jittered(poll)) => {}
        }
    }

    /// Asks every queue once, in this order; in a strict lane a later queue only while all before it are
    /// empty.
    async fn round(&mut self, queues: &[QueueName], strict: bool) -> Round {
        let (mut limited, mut more, mut failed) = (false, false, false);
        // The kinds every queue so far was asked for: room that comes up during a strict round is for the
        // first queue of the next.
        let mut asked_for: Option<Vec<KindHash>> = None;
        for queue in queues {
            if self.shared.quiet.is_cancelled() {
                break;
            }
            let mut room = self.room();
            limited |= room.limited;
            if room.free == 0 {
                return Round::Full;
            }
            if strict {
                if let Some(kinds) = &asked_for {
                    room.accept.retain(|(kind, _)| kinds.contains(kind));
                }
                asked_for = Some(room.accept.iter().map(|(kind, _)| *kind).collect());
            }
            if !room.accept.is_empty() {
                match self.claim(queue, room).await {
                    // What cannot be asked holds up nobody, in a strict lane neither.
                    None => failed = true,
                    Some(claimed) if strict && claimed.count > 0 => return Round::More,
                    Some(claimed) => {
                        limited |= claimed.limited;
                        more |= claimed.more;
                    }
                }
            }
        }
        match self.slots.free() {
            0 => Round::Full,
            _ if failed => Round::Failed,
            _ if more => Round::More,
            _ => Round::Dry { limited },
        }
    }

    /// Claims from one queue and hands on what it got; answers what came of it, if the broker did.
    async fn claim(&mut self, queue: &QueueName, room: Room) -> Option<Claimed> {
        let turn = self.turn(queue);
        let (began, lease) = (boottime(), self.shared.config.lease);
        let asked = room.free;
        let ask = Ask {
            session: turn.session.clone(),
            lease,
            max: asked,
            lane: self.lane,
            accept: room.accept.clone(),
        };
        match self.shared.broker.dequeue(ask).await {
            // Retired meanwhile: what it did not know of then it hands back, and another may have claimed.
            Ok(_) if turn.is_retired() => None,
            Ok(claims) => {
                self.backoff.reset();
                let pieces = pieces(&claims);
                let count = pieces.len();
                let of = |kind| pieces.iter().filter(|(of, _)| *of == kind).count();
                let used_up = |(kind, most): &(_, usize)| *most < room.free && of(*kind) == *most;
                let limited = room.accept.iter().any(used_up);
                // A group that found no room in the answer waits, and no wake-up tells of it.
                let more = count == asked || claims.len() + GROUP_TASKS_MAX > CLAIMS_MAX;
                // The broker opened the session, be there claims or not: beats must keep it from now on, or
                // the first claims could come in the last moment of its lease.
                if !turn.is_open() {
                    turn.extend(began, lease);
                }
                if count > 0 {
                    if let Some((_, used)) = self.turns.get_mut(queue) {
                        *used = Instant::now();
                    }
                    drop(room);
                    match self.lane {
                        Lane::Shared => hand_out(&self.shared, &self.slots, &turn, claims),
                        Lane::Alone => self.take_up_alone(&turn, claims).await,
                    }
                }
                Some(Claimed { count, limited, more })
            }
            Err(error) => {
                // Fenced, or unknown: whatever was claimed is handed back.
                self.turns.remove(queue);
                actix_rt::spawn(turn.retire(self.shared.broker.clone(), lease));
                if !error.is_fenced() {
                    let error = error.to_string();
                    self.shared.tell(Event::BrokerFailed { verb: "dequeue", error });
                }
                None
            }
        }
    }

    /// Waits until nothing else is in our hands, and keeps it so; false if that takes too long, or did lately.
    async fn seclude(&mut self) -> bool {
        if self.busy.is_some_and(|since| since.elapsed() < BUSY) {
            return false;
        }
        let (shared, before) = (self.shared.clone(), self.seclusion.take());
        let patience = ALONE_PATIENCE.min(shared.config.lease);
        let alone = async {
            let seclusion = match before {
                Some(seclusion) => seclusion,
                None => {
                    let company = shared.company.clone().write_owned().await;
                    Seclusion { _company: company, began: None }
                }
            };
            shared.drained().await;
            seclusion
        };
        tokio::select! {
            alone = tokio::time::timeout(patience, alone) => {
                self.busy = alone.is_err().then(Instant::now);
                self.seclusion = alone.ok();
            }
            () = shared.quiet.cancelled() => {}
        }
        self.seclusion.is_some()
    }

    /// A task that must run alone is claimed twice. First it waits here until nothing else is in our hands; its trail
    /// does not say `alone` yet, so that a crash meanwhile does not count as one alone. Then it goes back with a trail
    /// that says so, and begins at once when it is claimed again. If the others do not end in time it goes back to run
    /// beside them.
    async fn take_up_alone(&mut self, turn: &Arc<Turn>, claims: Vec<Claim>) {
        let says_alone = claims.iter().all(|claim| claim.trail.alone);
        if let (Some(seclusion), true) = (&mut self.seclusion, says_alone) {
            seclusion.began.get_or_insert_with(Instant::now);
            hand_out(&self.shared, &self.slots, turn, claims);
        } else if says_alone {
            // Of another worker, which was about to begin it.
            self.put_back(turn, claims, Lane::Alone, false);
        } else if self.seclude().await {
            self.put_back(turn, claims, Lane::Alone, true);
        } else {
            self.put_back(turn, claims, Lane::Shared, false);
        }
    }

    fn put_back(&self, turn: &Arc<Turn>, claims: Vec<Claim>, lane: Lane, alone: bool) {
        for claim in claims {
            let slot = Arc::new(self.slots.take(claim.ticket.kind, Arc::default()));
            let in_hand = InHand::new(&claim, NO_THREAD, &slot, None);
            for held in turn.hold(std::iter::once(in_hand)) {
                Job::new(claim.clone(), held, None, turn.clone(), slot.clone())
                    .put_back(lane, alone);
            }
        }
    }

    /// The present turn at a queue; a fresh one if there is none or it is over.
    fn turn(&mut self, queue: &QueueName) -> Arc<Turn> {
        if let Some((turn, _)) = self.turns.get(queue)
            && !turn.is_retired()
        {
            return turn.clone();
        }
        let (turn, lane) = Turn::open(queue.clone());
        self.shared.turns.add(turn.clone());
        actix_rt::spawn(settle::run(lane, self.shared.clone()));
        self.turns.insert(queue.clone(), (turn.clone(), Instant::now()));
        turn
    }

    /// Retires turns that claimed nothing for a while and hold nothing.
    fn close_idle(&mut self) {
        let shared = &self.shared;
        self.turns.retain(|_, (turn, used)| {
            let idle = turn.is_open() && used.elapsed() > SESSION_IDLE && turn.len() == 0;
            if idle {
                actix_rt::spawn(turn.clone().retire(shared.broker.clone(), shared.config.lease));
            }
            !idle
        });
    }
}
