//! Ticks that nobody was there for, ticks whose predecessor has not ended, and ends that stop nothing.

use std::time::Duration;

use oncue::broker::Enqueued;
use oncue::event::{Event, Skipped};
use oncue::state::{Reason, State};
use oncue::timetable::{Entry, MISSED_MAX, Missed, Runs};
use oncue::worker::Builder;
use oncue::{Task, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

use super::scene::*;
use crate::runtime::company::count;

fn at(time: Duration) -> String {
    START.plus(time).to_string()
}

#[test]
fn after_an_outage_ticks_are_treated_as_the_policy_says() {
    let scene = Scene::new();
    scene.put(entry("latest", "@hourly", 1));
    scene.put(entry("all", "@hourly", 2).missed(Missed::All));
    scene.put(entry("skip", "@hourly", 3).missed(Missed::Skip));
    scene.put(entry("window", "@hourly", 4).missed(Missed::All).catch_up(Some(HOUR + MINUTE * 5)));
    scene.clock.advance(5 * HOUR + 2 * MINUTE);
    let worker = scene.worker();
    let counts = counted(scene.runs(1 + 5 + 2));
    let expected = [1, 2, 3, 4, 5].map(|hour| (2, at(hour * HOUR)));
    let expected =
        expected.into_iter().chain([(1, at(5 * HOUR)), (4, at(4 * HOUR)), (4, at(5 * HOUR))]);
    assert_eq!(counts, counted(expected.collect()));
    scene.reaches("skip", START.plus(5 * HOUR));
    scene.pass(58 * MINUTE);
    let on_time = [1, 2, 3, 4].map(|number| (number, at(6 * HOUR)));
    assert_eq!(counted(scene.runs(4)), counted(on_time.to_vec()));
    end(worker);
    assert_eq!(scene.more_runs(), []);
}

#[test]
fn what_is_passed_over_is_told() {
    let scene = Scene::new();
    scene.put(entry("latest", "@hourly", 1));
    scene.clock.advance(5 * HOUR);
    let worker = scene.worker();
    assert_eq!(scene.skipped("latest"), (START.plus(5 * HOUR), Skipped::Missed(4)));
    end(worker);
    scene.put(entry("skip", "@hourly", 3).missed(Missed::Skip));
    scene.clock.advance(2 * HOUR + 2 * MINUTE);
    let worker = scene.worker();
    assert_eq!(scene.skipped("skip"), (START.plus(7 * HOUR), Skipped::Missed(2)));
    end(worker);
}

#[test]
fn catching_up_is_bounded_and_the_oldest_go() {
    let scene = Scene::new();
    scene.put(entry("all", "@every 1s", 1).missed(Missed::All));
    let ticks = MISSED_MAX as u32 + 5;
    scene.clock.advance(ticks * SECOND);
    let worker = scene.worker();
    let (until, why) = scene.skipped("all");
    assert_eq!((until, why), (START.plus(6 * SECOND), Skipped::Missed(5)));
    let counts = counted(scene.runs(MISSED_MAX));
    let expected = (6..=ticks).map(|n| (1, at(n * SECOND)));
    assert_eq!(counts, counted(expected.collect()));
    end(worker);
}

#[test]
fn a_tick_is_passed_over_while_the_task_before_has_not_ended() {
    let scene = Scene::new();
    let schedules = scene.worker_on(scene.broker(), |worker| {
        // A lane over another queue: what is enqueued waits.
        worker.lane(oncue::Lane::strict(["elsewhere"]))
    });
    scene.put(entry("alone", "@hourly", 1).runs(Runs::Skip));
    scene.pass(HOUR);
    let first = scene.until(|event| match event {
        Event::Ticked { id, .. } => Some(*id),
        _ => None,
    });
    scene.pass(HOUR);
    assert_eq!(scene.skipped("alone"), (START.plus(2 * HOUR), Skipped::Running(first)));
    let now = oncue::block_on(scene.client.cron().run_now("alone")).expect("asked");
    assert_eq!((now.id(), now.enqueued()), (first, Enqueued::Held(first)));
    // A worker runs it, and with its end the next tick is enqueued again.
    let worker = scene.worker_on(scene.broker(), |worker| worker.schedules(false));
    assert_eq!(scene.runs(1), [(1, at(HOUR))]);
    scene.until(|event| matches!(event, Event::Settled { .. }).then_some(()));
    scene.pass(HOUR);
    assert_eq!(scene.runs(1), [(1, at(3 * HOUR))]);
    end(schedules);
    end(worker);
    let history = oncue::block_on(scene.client.cron().history("alone")).expect("a history");
    assert_eq!(history.len(), 2, "the tick that was passed over is not in it");
}

#[test]
fn a_tick_waits_for_the_task_before_it() {
    for (missed, expected) in [(Missed::Latest, &[3][..]), (Missed::All, &[2, 3])] {
        let scene = Scene::new();
        let elsewhere = |worker: Builder| worker.lane(oncue::Lane::strict(["elsewhere"]));
        let schedules = scene.worker_on(scene.broker(), elsewhere);
        scene.put(entry("alone", "@hourly", 1).runs(Runs::Queue).missed(missed));
        let ticked = |event: &Event| match event {
            Event::Ticked { at, .. } => Some(*at),
            Event::TickSkipped { why: Skipped::Running(_), .. } => panic!("{event:?}"),
            _ => None,
        };
        scene.pass(HOUR);
        assert_eq!(scene.until(ticked), START.plus(HOUR));
        // The task of the first waits, and the next ones for it.
        scene.pass(HOUR);
        scene.pass(HOUR);
        let listed = oncue::block_on(scene.client.cron().list()).expect("listed");
        assert_eq!(listed[0].last, START.plus(HOUR), "no tick is passed over");
        let worker = scene.worker_on(scene.broker(), |worker| worker.schedules(false));
        assert_eq!(scene.runs(1), [(1, at(HOUR))]);
        for hour in expected {
            scene.until(|event| matches!(event, Event::Settled { .. }).then_some(()));
            scene.pass(SECOND);
            assert_eq!(scene.runs(1), [(1, at(*hour * HOUR))], "{missed:?}");
        }
        end(schedules);
        end(worker);
        assert_eq!(scene.more_runs(), []);
    }
}

#[derive(Serialize, Deserialize)]
struct Broken;

impl Task for Broken {
    const KIND: &'static str = "broken";
    const MAX_RETRY: u32 = 0;
}

async fn fail(_: Broken) -> TaskResult {
    Err(TaskError::new("broken"))
}

#[test]
fn a_task_that_is_archived_does_not_stop_the_next() {
    let scene = Scene::new();
    let worker = scene.worker_on(scene.broker(), |worker| worker.handle(fail));
    for runs in [Runs::Allow, Runs::Skip] {
        let name = format!("{runs:?}");
        scene.put(Entry::new(&name, "@hourly", Broken).expect("an entry").runs(runs));
    }
    for hour in 1..=3 {
        scene.pass(HOUR);
        let archived = |event: &Event| match event {
            Event::Settled {
                decision: oncue::outcome::Decision::Archive(Reason::Exhausted),
                ..
            } => Some(()),
            Event::TickSkipped { .. } => panic!("{event:?}"),
            _ => None,
        };
        (0..2).for_each(|_| scene.until(archived));
        assert_eq!(count(&scene.client, "default", State::Archived), 2 * hour);
    }
    end(worker);
}
