//! The users `oncue acl generate` makes, on a server that knows no others: they can do their work, and no more.

mod by_role;
mod cluster;
mod extent;
mod halves;
mod refusals;
mod suite;
mod users;
