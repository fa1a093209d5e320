//! Tests of the library from outside, one binary.

mod keys;
#[cfg(feature = "sqlite")]
mod processes;
#[cfg(feature = "sqlite")]
mod runtime;
mod seal;
