//! What handlers need before a worker starts: children that show that they can be caged.
//!
//! On a thread with a runtime of its own, since whoever starts a worker may have none that watches pipes.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::event::Event;

use super::Shared;
use super::config::CONCURRENCY;

/// Prepares every handler that asks for it, and tells what this system lacks.
pub(super) async fn prepare(shared: &Arc<Shared>) -> Result<()> {
    let asks = shared.routes.iter().any(|r| r.factory.prepare(&r.kind, CONCURRENCY).is_some());
    if !asks {
        return Ok(());
    }
    let shared = shared.clone();
    let failed = |error| Error::system("cannot start a thread for children").because(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let (done, prepared) = oneshot::channel();
    let prepare = move || {
        let _ = done.send(runtime.block_on(prepare_all(&shared)));
    };
    let thread = std::thread::Builder::new().name("oncue-prepare".to_owned()).spawn(prepare);
    thread.map_err(failed)?;
    prepared.await.map_err(|_| Error::system("the preparation of handlers panicked"))?
}

async fn prepare_all(shared: &Shared) -> Result<()> {
    for route in shared.routes.iter() {
        let runs = route.concurrency.unwrap_or(CONCURRENCY);
        let Some(prepared) = route.factory.prepare(&route.kind, runs) else { continue };
        let lacks = prepared.await?;
        if !lacks.is_empty() {
            shared.tell(Event::LimitsLacking { kind: route.kind.clone(), lacks });
        }
    }
    Ok(())
}
