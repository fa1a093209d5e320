//! A worker whose handler is a webhook, and short words for tasks and their ends.

use std::time::Duration;

use oncue::broker::TaskView;
use oncue::task::RawTask;
use oncue::{Handle, Registration, Webhook, webhook};

use crate::runtime::company::{AT_ONCE, Company, client, show};

use super::receiver::PATIENCE;

pub const KIND: &str = "number";

/// A worker on a broker in memory.
pub struct Site {
    pub company: Company,
}

impl Site {
    pub fn new(hook: Webhook) -> Self {
        Self::of(webhook(KIND, hook).retry(AT_ONCE))
    }

    pub fn of(handler: Registration) -> Self {
        Self { company: Company::start(client(), |worker| worker.handle(handler)) }
    }

    /// Enqueues a payload, whose result is kept for a while.
    pub fn put(&self, payload: &str, retries: u32) -> Handle {
        self.put_kept(payload, retries, PATIENCE)
    }

    pub fn put_kept(&self, payload: &str, retries: u32, retention: Duration) -> Handle {
        let draft = RawTask::json(KIND, payload).expect("JSON").draft();
        let draft = draft.max_retry(retries).retention(retention);
        oncue::block_on(self.company.client.enqueue_raw(draft)).expect("enqueued")
    }

    #[track_caller]
    pub fn result(&self, task: &Handle) -> serde_json::Value {
        let result = async { task.result::<serde_json::Value>().timeout(PATIENCE).await };
        oncue::block_on(result).expect("a result")
    }

    /// How its only run failed: class, reason of the archive, message.
    #[track_caller]
    pub fn failure(&self, payload: &str) -> (String, String, String) {
        let task = self.put(payload, 0);
        let (_, class) = self.company.settled(&task);
        let view = self.view(&task);
        let message = self.company.client.failure(&view).unwrap_or_default();
        let reason = view.reason.map_or_else(String::new, |reason| reason.to_string());
        (class.unwrap_or_default(), reason, message)
    }

    #[track_caller]
    pub fn view(&self, task: &Handle) -> TaskView {
        show(&self.company.client, task).expect("it is kept")
    }
}
