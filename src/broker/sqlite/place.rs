//! The place of a task in its line: one number that sorts pending tasks of one lane and kind.
//!
//! `rank (9 - priority) | group 2 bits | order 56 bits`: by priority, then what goes before all, what was released, and
//! what never ran, then first come first served; of what goes before all the last comes first. It survives claims, so
//! that a task handed back stands where it stood.

use crate::broker::ticket::PRIORITY_MAX;

const ORDER_BITS: u32 = 56;
const RANK_BITS: u32 = ORDER_BITS + 2;
const ORDER: i64 = (1 << ORDER_BITS) - 1;
// The groups; before all: 0.
const RELEASED: i64 = 1 << ORDER_BITS;
const FRESH: i64 = 2 << ORDER_BITS;

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) i64);

impl Place {
    /// At the end of the line. `priority` is at most [`PRIORITY_MAX`].
    pub(super) fn last(priority: u8, order: i64) -> Self {
        Self(rank(priority) | FRESH | (order & ORDER))
    }

    /// Before all that is in the line, orders growing from one to the next.
    pub(super) fn front(priority: u8, order: i64) -> Self {
        Self(rank(priority) | (ORDER - (order & ORDER)))
    }

    /// In its line anew, once it is due.
    pub(super) fn due(self, front: bool, order: i64) -> Self {
        if front { Self::front(self.priority(), order) } else { self.renewed(order) }
    }

    /// The same, in front of what never ran.
    pub(super) fn released(self) -> Self {
        if self.is_fresh() { Self(self.0 & !FRESH | RELEASED) } else { self }
    }

    /// At the end of the line, anew.
    fn renewed(self, order: i64) -> Self {
        Self::last(self.priority(), order)
    }

    /// The priority.
    pub(super) fn priority(self) -> u8 {
        let rank = u8::try_from(self.0 >> RANK_BITS).unwrap_or(PRIORITY_MAX);
        PRIORITY_MAX.saturating_sub(rank)
    }

    /// Whether it never ran, so that its `since` grows with its place.
    pub(super) fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    /// The last place of the same priority and group.
    pub(super) fn end_of_group(self) -> Self {
        Self(self.0 | ORDER)
    }
}

fn rank(priority: u8) -> i64 {
    i64::from(PRIORITY_MAX.saturating_sub(priority)) << RANK_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_sorted_by_priority_then_release_then_order() {
        let line = [
            Place::front(9, 101),
            Place::front(9, 100).released(),
            Place::last(9, 90).released(),
            Place::last(9, 80),
            Place::last(9, 81),
            Place::front(0, ORDER),
            Place::front(0, 1),
            Place::last(0, 7).released(),
            Place::last(0, 1),
            Place::last(0, ORDER),
        ];
        assert!(line.is_sorted());
        for place in line {
            assert_eq!(place.renewed(5), Place::last(place.priority(), 5));
            assert!(place <= place.end_of_group());
            assert_eq!(place.is_fresh(), place.end_of_group().is_fresh());
        }
        assert_eq!(line[0].priority(), 9);
    }
}
