//! Dequeue: claims by one function; records come along if they are few, else by one HMGET after it.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::keys::QueueKeys;
use super::{Inner, held, ms, reply};
use crate::broker::{Ask, CLAIMS_MAX, Cause, Claim, Lane, Ticket, Wake};
use crate::envelope::Stored;
use crate::error::{Error, Result};
use crate::task::Trail;

/// Most records that pass through Lua, which is dear, to save a round trip, which is slow.
const RECORDS_ALONG: usize = 8;

/// Most records in one answer: large ones must not outlast the response timeout together.
const RECORDS_MAX: usize = 256;

/// How a lane is called in keys.
pub(super) fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Shared => "p",
        Lane::Alone => "z",
    }
}

/// Claims tasks.
pub(super) async fn dequeue(broker: Arc<Inner>, ask: Ask) -> Result<Vec<Claim>> {
    let admit = || match broker.eras.admit(ask.session.id) {
        true => Ok(()),
        false => {
            Err(Error::fenced("the connection to Redis is a new one; claim under a new session"))
        }
    };
    admit()?;
    let keys = broker.keys(&ask.session.queue);
    broker.interest.follow(&broker.beats.link, &keys, Wake::Ready);
    broker.interest.follow(&broker.beats.link, &keys, Wake::Ordered);
    let mut call = broker.library.call("dequeue", &keys.records());
    call.arg(&ask.session.id.0[..]).arg(ms(ask.lease)).arg(ask.max).arg(lane_name(ask.lane));
    // Gatherings bring more claims than tasks were asked for.
    let number = broker.numbers.take(CLAIMS_MAX);
    call.arg(RECORDS_ALONG).arg(number);
    for (kind, most) in &ask.accept {
        call.arg(&kind.0[..]).arg(*most);
    }
    broker.stamp(&mut call);
    let [told, trails, records, groups] = reply::parts(broker.io.link.call(&call).await?)?;
    // The call may have waited for a connection.
    admit()?;
    let tickets = held::tickets(told, number)?;
    let records = reply::array(records)?;
    let mut claims = claims(&broker, &keys, &tickets, trails, records, |_| Cause::Dequeued).await?;
    let mut rest = &mut claims[..];
    for (number, size) in (0..).zip(reply::array(groups)?) {
        let size = usize::try_from(reply::count(&size)?).unwrap_or(usize::MAX);
        let (mine, others) = rest
            .split_at_mut_checked(size)
            .ok_or_else(|| Error::corrupt("Redis answered a group larger than its claims"))?;
        mine.iter_mut().for_each(|claim| claim.group = Some(number));
        rest = others;
    }
    Ok(claims)
}

/// Claims with all that belongs to them. One that is damaged does not keep back the others.
pub(super) async fn claims(
    broker: &Inner,
    keys: &QueueKeys,
    tickets: &[Ticket],
    trails: Value,
    mut records: Vec<Value>,
    cause: impl Fn(usize) -> Cause,
) -> Result<Vec<Claim>> {
    if records.len() < tickets.len() {
        records = Vec::with_capacity(tickets.len());
        for some in tickets.chunks(RECORDS_MAX) {
            let mut fetch = Cmd::new();
            fetch.arg("HMGET").arg(keys.records());
            for ticket in some {
                fetch.arg(ticket.id.as_bytes());
            }
            records.extend(reply::array(broker.io.link.call(&fetch).await?)?);
        }
    }
    if records.len() != tickets.len() {
        return Err(Error::corrupt("Redis answered another number of records than was asked for"));
    }
    let mut told: Vec<Option<Result<Trail>>> = Vec::new();
    let mut pairs = reply::array(trails)?.into_iter();
    while let (Some(at), Some(trail)) = (pairs.next(), pairs.next()) {
        told.resize_with(tickets.len(), || None);
        let at = reply::count(&at)? as usize;
        if let Some(slot) = told.get_mut(at) {
            *slot = Some(Trail::decode(&reply::bytes(trail)?));
        }
    }
    told.resize_with(tickets.len(), || None);
    let rows = tickets.iter().zip(records).zip(told).enumerate();
    rows.map(|(at, ((ticket, record), trail))| {
        let trail = trail.unwrap_or_else(|| Ok(Trail::default()));
        let record = reply::maybe_bytes(record)?;
        let stored = Stored::found(ticket.id, record, trail.as_ref().err());
        let trail = trail.unwrap_or_default();
        Ok(Claim { ticket: *ticket, cause: cause(at), stored, trail, group: None })
    })
    .collect()
}
