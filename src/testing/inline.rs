//! Inline: one handler called once, with a context made for the test. No broker, no worker, no sealing.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::handler::{
    Data, DataMap, Effect, Effects, Hold, Input, IntoRoute, Keeper, Notes, Route, Run, Stop,
    Surroundings, TaskContext, TaskError, TaskResult,
};
use crate::panic;
use crate::restart::Exit;
use crate::seal::Plaintext;
use crate::task::{Task, TaskId};

/// How long what was told to stop may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A handler about to be called. Made by [`inline`].
#[must_use = "it is called by `run`"]
pub struct Inline {
    route: Result<Route>,
    data: DataMap,
    attempt: u32,
    headers: Vec<(String, String)>,
    deadline: Option<SystemTime>,
    stop: Arc<Stop>,
}

/// Calls a handler of any sort by itself: what it answers is what the test sees.
///
/// ```
/// # use oncue::{Data, Task, TaskContext, TaskError, TaskResult, testing::inline};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
/// # impl Task for Greet { const KIND: &'static str = "greet"; }
/// async fn greet(task: Greet, word: Data<String>, context: TaskContext) -> TaskResult<String> {
///     match context.header("tenant") {
///         Some(tenant) => Ok(format!("{} {} of {tenant}", *word, task.0)),
///         None => Err(TaskError::skip_retry("no tenant")),
///     }
/// }
///
/// # oncue::block_on(async {
/// let call = inline(greet).data("hello".to_owned()).header("tenant", "acme");
/// let said: TaskResult<String> = call.run(Greet("Ada".into())).await;
/// assert_eq!(said.expect("greeted"), "hello Ada of acme");
///
/// let said: TaskResult<String> = inline(greet).data(String::new()).run(Greet("Ada".into())).await;
/// assert_eq!(said.expect_err("refused").message(), "no tenant");
/// # });
/// ```
pub fn inline<Args>(handler: impl IntoRoute<Args>) -> Inline {
    Inline {
        route: handler.into_route(),
        data: DataMap::default(),
        attempt: 1,
        headers: Vec::new(),
        deadline: None,
        stop: Arc::default(),
    }
}

impl Inline {
    /// Which attempt it is; 1 unless told.
    pub fn attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

    /// A header of the task.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A value the handler shares, as [`Data<T>`](crate::Data).
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.data.insert(Data::new(value));
        self
    }

    /// The deadline of the task. Nobody ends the run at it.
    pub fn deadline(self, deadline: SystemTime) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// The run is told to stop before it begins.
    pub fn cancelled(self) -> Self {
        self.stop.ask();
        self
    }

    /// Calls the handler, on a thread of its own, and answers what it said, once its task and its result went through
    /// their codecs. A panic is a failure of class `panic`, as in a worker. Nothing ends it after a time.
    pub async fn run<V: DeserializeOwned>(self, task: impl Task) -> TaskResult<V> {
        let result = self.call(task).await?;
        Ok(Codec::Json.decode(result.as_deref().unwrap_or(b"null"))?)
    }

    async fn call<T: Task>(self, task: T) -> TaskResult<Option<Vec<u8>>> {
        let route = self.route?;
        if route.kind.as_str() != T::KIND {
            let kind = &route.kind;
            Err(Error::invalid(format!("a handler of {kind} is not called with a {}", T::KIND)))?;
        }
        route.factory.check(&self.data)?;
        let body = Plaintext::new(Zeroizing::new(T::CODEC.encode(&task)?));
        drop(task);
        let run = Run {
            id: TaskId::fresh(),
            kind: route.kind.clone(),
            queue: route.queue.clone(),
            attempt: self.attempt,
            max_retry: T::MAX_RETRY,
            created: SystemTime::now().into(),
            deadline: self.deadline.map(Timestamp::from),
            headers: self.headers,
            stop: self.stop,
            data: Arc::new(self.data),
            notes: Notes::default(),
            piece: None,
        };
        let context = TaskContext::new(run);
        let (codec, version) = (T::CODEC, T::VERSION);
        let hold = Hold { _slot: None, _permit: None };
        let input =
            Input { context, codec, version, body, keep: true, probe: true, hold, member: None };
        let (tell, told) = oneshot::channel();
        let call = move || {
            let _ = tell.send(crate::block_on(perform(&route, input)));
        };
        std::thread::Builder::new().name("oncue-inline".to_owned()).spawn(call)?;
        told.await.unwrap_or_else(|_| Err(TaskError::new("the thread of the handler died")))
    }
}

/// Does what a worker does around a run, without one.
async fn perform(route: &Route, mut input: Input) -> TaskResult<Option<Vec<u8>>> {
    if let Some(prepared) = route.factory.prepare(&route.kind, 1) {
        prepared.await?;
    }
    let gone = CancellationToken::new();
    let _gone = gone.clone().drop_guard();
    let surroundings = Surroundings {
        threads: Arc::new(Semaphore::new(1)),
        keeper: Arc::new(Nobody),
        open: watch::channel(true).1,
        gone,
        patience: PATIENCE,
        room: 1,
        quiet: CancellationToken::new(),
    };
    let runner = route.factory.make(&surroundings);
    if let Some(admitted) = runner.admit() {
        input.hold._permit = Some(admitted.await);
    }
    let context = input.context.clone();
    tokio::select! {
        biased;
        ended = panic::catch(|| runner.run(input)) => {
            ended.unwrap_or_else(|panic| Err(TaskError::new(panic).class("panic")))
        }
        () = listen(&context) => Err(TaskError::interrupted()),
    }
}

/// Hears what a run wants written. Effects are known for as long as it runs; the rest goes.
async fn listen(context: &TaskContext) {
    let mut known = Effects::new();
    while let Some(wanted) = context.run().notes.next().await {
        for effect in wanted.effects {
            // Who asked may have gone.
            match effect {
                Effect::Known(tell) => drop(tell.send(Ok(known.clone()))),
                Effect::Done(name, value, tell) => {
                    known.insert(name, value);
                    drop(tell.send(Ok(())));
                }
            }
        }
    }
}

/// Nobody makes a replica anew here.
struct Nobody;

impl Keeper for Nobody {
    fn up(&self, _: bool) {}

    fn dying(&self) {}

    fn exited(&self, _: Exit, _: &str) -> oneshot::Receiver<()> {
        oneshot::channel().1
    }

    fn lingers(&self, _: &TaskContext, _: Duration) -> Box<dyn Any> {
        Box::new(())
    }
}
