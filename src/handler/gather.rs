//! Gathering: how the tasks of a batch handler find together, and the one call they become.
//!
//! Each task keeps a run of its own, with its lease, time, cancellation and settlement; here they only wait for one
//! another. Those of a group are one batch by themselves, all others gather for a moment with whoever else is there.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::panic;

use super::batch::{Returned, replicate};
use super::function::decode;
use super::piece::{Coming, Member, Roll};
use super::{BatchFn, Batching, Hold, Input, Job, Runner, Surroundings, TaskError};

/// Batches of one kind on one arbiter.
pub(super) struct Batches<F, Args> {
    handler: F,
    batching: Batching,
    /// From then on nobody is waited for.
    quiet: CancellationToken,
    /// The batch that gathers, if one does.
    open: Rc<RefCell<Option<Open>>>,
    args: PhantomData<fn(Args)>,
}

/// A batch that gathers; it has gathered when this is dropped.
struct Open {
    roll: Roll,
    gathered: DropGuard,
}

/// One task of a batch.
struct Entry<T> {
    job: Job<T>,
    keep: bool,
    hold: Hold,
    tell: oneshot::Sender<Returned>,
}

impl<F, Args> Batches<F, Args> {
    pub(super) fn new(handler: F, batching: Batching, surroundings: &Surroundings) -> Self {
        let Batching { most, linger } = batching;
        // More than may be in hand would never be full.
        let batching = Batching { most: most.min(surroundings.room).max(1), linger };
        let (quiet, open) = (surroundings.quiet.clone(), Rc::default());
        Self { handler, batching, quiet, open, args: PhantomData }
    }
}

impl<F: BatchFn<Args>, Args: 'static> Runner for Batches<F, Args> {
    fn gathers(&self) -> bool {
        true
    }

    fn gather(&self, alone: bool) -> LocalBoxFuture<'static, Member> {
        if alone {
            return std::future::ready(Roll::new().enrol()).boxed_local();
        }
        let mut place = self.open.borrow_mut();
        let open = place.get_or_insert_with(|| {
            let token = CancellationToken::new();
            let (open, linger) = (self.open.clone(), self.batching.linger);
            actix_rt::spawn(close(open, token.clone(), linger, self.quiet.clone()));
            Open { roll: Roll::new(), gathered: token.drop_guard() }
        });
        let (member, gathered) = (open.roll.enrol(), open.gathered.token().clone());
        if open.roll.enrolled() >= self.batching.most {
            *place = None;
        }
        async move {
            gathered.cancelled().await;
            member
        }
        .boxed_local()
    }

    fn run(&self, input: Input) -> LocalBoxFuture<'static, Returned> {
        let task = match decode::<F::Task>(&input) {
            Ok(task) => task,
            // The others do not wait for it: its member goes with the input.
            Err(error) => return std::future::ready(Err(error)).boxed_local(),
        };
        let Input { context, keep, hold, member, .. } = input;
        let (tell, told) = oneshot::channel();
        let entry = Entry { job: Job { task, context }, keep, hold, tell };
        let member = member.unwrap_or_else(|| Roll::new().enrol());
        if let Some(coming) = member.join(Box::new(entry)) {
            actix_rt::spawn(perform(self.handler.clone(), coming));
        }
        // Its sender is dropped only with the thread: nobody knows how far it came.
        async move { told.await.unwrap_or_else(|_| Err(TaskError::interrupted())) }.boxed_local()
    }
}

/// Closes a batch that was not full in time.
async fn close(
    place: Rc<RefCell<Option<Open>>>,
    gathered: CancellationToken,
    linger: Duration,
    quiet: CancellationToken,
) {
    let lingers = async {
        if !linger.is_zero() {
            // To a worker that is quiet nobody comes any more.
            let _ = quiet.run_until_cancelled(tokio::time::sleep(linger)).await;
        }
        let mut before = 0;
        loop {
            // Those that were claimed with it are polled one after the other.
            tokio::task::yield_now().await;
            let now = place.borrow().as_ref().map_or(0, |open| open.roll.enrolled());
            if now == before {
                return;
            }
            before = now;
        }
    };
    if gathered.run_until_cancelled(lingers).await.is_some() {
        place.borrow_mut().take();
    }
}

/// Calls the handler once nobody else will come, and tells each task what became of it.
async fn perform<F: BatchFn<Args>, Args>(handler: F, mut coming: Coming) {
    let mut entries = Vec::new();
    while let Some((number, joined)) = coming.recv().await {
        match joined.downcast::<Entry<F::Task>>() {
            Ok(entry) => entries.push((number, *entry)),
            Err(_) => tracing::error!("a task of another type in a batch"),
        }
    }
    // Those that were given up meanwhile have left.
    let (left, mut entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, entry)| entry.tell.is_closed());
    left.into_iter().for_each(give_up);
    entries.sort_by_key(|(number, _)| *number);
    let (mut jobs, mut keep, mut tell, mut holds) = (vec![], vec![], vec![], vec![]);
    for (_, entry) in entries {
        jobs.push(entry.job);
        keep.push(entry.keep);
        tell.push(entry.tell);
        // As long as the handler runs their slots are taken, whatever became of them.
        holds.push(entry.hold);
    }
    if jobs.is_empty() {
        return;
    }
    let mut run = Box::pin(panic::catch(move || handler.call(jobs, keep)));
    let ended = tokio::select! {
        biased;
        // First: nothing of a handler goes on once all have left.
        () = all_left(&mut tell) => None,
        ended = &mut run => Some(ended),
    };
    give_up(run);
    let results = match ended {
        None => return,
        Some(Ok(results)) => results,
        Some(Err(panic)) => {
            let failed = Err(TaskError::new(panic).class("panic"));
            tell.iter().map(|_| replicate(&failed)).collect()
        }
    };
    for (tell, result) in tell.into_iter().zip(results) {
        // Who was given up does not listen.
        let _ = tell.send(result);
    }
}

/// What a handler or a task holds is dropped here, and may panic over it.
fn give_up(what: impl Sized) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(what))) {
        let panic = panic::text(panic);
        tracing::error!(panic, "a batch handler panicked when it was given up");
    }
}

/// Ends once every task of a batch was given up.
async fn all_left(tell: &mut [oneshot::Sender<Returned>]) {
    for tell in tell {
        tell.closed().await;
    }
}
