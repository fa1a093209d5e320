//! Settle: one function for all that ended; what completed and is gone goes by the claim, all its ids in one argument.

use std::collections::HashSet;
use std::sync::Arc;

use super::dequeue::lane_name;
use super::{Inner, held, ms, reply};
use crate::broker::check::Entry;
use crate::broker::{Order, Session, Settled, Ticket};
use crate::error::{Error, Result};
use crate::state::Reason;

/// Writes settlements that were checked.
pub(super) async fn settle(
    broker: Arc<Inner>,
    session: Session,
    entries: Vec<Entry>,
) -> Result<Vec<Settled>> {
    // Of several settlements of one claim the first counts; the others come too late by definition.
    let mut seen = HashSet::with_capacity(entries.len());
    let first: Vec<usize> =
        (0..entries.len()).filter(|at| seen.insert(place(&entries[*at]))).collect();
    let (mut plain, others): (Vec<_>, Vec<_>) =
        first.into_iter().partition(|at| is_plain(&entries[*at]));
    // By claim, and in its order: a claim that ends as a whole is told as it is held.
    plain.sort_unstable_by_key(|at| entries[*at].settlement.ticket.claim);
    let field = |at: &usize| held::field(&entries[*at].settlement.ticket);
    let groups: Vec<_> = plain.chunk_by(|a, b| field(a) == field(b)).collect();
    let keys = broker.keys(&session.queue);
    let mut call = broker.library.call("settle", &keys.records());
    call.arg(&session.id.0[..]).arg(groups.len());
    for group in &groups {
        let ids: Vec<&[u8]> =
            group.iter().map(|at| &entries[*at].settlement.ticket.id.as_bytes()[..]).collect();
        call.arg(&field(&group[0])[..]).arg(ids.concat());
    }
    let mut wakes = [false; 3];
    wakes[2] = !plain.is_empty();
    for at in &others {
        let entry = &entries[*at];
        let (order, a, c) = order(&entry.settlement.order, &mut wakes);
        let trail = match &entry.trail {
            None => Vec::new(),
            Some(trail) if trail.is_empty() => b"-".to_vec(),
            Some(trail) => [b"+", &trail[..]].concat(),
        };
        let held = [&field(at)[..], entry.settlement.ticket.id.as_bytes()].concat();
        call.arg(order).arg(held).arg(a).arg(c).arg(trail);
    }
    broker.stamp(&mut call);
    let flags = reply::bytes(broker.io.link.call(&call).await?)?;
    broker.marks.bump(wakes);
    let mut answers = vec![Settled::Gone; entries.len()];
    if !flags.is_empty() && flags.len() != plain.len() + others.len() {
        return Err(Error::corrupt("Redis answered a settle of another size"));
    }
    for (n, at) in plain.into_iter().chain(others).enumerate() {
        if flags.get(n).is_none_or(|flag| *flag == b'1') {
            answers[at] = Settled::Done;
        }
    }
    Ok(answers)
}

/// A claim of a task. A task may be told twice that was claimed anew in between.
fn place(entry: &Entry) -> (Ticket, u64) {
    let ticket = entry.settlement.ticket;
    (ticket, ticket.claim)
}

fn is_plain(entry: &Entry) -> bool {
    matches!(&entry.settlement.order, Order::Complete { keep, .. } if keep.is_zero())
}

/// An order as the function takes it, and whom it may wake: ready, due, settled.
fn order(order: &Order, wakes: &mut [bool; 3]) -> (&'static str, String, Vec<u8>) {
    match order {
        Order::Complete { keep, .. } if keep.is_zero() => {
            wakes[2] = true;
            ("g", String::new(), Vec::new())
        }
        Order::Complete { keep, result } => {
            (wakes[1], wakes[2]) = (true, true);
            let result = result.as_ref().map(|(attempt, sealed)| {
                [b"=", &attempt.to_be_bytes()[..], sealed.as_bytes()].concat()
            });
            ("k", ms(*keep).to_string(), result.unwrap_or_default())
        }
        Order::Retry { after, front } => {
            wakes[1] = true;
            ("r", ms(*after).to_string(), if *front { b"f".to_vec() } else { Vec::new() })
        }
        Order::Snooze { after } => {
            wakes[1] = true;
            ("s", ms(*after).to_string(), Vec::new())
        }
        Order::Release { lane } => {
            // What is of a group joins it, which may close before all others.
            (wakes[0], wakes[1]) = (true, true);
            ("l", lane_name(*lane).to_owned(), Vec::new())
        }
        Order::Archive { reason } => {
            wakes[2] = true;
            let failed = matches!(reason, Reason::Exhausted | Reason::SkipRetry);
            ("x", reason.code().to_string(), if failed { b"1".to_vec() } else { Vec::new() })
        }
        Order::Drop => {
            wakes[2] = true;
            ("v", String::new(), Vec::new())
        }
    }
}
