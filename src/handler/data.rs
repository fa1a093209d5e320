//! What handlers share: values given to the worker once and handed to every run.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Error, Result};

use super::TaskContext;

/// A value shared by all runs of a worker, given with `.data(value)`.
///
/// ```
/// # use oncue::{Data, TaskResult};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet(String);
/// # impl oncue::Task for Greet { const KIND: &'static str = "greet"; }
/// async fn greet(task: Greet, greeting: Data<String>) -> TaskResult<String> {
///     Ok(format!("{} {}", *greeting, task.0))
/// }
/// ```
pub struct Data<T: ?Sized>(Arc<T>);

impl<T> Data<T> {
    /// Shares a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> Clone for Data<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Data<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Something a handler can ask for beside its task.
#[diagnostic::on_unimplemented(
    message = "a handler cannot be given `{Self}`",
    note = "after the task a handler takes `Data<T>` and `TaskContext`, in any order"
)]
pub trait FromContext: Sized + Send + 'static {
    /// Fails if the worker cannot give it; asked once, when the worker starts.
    #[doc(hidden)]
    fn check(data: &DataMap) -> Result<()>;
    /// Gives it to one run.
    #[doc(hidden)]
    fn from_context(context: &TaskContext) -> Self;
}

impl<T: Send + Sync + 'static> FromContext for Data<T> {
    fn check(data: &DataMap) -> Result<()> {
        if data.get::<T>().is_some() {
            return Ok(());
        }
        let name = type_name::<T>();
        Err(Error::invalid(format!(
            "a handler asks for Data<{name}> and the worker has none; add `.data(..)` with a {name}"
        )))
    }

    fn from_context(context: &TaskContext) -> Self {
        context.run().data.get().expect("checked when the worker started")
    }
}

impl FromContext for TaskContext {
    fn check(_: &DataMap) -> Result<()> {
        Ok(())
    }

    fn from_context(context: &TaskContext) -> Self {
        context.clone()
    }
}

/// Shared values by type.
#[derive(Default)]
#[doc(hidden)]
pub struct DataMap(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl DataMap {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, data: Data<T>) {
        self.0.insert(TypeId::of::<T>(), Box::new(data));
    }

    fn get<T: Send + Sync + 'static>(&self) -> Option<Data<T>> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref::<Data<T>>().cloned()
    }
}
