//! How a child ends, and what its task is told: the class, within the limit and a second.

use std::time::Duration;

use super::stage::{SECOND, refused, run, within};

/// How much longer than its processor time a run may take, on a machine that runs other tests meanwhile.
const BUSY: u32 = 5;

#[track_caller]
fn class(words: &[&str]) -> String {
    run(words).class().to_owned()
}

#[test]
fn what_a_handler_says_is_said_as_if_it_ran_here() {
    let told = run(&["fine", "word=hello", "times=3"]);
    assert_eq!(told.result(), "hello 1");
    let told = run(&["fail"]);
    assert_eq!((told.class(), told.message()), ("mine", "on purpose"));
    assert_eq!(told.0["tasks"][0]["decision"], "Archive(SkipRetry)");
    assert_eq!(run(&["snooze"]).0["tasks"][0]["decision"], "Snooze(3600s)");
    let told = run(&["panic"]);
    assert!(told.class() == "panic" && told.message().starts_with("in a child\n"), "{told:?}");
}

#[test]
fn how_far_it_is_and_what_it_logs_is_kept_and_a_finished_task_says_no_more() {
    for words in [&["note", "times=3", "recycle=3", "runs=1"][..], &["note", "inplace"]] {
        let told = run(words);
        for (number, task) in told.0["tasks"].as_array().expect("tasks").iter().enumerate() {
            assert_eq!(
                (&task["result"], &task["progress"]),
                (&"noted, too_large".into(), &[1, 2].into())
            );
            let log: Vec<_> = task["log"].as_array().expect("a log").iter().collect();
            let late = serde_json::Value::from(format!("late {number}"));
            assert!(log.contains(&&late), "what runs beside it is heard while it runs");
            let own: Vec<_> = log.into_iter().filter(|line| **line != late).collect();
            assert_eq!(own, ["one", "two [2J"], "and of the tasks before nothing is");
        }
    }
}

#[test]
fn an_effect_that_could_not_be_kept_is_not_done() {
    let told = run(&["once"]);
    assert!(told.message().contains("a process of its own"), "{told:?}");
    assert_eq!(run(&["once", "inplace"]).result(), "done");
}

#[test]
fn an_endless_loop_ends_by_its_processor_time() {
    let told = run(&["loop", "cpu=1000"]);
    assert!(told.class() == "cpu" && told.message().contains("1 s of processor time"), "{told:?}");
    within(&told, BUSY * SECOND);
    // Who does not hear the first signal hears the second.
    let told = run(&["deaf", "cpu=1000"]);
    assert_eq!(told.class(), "cpu");
    within(&told, BUSY * 2 * SECOND);
}

#[test]
fn a_sleep_ends_by_the_wall_and_by_the_timeout_and_not_by_processor_time() {
    let limit = Duration::from_millis(300);
    for (words, class) in [
        (["sleep", "wall=300", "cpu=1000"], "wall"),
        (["sleep", "timeout=300", "cpu=1000"], "timeout"),
        (["loop", "wall=300", "cpu=9000"], "wall"),
    ] {
        let told = run(&words);
        assert_eq!(told.class(), class);
        within(&told, limit);
    }
}

#[test]
fn ends_by_signals_and_codes_are_told_apart() {
    for (deed, expected, hint) in [
        ("abort", "signal(6)", "signal 6"),
        ("overflow", "signal(6)", "stack overflowed"),
        ("exit", "exit(3)", "code 3"),
    ] {
        let told = run(&[deed]);
        assert_eq!(told.class(), expected, "{told:?}");
        assert!(told.message().contains(hint), "{told:?}");
    }
}

#[test]
fn memory_is_limited_and_the_message_hints_at_it() {
    let told = run(&["allocate", "word=4294967296"]);
    assert_eq!(told.class(), "signal(6)");
    assert!(told.message().contains("bytes of memory"), "{told:?}");
    let free = format!("memory={}", u64::MAX);
    assert_eq!(run(&["allocate", "word=4294967296", &free]).result(), "4294967296 bytes");
}

#[test]
fn prints_are_no_answers_and_are_kept_with_a_failure() {
    assert_eq!(run(&["print"]).result(), "printed");
    let told = run(&["print_and_fail"]);
    assert!(told.message().starts_with("told\n"), "{told:?}");
    assert!(told.message().contains("said on standard output\nsaid on standard error"), "{told:?}");
    // The control: what is written into the pipe of the answers itself is taken for one, and is none.
    assert_eq!(class(&["forge"]), "protocol");
}

#[test]
fn a_result_over_the_limit_fails_its_task_alone() {
    let told = run(&["huge", "times=2"]);
    assert!(told.class() == "handler" && told.message().contains("over the limit"), "{told:?}");
}

#[test]
fn a_child_runs_as_many_tasks_as_it_may() {
    let told = run(&["remember", "recycle=3", "times=5", "runs=1"]);
    assert_eq!(told.results(), ["1", "2", "3", "1", "2"]);
    // The same under a keeper.
    let told = run(&["remember", "recycle=3", "times=5", "runs=1", "processes=16"]);
    assert_eq!(told.results(), ["1", "2", "3", "1", "2"]);
    let told = run(&["remember", "times=3", "runs=1"]);
    assert_eq!(told.results(), ["1", "1", "1"]);
    // Each task has the whole of its processor time, and what one used up the next does not lack.
    let told = run(&["loop", "cpu=1000", "recycle=3", "times=2", "runs=1"]);
    assert_eq!((told.class(), told.0["tasks"][1]["class"].as_str()), ("cpu", Some("cpu")));
}

#[test]
fn limits_that_can_be_none_are_refused_at_the_start() {
    let told = refused(&["fine", "memory=1000"]);
    assert!(told.contains("no process starts with less"), "{told}");
    let told = refused(&["fine", "write=/no/such/place"]);
    assert!(told.contains("does not exist"), "{told}");
}
