//! What fails at one queue stays there.

use oncue::broker::*;

use super::site::Site;
use crate::fixture::*;

/// A queue that a newer version has written to is not beaten any more; the sessions at others live on.
#[test]
fn a_queue_that_cannot_be_beaten_takes_no_session_at_another_with_it() {
    let site = Site::new();
    let plot = site.plot();
    let (bench, other) = (&plot.bench, queue("other"));
    let (sound, stuck) = (bench.session(), Session::fresh(other.clone()));
    bench.take(&sound, 1);
    bench.take(&stuck, 1);
    let key = String::from_utf8(plot.key("cfg")).expect("text").replace("/default}", "/other}");
    site.server.cli(&["HSET", &key, "v", "99"]);
    let both = Beat { sessions: vec![sound.clone(), stuck.clone()], lease: LEASE, presence: None };
    for _ in 0..4 {
        bench.pass(LEASE - SECOND);
        let beaten = run(bench.broker.beat(both.clone())).expect("one of them is beaten");
        assert_eq!((beaten.lost, beaten.unsure), (vec![], vec![stuck.id]));
    }
    assert_eq!(bench.take(&sound, 1).len(), 0, "its lease was extended");
    let alone = Beat { sessions: vec![stuck], lease: LEASE, presence: None };
    assert!(refusal(bench.broker.beat(alone)).is_newer(), "and who is alone is told why");
}

/// A batch that is sent again after its tasks have run and gone shows nothing.
#[test]
fn a_repeat_after_the_end_is_no_task() {
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    let batch = bench.batch(tasks(1));
    bench.enqueue(&batch);
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    assert_eq!(bench.enqueue(&batch), [Enqueued::Existing]);
    assert!(bench.show(claims[0].id()).is_none());
    bench.reclaim(&bench.session());
    assert_eq!(plot.raw::<u64>("HLEN", b"t", &[]), 0, "its record is gone");
}
