//! Too much of everything: it costs the task that is too much, and none that runs beside it.

use oncue::event::Event;
use oncue::outcome::Decision;
use oncue::state::Reason;

use super::*;
use crate::runtime::company::{Company, show};

const MIB: usize = 1024 * 1024;

/// Says how it ends: by a panic, an error or a result of so many bytes.
#[derive(Serialize, Deserialize)]
struct Loud(char, usize);

impl Task for Loud {
    const KIND: &'static str = "loud";
    const RETENTION: Duration = Duration::from_secs(600);
    const MAX_RETRY: u32 = 0;
}

async fn loud(Loud(how, bytes): Loud) -> TaskResult<String> {
    match how {
        'p' => std::panic::resume_unwind(Box::new("\u{e4}".repeat(bytes / 2))),
        'e' => Err(TaskError::new("x".repeat(bytes)).class("y".repeat(bytes))),
        _ => Ok("z".repeat(bytes)),
    }
}

#[test]
fn a_long_panic_error_or_result_fails_its_own_task_alone() {
    for (how, bytes, class) in [
        ('p', 20 * 1024, "panic"),
        ('p', 200 * 1024, "panic"),
        ('p', 10 * MIB, "panic"),
        ('e', 10 * MIB, "yyyyyyyy"),
        ('r', 10 * MIB, "handler"),
    ] {
        let scene = Scene::new();
        let (big, control) = (scene.put(Loud(how, bytes)), scene.put(Loud('r', 9)));
        let company = Company::start(scene.client.clone(), |worker| worker.handle(loud));
        let mut ends = Vec::new();
        company.until(|event| {
            if let Event::Settled { id, decision, class, .. } = event {
                ends.push((*id, *decision, class.clone()));
            }
            (ends.len() == 2).then_some(())
        });
        let end = |task: &Handle| ends.iter().find(|(id, ..)| *id == task.id()).cloned();
        let (_, decision, told) = end(&big).expect("settled");
        assert_eq!(decision, Decision::Archive(Reason::Exhausted), "{how} {bytes}");
        assert!(told.is_some_and(|told| told.starts_with(class) && told.len() <= 64));
        assert!(matches!(end(&control), Some((_, Decision::Complete(_), _))));
        let message = scene.client.failure(&show(&scene.client, &big).expect("kept"));
        assert!(message.is_some_and(|text| (1..=8 * 1024).contains(&text.len())), "{how} {bytes}");
    }
}

/// A trail as wide as one may be, written by a stranger: what a failure adds still has room.
#[test]
fn a_wide_trail_keeps_nothing_from_being_settled() {
    let scene = Scene::new();
    let victim = scene.put(Charge(FAILS));
    let mut trail = vec![1, 0, 0xfb];
    trail.extend_from_slice(&1_700_u16.to_le_bytes());
    (0..1_700).for_each(|_| trail.extend([&[0xfd][..], &u64::MAX.to_le_bytes()].concat()));
    trail.extend_from_slice(&[0, 0, 0, 0]);
    let hex: String = trail.iter().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!("INSERT INTO oncue_trail SELECT row, x'{hex}' FROM oncue_task WHERE id = ?1");
    scene.alter(&sql, Some(&victim));
    scene.alter("UPDATE oncue_task SET marks = 2 WHERE id = ?1", Some(&victim));
    assert!(show(&scene.client, &victim).expect("there").trail.crashes.len() > 2, "it decodes");
    let calls = Calls::default();
    let control = scene.put(Charge(1));
    let company = Company::start(scene.client.clone(), |worker| worker.data(calls).handle(charge));
    let mut settled = Vec::new();
    company.until(|event| {
        assert!(!matches!(event, Event::BrokerFailed { .. }), "{event:?}");
        if let Event::Settled { id, .. } = event {
            settled.push(*id);
        }
        (settled.contains(&victim.id()) && settled.contains(&control.id())).then_some(())
    });
    assert_eq!(show(&scene.client, &victim).and_then(|view| view.reason), Some(Reason::Exhausted));
}

#[test]
fn ten_thousand_sessions_are_only_rows() {
    let scene = Scene::new();
    let lost = scene.put(Charge(7));
    // Every status there is and some there are not; the task is held by one that is dead.
    scene.alter(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO oncue_session (row, id, queue, status, expires)
         SELECT i, randomblob(16), 1, CASE i WHEN 1 THEN 2 ELSE i % 7 - 1 END,
            CASE i % 2 WHEN 0 THEN 0 ELSE 9223372036854775807 END FROM n",
        None,
    );
    scene.alter("UPDATE oncue_task SET state = 2, session = 1 WHERE id = ?1", Some(&lost));
    let calls = Calls::default();
    let company = Company::start(scene.client.clone(), |worker| worker.data(calls).handle(charge));
    let control = scene.put(Charge(1));
    company.completed(2);
    for task in [&control, &lost] {
        let view = show(&scene.client, task).expect("kept");
        assert_eq!(view.state, oncue::state::State::Completed);
    }
}
