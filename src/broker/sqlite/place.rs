//! The place of a task in its line: one number that sorts pending tasks of one lane and kind.
//!
//! `rank (9 - priority) | fresh 1 bit | order 57 bits`: by priority, then what was released before what
//! never ran, then first come first served. It survives claims, so that a task handed back stands where
//! it stood.

use crate::broker::ticket::PRIORITY_MAX;

const ORDER_BITS: u32 = 57;
const FRESH: i64 = 1 << ORDER_BITS;
const ORDER: i64 = FRESH - 1;

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) i64);

impl Place {
    /// At the end of the line. `priority` is at most [`PRIORITY_MAX`].
    pub(super) fn last(priority: u8, order: i64) -> Self {
        let rank = i64::from(PRIORITY_MAX.saturating_sub(priority));
        Self((rank << (ORDER_BITS + 1)) | FRESH | (order & ORDER))
    }

    /// The same, in front of what never ran.
    pub(super) fn released(self) -> Self {
        Self(self.0 & !FRESH)
    }

    /// At the end of the line, anew.
    pub(super) fn renewed(self, order: i64) -> Self {
        Self::last(self.priority(), order)
    }

    /// The priority.
    pub(super) fn priority(self) -> u8 {
        let rank = u8::try_from(self.0 >> (ORDER_BITS + 1)).unwrap_or(PRIORITY_MAX);
        PRIORITY_MAX.saturating_sub(rank)
    }

    /// Whether it never ran, so that its `since` grows with its place.
    pub(super) fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    /// The last place of the same priority and freshness.
    pub(super) fn end_of_group(self) -> Self {
        Self(self.0 | ORDER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_sorted_by_priority_then_release_then_order() {
        let line = [
            Place::last(9, 90).released(),
            Place::last(9, 80),
            Place::last(9, 81),
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
