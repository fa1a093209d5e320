//! A task as it is printed: what is in clear. Opening is [`show`](super::show)'s business.

use oncue::broker::TaskView;
use oncue::clock::Timestamp;
use serde::Serialize;

/// The clear part of a task.
#[derive(Serialize)]
pub(super) struct Clear {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) state: &'static str,
    /// Failed runs so far.
    pub(super) attempts: u32,
    pub(super) max_retry: u32,
    /// Runs within the last 72 h that took their worker down.
    pub(super) crashes: usize,
    pub(super) created: String,
    pub(super) priority: u8,
    /// Words to find it by.
    pub(super) tags: Vec<String>,
    /// When the state ends by itself.
    pub(super) until: Option<String>,
    /// Why it is archived.
    pub(super) reason: Option<&'static str>,
    /// The class of the last failure.
    pub(super) class: Option<String>,
    /// Why the record cannot be read, if it cannot.
    pub(super) damage: Option<String>,
    pub(super) record_bytes: usize,
    /// When it was enqueued and when the state ends, for whoever counts from now.
    #[serde(skip)]
    pub(super) times: (Option<Timestamp>, Option<Timestamp>),
}

impl Clear {
    pub(super) fn of(view: &TaskView) -> Self {
        let (header, damage) = match view.stored.header() {
            Ok(header) => (Some(header), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            id: view.stored.id().to_string(),
            kind: header.as_ref().map_or("?".into(), |header| header.kind.to_string()),
            state: view.state.as_str(),
            attempts: view.trail.attempts,
            max_retry: header.as_ref().map_or(0, |header| header.max_retry),
            crashes: view.trail.crashes.len(),
            created: header.as_ref().map_or("?".into(), |header| header.created.to_string()),
            priority: header.as_ref().map_or(0, |header| header.priority),
            tags: header.as_ref().map_or_else(Vec::new, |header| header.tags()),
            until: view.until.map(|until| until.to_string()),
            reason: view.reason.map(|reason| reason.as_str()),
            class: view.trail.class.clone(),
            damage,
            record_bytes: view.stored.record_len(),
            times: (header.as_ref().map(|header| header.created), view.until),
        }
    }
}
