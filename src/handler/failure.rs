//! What a handler says when it does not succeed.
//!
//! Any `std::error::Error` becomes a [`TaskError`] by `?`; its constructors say more than "failed": wait this long,
//! never again, do not count it, put me off, forget me. The message is sealed before it is stored; only the class is clear.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::outcome::{Outcome, Retry};

/// What a handler returns.
pub type TaskResult<T = ()> = Result<T, TaskError>;

/// Longest kept message of a failure, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// At most [`MESSAGE_BYTES_MAX`] of a message, so that it has room in the trail of its task.
pub(crate) fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(cut.unwrap_or(0));
    }
    message
}

/// Why a run did not succeed, and what is to follow.
///
/// | constructor | attempt counts | then |
/// |---|---|---|
/// | [`new`](Self::new), any `std::error::Error` by `?` | yes | retry by the kind's policy, archived(exhausted) after `max_retry` |
/// | [`retry_in`](Self::retry_in), or [`new`](Self::new) with [`after`](Self::after) | yes | retry after the delay, archived(exhausted) after `max_retry` |
/// | [`skip_retry`](Self::skip_retry) | yes | archived(skip_retry) |
/// | [`uncounted`](Self::uncounted) | no, nor as a failure of the queue | scheduled anew by the kind's policy, with what it said kept; never exhausted, archived(expired) once a `deadline` would pass |
/// | [`snooze`](Self::snooze) | no | scheduled anew |
/// | [`revoke`](Self::revoke) | no | gone |
pub struct TaskError {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
}

impl TaskError {
    fn failed(retry: Retry, message: impl fmt::Display) -> Self {
        let message = cut(message.to_string());
        Self { outcome: Outcome::Failed { class: Cow::Borrowed("handler"), retry }, message }
    }

    /// A failure, retried when the kind's policy says so: `.map_err(TaskError::new)?` for what is no
    /// [`std::error::Error`], such as a `String` or anyhow's error.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::failed(Retry::ByPolicy, message)
    }

    /// A failure, retried after this delay.
    pub fn retry_in(delay: Duration, message: impl fmt::Display) -> Self {
        Self::failed(Retry::In(delay), message)
    }

    /// A failure that is not to count: what it needs is taken, down or not there yet. The task runs again after as long as
    /// its next retry would wait, again and again: give it a [`deadline`](crate::Draft::deadline), or it may never end.
    /// Hooks are told of it, and what it says is kept with the task.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oncue::TaskError;
    /// let error = TaskError::uncounted("the disk is being moved").class("moving").after(Duration::from_secs(30));
    /// # assert!(matches!(error.outcome(), oncue::outcome::Outcome::Uncounted { .. }));
    /// ```
    pub fn uncounted(message: impl fmt::Display) -> Self {
        let outcome =
            Outcome::Uncounted { class: Cow::Borrowed("handler"), retry: Retry::ByPolicy };
        Self { outcome, message: cut(message.to_string()) }
    }

    /// A failure no retry can mend.
    pub fn skip_retry(message: impl fmt::Display) -> Self {
        Self::failed(Retry::Never, message)
    }

    /// Not now: the task comes back after this delay, at no cost.
    pub fn snooze(delay: Duration) -> Self {
        Self { outcome: Outcome::Snoozed(delay), message: String::new() }
    }

    /// The task is void: it goes without a trace.
    pub fn revoke() -> Self {
        Self { outcome: Outcome::Revoked, message: String::new() }
    }

    /// The run did not happen: the task goes back at no cost.
    pub(crate) fn interrupted() -> Self {
        Self { outcome: Outcome::Interrupted, message: String::new() }
    }

    /// A payload that cannot be read: never, or not by this worker.
    pub(crate) fn unread(error: crate::Error) -> Self {
        if error.is_newer() {
            return Self { outcome: Outcome::KeyMissing, message: cut(error.to_string()) };
        }
        let Self { message, .. } = error.into();
        Self::skip_retry(message).class("payload")
    }

    /// How the run ended by it.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What it says, at most [`MESSAGE_BYTES_MAX`] of it; it may be secret. Empty if it is no failure.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Names the class of a failure (clear text, at most 64 visible ASCII characters), in place of `handler`.
    #[must_use]
    pub fn class(mut self, word: impl Into<Cow<'static, str>>) -> Self {
        if let Outcome::Failed { class, .. } | Outcome::Uncounted { class, .. } = &mut self.outcome
        {
            *class = word.into();
        }
        self
    }

    /// Has the task run again after this delay, if it is a failure that is repeated.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        if let Outcome::Failed { retry, .. } | Outcome::Uncounted { retry, .. } = &mut self.outcome
            && *retry != Retry::Never
        {
            *retry = Retry::In(delay);
        }
        self
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(below) = source {
            message.push_str(": ");
            message.push_str(&below.to_string());
            source = below.source();
        }
        Self::new(message)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskError {{ {:?}, message: {} bytes }}", self.outcome, self.message.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_one_with_its_chain() {
        let error = crate::Error::corrupt("cannot read").because(std::io::Error::other("eof"));
        let error = TaskError::from(error).class("io");
        assert_eq!(error.message, "cannot read: eof");
        let class = Cow::Borrowed("io");
        assert_eq!(error.outcome, Outcome::Failed { class, retry: Retry::ByPolicy });
    }

    #[test]
    fn a_delay_is_of_what_is_repeated() {
        let delay = Duration::from_secs(7);
        let retry = |error: TaskError| match error.after(delay).outcome {
            Outcome::Failed { retry, .. } | Outcome::Uncounted { retry, .. } => Some(retry),
            _ => None,
        };
        assert_eq!(retry(TaskError::new("x")), Some(Retry::In(delay)));
        assert_eq!(retry(TaskError::uncounted("x").class("y")), Some(Retry::In(delay)));
        assert_eq!(retry(TaskError::skip_retry("x")), Some(Retry::Never));
        assert_eq!(retry(TaskError::revoke()), None);
    }

    #[test]
    fn a_message_is_cut_at_a_character_and_never_debug_printed() {
        let error = TaskError::new("ä".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(error.message.len(), MESSAGE_BYTES_MAX);
        assert!(!format!("{error:?}").contains('ä'));
    }
}
