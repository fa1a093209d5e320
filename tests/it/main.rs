//! Tests of the library from outside, one binary.

#[cfg(feature = "sqlite")]
mod examples;
mod keys;
mod lock;
#[cfg(feature = "sqlite")]
mod quiet;
mod seal;
mod tidy;
