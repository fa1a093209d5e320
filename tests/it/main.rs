//! Tests of the library from outside, one binary.

#[cfg(all(feature = "sqlite", feature = "cli"))]
mod cli;
mod keys;
mod seal;
