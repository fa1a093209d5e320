//! The runtime on the embedded broker: real actors, real time, and events to wait for.

/// Mounts each of these tests on the embedded broker and on a real Redis.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod on_sqlite {
            $(#[test] fn $test() { super::$test(super::super::company::client()) })*
        }
        #[cfg(feature = "redis")]
        mod on_redis {
            $(#[test] fn $test() {
                let server = crate::redis_servers::server::Server::start();
                super::$test(super::super::company::client_on(&server.url()))
            })*
        }
    };
}

mod alone;
mod asked;
mod batch;
#[cfg(feature = "failpoints")]
mod broker_panics;
mod claims;
pub mod company;
mod deaths;
mod faults;
mod groups;
mod handlers;
mod idle;
mod lifecycle;
mod notes;
mod operators;
mod outcomes;
#[cfg(feature = "failpoints")]
mod panics;
mod policies;
pub mod proxy;
mod queues;
mod replicas;
mod sealed;
mod stuck;
