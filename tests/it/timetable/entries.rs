//! What is done to entries: by code, by clients, by people; through the public API.

use oncue::broker::Enqueued;
use oncue::event::Event;
use oncue::state::State;
use oncue::timetable::{ENTRY_HEADER, Entry, Origin, TICK_HEADER};
use oncue::{Task, Unique};

use super::scene::*;
use crate::runtime::company::{Number, count, show};

fn block<V>(future: impl Future<Output = oncue::Result<V>>) -> V {
    oncue::block_on(future).expect("done")
}

#[test]
fn an_entry_is_put_listed_edited_and_removed() {
    let scene = Scene::new();
    let cron = scene.client.cron();
    assert!(block(cron.list()).is_empty());
    let draft = Number(1).draft().queue("mail").max_retry(7).tag("money").priority(3);
    let entry = Entry::new("nightly", "30 2 * * *", draft).expect("an entry");
    let entry = entry.zone("Europe/Berlin").expect("a zone").jitter(MINUTE);
    assert!(block(cron.put(entry.clone())));
    assert!(!block(cron.put(entry)), "it was there");
    let listed = block(cron.get("nightly"));
    let plan = listed.plan().expect("readable");
    let header = plan.header().expect("a header");
    assert_eq!((header.kind.as_str(), header.max_retry, header.priority), ("number", 7, 3));
    assert_eq!((listed.queue.as_str(), header.tags()), ("mail", vec!["money".to_owned()]));
    assert_eq!((listed.last, plan.origin(), plan.is_paused()), (START, Origin::Dynamic, false));
    assert_eq!(listed.next(), plan.schedule().next_after(START));
    block(cron.edit("nightly", |entry| entry.schedule("0 4 * * *")?.tags(&["gold".to_owned()])));
    let edited = block(cron.get("nightly"));
    let plan = edited.plan().expect("readable");
    assert_eq!(
        (plan.schedule().to_string(), plan.schedule().zone_name()),
        ("0 4 * * *".to_owned(), "Europe/Berlin")
    );
    assert_eq!(plan.header().expect("a header").tags(), ["gold"]);
    assert!(edited.version > listed.version);
    assert!(block(cron.pause("nightly")) && !block(cron.pause("nightly")));
    assert_eq!(block(cron.get("nightly")).next(), None);
    assert!(block(cron.resume("nightly")) && !block(cron.resume("nightly")));
    assert!(block(cron.remove("nightly")) && !block(cron.remove("nightly")));
    let missing = oncue::block_on(cron.pause("nightly")).expect_err("gone");
    assert!(missing.is_not_found(), "{missing:?}");
}

#[test]
fn a_name_in_two_queues_needs_the_queue() {
    let scene = Scene::new();
    let cron = scene.client.cron();
    for queue in ["a", "b"] {
        let entry = Entry::new("same", "@daily", Number(1).draft().queue(queue));
        assert!(block(cron.put(entry.expect("an entry"))));
    }
    let refused = oncue::block_on(cron.pause("same")).expect_err("which?");
    assert!(refused.is_invalid() && refused.to_string().contains("queues a and b"), "{refused}");
    let b = cron.clone().queue("b").expect("a name");
    assert!(block(b.pause("same")));
    let paused = block(cron.list())
        .iter()
        .map(|e| e.plan().expect("readable").is_paused())
        .collect::<Vec<_>>();
    assert_eq!(paused, [false, true]);
}

#[test]
fn what_makes_no_sense_again_and_again_is_refused() {
    for (draft, word) in [
        (Number(1).draft().after(HOUR), "due time"),
        (Number(1).draft().key("k"), "key"),
        (Number(1).draft().unique(Unique::until_end()), "uniqueness"),
        (Number(1).draft().deadline(std::time::SystemTime::now()), "deadline"),
        (Number(1).draft().spill_to("other"), "full"),
        (Number(1).draft().priority(10), "priority"),
        (Number(1).draft().queue("Bad"), "Bad"),
        (Number(1).draft().header(TICK_HEADER, "0"), TICK_HEADER),
        (Number(1).draft().header(ENTRY_HEADER, "b"), ENTRY_HEADER),
    ] {
        let refused = Entry::new("a", "@daily", draft).expect_err(word);
        assert!(refused.is_invalid() && refused.to_string().contains(word), "{refused}");
    }
    for (name, schedule) in [("", "@daily"), ("a b", "@daily"), ("a", "every day")] {
        assert!(Entry::new(name, schedule, Number(1)).expect_err(name).is_invalid());
    }
    let entry = entry("a", "@daily", 1);
    let moved = entry.clone().options(|header| header.queue = "b".parse().expect("a name"));
    assert!(moved.expect_err("moved").is_invalid());
    assert!(entry.payload("{").expect_err("no JSON").is_invalid());
    let scene = Scene::new();
    let big = Entry::raw(
        "big",
        "@daily",
        oncue::task::RawTask::json("k", &format!("\"{}\"", "x".repeat(70_000))).expect("JSON"),
    );
    let refused = oncue::block_on(scene.client.cron().put(big.expect("an entry")));
    assert!(refused.expect_err("too large").is_too_large());
}

