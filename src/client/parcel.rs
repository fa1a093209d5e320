//! A parcel: a sealed task on its way to a broker, as bytes that any database can keep.
//!
//! It says what to store and knows nothing of where: what keeps parcels, and who carries them on, is the business of
//! [`outbox`](crate::outbox) or of an application. As visible as a task in a broker, and authenticated no further: the
//! record is sealed; its due time, lock and group stand beside it in clear.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::{Conflict, Hold, Lock, LockName, NewTask};
use crate::clock::Timestamp;
use crate::codec;
use crate::envelope::{Envelope, RECORD_BYTES_MAX, Stored};
use crate::error::{Error, Result};
use crate::queue::QueueName;
use crate::task::{Draft, Due, Group, Options, Task, TaskId, WhenFull};

use super::Client;

/// Most bytes of a parcel: a record, and what stands beside it.
pub const PARCEL_BYTES_MAX: usize = RECORD_BYTES_MAX + 1_024;
/// Newest format this version writes and reads.
const VERSION: u8 = 1;

/// A sealed task that is not enqueued yet. Made by [`Client::parcel`]; [`Client::hand_over`] enqueues it, as often as it
/// is called: the broker knows its id until 24 h after the task has ended.
#[derive(Clone)]
pub struct Parcel {
    pub(super) task: NewTask,
    pub(super) replicas: u8,
    pub(super) namespace: String,
    bytes: Vec<u8>,
}

/// The stored form, field for field. Golden: format 1 never changes.
#[derive(Serialize, Deserialize)]
struct Flat<'a> {
    version: u8,
    namespace: &'a str,
    id: [u8; 16],
    due: Option<u64>,
    front: bool,
    replicas: u8,
    lock: Option<FlatLock>,
    group: Option<FlatGroup<'a>>,
    record: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct FlatLock {
    names: Vec<[u8; 16]>,
    hold: u8,
    conflict: u8,
    lasts: Option<u64>,
    within: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct FlatGroup<'a> {
    name: &'a str,
    grace: u64,
    within: Option<u64>,
    most: u64,
}

impl Client {
    /// Seals a task for a database of yours: nothing is enqueued, and no broker is asked. Whatever keeps the
    /// [bytes](Parcel::as_bytes) hands them over later, see [`outbox`](crate::outbox).
    ///
    /// Times count from now: a task that is due [`after`](Draft::after) a delay is due at that time, however late it is
    /// handed over, and one that [`expires`](Draft::expires) does so while it waits here, too.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue), but for those of the broker. What is to happen at a full queue
    /// [`is_invalid`](Error::is_invalid): a parcel waits.
    pub fn parcel<T: Task>(&self, draft: impl Into<Draft<T>>) -> Result<Parcel> {
        let Draft { task, mut options } = draft.into();
        if options.when_full != WhenFull::Fail {
            return Err(Error::invalid(
                "a task in an outbox waits for room as long as it takes; leave out what is to happen at a full queue",
            ));
        }
        if let Due::In(delay) = options.due {
            options.due = Due::At(self.0.broker.now().plus(delay));
        }
        let Options { replicas, .. } = options;
        let ready = self.seal(&mut self.0.sealer.batch(1)?, &task, &options, true)?;
        Parcel::pack(ready.task, replicas, self.0.sealer.namespace())
    }
}

impl Parcel {
    fn pack(task: NewTask, replicas: u8, namespace: &str) -> Result<Self> {
        let NewTask { envelope, due, front, lock, group, .. } = &task;
        let flat = Flat {
            version: VERSION,
            namespace,
            id: *envelope.id().as_bytes(),
            due: match due {
                Due::At(time) => Some(time.0),
                _ => None,
            },
            front: *front,
            replicas,
            lock: lock.as_deref().map(FlatLock::of),
            group: group.as_deref().map(FlatGroup::of),
            record: &envelope.record(),
        };
        let bytes = codec::to_bincode(&flat, PARCEL_BYTES_MAX)?;
        Ok(Self { task, replicas, namespace: namespace.to_owned(), bytes })
    }

    /// Reads a parcel.
    ///
    /// # Errors
    /// Bytes of a newer version [`is_newer`](Error::is_newer), any others that are no parcel
    /// [`is_corrupt`](Error::is_corrupt).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes.first() {
            Some(&VERSION) if bytes.len() <= PARCEL_BYTES_MAX => {}
            Some(version) if *version > VERSION => {
                return Err(Error::newer(format!(
                    "parcel format {version} is newer than {VERSION}; upgrade this process"
                )));
            }
            _ => return Err(Error::corrupt(format!("{} bytes are no parcel", bytes.len()))),
        }
        let flat: Flat<'_> = codec::from_bincode(bytes, PARCEL_BYTES_MAX)?;
        let stored = Stored::parse(TaskId::from_bytes(flat.id), flat.record.to_vec())?;
        let envelope = Envelope::kept(&stored).map_err(|error| match error.is_newer() {
            true => error,
            false => Error::corrupt("a parcel without a sealed task").because(error),
        })?;
        if !envelope.header().remember {
            return Err(Error::corrupt(
                "a parcel whose task no broker would remember; it could be handed over twice",
            ));
        }
        let task = NewTask {
            front: flat.front,
            lock: flat.lock.map(FlatLock::read).transpose()?.map(Box::new),
            group: flat.group.map(|group| Box::new(group.read())),
            ..NewTask::new(envelope, flat.due.map_or(Due::Now, |ms| Due::At(Timestamp(ms))))
        };
        let (replicas, namespace) = (flat.replicas, flat.namespace.to_owned());
        Ok(Self { task, replicas, namespace, bytes: bytes.to_vec() })
    }

    /// The task.
    pub fn id(&self) -> TaskId {
        self.task.envelope.id()
    }

    /// The queue it goes to.
    pub fn queue(&self) -> &QueueName {
        &self.task.envelope.header().queue
    }

    /// What to keep: at most [`PARCEL_BYTES_MAX`] bytes, the same for ever.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn record_len(&self) -> usize {
        self.task.envelope.record_len()
    }
}

