//! When an actor that died is started again, what becomes of its neighbours, and when it is left alone.
//!
//! Pure: time and chance are arguments, nothing here is an actor. A task's failure never gets here (Rule 0):
//! only actors die.
//!
//! | what | says | default |
//! |---|---|---|
//! | [`Restart`] | after which exits a child is started again | `Permanent` |
//! | [`Intensity`] | how many restarts are borne | 5 within 30 s |
//! | [`Backoff`] | how long to wait before each | 100 ms, doubled up to 30 s, ±20 %; anew after 60 s |
//! | [`OnExceeded`] | what happens once there are more | `Quarantine`, a probe after 60 s |
//! | [`Shutdown`] | how long its runs may go on at the end | as long as its parent waits |
//! | [`Strategy`] | which neighbours are restarted with it | `RestForOne` |
//!
//! ```
//! use std::time::Duration;
//! use oncue::restart::{Backoff, OnExceeded, Policy};
//!
//! let policy = Policy::DEFAULT
//!     .intensity(3, Duration::from_secs(10))
//!     .backoff(Backoff { min: Duration::from_millis(50), ..Backoff::DEFAULT })
//!     .on_exceeded(OnExceeded::Quarantine { probe_after: Duration::from_secs(5) });
//! policy.check().unwrap();
//! assert!(policy.intensity(3, Duration::ZERO).check().is_err());
//! ```

mod policy;
mod record;
mod strategy;

pub use policy::{Backoff, Intensity, OnExceeded, Policy, RESTARTS_MAX, Restart, Shutdown};
pub use record::{Directive, Exit, Record, Standing};
pub use strategy::Strategy;