#[test]
fn a_static_entry_is_written_once_and_the_last_code_wins() {
    let scene = Scene::new();
    let start = |schedule: &str| {
        scene.worker_on(scene.broker(), |worker| worker.cron(entry("static", schedule, 1)))
    };
    let version = || block(scene.client.cron().get("static")).version;
    end(start("@hourly"));
    let first = version();
    end(start("@hourly"));
    assert_eq!(version(), first, "it says the same, and is not written");
    assert!(block(scene.client.cron().pause("static")));
    let paused = version();
    let worker = start("@daily");
    scene.until(|event| match event {
        Event::EntryChanged { entry, .. } => (entry == "static").then_some(()),
        _ => None,
    });
    assert!(version() > paused);
    let listed = block(scene.client.cron().get("static"));
    let plan = listed.plan().expect("readable");
    assert_eq!((plan.origin(), plan.is_paused()), (Origin::Static, true), "a person's word stands");
    end(worker);
    // Code that no longer names it lets it be.
    end(scene.worker());
    assert_eq!(block(scene.client.cron().list()).len(), 1);
}

#[test]
fn pauses_and_other_schedules_are_not_caught_up_with() {
    let scene = Scene::new();
    scene.put(entry("a", "@hourly", 1));
    scene.put(entry("b", "@yearly", 2));
    let worker = scene.worker();
    block(scene.client.cron().pause("a"));
    scene.pass(5 * HOUR + MINUTE);
    block(scene.client.cron().resume("a"));
    // Its last tick was long before; the new schedule begins now.
    block(scene.client.cron().edit("b", |entry| entry.schedule("@hourly")));
    scene.pass(59 * MINUTE);
    let tick = START.plus(6 * HOUR).to_string();
    assert_eq!(counted(scene.runs(2)), counted(vec![(1, tick.clone()), (2, tick)]));
    end(worker);
    assert_eq!(scene.more_runs(), []);
}

#[test]
fn run_now_is_no_tick() {
    let scene = Scene::new();
    scene.put(entry("a", "@hourly", 1));
    let before = block(scene.client.cron().get("a"));
    let task = block(scene.client.cron().run_now("a"));
    assert_eq!(task.enqueued(), Enqueued::Created);
    let after = block(scene.client.cron().get("a"));
    assert_eq!((after.last, after.version, after.ticks.len()), (before.last, before.version, 0));
    let worker = scene.worker();
    assert_eq!(scene.runs(1), [(1, "no tick".to_owned())]);
    scene.pass(HOUR);
    assert_eq!(scene.runs(1), [(1, START.plus(HOUR).to_string())]);
    end(worker);
}

#[test]
fn jitter_is_the_due_time_of_the_task() {
    let scene = Scene::new();
    let spread = entry("spread", "@hourly", 1).jitter(30 * MINUTE);
    scene.put(spread);
    let plan = block(scene.client.cron().get("spread"));
    let schedule = plan.plan().expect("readable").schedule().clone();
    let tick = START.plus(HOUR);
    let due = schedule.jittered("spread", tick);
    assert!(due > tick && due < tick.plus(30 * MINUTE), "{due}");
    let worker = scene.worker();
    scene.pass(HOUR);
    let id = scene.until(|event| match event {
        Event::Ticked { id, at, .. } => (*at == tick).then_some(*id),
        _ => None,
    });
    assert_eq!(count(&scene.client, "default", State::Scheduled), 1);
    let view = show(&scene.client, &scene.client.handle("default", id).expect("a handle"));
    assert_eq!(view.expect("there").until, Some(due));
    scene.pass(due.since(tick));
    assert_eq!(scene.runs(1), [(1, tick.to_string())]);
    end(worker);
}

#[test]
fn a_worker_that_does_not_schedule_does_not() {
    let scene = Scene::new();
    scene.put(entry("a", "@hourly", 1));
    let idle = scene.worker_on(scene.broker(), |worker| worker.schedules(false));
    scene.pass(HOUR);
    let control = block(scene.client.enqueue(Number(9)));
    assert_eq!(scene.runs(1), [(9, "no tick".to_owned())]);
    assert!(control.is_created());
    assert_eq!(block(scene.client.cron().get("a")).last, START);
    end(idle);
}
