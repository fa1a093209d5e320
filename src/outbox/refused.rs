//! What a relay remembers of rows that no broker will take: which they are, so that each is told once and not sent again.

use std::collections::HashSet;

/// Most rows that are remembered so. What is beyond is tried, and told, at every pass anew: it is reported and blocks
/// nothing all the same.
pub const REFUSED_MAX: usize = 1_000;

/// The rows. Kept for the life of a relay: one that starts anew may be of a version that reads them.
#[derive(Debug, Default)]
pub(super) struct Refused(HashSet<i64>);

impl Refused {
    pub(super) fn holds(&self, row: i64) -> bool {
        self.0.contains(&row)
    }

    pub(super) fn add(&mut self, row: i64) {
        if self.0.len() < REFUSED_MAX {
            self.0.insert(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded() {
        let mut refused = Refused::default();
        let max = i64::try_from(REFUSED_MAX).expect("small");
        (0..=max).for_each(|row| refused.add(row));
        assert_eq!((refused.holds(0), refused.holds(max)), (true, false));
    }
}
