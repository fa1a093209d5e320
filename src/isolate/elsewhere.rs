//! Systems other than Linux: there is no cage, so there are no children, and a worker that wants some does not start.

use std::any::Any;
use std::sync::Arc;

use crate::error::{Error, Result};

use super::ending::Ending;
use super::limits::Limits;
use super::order::{Answer, Call, Tell, Word};
use super::program::Program;

/// A handler a child would know.
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn(Call, Tell) -> Answer>,
}

/// No process is a child.
pub(crate) fn is_child() -> bool {
    false
}

/// Nobody is served.
pub(crate) fn serve(_: &[Entry]) -> ! {
    std::process::exit(70)
}

/// No child, and no way to make one.
pub(crate) enum Pool {}

/// What never comes to be.
pub(crate) struct Started {
    pub(crate) pool: Arc<Pool>,
    pub(crate) lacks: Vec<String>,
}

type Hold = Box<dyn Any + Send + Sync>;

fn refused(kind: &str) -> Error {
    Error::invalid(format!(
        "kind {kind} is to run in a process of its own, which needs Linux; use `oncue::blocking` here"
    ))
}

impl Pool {
    pub(crate) async fn of_handler(
        kind: &str,
        _: &'static str,
        _: Limits,
        _: u32,
        _: usize,
    ) -> Result<Started> {
        Err(refused(kind))
    }

    pub(crate) async fn of_program(kind: &str, _: Program, _: Limits, _: usize) -> Result<Started> {
        Err(refused(kind))
    }

    pub(crate) async fn run(
        &self,
        _: &Call,
        _: Hold,
        _: &dyn Fn(Word) -> Result<()>,
    ) -> Result<(Answer, String), Ending> {
        match *self {}
    }

    pub(crate) async fn feed(&self, _: &[u8], _: Hold) -> Result<(i32, Vec<u8>, String), Ending> {
        match *self {}
    }
}
