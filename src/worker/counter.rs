//! The counter: where claims are handed out, each piece of work to the least loaded place of its kind.
//!
//! A group that was claimed is one piece: it goes to one place, with one slot and one pass. What belongs to no group and
//! is handled in batches goes to one place too, as long as that is up, so that it finds company.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::broker::Claim;
use crate::handler::Roll;
use crate::queue::KindHash;

use super::Shared;
use super::job::Job;
use super::place::Place;
use super::slots::{Slot, Slots};
use super::turn::{InHand, Turn};
use super::ward::{Pass, Ward};

/// Where a task is that found no place. No thread has this number.
pub(super) const NO_THREAD: usize = usize::MAX;

/// How many tasks each place of a kind takes at once, if that is limited.
pub(super) fn each(shared: &Shared, kind: KindHash) -> Option<usize> {
    let route = shared.routes.get(kind)?;
    route.replicas.map(|_| route.concurrent)
}

/// A group of a kind within one answer of the broker.
type Group = (KindHash, u32);

/// The pieces of work among claims, each with its kind; by number if it is a group.
pub(super) fn pieces(claims: &[Claim]) -> Vec<(KindHash, Option<u32>)> {
    let mut pieces: Vec<_> = claims.iter().map(|claim| (claim.ticket.kind, claim.group)).collect();
    let mut groups = HashSet::new();
    pieces.retain(|(kind, group)| group.is_none_or(|group| groups.insert((*kind, group))));
    pieces
}

/// Hands claims to the least loaded places of their kinds.
pub(super) fn hand_out(shared: &Shared, slots: &Arc<Slots>, turn: &Arc<Turn>, claims: Vec<Claim>) {
    let mut counters: Vec<Counter<'_>> = Vec::new();
    let mut groups: HashMap<Group, (Seat, Roll)> = HashMap::new();
    let mut placed = Vec::with_capacity(claims.len());
    for claim in &claims {
        let kind = claim.ticket.kind;
        let mut seat = |is_group| {
            let counter =
                counters.iter().position(|known| known.kind == kind).unwrap_or_else(|| {
                    counters.push(Counter::new(shared, kind));
                    counters.len() - 1
                });
            Seat::new(shared, slots, &mut counters[counter], counter, is_group)
        };
        placed.push(match claim.group {
            None => (seat(false), None),
            Some(group) => {
                let group = groups.entry((kind, group));
                let (seat, roll) = group.or_insert_with(|| (seat(true), Roll::new()));
                (seat.clone(), Some(roll.enrol()))
            }
        });
    }
    // From here on they are complete.
    drop(groups);
    let in_hand = claims.iter().zip(&placed).map(|(claim, (seat, _))| {
        let place = seat.taker.map(|taker| counters[seat.counter].takers[taker].place);
        let thread = place.map_or(NO_THREAD, |place| place.thread());
        InHand::new(claim, thread, &seat.slot, seat.pass.as_ref())
    });
    let held = turn.hold(in_hand);
    for ((claim, held), (seat, member)) in claims.into_iter().zip(held).zip(placed) {
        let Seat { counter, taker, slot, pass } = seat;
        let mut job = Box::new(Job::new(claim, held, pass, turn.clone(), slot));
        job.join(member, None);
        // Without a place or a pass the job is dropped here, which hands its task back.
        if let Some(taker) = taker.filter(|_| job.pass.is_some()) {
            counters[counter].takers[taker].jobs.push(job);
        }
    }
    for taker in counters.into_iter().flat_map(|counter| counter.takers) {
        if !taker.jobs.is_empty() {
            taker.place.deliver(taker.jobs);
        }
    }
}

/// What one piece of work takes.
#[derive(Clone)]
struct Seat {
    counter: usize,
    /// Which of the counter's; none if no place is up.
    taker: Option<usize>,
    slot: Arc<Slot>,
    pass: Option<Pass>,
}

impl Seat {
    fn new(
        shared: &Shared,
        slots: &Arc<Slots>,
        counter: &mut Counter<'_>,
        number: usize,
        is_group: bool,
    ) -> Self {
        let taker = if is_group { counter.least() } else { counter.next() };
        let load = taker.map(|taker| counter.takers[taker].place.load.clone()).unwrap_or_default();
        let slot = Arc::new(slots.take(counter.kind, load));
        let pass = shared.wards.get(&counter.kind).and_then(Ward::admit);
        Self { counter: number, taker, slot, pass }
    }
}

/// Where the tasks of one kind are handed out.
struct Counter<'a> {
    kind: KindHash,
    takers: Vec<Taker<'a>>,
    /// How many tasks each takes at once, if that is limited.
    each: Option<usize>,
    /// Whether they gather in batches.
    gathers: bool,
}

/// A place, how much it has, and what it is given.
struct Taker<'a> {
    place: &'a Arc<Place>,
    load: usize,
    #[expect(
        clippy::vec_box,
        reason = "a job is handed on many times: from here to its end it stays where it is"
    )]
    jobs: Vec<Box<Job>>,
}

impl<'a> Counter<'a> {
    /// With the places that can be given tasks of the kind now.
    fn new(shared: &'a Shared, kind: KindHash) -> Self {
        let places = shared.places.get(&kind).map_or(&[][..], Vec::as_slice);
        let up = places.iter().filter(|place| place.is_up());
        let load = |place: &Arc<Place>| place.load.load(Ordering::Relaxed);
        let takers = up.map(|place| Taker { load: load(place), place, jobs: Vec::new() });
        let gathers = shared.routes.get(kind).is_some_and(|route| route.factory.gathers());
        Self { kind, takers: takers.collect(), each: each(shared, kind), gathers }
    }

    /// Where a task of no group goes.
    fn next(&mut self) -> Option<usize> {
        if !self.gathers {
            return self.least();
        }
        self.takers.first_mut()?.load += 1;
        Some(0)
    }

    /// Counts one more piece of work of the least loaded place that has room.
    fn least(&mut self) -> Option<usize> {
        let each = self.each.unwrap_or(usize::MAX);
        let takers = self.takers.iter_mut().enumerate().filter(|(_, taker)| taker.load < each);
        let (number, least) = takers.min_by_key(|(_, taker)| taker.load)?;
        least.load += 1;
        Some(number)
    }
}
