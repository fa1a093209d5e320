//! Groups: tasks of one kind that gather under a name and are claimed together, as one piece of work.
//!
//! A group says how long it gathers; what is done with the tasks is their handler's business.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::queue::NAME_BYTES_MAX;

/// Most tasks of one group: as many as one sweep may take over.
pub const GROUP_TASKS_MAX: usize = 500;
/// Longest grace, and longest delay, of a group: a year.
pub const GROUP_WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A group that a task joins: those of its kind, in its queue, that say the same name.
///
/// It gathers until nothing joined it for its grace, until the first of its tasks has waited for [`within`](Self::within),
/// or until it has [`most`](Self::most) tasks; then it is closed, and what comes later begins another one of the same
/// name. What the last task to join says of these counts.
///
/// ```
/// # use std::time::Duration;
/// # use oncue::{Group, Task};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Notice { user: u64, text: String }
/// # impl Task for Notice { const KIND: &'static str = "notice"; }
/// let notice = Notice { user: 7, text: "a reply".into() };
/// // One digest a user: once all was quiet for a minute, after ten minutes at the latest, of 50 notices at most.
/// let group = Group::named(format!("user-{}", notice.user))
///     .grace(Duration::from_secs(60))
///     .within(Duration::from_secs(600))
///     .most(50);
/// let draft = notice.draft().group(group);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub(crate) name: String,
    pub(crate) grace: Duration,
    pub(crate) within: Option<Duration>,
    pub(crate) most: usize,
}

impl Group {
    /// The group of this name: 1 to 64 visible ASCII characters, in clear. Its grace is a minute, its first task may wait
    /// without limit, it has at most [`GROUP_TASKS_MAX`] tasks.
    pub fn named(name: impl Into<String>) -> Self {
        let grace = Duration::from_secs(60);
        Self { name: name.into(), grace, within: None, most: GROUP_TASKS_MAX }
    }

    /// How long nothing must have joined it; up to [`GROUP_WAIT_MAX`].
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// How long it gathers at most, counted from its first task; up to [`GROUP_WAIT_MAX`].
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within: Some(within), ..self }
    }

    /// How many tasks it has at most, 1 to [`GROUP_TASKS_MAX`]: that many close it at once.
    #[must_use]
    pub fn most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Whether a task can join it.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { name, grace, within, most } = self;
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        if !fits || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
            return Err(Error::invalid(format!(
                "{shown:?} is no name of a group; use 1 to {NAME_BYTES_MAX} visible ASCII characters"
            )));
        }
        if !(1..=GROUP_TASKS_MAX).contains(most) {
            return Err(Error::invalid(format!(
                "a group of at most {most} tasks; use 1 to {GROUP_TASKS_MAX}"
            )));
        }
        if [Some(*grace), *within].into_iter().flatten().any(|wait| wait > GROUP_WAIT_MAX) {
            return Err(Error::invalid("a group that gathers for more than a year"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_task_can_join_is_refused() {
        assert!(Group::named("user-7").check().is_ok());
        let group = || Group::named("g");
        let year = GROUP_WAIT_MAX;
        assert!(group().grace(year).within(year).most(1).check().is_ok());
        for bad in [
            Group::named(""),
            Group::named("a b"),
            Group::named("ä"),
            Group::named("x".repeat(1 << 20)),
            group().most(0),
            group().most(GROUP_TASKS_MAX + 1),
            group().grace(year + Duration::from_millis(1)),
            group().within(Duration::MAX),
        ] {
            let error = bad.check().expect_err("refused");
            assert!(error.is_invalid() && error.to_string().len() < 200, "{error}");
        }
    }
}
