//! Entries that somebody without a key altered, and what else cannot be used: skipped, told, and of no harm to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use oncue::broker::Operate;
use oncue::event::Event;
use oncue::queue::QueueName;
use oncue::seal::{Keyring, Sealer};
use oncue::timetable::Entry;
use oncue::{Client, Task};
use rusqlite::Connection;

use super::scene::*;
use crate::runtime::company::Number;
use crate::runtime::proxy::Proxy;

/// Waits until an entry is refused; why.
#[track_caller]
fn refused(scene: &Scene, name: &str) -> String {
    scene.until(|event| match event {
        Event::EntryRefused { entry, why, .. } if entry == name => Some(why.clone()),
        _ => None,
    })
}

/// What the attacker does to the file.
fn alter(scene: &Scene, sql: &str) {
    let conn = Connection::open(scene.folder.path().join("a.db")).expect("opens");
    conn.busy_timeout(std::time::Duration::from_secs(20)).expect("patience");
    conn.execute_batch(sql).expect(sql);
}

#[test]
fn a_template_that_is_moved_to_another_entry_does_not_open() {
    let scene = Scene::new();
    scene.put(entry("pay", "@hourly", 1));
    scene.put(entry("refund", "@hourly", 2));
    scene.put(entry("control", "@hourly", 3));
    alter(
        &scene,
        "CREATE TABLE kept AS SELECT name, body FROM oncue_entry;
         UPDATE oncue_entry SET body = (SELECT body FROM kept WHERE name = 'pay') WHERE name = 'refund';
         DROP TABLE kept;",
    );
    let worker = scene.worker();
    assert!(refused(&scene, "refund").contains("tampered"));
    scene.pass(HOUR);
    let tick = START.plus(HOUR).to_string();
    let runs = counted(scene.runs(2));
    assert_eq!(runs, counted(vec![(1, tick.clone()), (3, tick)]), "its owner and the control run");
    end(worker);
    assert_eq!(scene.more_runs(), []);
}

#[test]
fn a_template_that_is_moved_to_another_queue_does_not_open() {
    let scene = Scene::new();
    let queue = QueueName::parse("others").expect("a name");
    scene.put(entry("pay", "@hourly", 1));
    let body = oncue::block_on(scene.client.broker().entries()).expect("entries").remove(0).body;
    let write = scene.client.broker().write_entry(queue, "pay".to_owned(), body, 0);
    assert!(oncue::block_on(write).expect("written"));
    let worker = scene.worker();
    assert!(refused(&scene, "pay").contains("tampered"));
    end(worker);
}

#[test]
fn what_is_damaged_newer_or_hostile_harms_no_other() {
    let scene = Scene::new();
    let write = |name: &str, body: &[u8]| {
        let queue = QueueName::parse("default").expect("a name");
        let write = scene.client.broker().write_entry(queue, name.to_owned(), body.to_vec(), 0);
        assert!(oncue::block_on(write).expect("written"));
    };
    scene.put(entry("good", "@hourly", 1));
    let body = oncue::block_on(scene.client.broker().entries()).expect("entries").remove(0).body;
    let hostile = b"0 0 1--100000000 * *";
    let hostile = [&[1, hostile.len() as u8][..], hostile, &body[9..]].concat();
    assert_eq!(&body[..9], b"\x01\x07@hourly");
    write("hostile", &hostile);
    write("damaged", b"{}");
    write("newer", b"\xc8what a later version says");
    write("empty", b"");
    // Names that no call of ours would write.
    for (name, sql) in [("bell", "char(7, 27)"), ("bytes", "CAST(x'ff' AS TEXT)")] {
        write(name, b"");
        alter(&scene, &format!("UPDATE oncue_entry SET name = {sql} WHERE name = '{name}'"));
    }
    let ticked = "INSERT INTO oncue_tick (entry, at, id) SELECT row, 1, x'00' FROM oncue_entry";
    alter(&scene, ticked);
    let worker = scene.worker();
    let mut whys = std::collections::BTreeMap::new();
    scene.until(|event| {
        if let Event::EntryRefused { entry, why, .. } = event {
            assert!(whys.insert(entry.clone(), why.clone()).is_none(), "told once");
        }
        (whys.len() == 4).then_some(())
    });
    for (name, word) in
        [("hostile", "invalid"), ("damaged", "newer"), ("newer", "newer"), ("empty", "corrupt")]
    {
        assert!(whys[name].starts_with(word), "{name}: {}", whys[name]);
    }
    scene.pass(HOUR);
    assert_eq!(scene.runs(1), [(1, START.plus(HOUR).to_string())]);
    end(worker);
    // Listed with what is wrong; they cannot be paused, and can be removed.
    let cron = scene.client.cron();
    let listed = oncue::block_on(cron.list()).expect("listed");
    assert_eq!(listed.iter().filter(|entry| entry.plan().is_err()).count(), 4);
    assert!(oncue::block_on(cron.pause("newer")).expect_err("newer").is_newer());
    assert!(oncue::block_on(cron.put(entry("newer", "@daily", 1))).expect_err("newer").is_newer());
    assert!(oncue::block_on(cron.remove("hostile")).expect("removed"));
}

