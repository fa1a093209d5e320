//! Middleware of a client: what every enqueue passes before it is sealed.
//!
//! It sees metadata, never the payload: it adds headers, which are sealed with it, or refuses.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::panic;
use crate::queue::{Kind, QueueName};

use super::{Client, Inner};

/// One middleware.
pub(super) type Middleware = Arc<dyn Fn(&mut Outgoing<'_>) -> Result<()> + Send + Sync>;

type Header = (String, String);

/// A task that is about to be sealed and enqueued, as middleware sees it.
pub struct Outgoing<'a> {
    kind: &'a Kind,
    queue: &'a QueueName,
    headers: Cow<'a, [Header]>,
}

impl Outgoing<'_> {
    /// Its kind.
    pub fn kind(&self) -> &Kind {
        self.kind
    }

    /// The queue it goes to.
    pub fn queue(&self) -> &QueueName {
        self.queue
    }

    /// Its headers so far: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a header, in place of any of the same name. It is sealed, and the handler finds it by
    /// [`TaskContext::header`](crate::TaskContext::header).
    pub fn header(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let name = name.into();
        let headers = self.headers.to_mut();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value.into()));
        self
    }
}

/// Headers may be secret: only their number is shown.
impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, queue, headers) = (self.kind, self.queue, self.headers.len());
        write!(f, "Outgoing {{ {kind} to {queue}, headers: {headers} }}")
    }
}

impl Client {
    /// The same client with one more middleware, which every enqueue through it passes, after those it has already.
    /// It may add headers, or refuse by an error of its choice, which the enqueue then answers: nothing is stored. One
    /// that panics refuses. It is called for each task, and once more for the queue that one may
    /// [spill to](crate::Draft::spill_to).
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
    /// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
    /// # fn main() -> oncue::Result<()> { oncue::block_on(async {
    /// # let client = oncue::connect("sqlite::memory:").await?;
    /// use oncue::{Error, Outgoing};
    ///
    /// let client = client
    ///     .with(|task: &mut Outgoing<'_>| {
    ///         task.header("tenant", "acme");
    ///         Ok(())
    ///     })
    ///     .with(|task: &mut Outgoing<'_>| match task.queue().as_str() {
    ///         "frozen" => Err(Error::refused("nothing is enqueued to this queue")),
    ///         _ => Ok(()),
    ///     });
    /// client.enqueue(Greet("Ada".into())).await?;
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn with(
        &self,
        middleware: impl Fn(&mut Outgoing<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let mut all = self.0.middleware.clone();
        all.push(Arc::new(middleware));
        let (broker, sealer) = (self.0.broker.clone(), self.0.sealer.clone());
        Self(Arc::new(Inner { broker, sealer, middleware: all }))
    }

    /// The headers of a task once every middleware saw it.
    pub(super) fn pass<'a>(
        &self,
        kind: &'a Kind,
        queue: &'a QueueName,
        headers: &'a [Header],
    ) -> Result<Cow<'a, [Header]>> {
        let mut task = Outgoing { kind, queue, headers: Cow::Borrowed(headers) };
        for middleware in &self.0.middleware {
            let passed = AssertUnwindSafe(|| middleware(&mut task));
            catch_unwind(passed).unwrap_or_else(|panic| {
                let panic = panic::text(panic);
                tracing::error!(%kind, %queue, panic, "a middleware of a client panicked");
                Err(Error::refused("a middleware panicked; the task is not enqueued")
                    .because(panic))
            })?;
        }
        Ok(task.headers)
    }
}
