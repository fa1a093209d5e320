//! What a run wants written beside its task: how far it is, what it says, which effects are done.
//!
//! The handler asks here, on any thread; whoever runs the task seals it and writes it. Progress and log are best effort
//! and lag a little, so that a run which never stops telling is no load; an effect that is done is written before the
//! handler goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::task::Log;

use super::{TaskContext, TaskError};

/// Most bytes of a progress, as JSON.
pub const PROGRESS_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of what came of all effects of one task, as JSON.
pub const EFFECTS_BYTES_MAX: usize = 32 * 1024;
/// Longest name of an effect, in bytes.
pub const EFFECT_NAME_BYTES_MAX: usize = 64;

/// What came of effects, by name.
pub(crate) type Effects = BTreeMap<String, Value>;

/// What a run wants written.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) progress: Option<Vec<u8>>,
    pub(crate) log: Option<Log>,
    pub(crate) effects: Vec<Effect>,
}

/// What a run wants of its effects.
pub(crate) enum Effect {
    /// To know which are done.
    Known(oneshot::Sender<Result<Effects>>),
    /// To have it known that one is done.
    Done(String, Value, oneshot::Sender<Result<()>>),
}

/// Where a run asks, and whoever runs it hears. Costs nothing until it is used.
#[derive(Default)]
pub(crate) struct Notes {
    state: Mutex<State>,
    news: Notify,
    #[cfg(feature = "isolate")]
    elsewhere: Option<Elsewhere>,
}

/// Passes on what a run in a child wants.
#[cfg(feature = "isolate")]
type Elsewhere = Box<dyn Fn(Wanted) + Send + Sync>;

#[derive(Default)]
struct State {
    wanted: Option<Box<Wanted>>,
    closed: bool,
}

impl Notes {
    /// Of a run in a child: what it wants is passed on.
    #[cfg(feature = "isolate")]
    pub(crate) fn told_to(elsewhere: Elsewhere) -> Self {
        Self { elsewhere: Some(elsewhere), ..Self::default() }
    }

    /// Whether it can be asked which effects are done.
    fn knows_effects(&self) -> bool {
        #[cfg(feature = "isolate")]
        return self.elsewhere.is_none();
        #[cfg(not(feature = "isolate"))]
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; false if the run has ended and nobody hears.
    fn want(&self, what: impl FnOnce(&mut Wanted)) -> bool {
        #[cfg(feature = "isolate")]
        if let Some(pass_on) = &self.elsewhere {
            let mut wanted = Wanted::default();
            what(&mut wanted);
            pass_on(wanted);
            return true;
        }
        let mut state = self.state();
        if state.closed {
            return false;
        }
        what(state.wanted.get_or_insert_default());
        drop(state);
        self.news.notify_one();
        true
    }

    /// The run has ended: nothing more is wanted. Answers whether something still is.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state();
        state.closed = true;
        let is_wanted = state.wanted.is_some();
        drop(state);
        self.news.notify_one();
        is_wanted
    }

