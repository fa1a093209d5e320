//! Where claims are held: how the functions name and answer them, and what a ticket remembers of it.
//!
//! What a session holds of one line it took at once is one field of its hash, under a number that never comes twice in
//! a session; its ids stand in the order in which they were claimed. A ticket carries the number and its position
//! there, so that a settle names the field and nobody searches. The layout is in
//! `lua/prelude.lua`.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::Value;
use uuid::Uuid;

use super::reply;
use crate::broker::Ticket;
use crate::error::{Error, Result};

/// Most ids of an entry of a line, and of a claim; `ENTRY_IDS` of the functions.
pub(super) const ENTRY_IDS: usize = 128;

/// Bits of a ticket's claim that tell the position.
const POSITION_BITS: u32 = 8;

/// Bits of the first number: a double of Lua counts on from there exactly for ever, and a ticket has room for both.
const START_BITS: u32 = 51;

/// Numbers for claims. They begin anywhere, so that two brokers that claim for one session do not meet.
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn new() -> Self {
        let (anywhere, _) = Uuid::new_v4().as_u64_pair();
        Self(AtomicU64::new(anywhere >> (64 - START_BITS)))
    }

    /// The first of as many numbers as there may be claims: one a task.
    pub(super) fn take(&self, tasks: usize) -> u64 {
        self.0.fetch_add(tasks.max(1) as u64, Ordering::Relaxed)
    }
}

/// The last 8 bytes of a ticket, which name its line and its claim.
fn suffix(ticket: &Ticket) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = ticket.to_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The field that holds a claim: its number and the suffix of its tickets.
pub(super) fn field(ticket: &Ticket) -> [u8; 16] {
    let mut field = [0; 16];
    field[..8].copy_from_slice(&(ticket.claim >> POSITION_BITS).to_be_bytes());
    field[8..].copy_from_slice(&suffix(ticket));
    field
}

/// Tickets as functions answer claims: suffix, ids ...; numbered from `number`.
pub(super) fn tickets(told: Value, number: u64) -> Result<Vec<Ticket>> {
    let odd = || Error::corrupt("Redis answered half a claim; are the functions ours?");
    let mut tickets = Vec::new();
    let mut parts = reply::array(told)?.into_iter();
    let mut numbers = number..;
    while let (Some(suffix), Some(number)) = (parts.next(), numbers.next()) {
        let (suffix, ids) = (reply::bytes(suffix)?, reply::bytes(parts.next().ok_or_else(odd)?)?);
        if !ids.len().is_multiple_of(16) || ids.len() > 16 * ENTRY_IDS {
            return Err(odd());
        }
        for (id, position) in ids.chunks_exact(16).zip(0..) {
            let ticket = Ticket::from_bytes(&[id, &suffix].concat())?;
            let claim = number << POSITION_BITS | position;
            tickets.push(Ticket { claim, ..ticket });
        }
    }
    Ok(tickets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back_as_fields() {
        let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let (one, two) = ([0, 1, 0, 1, 2, 3, 4, 5], [9, 1, 0, 5, 4, 3, 2, 1]);
        let told = vec![bulk(&one), bulk(&[7; 32]), bulk(&two), bulk(&[8; 16])];
        let all = tickets(Value::Array(told.clone()), 0x0102).expect("three");
        let fields: Vec<_> = all.iter().map(field).collect();
        let named = |number: u8, suffix: [u8; 8]| {
            let mut field = [0; 16];
            (field[6], field[7]) = (1, number);
            field[8..].copy_from_slice(&suffix);
            field
        };
        assert_eq!(fields, [named(2, one), named(2, one), named(3, two)]);
        assert!(all[0].claim < all[1].claim, "in the order of the claim");
        for odd in [told[..3].to_vec(), vec![bulk(&one), bulk(&[7; 17])]] {
            assert!(tickets(Value::Array(odd), 1).expect_err("odd").is_corrupt());
        }
        let many = vec![bulk(&one), bulk(&vec![0; 16 * (ENTRY_IDS + 1)])];
        assert!(tickets(Value::Array(many), 1).expect_err("too many").is_corrupt());
    }

    #[test]
    fn numbers_are_taken_once_and_fit_a_double() {
        let numbers = Numbers::new();
        let first = numbers.take(1_000);
        assert_eq!((numbers.take(0), numbers.take(1)), (first + 1_000, first + 1_001));
        const { assert!(START_BITS < 53 && START_BITS + 1 + POSITION_BITS < 64) };
        assert_eq!(first >> (START_BITS + 1), 0);
    }

    #[test]
    fn the_functions_pack_as_many() {
        let prelude = include_str!("lua/prelude.lua");
        assert!(prelude.contains(&format!("\nlocal ENTRY_IDS = {ENTRY_IDS}\n")));
        const { assert!(ENTRY_IDS <= 1 << POSITION_BITS) };
    }
}
