//! Editing a task before it runs: another payload under the same id, by compare and swap.

use crate::broker::Acted;
use crate::error::{Error, Result};
use crate::task::Task;

use super::Handle;

/// How often an edit is tried anew that somebody else came before.
const TRIES_MAX: usize = 5;

impl Handle {
    /// Changes the payload of a task that has not started or is to be retried; everything else stays, a lock too:
    /// unique it is by what it was enqueued with. If somebody else edits it meanwhile, `change` is called anew.
    ///
    /// ```
    /// # use oncue::{Task, broker::Acted};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Send { to: String }
    /// # impl Task for Send { const KIND: &'static str = "send"; }
    /// # async fn correct(handle: oncue::Handle) -> oncue::Result<()> {
    /// match handle.edit(|task: &mut Send| task.to = "ada@example.com".into()).await? {
    ///     Acted::Done => {}
    ///     late => println!("it was not corrected: {late:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A task of another kind or version [`is_invalid`](Error::is_invalid); one that does not open fails as its run would.
    pub async fn edit<T: Task>(&self, mut change: impl FnMut(&mut T)) -> Result<Acted> {
        let (broker, sealer) = (self.client.broker(), self.client.sealer());
        let mut acted = Acted::Missing;
        for _ in 0..TRIES_MAX {
            let Some(view) = broker.show(self.queue().clone(), self.id()).await? else {
                return Ok(Acted::Missing);
            };
            let header = view.stored.header()?;
            if header.kind.as_str() != T::KIND || header.schema != T::VERSION {
                return Err(Error::invalid(format!(
                    "task {} is of kind {} version {}, not {} version {}",
                    self.id(),
                    header.kind,
                    header.schema,
                    T::KIND,
                    T::VERSION
                )));
            }
            let opened = sealer.open_task(&view.stored)?;
            let mut task: T = opened.codec.decode(&opened.body)?;
            change(&mut task);
            let body = opened.codec.encode(&task)?;
            let envelope = sealer.batch(1)?.envelope(self.id(), header, &opened.headers, &body)?;
            acted = broker.replace(view.stored, envelope).await?;
            if acted != Acted::Changed {
                break;
            }
        }
        Ok(acted)
    }
}
