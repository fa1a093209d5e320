//! Ports for servers that are told theirs by their configuration. Not for what listens in this process: that
//! binds port 0 and keeps what it got.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};

/// Where ports are sought: below the ephemeral range of Linux. A port in that range may be taken by an outgoing
/// connection while its server is down, even by one *to that port*: a client that keeps trying to reach a dead
/// server is one day connected to itself.
const FIRST: u16 = 10_000;
const COUNT: u16 = 11_000;

/// What lies between the port of a node and the one its peers in a cluster use; what Redis does by default.
pub const BUS: u16 = 10_000;

/// A port that was free a moment ago, as was the one of its cluster bus. Somebody else may be faster: a server
/// that finds it taken is started again on another.
pub fn free() -> u16 {
    for _ in 0..1_000 {
        let random = RandomState::new().build_hasher().finish();
        let port = FIRST + u16::try_from(random % u64::from(COUNT)).expect("less than COUNT");
        if [port, port + BUS]
            .iter()
            .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}
