//! The states of a task and the one table of ways between them.
//!
//! ```text
//!            enqueue                 dequeue             settle
//!   (new) ------------> pending <-------------> active ----------> completed, archived, gone
//!     |                 ^  ^  ^     retire         |
//!     | enqueue         |  |  | settle (release)   | settle (retry, snooze)
//!     v        advance  |  |  +--------------------+
//!   scheduled ----------+  +------------------ retry, scheduled
//! ```
//!
//! A broker moves tasks; it decides nothing. Who asks for a move is told by the verb.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, suggestion};

/// Where a task is. A task is in exactly one state (I2); one that is in none is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not due yet: enqueued for later, or snoozed.
    Scheduled,
    /// Due, and waiting for a worker.
    Pending,
    /// Claimed by a worker's session.
    Active,
    /// A run failed; due again later.
    Retry,
    /// Ran to its end; kept until its retention is over.
    Completed,
    /// The dead letter: will not run again by itself; carries a [`Reason`].
    Archived,
    /// In a group, which gathers or waits to be claimed.
    Aggregating,
    /// Held back by other tasks or a signal.
    Waiting,
}

impl State {
    /// Every state, in stored order.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Pending,
        Self::Active,
        Self::Retry,
        Self::Completed,
        Self::Archived,
        Self::Aggregating,
        Self::Waiting,
    ];

    /// The word for this state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retry => "retry",
            Self::Completed => "completed",
            Self::Archived => "archived",
            Self::Aggregating => "aggregating",
            Self::Waiting => "waiting",
        }
    }

    /// The number this state is stored as. Golden: never changes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The state stored as `code`.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether the task will not run again by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Archived)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for State {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
            let hint = suggestion(word, Self::ALL.map(State::as_str));
            Error::invalid(format!("unknown state {word:?}{hint}"))
        })
    }
}

/// Why a task is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Its retries are used up.
    Exhausted,
    /// The handler said that no retry can help.
    SkipRetry,
    /// Someone cancelled it.
    Cancelled,
    /// It waited past `expires`, or its `deadline` came.
    Expired,
    /// It took its worker down again and again, the last time alone.
    Poisoned,
    /// Its record could not be opened: altered, or its key was missing for the whole grace.
    Unopenable,
    /// No worker had a handler for its kind for the whole grace.
    UnknownKind,
    /// A person archived it.
    Operator,
}

impl Reason {
    /// Every reason, in stored order.
    pub const ALL: [Self; 8] = [
        Self::Exhausted,
        Self::SkipRetry,
        Self::Cancelled,
        Self::Expired,
        Self::Poisoned,
        Self::Unopenable,
        Self::UnknownKind,
        Self::Operator,
    ];

    /// The word for this reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::SkipRetry => "skip_retry",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Poisoned => "poisoned",
            Self::Unopenable => "unopenable",
            Self::UnknownKind => "unknown_kind",
            Self::Operator => "operator",
        }
    }

    /// The number this reason is stored as. Golden: never changes.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason stored as `code`.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What moves a task: the verbs that change states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Someone wants work done.
    Enqueue,
    /// There is room for it.
    Dequeue,
    /// A run ended.
    Settle,
    /// A claim nobody knows of is handed back.
    Retire,
    /// Time passed.
    Advance,
    /// A lease ran out, or nobody took the task for the whole grace.
    Reclaim,
}

/// Every legal move: from (none = new), cause, to (none = gone).
pub const TRANSITIONS: &[(Option<State>, Cause, Option<State>)] = {
    use Cause::*;
    use State::*;
    &[
        (None, Enqueue, Some(Pending)),
        (None, Enqueue, Some(Scheduled)),
        (None, Enqueue, Some(Aggregating)),
        (None, Enqueue, Some(Waiting)),
        (Some(Pending), Dequeue, Some(Active)),
        (Some(Active), Settle, Some(Completed)),
        (Some(Active), Settle, Some(Retry)),
        (Some(Active), Settle, Some(Scheduled)),
        (Some(Active), Settle, Some(Pending)),
        (Some(Active), Settle, Some(Archived)),
        (Some(Active), Settle, None),
        (Some(Active), Retire, Some(Pending)),
        (Some(Scheduled), Advance, Some(Pending)),
        (Some(Retry), Advance, Some(Pending)),
        (Some(Scheduled), Advance, Some(Aggregating)),
        (Some(Retry), Advance, Some(Aggregating)),
        (Some(Aggregating), Dequeue, Some(Active)),
        (Some(Active), Settle, Some(Aggregating)),
        (Some(Active), Retire, Some(Aggregating)),
        (Some(Aggregating), Reclaim, Some(Active)),
        (Some(Completed), Advance, None),
        (Some(Active), Reclaim, Some(Active)),
        (Some(Pending), Reclaim, Some(Active)),
    ]
};

/// Whether the table knows this move.
pub fn is_legal(from: Option<State>, cause: Cause, to: Option<State>) -> bool {
    TRANSITIONS.contains(&(from, cause, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_codes_are_golden() {
        for (code, word) in (0u8..)
            .zip("scheduled pending active retry completed archived aggregating waiting".split(' '))
        {
            let state = State::from_code(code).expect(word);
            assert_eq!((state.as_str(), state.code()), (word, code));
            assert_eq!(word.parse::<State>().expect(word), state);
        }
        for (code, reason) in (0u8..).zip(Reason::ALL) {
            assert_eq!((reason.code(), Reason::from_code(code)), (code, Some(reason)));
        }
        assert!(State::from_code(8).is_none() && Reason::from_code(8).is_none());
    }

    #[test]
    fn terminal_states_are_left_only_by_time() {
        for (from, cause, _) in TRANSITIONS {
            if from.is_some_and(State::is_terminal) {
                assert_eq!(*cause, Cause::Advance);
            }
        }
        assert!(!is_legal(Some(State::Active), Cause::Advance, Some(State::Pending)));
    }

    #[test]
    fn an_unknown_state_is_named_with_a_suggestion() {
        let error = "pendng".parse::<State>().expect_err("typo");
        assert_eq!(error.to_string(), "unknown state \"pendng\"; did you mean \"pending\"?");
    }
}
