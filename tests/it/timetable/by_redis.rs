//! The same on a real Redis whose clock is set, with three Schedulers that each have a connection of their own.

use std::time::Instant;

use oncue::broker::Batch;
use oncue::clock::Timestamp;
use oncue::queue::QueueName;
use oncue::seal::{Keyring, Sealer};
use oncue::state::State;
use oncue::timetable::Missed;
use oncue::{Client, Lane, TaskResult};

use super::scene::{end, entry};
use crate::redis_servers::setup::Setup;
use crate::runtime::company::{Number, PATIENCE, broker_on, count};
use crate::wall_clock::WallClock;

const JUMPS: i64 = 6;
const HOURS: i64 = 6;

#[test]
fn three_schedulers_enqueue_each_tick_once() {
    let clock = WallClock::ahead(0);
    let server = Setup::default().clock(&clock).start();
    let sealer = Sealer::new(Keyring::generate().expect("keys"), "test").expect("a sealer");
    let client = || Client::new(broker_on(&server.url()), sealer.clone());
    let worker = || {
        // A lane over another queue: what is enqueued is left to be counted.
        let worker = client().worker().lane(Lane::strict(["elsewhere"]));
        let worker = worker.handle(async |number: Number| TaskResult::Ok(number.0));
        oncue::block_on(worker.start()).expect("it starts")
    };
    let (hand, cron) = (client(), client().cron());
    for (name, missed) in [("all", Missed::All), ("latest", Missed::Latest)] {
        let entry = entry(name, "@every 1h", 1).missed(missed);
        assert!(oncue::block_on(cron.put(entry)).expect("put"));
    }
    let made = oncue::block_on(cron.get("all")).expect("there").last;
    let workers = [worker(), worker(), worker()];
    let mut last = made;
    for jump in 1..=JUMPS {
        clock.set(jump * HOURS * 3_600);
        let text = format!("{jump}");
        oncue::block_on(cron.edit("all", |entry| entry.payload(&text))).expect("edited");
        let deadline = Instant::now() + PATIENCE;
        let wanted = made.0 + u64::try_from((jump * HOURS - 1) * 3_600_000).expect("ahead");
        for name in ["all", "latest"] {
            loop {
                last = oncue::block_on(cron.get(name)).expect("there").last;
                if last >= Timestamp(wanted) {
                    break;
                }
                assert!(Instant::now() < deadline, "{name} has come to {last}");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    workers.into_iter().for_each(end);
    let all = oncue::block_on(cron.history("all")).expect("a history");
    let latest = oncue::block_on(cron.history("latest")).expect("a history");
    let schedule = oncue::cron::Schedule::parse("@every 1h").expect("a schedule");
    let ticks: Vec<_> = all.iter().map(|tick| tick.0).collect();
    assert_eq!(
        ticks,
        schedule.ticks(made, last.max(ticks[ticks.len() - 1])),
        "every tick, in order"
    );
    let stored =
        count(&hand, "default", State::Pending) + count(&hand, "default", State::Scheduled);
    assert_eq!(stored, (all.len() + latest.len()) as u64, "and no other task");
    // A control: what a view of yesterday wants is refused.
    let listed = oncue::block_on(cron.get("all")).expect("there");
    let tick = oncue::broker::Tick {
        entry: "all".to_owned(),
        version: listed.version,
        last: made,
        at: last.plus(std::time::Duration::from_secs(1)),
    };
    let queue = QueueName::parse("default").expect("a name");
    let late = Batch { tick: Some(tick), ..Batch::new(queue, Vec::new()) };
    oncue::block_on(hand.broker().enqueue(late)).expect("answered");
    assert_eq!(oncue::block_on(cron.get("all")).expect("there").last, listed.last);
}
