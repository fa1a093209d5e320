//! Slots: how many runs there may be at once, in a lane and of a kind.
//!
//! Room is reserved before a task is claimed and a slot travels with it; dropping the slot is what gives it
//! back, on every road, so it cannot leak. Mailboxes play no part in this. A kind's limit is the whole
//! worker's: whoever gives back a part of it wakes every lane that could not have it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::queue::KindHash;

/// How many runs of each limited kind there may be in the whole worker.
#[derive(Default)]
pub(crate) struct Limits {
    table: HashMap<KindHash, Mutex<Limit>>,
    /// The bells of all lanes.
    lanes: Mutex<Vec<Weak<Notify>>>,
}

/// The limit of one kind, and what is taken of it.
struct Limit {
    most: usize,
    running: usize,
    reserved: usize,
    /// The lanes that had less because others reserved: woken when a reservation is given up. Those that had
    /// less because of runs are woken by the end of any run. So two idle lanes do not wake each other for ever.
    waiting: Vec<Arc<Notify>>,
}

impl Limit {
    fn left(&self) -> usize {
        self.most.saturating_sub(self.running + self.reserved)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limits {
    pub(crate) fn new(limits: impl IntoIterator<Item = (KindHash, usize)>) -> Arc<Self> {
        let limit = |(kind, most)| {
            let limit = Limit { most, running: 0, reserved: 0, waiting: Vec::new() };
            (kind, Mutex::new(limit))
        };
        let table = limits.into_iter().map(limit).collect();
        Arc::new(Self { table, lanes: Mutex::default() })
    }

    /// The limit of a kind, if it has one.
    fn of(&self, kind: KindHash) -> Option<MutexGuard<'_, Limit>> {
        self.table.get(&kind).map(lock)
    }

    /// A run of this kind ended; answers whether the kind is limited.
    fn ended(&self, kind: KindHash) -> bool {
        let Some(mut limit) = self.of(kind) else { return false };
        limit.running = limit.running.saturating_sub(1);
        drop(limit);
        lock(&self.lanes).iter().filter_map(Weak::upgrade).for_each(|bell| bell.notify_one());
        true
    }

    /// A reservation is given up.
    fn unreserve(&self, kind: KindHash, count: usize) {
        if let Some(mut limit) = self.of(kind) {
            limit.reserved = limit.reserved.saturating_sub(count);
            limit.waiting.drain(..).for_each(|bell| bell.notify_one());
        }
    }
}

/// The slots of one lane.
pub(crate) struct Slots {
    taken: AtomicUsize,
    size: usize,
    limits: Arc<Limits>,
    freed: Arc<Notify>,
}

impl Slots {
    pub(crate) fn new(size: usize, limits: Arc<Limits>) -> Arc<Self> {
        let freed = Arc::new(Notify::new());
        lock(&limits.lanes).push(Arc::downgrade(&freed));
        Arc::new(Self { taken: AtomicUsize::new(0), size, limits, freed })
    }

    /// How many slots there are.
    pub(crate) fn total(&self) -> usize {
        self.size
    }

    /// How many slots are free.
    pub(crate) fn free(&self) -> usize {
        self.size.saturating_sub(self.taken.load(Ordering::Acquire))
    }

    /// Reserves room for up to `max` runs, of each kind named up to as many as it says.
    pub(crate) fn reserve(
        &self,
        max: usize,
        kinds: impl IntoIterator<Item = (KindHash, usize)>,
    ) -> Room {
        let free = self.free().min(max);
        let (mut accept, mut reserved, mut limited) = (Vec::new(), Vec::new(), false);
        for (kind, most) in kinds {
            let wanted = free.min(most);
            let (mut room, mut ideal) = (wanted, free);
            if let Some(mut limit) = self.limits.of(kind) {
                room = room.min(limit.left());
                ideal = ideal.min(limit.most);
                if room < wanted && limit.reserved > 0 {
                    limit.waiting.push(self.freed.clone());
                }
                limit.reserved += room;
                // Who reserved nothing gives nothing up: it would wake itself.
                reserved.extend((room > 0).then_some((kind, room)));
            }
            limited |= room < ideal;
            if room > 0 {
                accept.push((kind, room));
            }
        }
        Room { free, accept, limited, reserved, limits: self.limits.clone() }
    }

