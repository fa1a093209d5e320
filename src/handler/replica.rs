//! Replicas of a handler actor: one life after the other, each made by the factory.
//!
//! A replica does not restart itself. It tells its keeper how it ended, and is made anew when the keeper says so.
//! Tasks that found nobody wait for the next life, or go back if there is none.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, MailboxError, WrapFuture};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::panic;
use crate::restart::Exit;
use crate::task::Task;

use super::function::decode;
use super::{
    ActorHandler, DataMap, Hold, Input, Job, Output, Runner, RunnerFactory, Surroundings,
    TaskContext, TaskError, TaskResult,
};

/// A handler actor and the factory that makes its replicas, as the runtime sees them.
pub(crate) struct Replicated<T, A> {
    pub(crate) factory: Arc<dyn Fn() -> A + Send + Sync>,
    pub(crate) task: PhantomData<fn(T)>,
}

impl<T: Task, A: ActorHandler<T>> RunnerFactory for Replicated<T, A> {
    fn make(&self, surroundings: &Surroundings) -> Rc<dyn Runner> {
        let post = Rc::new(watch::channel(Post::Vacant).0);
        let surroundings = surroundings.clone();
        let factory = self.factory.clone();
        actix_rt::spawn(keep_alive(factory, Rc::downgrade(&post), surroundings.clone()));
        Rc::new(Replica::<T, A> { post, surroundings, task: PhantomData })
    }

    fn check(&self, _: &DataMap) -> Result<()> {
        Ok(())
    }
}

/// Where a replica is found.
enum Post<A: Actor> {
    /// It is being made.
    Vacant,
    Filled(Incarnation<A>),
    /// There will be none.
    Closed,
}

/// One life of a replica.
struct Incarnation<A: Actor> {
    address: Addr<A>,
    fate: Rc<Fate>,
}

/// What becomes of one life, and of the tasks that share it.
#[derive(Default)]
struct Fate {
    /// To be ended on purpose.
    end: CancellationToken,
    why: Cell<&'static str>,
    /// Whether the actor got past its `started`.
    started: Cell<bool>,
    over: Cell<bool>,
    /// Whether it is known whose fault the end is.
    blamed: Cell<bool>,
    /// The runs it has: as many as it takes at once, and those that ran out of time.
    runs: RefCell<Vec<TaskContext>>,
}

impl Fate {
    fn end(&self, why: &'static str) {
        self.blamed.set(true);
        self.why.set(why);
        self.end.cancel();
    }

    /// It is over. Contexts know whether the panic passed by them.
    fn is_over(&self) {
        self.over.set(true);
        let runs = self.runs.borrow();
        self.blamed.set(self.blamed.get() || runs.iter().any(TaskContext::has_panicked));
    }

    /// A task was not answered: whose fault is it?
    fn judge(&self, context: &TaskContext) -> TaskError {
        let own = if self.over.get() {
            // Before the end of `started` no task was looked at. Afterwards, if nobody is known to be at fault,
            // all are: what nobody is charged for is tried for ever.
            context.has_panicked() || !self.blamed.get() && self.started.get()
        } else {
            // The future it answered with panicked; the actor lives on with a state nobody vouches for.
            self.end("a panic in an answer");
            true
        };
        match own {
            true => TaskError::new("the handler actor panicked").class("panic"),
            false => TaskError::interrupted(),
        }
    }
}

/// Makes a replica anew each time it dies and the keeper says so, until its runner is gone.
async fn keep_alive<A: Actor<Context = Context<A>>>(
    factory: Arc<dyn Fn() -> A + Send + Sync>,
    post: Weak<watch::Sender<Post<A>>>,
    surroundings: Surroundings,
) {
    let Surroundings { keeper, gone, .. } = &surroundings;
    while !gone.is_cancelled() {
        let (exit, why) = match std::panic::catch_unwind(AssertUnwindSafe(|| factory())) {
            Ok(actor) => live(actor, &post, &surroundings).await,
            Err(panic) => (Exit::Abnormal, panic::text(panic)),
        };
        keeper.up(false);
        if gone.is_cancelled() {
            break;
        }
        let again = keeper.exited(exit, &why);
        if !matches!(gone.run_until_cancelled(again).await, Some(Ok(()))) {
            break;
        }
    }
    if let Some(post) = post.upgrade() {
        post.send_replace(Post::Closed);
    }
}

