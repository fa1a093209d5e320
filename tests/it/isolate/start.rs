//! What is refused when a worker with isolated handlers starts. This binary has a main that gives way to nobody.

use oncue::{Data, Limits, Registration, TaskResult, blocking, isolated};

use crate::runtime::company::{Number, client};

fn nothing(_: Number) -> TaskResult {
    Ok(())
}

#[track_caller]
fn refused(handler: Registration, words: &str) {
    let error = oncue::block_on(client().worker().handle(handler).start()).err();
    let error = error.expect("refused");
    assert!(error.is_invalid() && error.to_string().contains(words), "{error:?}");
}

#[test]
fn a_main_that_does_not_give_way_is_told_how_and_starts_nothing() {
    refused(isolated(nothing), "`oncue::child([..])` the first line of a plain `fn main`");
}

#[test]
fn nothing_is_shared_with_a_child() {
    fn needs(_: Number, _: Data<u8>) -> TaskResult {
        Ok(())
    }
    refused(isolated(needs), "shares no `Data`");
}

#[test]
fn limits_are_for_isolated_handlers() {
    refused(blocking(nothing).limits(Limits::default()), "use `oncue::isolated(..)`");
    refused(blocking(nothing).recycle(2), "use `oncue::isolated(..)`");
    refused(isolated(nothing).recycle(0), "recycle 0");
}
