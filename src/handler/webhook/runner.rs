//! Runs of a webhook: a task becomes a request, its answer becomes an outcome.
//!
//! A run spawns nothing but the look-up of a name, which tokio does on a thread: whatever ends the run (timeout,
//! cancellation, a lost lease) ends its exchange. No connection is kept: one that the receiver closed meanwhile would
//! cost an attempt.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::codec::{Codec, PAYLOAD_BYTES_MAX};
use crate::error::Result;
use crate::handler::{DataMap, Input, Runner, RunnerFactory, Surroundings, TaskContext, TaskError};

use super::exchange::Receiver;
use super::signature::{SigningSecret, sign};
use super::verdict::{DETAIL_BYTES_MAX, Rules, failed};

/// A webhook that was checked.
pub(super) struct Post {
    pub(super) receiver: Receiver,
    /// What every request has.
    pub(super) headers: HeaderMap,
    pub(super) secrets: Vec<SigningSecret>,
    pub(super) timeout: Duration,
    pub(super) rules: Rules,
}

pub(super) fn factory(post: Post) -> Box<dyn RunnerFactory> {
    Box::new(Posts(Arc::new(post)))
}

/// A webhook, as the runtime sees it.
struct Posts(Arc<Post>);

impl RunnerFactory for Posts {
    fn make(&self, _: &Surroundings) -> Rc<dyn Runner> {
        Rc::new(Self(self.0.clone()))
    }

    fn check(&self, _: &DataMap) -> Result<()> {
        Ok(())
    }
}

impl Runner for Posts {
    fn run(&self, input: Input) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, TaskError>> {
        let post = self.0.clone();
        async move {
            let Input { context, codec, body, keep, .. } = input;
            let text = std::str::from_utf8(&body).ok().filter(|_| codec == Codec::Json);
            let Some(text) = text else {
                let message = "the payload is not JSON, and a webhook sends JSON; enqueue it with the codec Json";
                return Err(TaskError::skip_retry(message).class("payload"));
            };
            let until = Instant::now() + post.timeout;
            let request = post.request(&context, text.to_owned())?;
            // The payload is in the request now.
            drop(body);
            let bytes_max = |status: StatusCode| {
                if status.is_success() { PAYLOAD_BYTES_MAX } else { DETAIL_BYTES_MAX }
            };
            let answer = post.receiver.exchange(request, until, bytes_max).await.map_err(failed)?;
            post.rules.apply(answer, keep, SystemClock.now().into())
        }
        .boxed_local()
    }
}

impl Post {
    fn request(&self, context: &TaskContext, body: String) -> Result<Request<String>, TaskError> {
        let mut headers = self.headers.clone();
        let (id, seconds) = (context.id().to_string(), SystemClock.now().0 / 1000);
        if !self.secrets.is_empty() {
            let signature = sign(&self.secrets, &id, seconds, body.as_bytes());
            headers.insert("webhook-signature", HeaderValue::try_from(signature)?);
        }
        headers.insert("webhook-id", HeaderValue::try_from(id)?);
        headers.insert("webhook-timestamp", HeaderValue::from(seconds));
        headers.insert("oncue-kind", HeaderValue::from_str(context.kind().as_str())?);
        headers.insert("oncue-attempt", HeaderValue::from(context.attempt()));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.receiver.address.target.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}
