//! A panic as a value: caught where a handler is called and where it is polled.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// Runs what `make` makes to its end; a panic in either is an `Err` with its text.
pub(crate) async fn catch<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, String> {
    let future = std::panic::catch_unwind(AssertUnwindSafe(make)).map_err(text)?;
    AssertUnwindSafe(future).catch_unwind().await.map_err(text)
}

/// What a panic said. The payload is dropped here, guarded: its own drop may panic, and so may the drop of what that
/// panics with, which is leaked.
pub(crate) fn text(panic: Box<dyn Any + Send>) -> String {
    let text = match panic.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned()),
    };
    let dropped = std::panic::catch_unwind(AssertUnwindSafe(move || drop(panic)));
    let _ = dropped.map_err(std::mem::forget);
    text
}

/// What whoever starts a worker is to know of a build that cannot do this: `cfg!(panic = "abort")`.
pub(crate) fn warning(aborts: bool) -> Option<&'static str> {
    aborts.then_some(
        "built with panic = \"abort\": a panic in any handler or actor ends the whole process, and all it ran waits \
         for its lease to run out; build with panic = \"unwind\", or let `oncue::isolated` handlers take the risk",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_call_and_one_in_the_future_are_both_values() {
        let called = catch(|| -> std::future::Ready<()> { panic!("call {}", 1) });
        assert_eq!(called.now_or_never(), Some(Err("call 1".to_owned())));
        let polled = catch(|| async { panic!("poll") });
        assert_eq!(polled.now_or_never(), Some(Err::<(), _>("poll".to_owned())));
        assert_eq!(catch(|| async { 7 }).now_or_never(), Some(Ok(7)));
    }

    #[test]
    fn a_payload_whose_drop_panics_without_end_is_left_alone() {
        struct Endless;
        impl Drop for Endless {
            fn drop(&mut self) {
                std::panic::panic_any(Endless);
            }
        }
        let polled = catch(|| async { std::panic::panic_any(Endless) });
        assert_eq!(polled.now_or_never(), Some(Err::<(), _>("a panic".to_owned())));
    }

    #[test]
    fn a_build_that_aborts_is_warned_of_and_told_what_to_do() {
        let warning = warning(true).expect("a warning");
        assert!(
            warning.contains("the whole process")
                && warning.contains("build with panic = \"unwind\"")
        );
        assert_eq!(super::warning(false), None);
        // The control: this build unwinds, or none of the tests here would end.
        assert_eq!(super::warning(cfg!(panic = "abort")), None);
    }
}
