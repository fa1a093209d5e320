//! Keys and fields that went missing: deleted by hand, evicted, lost. Every verb goes on, nothing of an intact
//! task is lost, and what lost its record or its lease is found.

use oncue::broker::*;
use oncue::state::State;
use oncue::task::TaskId;

use super::site::{Plot, Site};
use crate::fixture::*;

/// A queue with a task in every place there is.
struct Scene<'p, 's> {
    plot: &'p Plot<'s>,
    ids: Vec<TaskId>,
    held: (Session, Vec<Claim>),
    retired: (Session, Vec<Claim>),
}

impl<'p, 's> Scene<'p, 's> {
    fn set(plot: &'p Plot<'s>) -> Self {
        let bench = &plot.bench;
        let mut ids = bench.put([task(KINDS[0]).key("one"), task(KINDS[1]).after(HOUR)]);
        ids.extend(bench.put(tasks(9)));
        let gathers = |name, most| task(KINDS[1]).group(gather(name, HOUR).most(most));
        let groups = [gathers("closed", 2), gathers("closed", 2), gathers("open", 2)];
        let (session, claims) = bench.take_all();
        let orders = [
            Order::Retry { after: HOUR, front: false },
            keep(HOUR * 900),
            Order::Archive { reason: oncue::state::Reason::Exhausted },
            Order::Release { lane: Lane::Alone },
            release(),
        ];
        for (claim, order) in claims.iter().zip(orders) {
            let trail = Some(trail(1));
            let settlement = Settlement { trail, ..Settlement::new(claim.ticket, order) };
            assert_eq!(bench.settle(&session, vec![settlement]), [Settled::Done]);
        }
        bench.retire(&session, &ids_of(&claims[5..7]));
        let retired = (session, claims[5..7].to_vec());
        let session = bench.session();
        let claims = bench.take(&session, 2);
        ids.extend(bench.put(groups));
        Self { plot, ids, held: (session, claims), retired }
    }

    /// Calls every verb; an error that is no fence fails.
    fn call_all(&self) {
        let (plot, bench) = (self.plot, &self.plot.bench);
        for (session, claims) in [&self.held, &self.retired] {
            let beat = Beat { sessions: vec![session.clone()], lease: LEASE, presence: None };
            run(bench.broker.beat(beat)).expect("beaten");
            let list = vec![Settlement::new(claims[0].ticket, release())];
            fenced_or(run(bench.broker.settle(session.clone(), list)));
            fenced_or(run(bench.broker.dequeue(bench.ask(session, 1))));
        }
        run(bench.broker.retire(self.held.0.clone(), Vec::new())).expect("retired");
        plot.enqueue(&bench.batch(tasks(1)));
        run(bench.broker.stats()).expect("told");
        for state in [State::Pending, State::Active, State::Scheduled, State::Retry] {
            bench.list(state);
        }
        for id in &self.ids {
            bench.show(*id);
        }
    }

    /// Works until nothing moves any more; answers what was claimed, and what of that was damaged.
    fn drain(&self) -> (Vec<TaskId>, Vec<TaskId>) {
        let (mut whole, mut damaged) = (Vec::new(), Vec::new());
        let bench = &self.plot.bench;
        for _ in 0..12 {
            bench.advance();
            self.plot.sweep();
            for lane in [Lane::Shared, Lane::Alone] {
                let (session, claims) = self.plot.claim_from(lane, CLAIMS_MAX);
                for claim in &claims {
                    match claim.stored.header() {
                        Ok(_) => whole.push(claim.id()),
                        Err(_) => damaged.push(claim.id()),
                    }
                    let order = match claim.stored.header() {
                        Ok(_) => keep(HOUR * 900),
                        Err(_) => Order::Archive { reason: oncue::state::Reason::Unopenable },
                    };
                    bench.end(&session, claim, order);
                }
            }
            bench.pass(LEASE + SECOND);
        }
        bench.pass(HOUR);
        if whole.len() + damaged.len() < self.ids.len() {
            bench.advance();
            let (session, claims) = bench.take_all();
            for claim in &claims {
                bench.end(&session, claim, keep(HOUR * 900));
            }
            whole.extend(ids(&claims));
        }
        (whole, damaged)
    }
}

fn ids_of(claims: &[Claim]) -> Vec<TaskId> {
    ids(claims)
}

