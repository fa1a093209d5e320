//! The broker for many machines: Redis 7 or later, or Valkey 7.2 or later.

mod fault;
mod link;
mod options;

pub use options::Options;
