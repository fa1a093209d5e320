//! Middleware on both sides, and hooks: their order, what they may do, and that a panic in one is contained.

mod around;
mod client;
mod hooks;
