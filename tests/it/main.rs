//! The one integration binary: the sealed record, every broker against one contract and one model, the
//! runtime on top of them, the command line, and the rules of the house.

// The conformance suite is mounted once per broker on purpose.
#![allow(clippy::duplicate_mod)]

#[cfg(all(feature = "redis", feature = "failpoints"))]
mod acl;
#[cfg(feature = "sqlite")]
mod attack;
#[cfg(all(feature = "sqlite", feature = "cli"))]
mod cli;
#[cfg(feature = "cli")]
mod cli_cron;
#[cfg(all(feature = "sqlite", feature = "cli"))]
mod cli_entries;
#[cfg(all(feature = "sqlite", feature = "cli"))]
mod cli_operate;
#[cfg(all(feature = "redis", feature = "cli"))]
mod cli_redis;
#[cfg(all(feature = "sqlite", feature = "cli"))]
mod drill;
#[cfg(feature = "sqlite")]
mod examples;
mod fixture;
#[cfg(all(feature = "sqlite", feature = "isolate", target_os = "linux"))]
mod isolate;
mod keys;
mod lock;
#[cfg(feature = "sqlite")]
mod middleware;
mod model;
#[cfg(all(feature = "sqlite", feature = "failpoints"))]
mod mutants;
mod on_model;
#[cfg(all(feature = "redis", feature = "failpoints"))]
mod on_redis;
#[cfg(feature = "sqlite")]
mod on_sqlite_file;
#[cfg(feature = "sqlite")]
mod on_sqlite_memory;
#[cfg(feature = "rusqlite-0_41")]
mod outbox;
#[cfg(feature = "sqlite")]
mod processes;
#[cfg(feature = "redis")]
mod redis_durable;
#[cfg(all(feature = "redis", feature = "failpoints"))]
mod redis_faults;
#[cfg(feature = "redis")]
mod redis_servers;
#[cfg(feature = "sqlite")]
mod runtime;
mod seal;
mod sequences;
#[cfg(feature = "testing")]
mod testing;
mod tidy;
#[cfg(all(feature = "sqlite", feature = "cron"))]
mod timetable;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod wall_clock;
#[cfg(all(feature = "sqlite", feature = "webhook"))]
mod webhooks;
