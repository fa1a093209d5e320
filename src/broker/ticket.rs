//! A ticket: the 24 bytes by which a broker sorts tasks without reading their records, and, once it is claimed, where
//! the broker put it.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::envelope::Header;
pub(crate) use crate::envelope::PRIORITY_MAX;
use crate::error::{Error, Result};
use crate::queue::KindHash;
use crate::task::TaskId;

/// `id 16 | priority 1 | tasks in the record 1 | class 1 | kind hash 5`. Two are equal if these are.
#[derive(Clone, Copy)]
pub struct Ticket {
    /// The task.
    pub id: TaskId,
    /// 0 to [`PRIORITY_MAX`](crate::envelope::PRIORITY_MAX); higher goes first within its kind.
    pub priority: u8,
    /// Reserved for partitions; 0.
    pub class: u8,
    /// The kind.
    pub kind: KindHash,
    /// Where the broker put the claim: opaque, 0 if it needs no such thing. It must come back in the settlement,
    /// and is not part of the bytes.
    pub claim: u64,
}

impl Ticket {
    /// The ticket of a task with this header.
    pub fn of(id: TaskId, header: &Header) -> Self {
        Self {
            id,
            priority: header.priority,
            class: header.class,
            kind: header.kind.hash(),
            claim: 0,
        }
    }

    /// The stored form.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(self.id.as_bytes());
        bytes[16..19].copy_from_slice(&[self.priority, 1, self.class]);
        bytes[19..].copy_from_slice(&self.kind.0);
        bytes
    }

    /// Reads the stored form; a packed record (more than one task) [`is_newer`](Error::is_newer).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let [id @ .., priority, tasks, class, k0, k1, k2, k3, k4] = bytes else {
            return Err(Error::corrupt("a ticket has 24 bytes"));
        };
        let id: [u8; 16] = id.try_into().map_err(|_| Error::corrupt("a ticket has 24 bytes"))?;
        if *tasks != 1 {
            return Err(Error::newer(format!("a record of {tasks} tasks needs a newer oncue")));
        }
        if *priority > PRIORITY_MAX {
            return Err(Error::corrupt(format!("a ticket of priority {priority}")));
        }
        Ok(Self {
            id: TaskId::from_bytes(id),
            priority: *priority,
            class: *class,
            kind: KindHash([*k0, *k1, *k2, *k3, *k4]),
            claim: 0,
        })
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Ticket {}

impl Hash for Ticket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_bytes().hash(state);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Ticket");
        shown.field("id", &self.id).field("priority", &self.priority);
        shown.field("class", &self.class).field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_twenty_four_golden_bytes() {
        let ticket = Ticket {
            id: TaskId::from_bytes([7; 16]),
            priority: 9,
            class: 2,
            kind: KindHash([1, 2, 3, 4, 5]),
            claim: 6,
        };
        let bytes = ticket.to_bytes();
        assert_eq!(bytes[..16], [7; 16]);
        assert_eq!(bytes[16..], [9, 1, 2, 1, 2, 3, 4, 5]);
        assert_eq!(Ticket::from_bytes(&bytes).expect("reads"), ticket);
        assert!(Ticket::from_bytes(&bytes[1..]).expect_err("short").is_corrupt());
        let mut packed = bytes;
        packed[17] = 2;
        assert!(Ticket::from_bytes(&packed).expect_err("packed").is_newer());
    }
}
