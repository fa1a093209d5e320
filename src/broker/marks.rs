//! Marks that only grow: how a broker tells those who wait that something happened.

use tokio::sync::watch;

use super::Wake;

/// What happened, in the order of the marks: ready, due, settled, ordered, noted.
pub(crate) type Wakes = [bool; 5];

/// Where the mark of a wake stands.
pub(crate) fn index(wake: Wake) -> usize {
    match wake {
        Wake::Ready => 0,
        Wake::Due => 1,
        Wake::Settled => 2,
        Wake::Ordered => 3,
        Wake::Noted => 4,
    }
}

/// Only this happened.
#[cfg(feature = "redis")]
pub(crate) fn only(wake: Wake) -> Wakes {
    std::array::from_fn(|at| at == index(wake))
}

/// The marks. They live as long as whoever bumps them.
pub(crate) struct Marks([watch::Sender<u64>; 5]);

impl Marks {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| watch::Sender::new(0)))
    }

    /// These things happened; the last ones may be left out if they did not.
    pub(crate) fn bump<const N: usize>(&self, wakes: [bool; N]) {
        for (mark, _) in self.0.iter().zip(wakes).filter(|(_, wake)| *wake) {
            mark.send_modify(|mark| *mark += 1);
        }
    }

    /// Something happened, nobody here knows what.
    #[cfg(feature = "redis")]
    pub(crate) fn bump_all(&self) {
        self.bump([true; 5]);
    }

    pub(crate) fn watch(&self, wake: Wake) -> watch::Receiver<u64> {
        self.0[index(wake)].subscribe()
    }

    /// How much has happened.
    #[cfg(feature = "sqlite")]
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|mark| *mark.borrow()).sum()
    }
}
