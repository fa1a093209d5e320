//! The broker for many machines: Redis 7 or later, or Valkey 7.2 or later.

mod address;
mod cluster;
mod conn;
mod credentials;
mod dial;
mod fault;
mod keeper;
mod link;
mod options;
mod sentinel;
mod tls;

pub use credentials::{CommandPassword, CredentialSource, Credentials, EnvPassword, FilePassword};
pub use options::Options;
