//! `cancel`, `set`, `workers`, `signal`: what people do.

use oncue::broker::*;
use oncue::queue::Kind;
use oncue::state::{Reason, State};
use oncue::task::TaskId;

use super::open;
use crate::fixture::*;

#[track_caller]
fn assert_cancelled(bench: &Bench, id: TaskId) {
    let view = bench.show(id).expect("there");
    assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Cancelled)));
}

#[test]
fn what_waits_is_archived_at_once_and_never_claimed() {
    let bench = open();
    let [first, cancelled, last] = bench.put([0, 0, 0].map(|_| task(KINDS[0])))[..] else {
        panic!()
    };
    let scheduled = bench.put_one(task(KINDS[1]).after(MINUTE));
    let retried = bench.put_one(task(KINDS[2]));
    let session = bench.session();
    let mut ask = bench.ask(&session, 1);
    ask.accept.retain(|(kind, _)| *kind == oncue::queue::KindHash::of(KINDS[2]));
    let claims = bench.claims(ask);
    bench.end(&session, &claims[0], Order::Retry { after: MINUTE, front: false });
    for id in [cancelled, scheduled, retried] {
        assert_eq!(bench.cancel(id), Cancelled::Archived);
        assert_cancelled(&bench, id);
        assert_eq!(bench.cancel(id), Cancelled::Ended);
    }
    let stats = bench.stats();
    assert_eq!((stats.count(State::Pending), stats.count(State::Archived)), (2, 3));
    let pending: Vec<_> = bench.list(State::Pending).iter().map(|view| view.stored.id()).collect();
    assert_eq!(pending.len(), 2);
    assert!(pending.contains(&first) && pending.contains(&last));
    bench.pass(HOUR);
    bench.advance();
    let (session, claims) = bench.take_all();
    assert_eq!(ids(&claims), [first, last]);
    claims.iter().for_each(|claim| bench.end(&session, claim, complete()));
    assert_eq!(bench.stats().count(State::Archived), 3);
    assert_eq!(bench.stats().total(), 3);
}

#[test]
fn what_is_cancelled_in_its_line_leaves_no_gap_in_a_claim() {
    let bench = open();
    let put = bench.put((0..40).map(|_| task(KINDS[0])));
    for id in put.iter().step_by(2) {
        assert_eq!(bench.cancel(*id), Cancelled::Archived);
    }
    let session = bench.session();
    let odd: Vec<_> = put.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(ids(&bench.take(&session, 5)), odd[..5]);
    assert_eq!(ids(&bench.take(&session, 100)), odd[5..]);
    assert_eq!(bench.take(&session, 100).len(), 0);
}

#[test]
fn what_has_ended_or_is_not_there_stays_as_it_is() {
    let bench = open();
    assert_eq!(bench.cancel(TaskId::fresh()), Cancelled::Missing);
    let kept = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], keep(HOUR));
    assert_eq!(bench.cancel(kept), Cancelled::Ended);
    assert_eq!(bench.state(kept), Some(State::Completed));
    let gone = bench.put_one(task(KINDS[0]));
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], complete());
    assert_eq!(bench.cancel(gone), Cancelled::Missing);
}

#[test]
fn a_running_task_is_told_to_its_worker_and_does_not_run_again() {
    let ends = [
        Order::Retry { after: MINUTE, front: false },
        Order::Snooze { after: MINUTE },
        Order::Release { lane: Lane::Shared },
        Order::Release { lane: Lane::Alone },
        Order::Archive { reason: Reason::Cancelled },
    ];
    for order in ends {
        let bench = open();
        let id = bench.put_one(task(KINDS[0]));
        let other = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        assert_eq!(bench.doomed(&[&session]), []);
        for _ in 0..2 {
            assert_eq!(bench.cancel(id), Cancelled::Asked);
            assert_eq!(bench.state(id), Some(State::Active));
            assert_eq!(bench.doomed(&[&session]), [id]);
        }
        let stranger = bench.session();
        assert_eq!(bench.doomed(&[&stranger]), []);
        bench.end(&session, &claims[0], order.clone());
        assert_cancelled(&bench, id);
        assert_eq!(bench.doomed(&[&session]), []);
        // Its neighbour ends as it was ordered.
        let leads_to = order.leads_to();
        bench.end(&session, &claims[1], order);
        assert_eq!(bench.state(other), leads_to);
        bench.pass(HOUR);
        bench.advance();
        assert!(!ids(&bench.take_all().1).contains(&id));
    }
}

