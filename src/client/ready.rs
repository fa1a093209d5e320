//! A draft made ready for the broker: its header written, its payload sealed, its names derived.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::broker::{Lock, LockName, NewTask};
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::envelope::{Header, PRIORITY_MAX};
use crate::error::{Error, Result};
use crate::queue::{Kind, QueueName};
use crate::seal::{CALLER_KEY_BYTES_MAX, SealBatch};
use crate::task::{By, Due, Options, RawTask, Task, TaskId, Unique, WhenFull};

use super::Client;

/// Furthest a task can be put off, and the longest retention: ten years.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A task that is sealed and not yet stored.
pub(super) struct Ready {
    pub(super) id: TaskId,
    pub(super) queue: QueueName,
    /// Whether the caller gave it a key of its own, so that it may be there already.
    pub(super) keyed: bool,
    pub(super) task: NewTask,
}

/// What can be made ready: a typed task, or one whose type is not known here.
pub(crate) trait Payload {
    fn kind(&self) -> Result<Kind>;
    fn defaults(&self) -> Defaults;
    fn body(&self) -> Result<Vec<u8>>;
    /// The payload as JSON, whatever it is written in.
    fn value(&self) -> Result<Value>;
}

impl<T: Task> Payload for T {
    fn kind(&self) -> Result<Kind> {
        Kind::parse(T::KIND)
    }

    fn defaults(&self) -> Defaults {
        Defaults::of::<T>()
    }

    fn body(&self) -> Result<Vec<u8>> {
        T::CODEC.encode(self)
    }

    fn value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| {
            Error::invalid("a unique task must have a form in JSON").because(error)
        })
    }
}

/// A payload in JSON, by reference: [`RawTask`] is no [`Task`], and must not look like one.
pub(crate) struct Raw<'a>(pub(crate) &'a RawTask);

impl Payload for Raw<'_> {
    fn kind(&self) -> Result<Kind> {
        Ok(self.0.kind.clone())
    }

    fn defaults(&self) -> Defaults {
        Defaults::RAW
    }

    fn body(&self) -> Result<Vec<u8>> {
        Ok(self.0.payload.clone().into_bytes())
    }

    fn value(&self) -> Result<Value> {
        serde_json::from_str(&self.0.payload)
            .map_err(|error| Error::invalid("the payload is not JSON").because(error))
    }
}

impl Client {
    /// Makes a task ready, and once more for the queue it may spill to.
    pub(super) fn seal_with_spare(
        &self,
        seals: &mut SealBatch,
        payload: &dyn Payload,
        options: &Options,
    ) -> Result<(Ready, Option<Ready>)> {
        let ready = self.seal(seals, payload, options, options.key.is_some())?;
        let WhenFull::Spill(queue) = &options.when_full else { return Ok((ready, None)) };
        let elsewhere = Options { queue: Some(queue.clone()), ..options.clone() };
        let spare = self.seal(seals, payload, &elsewhere, options.key.is_some())?;
        Ok((ready, Some(spare)))
    }

    /// Makes a task ready. One whose id is remembered may be sent again at any time, under any batch.
    pub(super) fn seal(
        &self,
        seals: &mut SealBatch,
        payload: &dyn Payload,
        options: &Options,
        remember: bool,
    ) -> Result<Ready> {
        let (kind, defaults) = (payload.kind()?, payload.defaults());
        let queue = QueueName::parse(options.queue.as_deref().unwrap_or(defaults.queue))?;
        let id = match &options.key {
            Some(key) => self.0.sealer.derive_id(&queue, &kind, key)?,
            None => TaskId::fresh(),
        };
        let unique = options.unique.as_ref();
        let lock = unique.map(|unique| self.lock(&queue, &kind, unique, payload)).transpose()?;
        let headers = self.pass(&kind, &queue, &options.headers)?;
        let header = header(kind.clone(), queue.clone(), &defaults, options, self.0.broker.now())?;
        let header = Header { remember, ..header };
        let envelope = seals.envelope(id, header, &headers, &payload.body()?)?;
        let keyed = options.key.is_some();
        let (fresh, front) = (!remember, options.front);
        let (lock, group) = (lock.map(Box::new), options.group.clone().map(Box::new));
        let task = NewTask { fresh, front, lock, group, ..NewTask::new(envelope, options.due) };
        Ok(Ready { id, queue, keyed, task })
    }

    /// The lock over all tasks alike.
    fn lock(
        &self,
        queue: &QueueName,
        kind: &Kind,
        unique: &Unique,
        payload: &dyn Payload,
    ) -> Result<Lock> {
        if unique.lasts.is_some_and(|time| time.is_zero() || time > AHEAD_MAX)
            || unique.within.is_some_and(|time| time > AHEAD_MAX)
        {
            return Err(Error::invalid(
                "a task is unique for more than nothing, and ten years at most",
            ));
        }
        let (by, value) = match &unique.by {
            By::Payload => ("payload", canonical(&payload.value()?)),
            By::Fields(fields) => ("fields", canonical(&some_of(&payload.value()?, fields)?)),
            By::Key(key) if (1..=CALLER_KEY_BYTES_MAX).contains(&key.len()) => ("key", key.clone()),
            By::Key(key) => {
                return Err(Error::invalid(format!(
                    "a key of {} bytes; use 1 to {CALLER_KEY_BYTES_MAX}",
                    key.len()
                )));
            }
        };
        let names = self.0.sealer.derive_locks(queue, kind, [by, &value])?;
        let Unique { hold, lasts, conflict, within, .. } = *unique;
        Ok(Lock { names: names.into_iter().map(LockName).collect(), hold, lasts, conflict, within })
    }
}

