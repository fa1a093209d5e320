//! Handlers: what runs a task.
//!
//! A handler is a plain `async fn`, a blocking `fn`, an actix actor made by a factory, a `fn` in a process of its
//! own, or any program. All of them become one [`Route`] per kind, which is all the runtime knows. A handler sees the opened task, never the
//! broker; how its end is settled is decided by [`outcome`](crate::outcome).

mod actor;
mod around;
mod context;
mod data;
mod failure;
mod function;
#[cfg(feature = "isolate")]
mod isolated;
#[cfg(feature = "isolate")]
mod program;
mod replica;
mod retries;
mod route;
mod stop;

pub use actor::{ActorHandler, Job, Output};
pub use around::Call;
pub(crate) use around::{Around, run};
pub(crate) use context::Run;
pub use context::TaskContext;
pub use data::{Data, DataMap, FromContext};
pub(crate) use failure::cut;
pub use failure::{MESSAGE_BYTES_MAX, TaskError, TaskResult};
pub(crate) use function::{Asynchronous, Blocking};
pub use function::{BlockingFn, IntoTaskResult, TaskFn};
#[cfg(feature = "isolate")]
pub use isolated::{child, isolated};
#[cfg(feature = "isolate")]
pub use program::program;
pub(crate) use replica::Replicated;
pub(crate) use retries::Retries;
pub(crate) use route::{Hold, Input, Keeper, Routes, Runner, RunnerFactory, Surroundings};
pub use route::{IntoRoute, Registration, Route, actor, blocking, function};
pub(crate) use stop::Stop;