    /// Takes a slot for a run of this kind: room for it was reserved, and the reservation given up. `load`
    /// counts the slots of the place it runs at.
    pub(crate) fn take(self: &Arc<Self>, kind: KindHash, load: Arc<AtomicUsize>) -> Slot {
        self.taken.fetch_add(1, Ordering::AcqRel);
        load.fetch_add(1, Ordering::Relaxed);
        if let Some(mut limit) = self.limits.of(kind) {
            limit.running += 1;
        }
        Slot { slots: self.clone(), kind, load, given_back: AtomicBool::new(false) }
    }

    /// There is room where there was none: a place for a kind came up.
    pub(crate) fn nudge(&self) {
        self.freed.notify_one();
    }

    /// Ends when a slot was given back, or room for a kind in whatever lane. May end for nothing.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// Room that is reserved until this is dropped.
pub(crate) struct Room {
    /// Free slots.
    pub(crate) free: usize,
    /// The kinds that may take them, and how many each.
    pub(crate) accept: Vec<(KindHash, usize)>,
    /// Whether a kind has less room than if nothing of it were running, reserved or down.
    pub(crate) limited: bool,
    reserved: Vec<(KindHash, usize)>,
    limits: Arc<Limits>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.reserved.drain(..).for_each(|(kind, count)| self.limits.unreserve(kind, count));
    }
}

/// One slot, taken.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    kind: KindHash,
    load: Arc<AtomicUsize>,
    given_back: AtomicBool,
}

impl Slot {
    /// Gives it back, once: when it is dropped, or before, where whoever holds it is given up.
    pub(crate) fn give_back(&self) {
        if self.given_back.swap(true, Ordering::AcqRel) {
            return;
        }
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.slots.taken.fetch_sub(1, Ordering::AcqRel);
        if !self.slots.limits.ended(self.kind) {
            self.slots.freed.notify_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const A: KindHash = KindHash::of("a");
    const B: KindHash = KindHash::of("b");

    fn ask(slots: &Slots) -> Room {
        slots.reserve(9, [(A, 9), (B, 9)])
    }

    fn two_lanes() -> (Arc<Slots>, Arc<Slots>) {
        let limits = Limits::new([(A, 1)]);
        (Slots::new(3, limits.clone()), Slots::new(3, limits))
    }

    fn woken(slots: &Slots) -> bool {
        slots.freed().now_or_never().is_some()
    }

    #[test]
    fn a_kind_at_its_limit_leaves_room_for_others_in_every_lane() {
        let (one, two) = two_lanes();
        let room = ask(&one);
        assert_eq!((room.free, &room.accept[..], room.limited), (3, &[(A, 1), (B, 3)][..], false));
        let other = ask(&two);
        assert_eq!((&other.accept[..], other.limited), (&[(B, 3)][..], true), "a is reserved");
        drop(room);
        let slot = one.take(A, Arc::default());
        assert_eq!((one.free(), ask(&two).accept.len()), (2, 1));
        drop(slot);
        assert_eq!((one.free(), ask(&two).accept.len()), (3, 2));
    }

    #[test]
    fn the_end_of_a_limited_run_wakes_every_lane_and_that_of_another_its_own() {
        let (one, two) = two_lanes();
        drop(one.take(A, Arc::default()));
        assert_eq!((woken(&one), woken(&two)), (true, true));
        let slot = one.take(B, Arc::default());
        slot.give_back();
        assert_eq!((one.free(), woken(&one), woken(&two)), (3, true, false));
        drop(slot);
        assert_eq!((one.free(), woken(&one)), (3, false), "once");
    }

    #[test]
    fn a_reservation_given_up_wakes_who_had_less_for_it_and_nobody_else() {
        let (one, two) = two_lanes();
        drop(ask(&one));
        assert_eq!((woken(&one), woken(&two)), (false, false), "nobody had less");
        let room = ask(&one);
        drop(ask(&two));
        assert!(!woken(&two));
        drop(room);
        assert_eq!((woken(&one), woken(&two)), (false, true));
        drop(ask(&two));
        assert_eq!((woken(&one), woken(&two)), (false, false), "they do not wake each other again");
        let slot = one.take(A, Arc::default());
        drop(ask(&two));
        assert!(!woken(&two), "what is running is told by its end");
        drop(slot);
        assert!(woken(&two));
    }
}
