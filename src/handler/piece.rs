//! Pieces: several tasks that are one piece of work, be it a group that was claimed or a batch that gathered here.
//!
//! Each task has a [`Member`] of its piece. A handler of batches is called once all of them have joined or will not come;
//! under any other handler they take turns. Who failed, when it runs again and how it is settled is each task's own.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What a task brings into its piece; of a type its handler knows.
pub(super) type Joined = Box<dyn Any + Send>;

/// Where those who joined come out, with their numbers. It ends once nobody else will come. As many as the piece has
/// members, each at most once.
pub(super) type Coming = mpsc::UnboundedReceiver<(u32, Joined)>;

/// What the members of a piece share.
pub(crate) struct Piece {
    /// Held by the one whose turn it is; closed once no other's will come.
    turn: Arc<Semaphore>,
    /// For the first to join.
    coming: Mutex<Option<Coming>>,
    /// The group of the first whose header was proven.
    group: OnceLock<Option<String>>,
    chance: OnceLock<f64>,
}

impl Piece {
    /// The chance by which retries of its tasks are spread: one, so that those that fail together come again together.
    pub(crate) fn chance(&self, draw: impl FnOnce() -> f64) -> f64 {
        *self.chance.get_or_init(draw)
    }

    /// Whether it is of this group, by a proven header. A broker that mixed groups would hand the tasks of one to
    /// whoever handles those of another.
    pub(crate) fn is_of(&self, group: Option<&str>) -> bool {
        self.group.get_or_init(|| group.map(str::to_owned)).as_deref() == group
    }

    /// Whoever waits for its turn waits no longer: the one whose turn it is goes on, maybe for ever, though it was given
    /// up.
    pub(crate) fn disband(&self) {
        self.turn.close();
    }
}

/// Enrols the members of a piece. The piece is not complete before this is dropped.
pub(crate) struct Roll {
    piece: Arc<Piece>,
    join: mpsc::UnboundedSender<(u32, Joined)>,
    enrolled: u32,
}

impl Roll {
    /// The list of a new piece.
    pub(crate) fn new() -> Self {
        let (join, coming) = mpsc::unbounded_channel();
        let piece = Piece {
            turn: Arc::new(Semaphore::new(1)),
            coming: Mutex::new(Some(coming)),
            group: OnceLock::new(),
            chance: OnceLock::new(),
        };
        Self { piece: Arc::new(piece), join, enrolled: 0 }
    }

    /// One more member.
    pub(crate) fn enrol(&mut self) -> Member {
        let number = self.enrolled;
        self.enrolled += 1;
        Member { piece: self.piece.clone(), number, join: self.join.clone() }
    }

    /// How many were enrolled so far.
    pub(super) fn enrolled(&self) -> usize {
        self.enrolled as usize
    }
}

/// One task's part in its piece. Dropped before it joined, it will not come.
pub(crate) struct Member {
    piece: Arc<Piece>,
    number: u32,
    join: mpsc::UnboundedSender<(u32, Joined)>,
}

impl Member {
    pub(crate) fn piece(&self) -> &Arc<Piece> {
        &self.piece
    }

    /// Waits until no other member runs; the next one's turn comes when the answer is dropped. In the order of asking.
    /// None if it will not come.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.piece.turn.clone().acquire_owned().await.ok()
    }

    /// Joins. The first to do so gets the end where all of them come out, and sees to them.
    pub(super) fn join(self, joined: Joined) -> Option<Coming> {
        // It fails if whoever saw to them is gone: then `joined` is dropped, which tells its run.
        let _ = self.join.send((self.number, joined));
        self.piece.coming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn it_is_complete_once_each_has_joined_or_will_not_come() {
        let mut roll = Roll::new();
        let [one, two, three] = [(); 3].map(|()| roll.enrol());
        let mut coming = three.join(Box::new("three")).expect("the first to join");
        assert!(one.join(Box::new("one")).is_none());
        let mut next = || coming.recv().now_or_never().map(|came| came.map(|(number, _)| number));
        assert_eq!((next(), next(), next()), (Some(Some(2)), Some(Some(0)), None));
        drop(two);
        assert_eq!(next(), None, "more may be enrolled");
        drop(roll);
        assert_eq!(next(), Some(None));
    }

    #[test]
    fn members_take_turns_and_share_a_chance_and_a_group() {
        let mut roll = Roll::new();
        let (one, two) = (roll.enrol(), roll.enrol());
        let turn = one.turn().now_or_never().flatten().expect("nobody before it");
        assert!(two.turn().now_or_never().is_none());
        drop(turn);
        let turn = two.turn().now_or_never().flatten().expect("nobody left before it");
        two.piece().disband();
        assert!(one.turn().now_or_never().expect("an answer").is_none());
        drop(turn);
        let (one, two) = (one.piece(), two.piece());
        assert_eq!((one.chance(|| 0.1), two.chance(|| 0.2)), (0.1, 0.1));
        assert!(one.is_of(Some("a")) && two.is_of(Some("a")));
        assert!(!two.is_of(Some("b")) && !two.is_of(None), "a broker mixed them");
    }
}