#[test]
fn an_entry_under_an_unknown_key_waits_for_the_key() {
    let scene = Scene::new();
    scene.put(entry("known", "@hourly", 1));
    // Under ids nobody else has.
    let generated = Keyring::generate().expect("keys").to_text();
    let strange = Keyring::parse(&generated.replace(":1:", ":77:")).expect("keys");
    let stranger: std::sync::Arc<dyn Operate> = scene.broker();
    let stranger = Client::new(stranger, Sealer::new(strange, "test").expect("a sealer"));
    let entry = oncue::timetable::Entry::new("strange", "@hourly", Number(2).draft());
    assert!(oncue::block_on(stranger.cron().put(entry.expect("an entry"))).expect("put"));
    let worker = scene.worker();
    assert!(refused(&scene, "strange").starts_with("unknown_key"));
    scene.pass(HOUR);
    assert_eq!(scene.runs(1), [(1, START.plus(HOUR).to_string())]);
    end(worker);
    // Its ticks were not passed over: whoever has the key catches up.
    let listed = oncue::block_on(scene.client.cron().get("strange")).expect("there");
    assert_eq!(listed.last, START);
}

#[test]
fn what_a_worker_may_not_enqueue_stops_nothing_else_and_is_tried_again() {
    let scene = Scene::new();
    let mut proxy = Proxy::of(scene.broker());
    let allowed = Arc::new(AtomicBool::new(false));
    let is_allowed = allowed.clone();
    proxy.enqueue = Box::new(move |inner, batch| {
        if batch.queue.as_str() == "closed" && !is_allowed.load(Ordering::SeqCst) {
            return std::future::ready(Err(oncue::Error::denied("not to this queue"))).boxed();
        }
        inner.enqueue(batch)
    });
    let served = oncue::Lane::strict(["default", "closed"]);
    scene.put(entry("open", "@hourly", 1));
    let closed = Entry::new("closed", "@hourly", Number(2).draft().queue("closed"));
    scene.put(closed.expect("an entry"));
    let worker = scene.worker_on(Arc::new(proxy), |worker| worker.lane(served));
    let mut denials = 0;
    for hour in 1..=3 {
        scene.pass(HOUR);
        assert_eq!(scene.runs(1), [(1, START.plus(hour * HOUR).to_string())]);
        scene.until(|event| {
            denials += usize::from(matches!(event, Event::BrokerFailed { .. }));
            matches!(event, Event::Settled { .. }).then_some(())
        });
    }
    allowed.store(true, Ordering::SeqCst);
    scene.pass(MINUTE);
    assert_eq!(scene.runs(1), [(2, START.plus(3 * HOUR).to_string())]);
    scene.until(|event| {
        denials += usize::from(matches!(event, Event::BrokerFailed { .. }));
        matches!(event, Event::Settled { .. }).then_some(())
    });
    assert_eq!(denials, 1, "said once");
    end(worker);
}