/// These fields of a payload, and no others.
fn some_of(payload: &Value, fields: &[String]) -> Result<Value> {
    let Value::Object(all) = payload else {
        return Err(Error::invalid("unique by fields, but the payload has none; use a key"));
    };
    if fields.is_empty() {
        return Err(Error::invalid("unique by no field; name one, or use the whole payload"));
    }
    let field = |name: &String| (name.clone(), all.get(name).cloned().unwrap_or_default());
    Ok(Value::Object(fields.iter().map(field).collect::<Map<_, _>>()))
}

/// The one text of a value: without spaces, fields sorted by name.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(&**name), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

/// What the type of a task says where an enqueue says nothing.
pub(crate) struct Defaults {
    pub(crate) queue: &'static str,
    max_retry: u32,
    timeout: Duration,
    retention: Duration,
    codec: Codec,
    version: u16,
}

impl Defaults {
    const fn of<T: Task>() -> Self {
        Self {
            queue: T::QUEUE,
            max_retry: T::MAX_RETRY,
            timeout: T::TIMEOUT,
            retention: T::RETENTION,
            codec: T::CODEC,
            version: T::VERSION,
        }
    }

    /// Those of a type that says nothing but its kind.
    const RAW: Self = {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Silent;
        impl Task for Silent {
            const KIND: &'static str = "silent";
        }
        Self::of::<Silent>()
    };
}

/// The clear header of a draft.
pub(crate) fn header(
    kind: Kind,
    queue: QueueName,
    defaults: &Defaults,
    options: &Options,
    now: Timestamp,
) -> Result<Header> {
    let due = match options.due {
        Due::Now => now,
        Due::At(time) => time.max(now),
        Due::In(delay) => now.plus(delay),
    };
    let retention = options.retention.unwrap_or(defaults.retention);
    let timeout = options.timeout.unwrap_or(defaults.timeout);
    let expires = options.expires.map(|wait| due.plus(wait));
    let furthest = now.plus(AHEAD_MAX);
    let deadline = options.deadline.map(Timestamp::from);
    for (time, what) in [(Some(due), "due time"), (deadline, "deadline"), (expires, "expiry")] {
        if time.is_some_and(|time| time > furthest) {
            return Err(Error::invalid(format!("the {what} is more than ten years ahead")));
        }
    }
    if retention > AHEAD_MAX || timeout > AHEAD_MAX {
        return Err(Error::invalid("a timeout or retention of more than ten years"));
    }
    if options.priority > PRIORITY_MAX {
        return Err(Error::invalid(format!(
            "priority {}; use 0 to {PRIORITY_MAX}",
            options.priority
        )));
    }
    if options.front && options.due != Due::Now {
        return Err(Error::invalid(
            "a task that goes to the front is due at once; leave one of them out",
        ));
    }
    if let Some(group) = &options.group {
        group.check()?;
        if options.front || options.priority > 0 {
            return Err(Error::invalid(
                "a task of a group has no priority and does not go to the front; leave one of them out",
            ));
        }
    }
    let mut header = Header {
        codec: defaults.codec,
        schema: defaults.version,
        max_retry: options.max_retry.unwrap_or(defaults.max_retry),
        timeout,
        deadline,
        expires,
        retention,
        priority: options.priority,
        group: options.group.as_ref().map(|group| group.name.clone()),
        remember: options.key.is_some(),
        unique: options.unique.as_ref().map_or(0, |unique| unique.hold.code()),
        ..Header::new(kind, queue, now)
    };
    header.set_tags(&options.tags)?;
    if let Some(policy) = &options.retry {
        header.set_retry(policy)?;
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_is_what_means_the_same() {
        let text = |json: &str| canonical(&serde_json::from_str(json).expect("JSON"));
        assert_eq!(
            text("{\"b\": [1, {\"d\":0,\"c\":\"ä\\n\"}], \"a\": null}"),
            text("{\"a\":null,\"b\":[1,{\"c\":\"ä\\n\",\"d\":0}]}")
        );
        assert_ne!(text("{\"a\":1}"), text("{\"a\":\"1\"}"));
        assert_ne!(text("{\"a\":\"1,\\\"b\\\":2\"}"), text("{\"a\":\"1\",\"b\":\"2\"}"));
        let payload = serde_json::json!({ "a": 1, "b": 2 });
        let some = |fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
            some_of(&payload, &fields)
        };
        assert_eq!(canonical(&some(&["b", "x"]).expect("object")), "{\"b\":2,\"x\":null}");
        assert!(some(&[]).expect_err("none").is_invalid());
        assert!(some_of(&Value::from(1), &["a".to_owned()]).expect_err("no object").is_invalid());
    }
}
