//! Faults of Redis and of the way to it: lost replies, late requests, missing and foreign keys, limits under
//! races, outages, failovers, moved slots. The broker is real, and so are the servers.

mod answers;
mod apart;
mod audit;
mod company;
mod failovers;
mod history;
mod junk;
mod late;
mod limits;
mod missing;
mod outages;
mod packed;
mod replies;
mod site;
mod slots;
mod versions;
mod ways;
