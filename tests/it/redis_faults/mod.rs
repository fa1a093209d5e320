//! Faults of Redis and of the way to it: lost replies, late requests, missing and foreign keys, limits under
//! races, outages, failovers, moved slots, clocks that jump, rights that
//! are taken, too many connections, certificates that are not good (any more). The broker is real, and so are the servers.

mod answers;
mod apart;
mod audit;
mod company;
mod connections;
mod failovers;
mod gathered;
mod herd;
mod history;
mod junk;
mod late;
mod limits;
mod listeners;
mod missing;
mod orders;
mod outages;
mod packed;
mod places;
mod replies;
mod rights;
mod rotation;
mod server_clock;
mod site;
mod slots;
mod tls;
mod versions;
mod ways;