impl FlatLock {
    fn of(lock: &Lock) -> Self {
        Self {
            names: lock.names.iter().map(|name| name.0).collect(),
            hold: lock.hold.code(),
            conflict: match lock.conflict {
                Conflict::Keep => 0,
                Conflict::Replace => 1,
                Conflict::Reschedule => 2,
            },
            lasts: lock.lasts.map(ms),
            within: lock.within.map(ms),
        }
    }

    fn read(self) -> Result<Lock> {
        let unknown = |what: &str, code: u8| {
            Error::corrupt(format!("a parcel with {what} {code}, which there is none"))
        };
        let holds = [Hold::UntilStart, Hold::UntilEnd, Hold::Always];
        Ok(Lock {
            names: self.names.into_iter().map(LockName).collect(),
            hold: holds
                .into_iter()
                .find(|hold| hold.code() == self.hold)
                .ok_or_else(|| unknown("hold", self.hold))?,
            conflict: match self.conflict {
                0 => Conflict::Keep,
                1 => Conflict::Replace,
                2 => Conflict::Reschedule,
                code => return Err(unknown("conflict", code)),
            },
            lasts: self.lasts.map(Duration::from_millis),
            within: self.within.map(Duration::from_millis),
        })
    }
}

impl<'a> FlatGroup<'a> {
    fn of(group: &'a Group) -> Self {
        Self {
            name: &group.name,
            grace: ms(group.grace),
            within: group.within.map(ms),
            most: group.most as u64,
        }
    }

    fn read(self) -> Group {
        Group {
            name: self.name.to_owned(),
            grace: Duration::from_millis(self.grace),
            within: self.within.map(Duration::from_millis),
            most: usize::try_from(self.most).unwrap_or(usize::MAX),
        }
    }
}

/// Whole milliseconds, rounded up.
fn ms(time: Duration) -> u64 {
    Timestamp(0).plus(time).0
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, queue, bytes) = (self.id(), self.queue(), self.bytes.len());
        write!(f, "Parcel {{ {id} for {queue}, {bytes} bytes }}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Header;
    use crate::queue::Kind;

    /// Format 1 but for its record, byte for byte.
    const GOLDEN: &[u8] = b"\x01\x01n\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x01\xfb\xd2\x04\x01\x02\
        \x01\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x02\x01\x01\xfb\xe8\x03\x00\
        \x01\x01g\xfb\xe8\x03\x01\x05\x32";

    fn task(remember: bool) -> NewTask {
        let (kind, queue) = (Kind::parse("k").expect("a kind"), "q");
        let queue = QueueName::parse(queue).expect("a name");
        let header = Header { remember, ..Header::new(kind, queue, Timestamp(5)) };
        let header = header.encode().expect("encodes");
        let length = u16::try_from(header.len()).expect("short").to_be_bytes();
        let sealed = [&[0x9a, 1, 1, 1][..], &[0; crate::seal::OVERHEAD]].concat();
        let record = [&length[..], &header, &sealed].concat();
        let stored = Stored::parse(TaskId::from_bytes([7; 16]), record).expect("a record");
        let envelope = Envelope::kept(&stored).expect("of the form of what is sealed");
        let second = Duration::from_secs(1);
        let lock = Lock {
            names: vec![LockName([9; 16])],
            hold: Hold::UntilEnd,
            lasts: Some(second),
            conflict: Conflict::Replace,
            within: None,
        };
        let group = Group::named("g").grace(second).within(Duration::from_millis(5)).most(50);
        NewTask {
            front: true,
            lock: Some(Box::new(lock)),
            group: Some(Box::new(group)),
            ..NewTask::new(envelope, Due::At(Timestamp(1_234)))
        }
    }

    #[test]
    fn format_one_is_golden() {
        let parcel = Parcel::pack(task(true), 2, "n").expect("packs");
        let (beside, record) = parcel.as_bytes().split_at(GOLDEN.len());
        assert_eq!(beside, GOLDEN);
        let length = parcel.task.envelope.record_len();
        assert_eq!(record.len(), 1 + length, "a length of one byte, and the record");
        assert_eq!(record[1..], parcel.task.envelope.record());
        let read = Parcel::from_bytes(parcel.as_bytes()).expect("reads");
        let (old, new) = (&parcel.task, &read.task);
        assert_eq!((new.due, new.front, new.fresh), (old.due, true, false));
        assert_eq!((&new.lock, &new.group, read.replicas), (&old.lock, &old.group, 2));
        assert_eq!(Parcel::pack(read.task, 2, "n").expect("packs").as_bytes(), parcel.as_bytes());
    }

    /// A negative control: a broker that forgets the id would store it again.
    #[test]
    fn what_no_broker_would_remember_is_no_parcel() {
        let parcel = Parcel::pack(task(false), 0, "n").expect("packs");
        assert!(Parcel::from_bytes(parcel.as_bytes()).expect_err("forgotten").is_corrupt());
    }
}
