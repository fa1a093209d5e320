//! Webhooks as handlers against a real server on this machine: what is sent, what answers mean, how it ends.

mod answers;
mod breaks;
#[cfg(feature = "cli")]
mod config;
mod receiver;
mod requests;
mod site;
#[cfg(feature = "redis")]
mod tls;
