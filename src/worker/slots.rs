//! Slots: how many runs there may be at once, in a lane and of a kind.
//!
//! Room is reserved before a task is claimed and a slot travels with it; dropping the slot is what gives it
//! back, on every road, so it cannot leak. Mailboxes play no part in this.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::queue::KindHash;

/// How many runs of each limited kind there may be in the whole worker.
#[derive(Default)]
pub(crate) struct Limits(Mutex<HashMap<KindHash, (usize, usize)>>);

impl Limits {
    pub(crate) fn new(limits: impl IntoIterator<Item = (KindHash, usize)>) -> Arc<Self> {
        let limits = limits.into_iter().map(|(kind, limit)| (kind, (limit, 0)));
        Arc::new(Self(Mutex::new(limits.collect())))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<KindHash, (usize, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, kind: KindHash, count: usize) {
        if let Some((_, taken)) = self.table().get_mut(&kind) {
            *taken = taken.saturating_sub(count);
        }
    }
}

/// The slots of one lane.
pub(crate) struct Slots {
    taken: Mutex<usize>,
    size: usize,
    limits: Arc<Limits>,
    freed: Notify,
}

impl Slots {
    pub(crate) fn new(size: usize, limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(0), size, limits, freed: Notify::new() })
    }

    fn taken(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many slots are free.
    pub(crate) fn free(&self) -> usize {
        self.size.saturating_sub(*self.taken())
    }

    /// Reserves room for up to `max` runs, of each kind named up to as many as it says.
    pub(crate) fn reserve(
        &self,
        max: usize,
        kinds: impl IntoIterator<Item = (KindHash, usize)>,
    ) -> Room {
        let free = self.free().min(max);
        let (mut accept, mut reserved, mut limited) = (Vec::new(), Vec::new(), false);
        let mut table = self.limits.table();
        for (kind, most) in kinds {
            let mut room = free.min(most);
            if let Some((limit, taken)) = table.get_mut(&kind) {
                room = room.min(limit.saturating_sub(*taken));
                *taken += room;
                reserved.push((kind, room));
            }
            limited |= room < free;
            if room > 0 {
                accept.push((kind, room));
            }
        }
        drop(table);
        Room { free, accept, limited, reserved, limits: self.limits.clone() }
    }

    /// Takes a slot for a run of this kind: room for it was reserved, and the reservation given up. `load`
    /// counts the slots of the place it runs at.
    pub(crate) fn take(self: &Arc<Self>, kind: KindHash, load: Arc<AtomicUsize>) -> Slot {
        *self.taken() += 1;
        load.fetch_add(1, Ordering::Relaxed);
        if let Some((_, taken)) = self.limits.table().get_mut(&kind) {
            *taken += 1;
        }
        Slot { slots: self.clone(), kind, load }
    }

    /// There is room where there was none: a place for a kind came up.
    pub(crate) fn nudge(&self) {
        self.freed.notify_one();
    }

    /// Ends when a slot was given back.
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
    /// Whether a kind may not take them all.
    pub(crate) limited: bool,
    reserved: Vec<(KindHash, usize)>,
    limits: Arc<Limits>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.reserved.drain(..).for_each(|(kind, count)| self.limits.give_back(kind, count));
    }
}

/// One slot, taken.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    kind: KindHash,
    load: Arc<AtomicUsize>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        *self.slots.taken() -= 1;
        self.slots.limits.give_back(self.kind, 1);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_at_its_limit_leaves_room_for_others_in_every_lane() {
        let (a, b) = (KindHash::of("a"), KindHash::of("b"));
        let limits = Limits::new([(a, 1)]);
        let (one, two) = (Slots::new(3, limits.clone()), Slots::new(3, limits));
        let ask = |slots: &Slots| slots.reserve(9, [(a, 9), (b, 9)]);
        let room = ask(&one);
        assert_eq!((room.free, &room.accept[..], room.limited), (3, &[(a, 1), (b, 3)][..], true));
        assert_eq!(ask(&two).accept, [(b, 3)], "the only run of a is reserved");
        drop(room);
        let slot = one.take(a, Arc::default());
        assert_eq!((one.free(), ask(&two).accept.len()), (2, 1));
        drop(slot);
        assert_eq!((one.free(), ask(&two).accept.len()), (3, 2));
    }
}
