//! Tests of the library from outside, one binary.

mod keys;
mod seal;