/// Lives one incarnation and says how it ended. A panic is a value; the actor is dropped outside of unwinding,
/// since dropping its context polls it once more.
async fn live<A: Actor<Context = Context<A>>>(
    actor: A,
    post: &Weak<watch::Sender<Post<A>>>,
    surroundings: &Surroundings,
) -> (Exit, String) {
    let (mut context, fate) = (Context::new(), Rc::<Fate>::default());
    let (address, begun) = (context.address(), fate.clone());
    // What a context waits for comes after `started` and before the first message.
    context.wait(async move { begun.started.set(true) }.into_actor(&actor));
    let mut future = context.into_future(actor);
    // The runner holds the only address: when it goes the mailbox closes and the actor ends.
    if let Some(post) = post.upgrade() {
        post.send_replace(Post::Filled(Incarnation { address, fate: fate.clone() }));
    }
    surroundings.keeper.up(true);
    let ended = tokio::select! {
        ended = AssertUnwindSafe(&mut future).catch_unwind() => Some(ended),
        () = fate.end.cancelled() => None,
    };
    // Nothing awaits from here on: who waits for an answer is woken after all this.
    surroundings.keeper.up(false);
    if !surroundings.gone.is_cancelled() {
        surroundings.keeper.dying();
    }
    fate.is_over();
    if let Some(post) = post.upgrade() {
        post.send_replace(Post::Vacant);
    }
    let dropped = std::panic::catch_unwind(AssertUnwindSafe(move || drop(future)));
    let ended = ended.map(|ended| ended.map_err(panic::text));
    match (ended, dropped.map_err(panic::text)) {
        (Some(Err(why)), _) | (_, Err(why)) => (Exit::Abnormal, why),
        (None, _) => (Exit::Abnormal, fate.why.get().to_owned()),
        (Some(Ok(())), Ok(())) => (Exit::Normal, "it stopped by itself".to_owned()),
    }
}

struct Replica<T, A: Actor> {
    post: Rc<watch::Sender<Post<A>>>,
    surroundings: Surroundings,
    task: PhantomData<fn(T)>,
}

impl<T: Task, A: ActorHandler<T>> Runner for Replica<T, A> {
    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        let (mut post, surroundings) = (self.post.subscribe(), self.surroundings.clone());
        async move {
            let task = decode::<T>(&input)?;
            let Input { context, keep, probe, hold, .. } = input;
            // One that comes while the replica is being made waits for it, within its own timeout.
            let found = tokio::select! {
                biased;
                found = post.wait_for(|post| !matches!(post, Post::Vacant)) => found,
                () = surroundings.barred(), if !probe => return Err(TaskError::interrupted()),
            };
            let (answer, fate) = match found.as_deref() {
                Ok(Post::Filled(Incarnation { address, fate })) => {
                    fate.runs.borrow_mut().push(context.clone());
                    (address.send(Job { task, context: context.clone() }), fate.clone())
                }
                _ => return Err(TaskError::interrupted()),
            };
            drop(found);
            // A task of its own: a run that is given up does not stop the actor, so its slot stays taken.
            let attended = attend(answer, fate, context, hold, surroundings.patience);
            let output = actix_rt::spawn(attended).await??;
            Ok(output.0.filter(|_| keep))
        }
        .boxed_local()
    }
}

/// Waits for the answer of a replica, or for the end of the replica, and holds the slot for so long. A replica
/// that was told to stop and does not answer is ended: nobody knows what it waits for.
async fn attend(
    answer: impl Future<Output = Result<TaskResult<Output>, MailboxError>>,
    fate: Rc<Fate>,
    context: TaskContext,
    _hold: Hold,
    patience: Duration,
) -> TaskResult<Output> {
    let silent = async {
        context.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    let answered = tokio::select! {
        answered = answer => answered,
        () = silent => {
            fate.end("it was told to stop and did not answer");
            Err(MailboxError::Timeout)
        }
    };
    let judged = match answered {
        Ok(answered) => answered,
        Err(MailboxError::Timeout) => Err(TaskError::interrupted()),
        Err(MailboxError::Closed) => Err(fate.judge(&context)),
    };
    fate.runs.borrow_mut().retain(|run| run.id() != context.id());
    judged
}