#[test]
fn a_success_is_a_success_though_it_was_cancelled() {
    for (order, state) in [
        (keep(HOUR), Some(State::Completed)),
        (complete(), None),
        (Order::Drop, None),
        (Order::Archive { reason: Reason::Exhausted }, Some(State::Archived)),
    ] {
        let bench = open();
        let id = bench.put_one(task(KINDS[0]));
        let (session, claims) = bench.take_all();
        assert_eq!(bench.cancel(id), Cancelled::Asked);
        bench.end(&session, &claims[0], order);
        assert_eq!(bench.state(id), state);
        assert_eq!(bench.doomed(&[&session]), []);
    }
}

#[test]
fn a_cancelled_task_whose_worker_is_gone_ends_all_the_same() {
    let bench = open();
    let [handed_back, lost] = bench.put([0, 0].map(|_| task(KINDS[0])))[..] else { panic!() };
    let (first, second) = (bench.session(), bench.session());
    bench.take(&first, 1);
    bench.take(&second, 1);
    assert_eq!(bench.cancel(handed_back), Cancelled::Asked);
    assert_eq!(bench.cancel(lost), Cancelled::Asked);
    assert_eq!(bench.retire(&first, &[]), 1);
    assert_cancelled(&bench, handed_back);
    bench.warm_up_sweeps();
    let (sweeper, claims) = bench.take_over();
    assert_eq!(ids(&claims), [lost]);
    assert_eq!(bench.doomed(&[&sweeper]), [lost]);
    bench.end(&sweeper, &claims[0], Order::Release { lane: Lane::Shared });
    assert_cancelled(&bench, lost);
    assert_eq!(ids(&bench.take_all().1), []);
}

#[test]
fn nothing_is_claimed_from_a_paused_queue_until_it_goes_on() {
    let bench = open();
    let put = bench.put([0, 0].map(|_| task(KINDS[0])));
    let running = bench.session();
    let held = bench.take(&running, 1);
    bench.set(Setting::Paused(true));
    assert!(bench.stats().paused);
    assert_eq!(bench.take_all().1.len(), 0);
    // What runs goes on, and what comes is kept.
    bench.end(&running, &held[0], complete());
    let late = bench.put_one(task(KINDS[0]));
    let session = bench.session();
    assert_eq!(bench.take(&session, 10).len(), 0);
    let mark = run(bench.broker.wait(Wake::Ready, None)).expect("a mark");
    bench.set(Setting::Paused(false));
    run(bench.broker.wait(Wake::Ready, Some(mark))).expect("woken");
    assert!(!bench.stats().paused);
    assert_eq!(ids(&bench.take(&session, 10)), [put[1], late]);
}

#[test]
fn a_limit_refuses_what_is_too_much_as_a_whole() {
    let bench = open();
    bench.set(Setting::Limit(Some(3)));
    assert_eq!(bench.stats().limit, Some(3));
    bench.put([0, 0].map(|_| task(KINDS[0])));
    let two = bench.batch([0, 0].map(|_| task(KINDS[0])));
    let error = refusal(bench.broker.enqueue(two.clone()));
    assert!(error.is_full() && error.to_string().contains('3'), "{error}");
    assert_eq!(bench.stats().total(), 2);
    let scheduled = bench.put_one(task(KINDS[0]).after(MINUTE));
    assert!(refusal(bench.broker.enqueue(two.clone())).is_full());
    // What has ended counts no more; what was refused may come again as it was.
    let (session, claims) = bench.take_all();
    bench.end(&session, &claims[0], keep(HOUR));
    assert!(refusal(bench.broker.enqueue(two.clone())).is_full());
    assert_eq!(bench.cancel(scheduled), Cancelled::Archived);
    assert_eq!(bench.enqueue(&two), [Enqueued::Created; 2]);
    assert_eq!(bench.enqueue(&two), [Enqueued::Existing; 2]);
    let one = bench.batch([task(KINDS[0])]);
    assert!(refusal(bench.broker.enqueue(one.clone())).is_full());
    bench.set(Setting::Limit(None));
    assert_eq!(bench.enqueue(&one), [Enqueued::Created]);
}

#[test]
fn what_exists_already_needs_no_room() {
    let bench = open();
    let batch = bench.batch([task(KINDS[0])]);
    assert_eq!(bench.enqueue(&batch), [Enqueued::Created]);
    bench.set(Setting::Limit(Some(0)));
    let again = Batch { id: BatchId::fresh(), ..batch };
    assert_eq!(bench.enqueue(&again), [Enqueued::Existing]);
}