fn fenced_or<T>(answer: oncue::Result<T>) {
    if let Err(error) = answer {
        assert!(error.is_fenced(), "{error}");
    }
}

/// One thing that is deleted.
type Deletion = fn(&Scene<'_, '_>);

fn delete(scene: &Scene<'_, '_>, key: &[u8]) {
    let deleted: i64 = scene.plot.raw("DEL", key, &[]);
    assert_eq!(deleted, 1, "{} was there", String::from_utf8_lossy(key));
}

fn of_session(prefix: &str, session: &Session) -> Vec<u8> {
    [prefix.as_bytes(), &session.id.0].concat()
}

/// What may be deleted without any task being lost with it.
const HARMLESS: &[(&str, Deletion)] = &[
    ("l", |scene| delete(scene, b"l")),
    ("q", |scene| delete(scene, b"q")),
    ("l and q", |scene| {
        delete(scene, b"l");
        delete(scene, b"q");
    }),
    ("the entry in l", |scene| {
        let removed: i64 = scene.plot.raw("ZREM", b"l", &[&scene.held.0.id.0]);
        assert_eq!(removed, 1);
    }),
    ("tr", |scene| delete(scene, b"tr")),
    ("k", |scene| delete(scene, b"k")),
    ("z", |scene| delete(scene, b"z")),
    ("ln", |scene| delete(scene, b"ln")),
    ("st", |scene| delete(scene, b"st")),
    ("cfg", |scene| delete(scene, b"cfg")),
    ("ref", |scene| delete(scene, b"ref")),
];

/// The same of what groups are kept in, one at a time.
const HARMLESS_TO_GROUPS: &[(&str, Deletion)] = &[
    ("gt", |scene| delete(scene, b"gt")),
    ("gn", |scene| delete(scene, b"gn")),
    ("gs", |scene| delete(scene, b"gs")),
    ("go", |scene| delete(scene, b"go")),
    ("gc", |scene| delete(scene, b"gc")),
    ("gr", |scene| delete(scene, b"gr")),
    ("gm:*", |scene| {
        let numbers: Vec<Vec<u8>> = scene.plot.raw("ZRANGE", b"gs", &[b"0", b"-1"]);
        numbers.iter().for_each(|number| delete(scene, &[&b"gm:"[..], number].concat()));
    }),
];

#[test]
fn nothing_of_an_intact_task_goes_with_a_key_beside_it() {
    let site = Site::new();
    for (at, (name, deletion)) in HARMLESS.iter().enumerate() {
        for (other, also) in &HARMLESS[at..] {
            let plot = site.plot();
            let scene = Scene::set(&plot);
            deletion(&scene);
            if name != other && !name.contains('l') && !other.contains('l') {
                also(&scene);
            } else if name != other {
                continue;
            }
            ends_whole(&scene, &format!("{name}, {other}"));
        }
    }
}

#[test]
fn a_gathering_that_lost_a_key_is_claimed() {
    let site = Site::new();
    for (name, deletion) in HARMLESS_TO_GROUPS {
        let plot = site.plot();
        let scene = Scene::set(&plot);
        deletion(&scene);
        ends_whole(&scene, name);
    }
}

#[track_caller]
fn ends_whole(scene: &Scene<'_, '_>, name: &str) {
    scene.call_all();
    scene.drain();
    let audit = scene.plot.audit();
    for id in &scene.ids {
        let places = audit.places_of(*id);
        assert!(matches!(places[..], ["c" | "x"]), "{name}: {id} is in {places:?}");
    }
    assert_eq!(audit.complaint(), None, "{name}");
}

#[test]
fn a_claim_without_a_record_comes_as_damaged_and_can_be_archived() {
    let site = Site::new();
    for count in [1, 20] {
        let plot = site.plot();
        let put = plot.bench.put(tasks(count));
        let gone = put[count / 2];
        let _: i64 = plot.raw("HDEL", b"t", &[gone.as_bytes()]);
        let (session, claims) = plot.bench.take_all();
        assert_eq!(claims.len(), count, "the others come all the same");
        for claim in &claims {
            assert_eq!(claim.stored.header().is_err(), claim.id() == gone);
            let order = match claim.stored.header() {
                Ok(_) => complete(),
                Err(_) => Order::Archive { reason: oncue::state::Reason::Unopenable },
            };
            plot.bench.end(&session, claim, order);
        }
        assert_eq!(plot.bench.stats().count(State::Archived), 1);
        assert_eq!(plot.bench.stats().count(State::Active), 0);
    }
}

