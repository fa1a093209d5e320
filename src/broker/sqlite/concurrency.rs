//! Concurrency: how many more tasks of a queue, and of its kinds, may become active.
//!
//! Tasks of kinds with a limit are counted anew at each dequeue, whoever holds them: the work grows with what is active.

use std::borrow::Cow;
use std::collections::HashMap;

use super::fault::Step;
use super::task::kind_number;
use super::txn::{Txn, mutant};
use crate::broker::Ask;

pub(super) const MOST: &str = "SELECT min(most) FROM oncue_kind WHERE queue = ?1 AND kind = ?2";
pub(super) const ACTIVE: &str = "SELECT t.kind FROM oncue_session s
    CROSS JOIN oncue_task t INDEXED BY oncue_task_held
    WHERE s.queue = ?1 AND t.session = s.row AND t.session IS NOT NULL";

/// What limits there are.
pub(super) struct Limits {
    /// How many tasks are active.
    pub(super) active: i64,
    /// How many may be.
    pub(super) most: Option<i64>,
    /// How many kinds have a limit of their own.
    pub(super) kinds: i64,
}

/// What of an ask may become active. Who gets less than it asked for is told when a task ends.
pub(super) fn cut<'a>(
    tx: &mut Txn<'_>,
    queue: i64,
    ask: &'a Ask,
    limits: &Limits,
) -> Step<Cow<'a, Ask>> {
    if limits.most.is_none() && limits.kinds == 0 || mutant!(tx, IgnoreConcurrency) {
        tx.let_go(queue);
        return Ok(Cow::Borrowed(ask));
    }
    let mut ask = Cow::Borrowed(ask);
    let mut is_cut = false;
    if let Some(most) = limits.most
        && let room = room(most, limits.active)
        && room < ask.max
    {
        is_cut = true;
        ask.to_mut().max = room;
    }
    let mut active = None;
    for at in 0..if limits.kinds > 0 { ask.accept.len() } else { 0 } {
        let (kind, accepted) = ask.accept[at];
        let kind = kind_number(kind);
        let mut most = tx.conn.prepare_cached(MOST)?;
        let Some(most) = most.query_row([queue, kind], |row| row.get::<_, Option<i64>>(0))? else {
            continue;
        };
        let active = match &active {
            Some(active) => active,
            None => active.insert(self::active(tx, queue)?),
        };
        let room = room(most, active.get(&kind).copied().unwrap_or(0));
        if room < accepted {
            is_cut = true;
            ask.to_mut().accept[at].1 = room;
        }
    }
    if is_cut {
        tx.hold_up(queue);
    }
    Ok(ask)
}

fn room(most: i64, active: i64) -> usize {
    usize::try_from(most.saturating_sub(active)).unwrap_or(0)
}

/// How many tasks of each kind are active.
fn active(tx: &Txn<'_>, queue: i64) -> Step<HashMap<i64, i64>> {
    let mut active = HashMap::new();
    let mut query = tx.conn.prepare_cached(ACTIVE)?;
    let mut rows = query.query([queue])?;
    while let Some(row) = rows.next()? {
        *active.entry(row.get(0)?).or_insert(0) += 1;
    }
    Ok(active)
}