    /// The next that is wanted; none once the run has ended and all was heard.
    pub(crate) async fn next(&self) -> Option<Box<Wanted>> {
        loop {
            {
                let mut state = self.state();
                if let Some(wanted) = state.wanted.take() {
                    return Some(wanted);
                }
                if state.closed {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    /// Waits until something is wanted that a run waits for, or the run has ended.
    pub(crate) async fn pressing(&self) {
        let is_pressing = || {
            let state = self.state();
            state.closed || state.wanted.as_ref().is_some_and(|wanted| !wanted.effects.is_empty())
        };
        while !is_pressing() {
            self.news.notified().await;
        }
    }
}

fn over() -> Error {
    Error::closed("the run has ended, or its task belongs to somebody else by now")
}

impl TaskContext {
    /// Tells how far the run is: any value, at most 16 KiB as JSON. The latest is kept, sealed, and reaches whoever
    /// [watches](crate::Handle::progress), ten times a second at most: of several in quick succession the last is told.
    pub fn progress<P: Serialize + ?Sized>(&self, progress: &P) -> Result<()> {
        let json = serde_json::to_vec(progress).map_err(|error| {
            Error::invalid("a progress must have a form in JSON").because(error)
        })?;
        self.put_progress(json)
    }

    /// The same of a progress that is JSON already, or should be.
    #[cfg(feature = "isolate")]
    pub(super) fn progress_json(&self, json: Vec<u8>) -> Result<()> {
        // Before it is read: it may be long.
        if json.len() <= PROGRESS_BYTES_MAX && !super::text::is_json(&json) {
            return Err(Error::invalid("a progress that is no JSON"));
        }
        self.put_progress(json)
    }

    fn put_progress(&self, json: Vec<u8>) -> Result<()> {
        if json.len() > PROGRESS_BYTES_MAX {
            return Err(Error::too_large(format!(
                "a progress of {} bytes; at most {PROGRESS_BYTES_MAX}",
                json.len()
            )));
        }
        self.run().notes.want(|wanted| wanted.progress = Some(json));
        Ok(())
    }

    /// Adds a line to the log of the task, which is kept with it, sealed: its latest lines, 1 KiB each and 32 KiB
    /// together. Who runs the worker sees nothing of it; [`Handle::log`](crate::Handle::log) reads it.
    pub fn log(&self, line: impl fmt::Display) {
        let (at, attempt) = (SystemClock.now(), self.attempt());
        let text = line.to_string();
        self.run().notes.want(|wanted| {
            let log = wanted.log.get_or_insert_default();
            text.lines().for_each(|line| log.push(at, attempt, line));
        });
    }

    /// Does something outside once for this task, however often it runs: what came of it is kept with the task, sealed,
    /// and a later run gets that instead of doing it again.
    ///
    /// `effect` gets a key that is the same in every run of the task: give it to the other side. For between the effect
    /// and the note of it the worker may die, and then it is done again: only the other side can tell.
    ///
    /// ```
    /// # use oncue::{TaskContext, TaskResult};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { cents: u64 }
    /// # async fn charge(_: u64, _key: &str) -> TaskResult<String> { Ok("receipt".into()) }
    /// # async fn send_parcel(_: &str) -> TaskResult { Ok(()) }
    /// async fn fulfil(order: Order, context: TaskContext) -> TaskResult {
    ///     // If the parcel fails the order is tried again, and not charged again.
    ///     let receipt = context.once("charge", async |key| charge(order.cents, &key).await).await?;
    ///     send_parcel(&receipt).await
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of the effect, which then is not done; a name of no or more than 64 bytes, and more than 32 KiB in all. In a
    /// process of its own, which is not waited for, it [`is_invalid`](Error::is_invalid), and nothing is done.
    pub async fn once<V, E, F>(
        &self,
        name: &str,
        effect: impl FnOnce(String) -> F,
    ) -> Result<V, TaskError>
    where
        V: Serialize + DeserializeOwned,
        E: Into<TaskError>,
        F: Future<Output = Result<V, E>>,
    {
        if !(1..=EFFECT_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(Error::invalid(format!(
                "an effect has a name of 1 to {EFFECT_NAME_BYTES_MAX} bytes, not {}",
                name.len()
            ))
            .into());
        }
        let known = self.ask(Effect::Known).await?;
        if let Some(value) = known.get(name) {
            return Ok(serde_json::from_value(value.clone())?);
        }
        let value = effect(format!("{}:{name}", self.id())).await.map_err(Into::into)?;
        let kept = serde_json::to_value(&value)?;
        self.ask(|told| Effect::Done(name.to_owned(), kept, told)).await?;
        Ok(value)
    }

    async fn ask<A>(&self, ask: impl FnOnce(oneshot::Sender<Result<A>>) -> Effect) -> Result<A> {
        if !self.run().notes.knows_effects() {
            return Err(Error::invalid(
                "effects cannot be kept from a process of its own; do them in a handler of the worker, \
                 and only what is dangerous in `oncue::isolated`",
            ));
        }
        let (tell, told) = oneshot::channel();
        if !self.run().notes.want(|wanted| wanted.effects.push(ask(tell))) {
            return Err(over());
        }
        told.await.unwrap_or_else(|_| Err(over()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn effects_and_the_end_press_and_nothing_else_does() {
        let presses = |notes: &Notes| notes.pressing().now_or_never().is_some();
        let notes = Notes::default();
        notes.want(|wanted| wanted.progress = Some(Vec::new()));
        notes.want(|wanted| wanted.log = Some(Log::default()));
        assert!(!presses(&notes));
        let (tell, _told) = oneshot::channel();
        notes.want(|wanted| wanted.effects.push(Effect::Known(tell)));
        assert!(presses(&notes));
        assert_eq!(notes.next().now_or_never().flatten().expect("all of it").effects.len(), 1);
        assert!(!presses(&notes));
        assert!(!notes.close() && presses(&notes));
    }
}