/// asynq: a task that is active in one book and not in the other is stuck for good, or is tried for ever.
#[test]
fn claims_without_a_lease_are_found_by_whoever_still_names_the_session() {
    type Naming = fn(&Plot<'_>, &Session, &[Claim]);
    let namings: [(&str, Naming); 3] = [
        ("beat", |plot, session, _| assert_eq!(plot.bench.beat(&[session]), [session.id])),
        ("settle", |plot, session, claims| {
            let list = vec![Settlement::new(claims[0].ticket, complete())];
            let refused = refusal(plot.bench.broker.settle(session.clone(), list));
            assert!(refused.is_fenced());
        }),
        ("retire", |plot, session, _| assert_eq!(plot.bench.retire(session, &[]), 0)),
    ];
    let site = Site::new();
    for (name, naming) in namings {
        let plot = site.plot();
        let put = plot.bench.put(tasks(3));
        let (session, claims) = plot.bench.take_all();
        let _: i64 = plot.raw("DEL", b"l", &[]);
        plot.bench.warm_up_sweeps();
        naming(&plot, &session, &claims);
        let (_, taken) = plot.bench.take_over();
        assert_eq!(taken.len(), put.len(), "{name}");
        assert!(taken.iter().all(|claim| claim.cause == Cause::Lost));
        let refused = plot.bench.broker.dequeue(plot.bench.ask(&session, 1));
        assert!(refusal(refused).is_fenced(), "{name}: it is dead");
        plot.audit().check(put);
    }
}

/// The set of a session is gone, its lease is not: nothing is held, nothing fails, for ever or once.
#[test]
fn a_lease_without_claims_runs_out() {
    let site = Site::new();
    let plot = site.plot();
    plot.bench.put(tasks(2));
    let (session, claims) = plot.bench.take_all();
    delete_claims(&plot, &session);
    let list = vec![Settlement::new(claims[0].ticket, complete())];
    assert_eq!(plot.bench.settle(&session, list), [Settled::Gone]);
    plot.bench.warm_up_sweeps();
    assert_eq!(plot.bench.take_over().1.len(), 0);
    assert_eq!(plot.bench.beat(&[&session]), [session.id]);
    assert_eq!(plot.raw::<i64>("ZCARD", b"l", &[]), 0);
}

fn delete_claims(plot: &Plot<'_>, session: &Session) {
    assert_eq!(plot.raw::<i64>("DEL", &of_session("a:", session), &[]), 1);
}

/// asynq: more members than `unpack` takes stop a script in the middle, every time.
#[test]
fn nine_thousand_at_once_are_no_reason_to_fail() {
    const MANY: usize = 9_000;
    let site = Site::new();
    let plot = site.plot();
    let bench = &plot.bench;
    for _ in 0..MANY / 1_000 {
        bench.put((0..1_000).map(|_| task(KINDS[0]).after(HOUR)));
    }
    bench.pass(HOUR);
    let mut moved = 0;
    while moved < MANY {
        moved += bench.advance().moved;
    }
    assert_eq!(moved, MANY);
    let (session, mut all) = (bench.session(), Vec::new());
    while all.len() < MANY {
        all.extend(bench.take(&session, 1_000));
    }
    let (kept, rest) = all.split_at(MANY / 2);
    for chunk in kept.chunks(1_000) {
        let list = chunk.iter().map(|claim| Settlement::new(claim.ticket, keep(MINUTE))).collect();
        bench.settle(&session, list);
    }
    // Handed back in one call, as many as a worker may hold.
    assert_eq!(bench.retire(&session, &[]), rest.len());
    let (_, again) = bench.take_all();
    assert_eq!(again.len(), 1_000);
    bench.pass(HOUR);
    let mut expired = 0;
    loop {
        let advanced = bench.advance();
        expired += advanced.expired;
        if !advanced.more {
            break;
        }
    }
    assert_eq!((expired, plot.audit().complaint()), (kept.len(), None));
    assert_eq!(bench.stats().total() as usize, rest.len());
}