fn presence(worker: WorkerId, started: u64) -> Presence {
    let mut about = About::default();
    (about.host, about.pid, about.started) = ("here".into(), 7, started);
    Presence { worker, about, lasts: MINUTE }
}

fn report(bench: &Bench, presence: &Presence) -> Orders {
    let beat = Beat { sessions: Vec::new(), lease: LEASE, presence: Some(presence.clone()) };
    run(bench.broker.beat(beat)).expect("beat").orders
}

#[test]
fn a_worker_is_there_as_long_as_it_beats() {
    let bench = open();
    let all = || run(bench.broker.workers()).expect("workers");
    assert_eq!(all(), []);
    let [old, new] = [1, 2].map(|started| presence(WorkerId::fresh(), started));
    report(&bench, &new);
    bench.pass(MINUTE / 2);
    report(&bench, &old);
    let there = all();
    assert_eq!(
        there.iter().map(|there| there.worker).collect::<Vec<_>>(),
        [old.worker, new.worker]
    );
    assert_eq!((&there[0].about, there[0].until), (&old.about, bench.now().plus(MINUTE)));
    bench.pass(MINUTE / 2);
    assert_eq!(all().len(), 1);
    assert!(!run(bench.broker.signal(new.worker, Signal::Stop)).expect("told"));
    // It comes back as one that was told nothing.
    assert_eq!(report(&bench, &new), Orders::default());
    bench.pass(MINUTE * 2);
    assert_eq!(all(), []);
}

#[test]
fn orders_stand_until_the_worker_is_gone() {
    let bench = open();
    let [told, other] = [1, 2].map(|started| presence(WorkerId::fresh(), started));
    report(&bench, &told);
    report(&bench, &other);
    let signal = |signal| run(bench.broker.signal(told.worker, signal)).expect("told");
    let kind = Kind::parse(KINDS[0]).expect("a kind");
    assert!(signal(Signal::Quiet));
    let orders = report(&bench, &told);
    assert!(orders.quiet && !orders.stop);
    assert!(signal(Signal::Restart(kind.clone())) && signal(Signal::Restart(kind.clone())));
    assert!(signal(Signal::Stop));
    for _ in 0..2 {
        let orders = report(&bench, &told);
        assert!(orders.quiet && orders.stop);
        assert_eq!(orders.restart, [(kind.clone(), 2)]);
        assert_eq!(report(&bench, &other), Orders::default());
        bench.pass(MINUTE / 2);
    }
    assert!(!run(bench.broker.signal(WorkerId::fresh(), Signal::Stop)).expect("answered"));
}

#[test]
fn one_worker_is_told_so_much_and_no_more() {
    let bench = open();
    let worker = presence(WorkerId::fresh(), 1);
    report(&bench, &worker);
    let restart = |n: usize| {
        let kind = Kind::parse(&format!("kind-{n}")).expect("a kind");
        bench.broker.signal(worker.worker, Signal::Restart(kind))
    };
    for n in 0..RESTARTS_MAX {
        assert!(run(restart(n)).expect("told"));
    }
    for signal in [Signal::Quiet, Signal::Stop] {
        assert!(run(bench.broker.signal(worker.worker, signal)).expect("told"));
    }
    assert!(refusal(restart(RESTARTS_MAX)).is_too_large());
    assert!(run(restart(0)).expect("told"));
    assert_eq!(report(&bench, &worker).restart.len(), RESTARTS_MAX);
}

#[test]
fn whoever_waits_for_orders_is_woken() {
    let bench = open();
    let worker = presence(WorkerId::fresh(), 1);
    report(&bench, &worker);
    let mark = run(bench.broker.wait(Wake::Ordered, None)).expect("a mark");
    assert!(run(bench.broker.signal(worker.worker, Signal::Quiet)).expect("told"));
    let mark = run(bench.broker.wait(Wake::Ordered, Some(mark))).expect("woken");
    let id = bench.put_one(task(KINDS[0]));
    let (session, _) = bench.take_all();
    assert_eq!(bench.cancel(id), Cancelled::Asked);
    run(bench.broker.wait(Wake::Ordered, Some(mark))).expect("woken");
    assert_eq!(bench.doomed(&[&session]), [id]);
}
