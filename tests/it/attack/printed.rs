//! What is printed for people: nothing of a task can move the cursor, forge a line, or stop the printing.

use std::process::Output;

use super::*;
use crate::runtime::company::Company;

/// Clears the screen, goes back to the start of the line, sets a title, in C1 and by direction.
const FORGED: &str = "x\u{1b}[2J\r\nforged\u{9b}31m\u{7f}\u{202e}\u{1b}]0;title\u{7}";

fn run(scene: &Scene, args: &[&str]) -> Output {
    let output = scene.oncue(args).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    output
}

/// What it printed, which must be harmless.
#[track_caller]
fn harmless(scene: &Scene, args: &[&str]) -> String {
    let output = run(scene, args);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    let bad = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(bad), "{args:?}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    text
}

async fn fails(task: Charge) -> TaskResult {
    Err(TaskError::new(format!("{FORGED}{}", task.0)))
}

#[test]
fn a_task_cannot_forge_what_a_terminal_shows() {
    let scene = Scene::new();
    let company = Company::start(scene.client.clone(), |worker| worker.handle(fails));
    let task =
        oncue::block_on(scene.client.enqueue(Charge(7).draft().header("name\u{1b}[2J", FORGED)))
            .expect("enqueued");
    company.settled(&task);
    oncue::block_on(company.worker.shutdown()).expect("ends");
    let id = task.id().to_string();
    let list = ["task", "list", "--queue", "default", "--state", "archived"];
    assert!(harmless(&scene, &list).contains("exhausted, handler"), "the control");
    let shown = harmless(&scene, &["task", "show", &id, "--reveal"]);
    assert!(shown.contains("forged") && shown.contains("\\u{1b}"), "told, not obeyed: {shown}");
    let json = run(&scene, &["task", "show", &id, "--reveal", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(told["revealed"]["error"], format!("{FORGED}7"), "programs get it as it is");

    // The class stands in clear: whoever writes to the file can write it.
    let class = FORGED;
    let mut bytes = vec![1, 1, 0, 0, 0, 1, u8::try_from(class.len()).expect("short")];
    bytes.extend_from_slice(class.as_bytes());
    bytes.push(0);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    scene.alter(&format!("UPDATE oncue_trail SET trail = x'{hex}'"), None);
    let shown = harmless(&scene, &list) + &harmless(&scene, &["task", "show", &id]);
    assert!(shown.contains("x_[2J__forged"), "{shown}");
    let path = format!("sqlite:{FORGED}.db");
    harmless(&scene, &["queue", "list", "--broker", &path]);
}

#[test]
fn no_stored_number_stops_the_printing() {
    let scene = Scene::new();
    let task = scene.put(Charge(7));
    let id = task.id().to_string();
    for state in 0..8 {
        for at in ["9223372036854775807", "-9223372036854775807 - 1", "253402300800000"] {
            scene.alter(
                &format!(
                    "UPDATE oncue_task SET state = {state}, at = {at}, since = {at}, session = 1"
                ),
                None,
            );
            let word = oncue::state::State::from_code(state).expect("a state").as_str();
            run(&scene, &["task", "list", "--queue", "default", "--state", word]);
            run(&scene, &["queue", "list"]);
            let shown = run(&scene, &["task", "show", &id]);
            assert_eq!(shown.status.code(), Some(0), "{shown:?}");
        }
    }
    for count in ["9223372036854775807", "-9223372036854775807 - 1"] {
        scene.alter(
            &format!("UPDATE oncue_queue SET n0 = {count}, n1 = {count}, tick = {count}"),
            None,
        );
        run(&scene, &["queue", "list"]);
        scene.alter(&format!("UPDATE oncue_meta SET value = {count} WHERE name = 'next'"), None);
        run(&scene, &["task", "enqueue", "--kind", "k", "--payload", "1"]);
    }
}
