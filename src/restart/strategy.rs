//! Which children are restarted when one of them died.

use std::ops::Range;

/// What becomes of the neighbours of a child that died. Children stand in the order they are started in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// They live on.
    OneForOne,
    /// All are restarted.
    OneForAll,
    /// Those that were started after it, and may depend on it, are restarted.
    #[default]
    RestForOne,
}

impl Strategy {
    /// Who is restarted when `child` of `children` died: stopped from the right to the left, started from the
    /// left to the right.
    ///
    /// ```
    /// use oncue::restart::Strategy;
    /// assert_eq!(Strategy::RestForOne.affected(1, 4), 1..4);
    /// ```
    pub fn affected(self, child: usize, children: usize) -> Range<usize> {
        match self {
            Self::OneForOne => child..child + 1,
            Self::OneForAll => 0..children,
            Self::RestForOne => child..children,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_takes_its_own_neighbours_along() {
        for child in 0..4 {
            assert_eq!(Strategy::OneForOne.affected(child, 4), child..child + 1);
            assert_eq!(Strategy::OneForAll.affected(child, 4), 0..4);
            assert_eq!(Strategy::RestForOne.affected(child, 4), child..4);
        }
    }
}
