//! Crashes at every step: the same scenario again and again, its worker killed one step later each time.

use crate::error::{Error, Result};
use crate::worker::Builder;

use super::bench::Bench;
use super::crew::Crew;
use super::fuse::Step;

/// Most steps of a scenario.
pub const STEPS_MAX: usize = 1_000;

/// Where the worker of a scenario was killed, in order.
#[derive(Debug)]
#[non_exhaustive]
pub struct Crashes {
    /// Once at each.
    pub steps: Vec<Step>,
}

/// Runs a scenario to its end, and then again and again on a fresh [`Bench`], its worker killed at the first step, the
/// second, and so on until it ends before. A step is before and after every call to the broker that writes, be it of
/// the runtime or of a handler by the [client of the bench](Bench::client), and after every claim: so
/// it dies before a task is claimed, once it is claimed and not begun, at each write of its handler, once that is done
/// and not settled, and once it is settled. After each crash another worker takes over, and `check` sees what came of it.
///
/// `setup` makes the world: it enqueues, and makes what handlers work on, anew each time. `build` makes the worker.
/// `check` asserts what must hold however often something ran.
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::{Arc, Mutex};
/// use oncue::{Data, Task, TaskContext, TaskResult, testing};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Charge(u64);
///
/// impl Task for Charge {
///     const KIND: &'static str = "charge";
/// }
///
/// /// A bank that knows a charge by its key.
/// type Bank = Arc<Mutex<BTreeSet<String>>>;
///
/// async fn charge(_: Charge, context: TaskContext, bank: Data<Bank>) -> TaskResult {
///     bank.lock().expect("not poisoned").insert(context.id().to_string());
///     Ok(())
/// }
///
/// # fn main() -> oncue::Result<()> {
/// let crashes = oncue::block_on(testing::crash_at_every_step(
///     async |bench| {
///         bench.client().enqueue(Charge(7)).await?;
///         Ok(Bank::default())
///     },
///     |bank, worker| worker.handle(charge).data(bank.clone()),
///     async |bank, _| assert_eq!(bank.lock().expect("not poisoned").len(), 1, "charged once"),
/// ))?;
/// assert!(crashes.steps.len() >= 3);
/// # Ok(()) }
/// ```
///
/// It is a crash for the broker and for async code: a run ends at the await it is at. What runs on a thread of its own
/// (a blocking handler) or was spawned by a handler goes on, and destructors run. The runtime's own timing may bring
/// two tasks in one call or in two, so the steps of a scenario with many tasks are not always the same.
///
/// # Errors
/// Those of `setup` and of [`Bench::drain`]; a scenario of more than [`STEPS_MAX`] steps
/// [`is_timeout`](Error::is_timeout). Where it happened is printed to standard error, also if `check` panics.
pub async fn crash_at_every_step<W>(
    setup: impl AsyncFn(&Bench) -> Result<W>,
    build: impl Fn(&W, Builder) -> Builder,
    check: impl AsyncFn(&W, &Bench),
) -> Result<Crashes> {
    let mut steps = Vec::new();
    // At step 0 nothing is killed: what does not hold undisturbed is told first.
    for at in 0..=STEPS_MAX {
        let bench = Bench::new()?;
        let mut place = Place(format!("in round {at}"));
        let world = setup(&bench).await?;
        let blown = play(&bench, at, |worker| build(&world, worker)).await?;
        place.0 = blown.map_or("undisturbed".to_owned(), |step| format!("after a crash {step}"));
        if blown.is_some() {
            bench.drain(|worker| build(&world, worker)).await?;
        }
        check(&world, &bench).await;
        place.0.clear();
        match blown {
            Some(step) => steps.push(step),
            None if at > 0 => return Ok(Crashes { steps }),
            None => {}
        }
    }
    Err(Error::timeout(format!(
        "a scenario of more than {STEPS_MAX} steps; test with less at once"
    )))
}

/// Drains, killed at this step; answers where, if it came so far.
async fn play(
    bench: &Bench,
    at: usize,
    build: impl FnOnce(Builder) -> Builder,
) -> Result<Option<Step>> {
    let fuse = &bench.ground.fuse;
    fuse.set(at);
    let crew = Crew::start(bench, build).await?;
    let to_the_end = async {
        crew.work(None).await?;
        // The broker may be done with the last write before its answer is heard, and that is a step.
        fuse.written().await;
        Ok(())
    };
    let worked = tokio::select! {
        biased;
        () = fuse.blown() => Ok(()),
        worked = to_the_end => worked,
    };
    match fuse.remove() {
        Some(step) => crew.bury().await.map(|()| Some(step)),
        None => crew.dismiss().await.and(worked).map(|()| None),
    }
}

/// Tells where it was if it is left in a hurry. Empty: nothing to tell.
struct Place(String);

impl Drop for Place {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            eprintln!("crash_at_every_step: failed {}", self.0);
        }
    }
}
