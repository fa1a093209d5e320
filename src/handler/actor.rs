//! Actors as handlers: state of their own, replicas, and a factory that makes a fresh one after a panic.
//!
//! A panic in the actor fails the task at hand with class `panic` and costs that replica, which is made
//! anew from the factory after a backoff: its state is suspect. A failure (`Err`) costs the task alone.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::error::Result;
use crate::panic;
use crate::queue::Kind;
use crate::restart::{Directive, Exit, Policy, Record};
use crate::task::Task;

use super::function::decode;
use super::{
    DataMap, Input, Runner, RunnerFactory, Surroundings, TaskContext, TaskError, TaskResult,
};

/// A task on its way to a handler actor: `impl actix::Handler<Job<SendEmail>> for Mailer`.
pub struct Job<T> {
    /// The task.
    pub task: T,
    /// The run it is in.
    pub context: TaskContext,
}

impl<T: Task> Message for Job<T> {
    type Result = TaskResult<Output>;
}

/// What a handler actor returns: nothing, or a value to be kept as the task's result.
#[derive(Default)]
pub struct Output(Option<Vec<u8>>);

impl Output {
    /// No result.
    pub fn none() -> Self {
        Self(None)
    }

    /// A result, written as JSON.
    pub fn of<V: Serialize + ?Sized>(value: &V) -> TaskResult<Self> {
        Ok(Self(Some(Codec::Json.encode(value)?)))
    }
}

/// An actor that handles a kind of task.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler actor for `{T}`",
    note = "a handler actor is `impl actix::Actor<Context = actix::Context<Self>>` with `impl actix::Handler<oncue::Job<{T}>>`"
)]
pub trait ActorHandler<T: Task>: Actor<Context = Context<Self>> + Handler<Job<T>> {}

impl<T: Task, A: Actor<Context = Context<A>> + Handler<Job<T>>> ActorHandler<T> for A {}

/// A handler actor and the factory that makes its replicas, as the runtime sees them.
pub(crate) struct Replicated<T, A> {
    pub(crate) factory: Arc<dyn Fn() -> A + Send + Sync>,
    pub(crate) task: PhantomData<fn(T)>,
}

impl<T: Task, A: ActorHandler<T>> RunnerFactory for Replicated<T, A> {
    fn make(&self, kind: &Kind, surroundings: &Surroundings) -> Rc<dyn Runner> {
        let (incarnation, _) = watch::channel(None);
        let incarnation = Rc::new(incarnation);
        let living = keep_alive(
            self.factory.clone(),
            Rc::downgrade(&incarnation),
            kind.clone(),
            surroundings.clone(),
        );
        actix_rt::spawn(living);
        Rc::new(Replica::<T, A> { incarnation, task: PhantomData })
    }

    fn check(&self, _: &DataMap) -> Result<()> {
        Ok(())
    }
}

/// How long a replica rests once it used up its restarts, before it is tried again.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// One life of a replica: its address, and a way to end it on purpose.
type Incarnation<A> = (Addr<A>, CancellationToken);

/// Makes a replica anew each time it dies, until its runner is gone.
async fn keep_alive<A: Actor<Context = Context<A>>>(
    factory: Arc<dyn Fn() -> A + Send + Sync>,
    runner: Weak<watch::Sender<Option<Incarnation<A>>>>,
    kind: Kind,
    surroundings: Surroundings,
) {
    let mut record = Record::default();
    while runner.strong_count() > 0 {
        let ended = match std::panic::catch_unwind(AssertUnwindSafe(|| factory())) {
            Ok(actor) => {
                surroundings.up.store(true, Ordering::Release);
                (surroundings.ready)();
                live(actor, &runner).await
            }
            Err(panic) => panic::text(panic),
        };
        surroundings.up.store(false, Ordering::Release);
        if runner.strong_count() == 0 {
            return;
        }
        (surroundings.restarted)(&kind, &ended);
        let now = Instant::now();
        let wait = match record.exited(&Policy::DEFAULT, 0, Exit::Abnormal, now, 0.5) {
            Directive::RestartAfter(wait) => wait,
            _ => PROBE_AFTER,
        };
        record.look(now + wait);
        tokio::time::sleep(wait).await;
    }
}

/// Lives one incarnation and says why it ended. A panic is a value; the actor is dropped outside of
/// unwinding, since dropping its context polls it once more.
async fn live<A: Actor<Context = Context<A>>>(
    actor: A,
    runner: &Weak<watch::Sender<Option<Incarnation<A>>>>,
) -> String {
    let (context, stop) = (Context::new(), CancellationToken::new());
    let incarnation = (context.address(), stop.clone());
    let mut future = context.into_future(actor);
    // The runner holds the only address: when it goes the mailbox closes and the actor ends.
    match runner.upgrade() {
        Some(runner) => drop(runner.send_replace(Some(incarnation))),
        None => drop(incarnation),
    }
    let ended = tokio::select! {
        ended = AssertUnwindSafe(&mut future).catch_unwind() => Some(ended),
        () = stop.cancelled() => None,
    };
    if let Some(runner) = runner.upgrade() {
        runner.send_replace(None);
    }
    let dropped = std::panic::catch_unwind(AssertUnwindSafe(move || drop(future)));
    match (ended, dropped) {
        (Some(Err(panic)), _) | (_, Err(panic)) => panic::text(panic),
        (None, _) => "a panic in an answer".to_owned(),
        (Some(Ok(())), Ok(())) => "it stopped by itself".to_owned(),
    }
}

struct Replica<T, A: Actor> {
    incarnation: Rc<watch::Sender<Option<Incarnation<A>>>>,
    task: PhantomData<fn(T)>,
}

impl<T: Task, A: ActorHandler<T>> Runner for Replica<T, A> {
    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        let mut incarnation = self.incarnation.subscribe();
        async move {
            let task = decode::<T>(&input)?;
            // One that comes while the replica is being made waits for it, within its own timeout.
            let alive = incarnation.wait_for(Option::is_some).await?.clone();
            let Some((address, stop)) = alive else {
                return Err(TaskError::new("the actor is gone"));
            };
            let Input { context, keep, hold, .. } = input;
            let answer = address.send(Job { task, context });
            drop(address);
            // A task of its own: a run that is given up does not stop the actor, so its slot stays taken.
            let answered = actix_rt::spawn(async move {
                let (_held, answer) = (hold, answer.await);
                if answer.is_err() {
                    // Closed without an answer: the actor panicked, or the future it answered with did
                    // and the actor lives on with a state nobody vouches for.
                    stop.cancel();
                }
                answer
            });
            match answered.await? {
                Ok(result) => result.map(|output| output.0.filter(|_| keep)),
                Err(_) => Err(TaskError::new("the handler actor panicked").class("panic")),
            }
        }
        .boxed_local()
    }
}
