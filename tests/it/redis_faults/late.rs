//! A request that was held up on its way and lands after its caller went on without it.

use oncue::broker::*;
use oncue::state::State;

use super::site::{Plot, Site};
use crate::fixture::*;

/// Enqueues two tasks whose first transaction is held up, and repeats it.
fn repeated(plot: &Plot<'_>, batch: &Batch) {
    plot.site.proxy.hold_request("EXEC", 1);
    assert!(refusal(plot.bench.broker.enqueue(batch.clone())).is_unreachable());
    let answers = plot.enqueue(batch);
    assert_eq!(answers, vec![Enqueued::Created; batch.tasks.len()], "the repeated one came first");
}

fn complete_all(plot: &Plot<'_>) -> usize {
    let (session, claims) = plot.bench.take_all();
    let list = claims.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect();
    plot.bench.settle(&session, list);
    claims.len()
}

#[test]
fn an_enqueue_that_lands_after_its_repetition_stores_nothing_twice() {
    let site = Site::new();
    let plot = site.plot();
    let batch = plot.bench.batch(tasks(2));
    repeated(&plot, &batch);
    assert_eq!(site.proxy.land(), 1);
    plot.audit().check(batch.tasks.iter().map(|task| task.envelope.id()));
    assert_eq!(complete_all(&plot), 2);
    plot.audit().check([]);
}

#[test]
fn an_enqueue_that_lands_after_its_tasks_are_gone_is_undone_by_the_next() {
    let site = Site::new();
    let plot = site.plot();
    let batch = plot.bench.batch(tasks(2));
    repeated(&plot, &batch);
    assert_eq!(complete_all(&plot), 2);
    site.proxy.land();
    let audit = plot.audit();
    assert_eq!(audit.places.len(), 0, "nothing runs again");
    assert_eq!((audit.records.len(), audit.orphans.len()), (2, 2), "left, and known to be");
    assert_eq!(plot.bench.stats().total(), 0);
    let id = plot.bench.put_one(task(KINDS[0]));
    plot.audit().check([id]);
}

/// One of the two is gone, the other runs: what is live keeps its record.
#[test]
fn an_enqueue_that_lands_late_spares_what_is_live() {
    let site = Site::new();
    let plot = site.plot();
    let batch = plot.bench.batch(tasks(2));
    repeated(&plot, &batch);
    let (session, claims) = plot.claim(1);
    plot.bench.end(&session, &claims[0], complete());
    site.proxy.land();
    let id = plot.bench.put_one(task(KINDS[0]));
    plot.audit().check([batch.tasks[1].envelope.id(), id]);
    assert_eq!(complete_all(&plot), 2);
    plot.audit().check([]);
}

#[test]
fn an_enqueue_with_its_records_inline_lands_late() {
    let site = Site::new();
    let plot = site.plot();
    plot.bench.put(tasks(1));
    complete_all(&plot);
    let batch = plot.bench.batch([task(KINDS[0]).id(oncue::TaskId::fresh())]);
    site.proxy.hold_request("FCALL", 1);
    assert!(refusal(plot.bench.broker.enqueue(batch.clone())).is_unreachable());
    plot.enqueue(&batch);
    assert_eq!(complete_all(&plot), 1);
    site.proxy.land();
    plot.audit().check([]);
    assert_eq!(plot.bench.stats().total(), 0);
}

#[test]
fn a_dequeue_that_lands_after_its_session_was_retired_claims_nothing() {
    let site = Site::new();
    let plot = site.plot();
    let put = plot.bench.put(tasks(3));
    site.proxy.hold_request("FCALL", 1);
    let session = plot.bench.session();
    assert!(refusal(plot.bench.broker.dequeue(plot.bench.ask(&session, 3))).is_unreachable());
    assert_eq!(plot.retire(&session), 0);
    site.proxy.land();
    assert_eq!(plot.bench.stats().count(State::Pending), 3);
    plot.audit().check(put);
    assert_eq!(complete_all(&plot), 3);
}

/// A control: landed before it is retired, it does claim, and they come back.
#[test]
fn a_dequeue_that_lands_before_its_session_is_retired_is_handed_back() {
    let site = Site::new();
    let plot = site.plot();
    plot.bench.put(tasks(3));
    site.proxy.hold_request("FCALL", 1);
    let session = plot.bench.session();
    assert!(refusal(plot.bench.broker.dequeue(plot.bench.ask(&session, 3))).is_unreachable());
    site.proxy.land();
    assert_eq!(plot.bench.stats().count(State::Active), 3);
    assert_eq!(plot.retire(&session), 3);
    assert_eq!(complete_all(&plot), 3);
}

#[test]
fn a_settle_that_lands_late_does_not_hit_a_later_claim() {
    let site = Site::new();
    let plot = site.plot();
    let id = plot.bench.put_one(task(KINDS[0]));
    for order in
        [complete(), keep(HOUR), Order::Drop, Order::Retry { after: HOUR, front: false }, release()]
    {
        let (session, claims) = plot.claim(1);
        let list = [Settlement::new(claims[0].ticket, order.clone())];
        site.proxy.hold_request("FCALL", 1);
        assert!(refusal(plot.bench.broker.settle(session.clone(), list.to_vec())).is_unreachable());
        // Given up: nothing of it is known any more.
        assert_eq!(plot.retire(&session), 1);
        let (later, claims) = plot.claim(1);
        assert_eq!(ids(&claims), [id]);
        site.proxy.land();
        assert_eq!(plot.bench.state(id), Some(State::Active), "{order:?}");
        plot.audit().check([id]);
        plot.bench.end(&later, &claims[0], release());
    }
}

#[test]
fn a_retire_and_a_beat_that_land_late_change_nothing_of_others() {
    let site = Site::new();
    let plot = site.plot();
    let id = plot.bench.put_one(task(KINDS[0]));
    let (session, _) = plot.claim(1);
    site.proxy.hold_request("FCALL", 1);
    let retire = plot.bench.broker.retire(session.clone(), Vec::new());
    assert!(refusal(retire).is_unreachable());
    assert_eq!(plot.retire(&session), 1);
    let (_, claims) = plot.claim(1);
    site.proxy.land();
    assert_eq!((ids(&claims), plot.bench.state(id)), (vec![id], Some(State::Active)));
    plot.audit().check([id]);
}

/// The server may be another one since, with older data: what its books say of a session nobody vouches for.
#[test]
fn a_session_claims_on_one_connection_only() {
    let site = Site::new();
    let plot = site.plot();
    let put = plot.bench.put(tasks(3));
    let (session, claims) = plot.claim(1);
    assert_eq!(plot.bench.take(&session, 1).len(), 1, "a control: it claims while that lasts");
    let open = site.proxy.counts().connections;
    site.proxy.reset();
    site.proxy.until("new connections", |counts| counts.connections >= open + 2);
    let refused = refusal(plot.bench.broker.dequeue(plot.bench.ask(&session, 1)));
    assert!(refused.is_fenced(), "{refused}");
    // It still settles what it knows of; the rest comes back.
    plot.bench.end(&session, &claims[0], complete());
    assert_eq!(plot.bench.retire(&session, &[]), 1);
    assert_eq!(ids(&plot.bench.take_all().1), put[1..]);
}
