//! Sealed background tasks for Rust, run on cue by supervised actors.
//!
//! ```
//! use std::time::Duration;
//!
//! use oncue::{Task, TaskResult};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Greet(String);
//!
//! impl Task for Greet {
//!     const KIND: &'static str = "greet";
//!     const RETENTION: Duration = Duration::from_secs(60);
//! }
//!
//! async fn greet(task: Greet) -> TaskResult<String> {
//!     Ok(format!("hello {}", task.0))
//! }
//!
//! fn main() -> oncue::Result<()> {
//!     oncue::block_on(async {
//!         let client = oncue::connect("sqlite::memory:").await?;
//!         let worker = client.worker().handle(greet).start().await?;
//!         let job = client.enqueue(Greet("Ada".into())).await?;
//!         assert_eq!(job.result::<String>().await?, "hello Ada");
//!         worker.shutdown().await?;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! A task whose enqueue returned Ok runs at least once or is in a visible terminal state, as long as the
//! broker keeps what it acknowledged. Two runs of one task overlap only if a lease was lost, a stuck run was
//! given up, or the broker lost or rolled back an acknowledged write (failover, restore); then only one of
//! them can settle.
//!
//! Where to look: [`Task`] and [`Draft`] for what can be asked of a task, [`TaskError`] for what a handler
//! can say, [`Client`] and [`worker`] for the two sides, [`broker`] for the contract, [`seal`] for what is
//! encrypted and how.

#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub)]

pub mod broker;
mod client;
pub mod clock;
pub mod codec;
pub mod connect;
#[cfg(feature = "cron")]
pub mod cron;
pub mod envelope;
mod error;
pub mod event;
mod failpoint;
pub mod handler;
#[cfg(feature = "isolate")]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "elsewhere nothing is isolated"))]
mod isolate;
pub mod outbox;
pub mod outcome;
mod panic;
pub mod queue;
pub mod restart;
pub mod retry;
pub mod seal;
mod secret;
pub mod state;
pub mod task;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "cron")]
pub mod timetable;
pub mod worker;

#[cfg(feature = "cron")]
pub use client::Cron;
pub use client::{Client, Handle, Outgoing, PARCEL_BYTES_MAX, Parcel, ResultOf};
pub use codec::Codec;
pub use connect::Connect;
pub use error::{Error, Result};
#[cfg(feature = "failpoints")]
pub use failpoint::FailPoints;
pub use handler::{
    Call, Data, Job, Output, Registration, TaskContext, TaskError, TaskResult, actor, batch,
    blocking, function,
};
#[cfg(feature = "webhook")]
pub use handler::{Webhook, webhook};
#[cfg(feature = "isolate")]
pub use handler::{child, isolated};
#[cfg(feature = "isolate")]
pub use isolate::{Limits, Network, Program};
pub use retry::RetryPolicy;
pub use task::{Draft, Group, Task, TaskId, Unique};
pub use worker::{Lane, Worker};

/// A client of the broker at this URL, with the keys [`Connect`] finds.
///
/// # Errors
/// As [`Connect::open`], and a key that differs from the one the broker knows under its id
/// [`is_wrong_key`](Error::is_wrong_key).
pub async fn connect(url: &str) -> Result<Client> {
    Client::open(Connect::new(url)).await
}

impl Client {
    /// A client as [`Connect`] describes it.
    pub async fn open(how: Connect) -> Result<Self> {
        let connect::Connection { broker, sealer } = how.open()?;
        broker.check_keys(sealer.keyring().key_checks()).await?;
        Ok(Self::new(broker, sealer))
    }
}

/// Runs a future to its end on an actix system of its own. Inside `#[actix_web::main]` or `#[tokio::main]`
/// there is no need for it.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_rt::System::new().block_on(future)
}
