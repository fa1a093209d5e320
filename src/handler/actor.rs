//! Actors as handlers: what the runtime asks of them, and what they are sent.
//!
//! A panic in the actor fails the task at hand with class `panic` and costs that replica, which is made anew by
//! its factory: its state is suspect. A failure (`Err`) costs the task alone.

use actix::{Actor, Context, Handler, Message};
use serde::Serialize;

use crate::codec::Codec;
use crate::task::Task;

use super::{TaskContext, TaskResult};

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
pub struct Output(pub(super) Option<Vec<u8>>);

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
