//! The suite of every broker, with the rights of the roles and no others; what is refused fails its test.
//!
//! Without `wait`: a mark is a matter of one process, and here each role is one of its own. What goes from one to
//! another, by messages, is below.

use std::sync::{Arc, LazyLock};

use oncue::broker::redis::acl::Role;
use oncue::broker::redis::{Options, RedisBroker};
use oncue::broker::{Broker, Inspect, Order, Wake};
use oncue::clock::ManualClock;
use oncue::state::State;

use super::by_role::ByRole;
use super::users::Users;
use crate::fixture::*;

#[path = "../conformance/act.rs"]
mod act;
#[path = "../conformance/advance.rs"]
mod advance;
#[path = "../conformance/beat.rs"]
mod beat;
#[path = "../conformance/conflicts.rs"]
mod conflicts;
#[path = "../conformance/dequeue.rs"]
mod dequeue;
#[path = "../conformance/enqueue.rs"]
mod enqueue;
#[path = "../conformance/front.rs"]
mod front;
#[path = "../conformance/inspect.rs"]
mod inspect;
#[path = "../conformance/lines.rs"]
mod lines;
#[path = "../conformance/locks.rs"]
mod locks;
#[path = "../conformance/notes.rs"]
mod notes;
#[path = "../conformance/reclaim.rs"]
mod reclaim;
#[path = "../conformance/releases.rs"]
mod releases;
#[path = "../conformance/replace.rs"]
mod replace;
#[path = "../conformance/retire.rs"]
mod retire;
#[path = "../conformance/settle.rs"]
mod settle;
#[path = "../conformance/timetable.rs"]
mod timetable;

fn open_at(users: Arc<Users>, clock: Arc<ManualClock>) -> Opened {
    users.deploy(&clock);
    Opened { broker: Arc::new(ByRole::open(&users, &clock)), guard: Some(Box::new(users)) }
}

fn open() -> Bench {
    Bench::new(&|clock| open_at(Arc::new(Users::of(&["*"])), clock))
}

#[test]
fn random_histories_agree_with_the_model() {
    let users = LazyLock::new(|| Arc::new(Users::of(&["*"])));
    crate::sequences::check(
        &|clock| {
            // The namespace is in the rules, so that histories cannot have one each.
            users.server.cli(&["FLUSHALL"]);
            open_at(users.clone(), clock)
        },
        24,
    );
}

#[test]
fn the_functions_of_production_ask_the_server_for_the_time() {
    let users = Users::of(&["default"]);
    run(oncue::connect::deploy(&users.url(Role::Deployer))).expect("deployed");
    let open = |role| {
        let options = Options::parse(&users.url(role)).expect("a URL");
        RedisBroker::open(options.namespace(super::users::NAMESPACE)).expect("a broker")
    };
    let [producer, worker, scheduler] = [Role::Producer, Role::Worker, Role::Scheduler].map(open);
    let bench = Bench::new(&|_| Opened { broker: Arc::new(worker.clone()), guard: None });
    run(producer.enqueue(bench.batch(tasks(1)))).expect("stored");
    let (session, claims) = bench.take_all();
    assert_eq!(bench.beat(&[&session]), []);
    bench.end(&session, &claims[0], Order::Retry { after: MINUTE, front: false });
    for sweeper in [worker, scheduler] {
        run(sweeper.advance(bench.queue.clone(), 1)).expect("advanced");
        run(sweeper.reclaim(bench.sweep(&bench.session()))).expect("swept");
        run(sweeper.retire(bench.session(), vec![])).expect("retired");
    }
    let stats = run(open(Role::Viewer).stats()).expect("counted");
    assert_eq!(stats[0].count(State::Retry), 1);
}

/// Waits for a mark of one role, while another does what makes it.
#[track_caller]
fn tells(broker: &dyn Broker, wake: Wake, happen: impl FnOnce()) {
    let seen = run(broker.wait(wake, None)).expect("a mark");
    let waiting = broker.wait(wake, Some(seen));
    happen();
    run(waiting).expect("a message");
}

#[test]
fn roles_wake_each_other() {
    let clock = Arc::new(ManualClock::at(START));
    let users = Arc::new(Users::of(&["default"]));
    let bench = Bench::new(&|clock| open_at(users.clone(), clock));
    let open = |role| users.broker(role, &clock);
    let (worker, waiter) = (open(Role::Worker), open(Role::Producer));
    let subscribers = |channel: &str| {
        let channel = format!("oncue:{{{}/default}}:{channel}", super::users::NAMESPACE);
        crate::redis_servers::until("a subscription", || {
            let (_, count): (String, u64) = users.server.ask(&["PUBSUB", "NUMSUB", &channel]);
            (count > 0).then_some(())
        });
    };
    // Nothing to do: whoever asks listens from now on.
    assert_eq!(run(worker.dequeue(bench.ask(&bench.session(), 1))).expect("nothing").len(), 0);
    subscribers("ready");
    tells(&worker, Wake::Ready, || drop(bench.put(tasks(1))));
    run(worker.advance(bench.queue.clone(), 1)).expect("nothing due");
    subscribers("due");
    tells(&worker, Wake::Due, || drop(bench.put([task(KINDS[0]).after(HOUR)])));
    let (session, claims) = bench.take_all();
    run(waiter.wait(Wake::Settled, None)).expect("a mark");
    run(waiter.show(bench.queue.clone(), claims[0].id())).expect("shown").expect("there");
    subscribers("settled");
    tells(&waiter, Wake::Settled, || bench.end(&session, &claims[0], complete()));
}
