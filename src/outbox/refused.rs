//! What a relay remembers of rows that no broker will take: which they are, so that each is told once and not sent again.

use std::collections::HashSet;

/// Most rows that are remembered and told so. What is beyond is tried at every pass anew, and told no more: it is counted
/// and blocks nothing all the same.
pub const REFUSED_MAX: usize = 1_000;

/// The rows. Kept for the life of a relay: one that starts anew may be of a version that reads them.
#[derive(Debug, Default)]
pub(super) struct Refused(HashSet<i64>);

impl Refused {
    pub(super) fn holds(&self, row: i64) -> bool {
        self.0.contains(&row)
    }

    /// Remembers a row, if there is room.
    pub(super) fn add(&mut self, row: i64) -> bool {
        self.0.len() < REFUSED_MAX && self.0.insert(row)
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() == REFUSED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded() {
        let mut refused = Refused::default();
        let max = i64::try_from(REFUSED_MAX).expect("small");
        let added = (0..=max).filter(|row| refused.add(*row)).count();
        assert_eq!((added, refused.is_full()), (REFUSED_MAX, true));
        assert_eq!((refused.holds(0), refused.holds(max)), (true, false));
    }
}
