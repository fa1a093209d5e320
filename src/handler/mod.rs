//! Handlers: what runs a task.
//!
//! A handler is a plain `async fn`, one for many tasks at once, a blocking `fn`, an actix actor made by a factory, a
//! `fn` in a process of its own, any program, or a webhook. All of them become one [`Route`] per kind, which is all the
//! runtime knows. A handler sees the opened task, never the broker; how its end is settled is decided by
//! [`outcome`](crate::outcome).

mod actor;
mod around;
mod batch;
mod context;
mod data;
mod failure;
mod function;
mod gather;
#[cfg(feature = "isolate")]
mod isolated;
mod notes;
mod piece;
#[cfg(feature = "isolate")]
mod program;
mod replica;
mod retries;
mod route;
mod stop;
#[cfg(any(feature = "isolate", feature = "webhook"))]
mod text;
#[cfg(feature = "webhook")]
mod webhook;

pub use actor::{ActorHandler, Job, Output};
pub use around::Call;
pub(crate) use around::{Around, run};
pub(crate) use batch::Batching;
pub use batch::{
    BATCH_OF, BATCH_OF_MAX, BatchFn, FromData, IntoBatchResult, LINGER, LINGER_MAX, batch,
};
pub(crate) use context::Run;
pub use context::TaskContext;
pub use data::{Data, DataMap, FromContext};
pub(crate) use failure::cut;
pub use failure::{MESSAGE_BYTES_MAX, TaskError, TaskResult};
pub(crate) use function::{Asynchronous, Blocking};
pub use function::{BlockingFn, IntoTaskResult, TaskFn};
#[cfg(feature = "isolate")]
pub use isolated::{child, isolated};
pub use notes::{EFFECT_NAME_BYTES_MAX, EFFECTS_BYTES_MAX, PROGRESS_BYTES_MAX};
pub(crate) use notes::{Effect, Effects, Notes, Wanted};
pub(crate) use piece::{Member, Piece, Roll};
#[cfg(feature = "isolate")]
pub use program::program;
pub(crate) use replica::Replicated;
pub(crate) use retries::Retries;
pub(crate) use route::{Hold, Input, Keeper, Routes, Runner, RunnerFactory, Surroundings};
pub use route::{IntoRoute, Registration, Route, actor, blocking, function};
pub(crate) use stop::Stop;
#[cfg(feature = "webhook")]
pub use webhook::{
    SigningSecret, WEBHOOK_CONCURRENCY, WEBHOOK_TIMEOUT, WEBHOOK_TIMEOUT_MAX, Webhook, webhook,
};
