//! The suite, mounted on the model.

use std::sync::Arc;

use oncue::clock::ManualClock;

use crate::fixture::{Bench, Opened};
use crate::model::{Fault, Model};

#[path = "conformance/mod.rs"]
mod conformance;

pub fn open_with(fault: Option<Fault>, clock: Arc<ManualClock>) -> Opened {
    Opened { broker: Arc::new(Model::new(clock, fault)), guard: None }
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
