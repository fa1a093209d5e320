//! Tests of the library from outside, one binary.

#[cfg(feature = "sqlite")]
mod examples;
mod keys;
mod lock;
mod seal;
mod tidy;
