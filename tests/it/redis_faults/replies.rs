//! Replies that get lost: after every request of a history, and after every byte of one reply. The server did
//! what it was asked; the caller cannot know.

use std::panic::{AssertUnwindSafe, catch_unwind};

use oncue::broker::*;
use oncue::state::State;

use super::history;
use super::site::{Plot, Site};
use crate::fixture::*;
use crate::redis_servers::proxy::Way;

#[test]
fn any_one_reply_of_a_history_may_be_lost() {
    let site = Site::new();
    let plot = site.plot();
    let before = site.proxy.counts().requests;
    let ids = history::play(&plot);
    let requests = site.proxy.counts().requests - before;
    history::check(&plot, &ids);
    drop(plot);
    let mut kept = 0;
    for k in 1..=requests {
        let plot = site.plot();
        let before = site.proxy.counts().dropped;
        site.proxy.drop_reply(k);
        let ids = history::play(&plot);
        // What is answered by a push has no reply.
        kept += usize::from(site.proxy.counts().dropped == before);
        site.proxy.drop_reply(usize::MAX);
        let checked = catch_unwind(AssertUnwindSafe(|| history::check(&plot, &ids)));
        checked.unwrap_or_else(|_| panic!("after reply {k} of {requests} was dropped"));
    }
    assert!(kept <= 4, "{kept} were not dropped");
    println!("{} replies dropped, one a history", requests - kept);
}

/// A control: a caller who does not repeat as the contract says loses a task or gets it twice, and is found out.
#[test]
fn a_caller_who_does_not_keep_to_the_contract_is_found_out() {
    let site = Site::new();
    let plot = site.plot();
    site.proxy.drop_reply_to("EXEC", 1);
    let batch = plot.bench.batch(tasks(1));
    assert!(refusal(plot.bench.broker.enqueue(batch.clone())).is_unreachable());
    // As if it were new: another id for the same work.
    plot.enqueue(&plot.bench.batch(tasks(1)));
    assert_eq!(plot.bench.stats().count(State::Pending), 2);
    // A claim nobody hands back.
    site.proxy.drop_reply_to("FCALL", 1);
    let session = plot.bench.session();
    assert!(refusal(plot.bench.broker.dequeue(plot.bench.ask(&session, 1))).is_unreachable());
    let (_, claims) = plot.claim(2);
    assert_eq!(claims.len(), 1);
    assert_eq!(plot.bench.stats().count(State::Active), 2, "one of them by nobody");
}

/// Enqueues with the reply cut after so many bytes, repeats, and drains; answers whether it was cut.
fn cut_at(plot: &Plot<'_>, batch: &Batch, bytes: usize) -> bool {
    let (site, cut) = (plot.site, plot.site.proxy.counts().cut);
    site.proxy.cut_after(Way::Replies, bytes);
    let first = run(plot.bench.broker.enqueue(batch.clone()));
    let was_cut = site.proxy.counts().cut > cut;
    if first.is_err() {
        plot.enqueue(batch);
    }
    // Not for those to come.
    site.proxy.cut_after(Way::Replies, usize::MAX);
    let (session, claims) = plot.claim(CLAIMS_MAX);
    let mut sent: Vec<_> = batch.tasks.iter().map(|task| task.envelope.id()).collect();
    let mut got = ids(&claims);
    sent.sort();
    got.sort();
    assert_eq!(got, sent, "after {bytes} bytes");
    plot.audit().check(sent);
    let list = claims.iter().map(|claim| Settlement::new(claim.ticket, complete())).collect();
    plot.bench.settle(&session, list);
    plot.audit().check([]);
    was_cut
}

#[test]
fn the_reply_to_an_enqueue_may_end_after_every_byte() {
    let site = Site::new();
    let plot = site.plot();
    // Registered, so that only the enqueue itself is answered.
    cut_at(&plot, &plot.bench.batch(tasks(1)), usize::MAX);
    for batch in [|plot: &Plot<'_>| plot.bench.batch(tasks(2)), keyed] {
        let mut bytes = 1;
        while cut_at(&plot, &batch(&plot), bytes) {
            bytes += 1;
        }
        println!("an answer of {bytes} bytes, cut after each");
        assert!(bytes > 4, "there was something to cut");
    }
}

/// Tasks whose records go through the function.
fn keyed(plot: &Plot<'_>) -> Batch {
    let key = uuid::Uuid::new_v4().to_string();
    plot.bench.batch([task(KINDS[0]).key(&key), task(KINDS[1]).id(oncue::TaskId::fresh())])
}
