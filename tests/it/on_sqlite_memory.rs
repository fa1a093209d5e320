//! The suite, mounted on SQLite in memory.

use std::sync::Arc;

use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::clock::ManualClock;

use crate::fixture::{Bench, Opened};
use crate::model::Fault;

#[path = "conformance/mod.rs"]
mod conformance;

pub fn open_with(fault: Option<Fault>, clock: Arc<ManualClock>) -> Opened {
    let options = with_fault(Options::memory().clock(clock), fault);
    let broker = SqliteBroker::open(options).expect("a broker");
    Opened { broker: Arc::new(broker), guard: None }
}

#[cfg(feature = "failpoints")]
fn with_fault(options: Options, fault: Option<Fault>) -> Options {
    options.mutant(fault)
}

/// Without the feature there is no fault to have.
#[cfg(not(feature = "failpoints"))]
fn with_fault(options: Options, _fault: Option<Fault>) -> Options {
    options
}

fn open() -> Bench {
    Bench::new(&|clock| open_with(None, clock))
}

#[test]
fn random_histories_agree_with_the_model() {
    crate::sequences::check(&|clock| open_with(None, clock), 256);
}

#[cfg(feature = "failpoints")]
#[test]
fn every_mutant_is_killed() {
    crate::mutants::every_mutant_is_killed(&open_with);
}
