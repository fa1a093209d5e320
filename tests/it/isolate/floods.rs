//! What a child says that speaks for itself, not through a handler: it costs its own run, and nobody waits for it.

use super::stage::run;

#[test]
fn what_no_handler_says_is_no_answer() {
    for (what, words) in [
        ("word=lines", "a line of 300000 bytes"),
        ("word=junk", "a progress that is no JSON"),
        ("word=result", "is no result"),
    ] {
        let told = run(&["flood", what]);
        assert_eq!(told.class(), "protocol", "{told:?}");
        assert!(told.message().contains(words), "{told:?}");
    }
    // The control: the same kinds of words, as a handler says them.
    assert_eq!(run(&["note"]).result(), "noted, too_large");
}

#[test]
fn an_answer_too_many_is_not_the_answer_of_the_next_task() {
    // What it said to its own task is its own doing.
    let told = run(&["answer_first", "recycle=1", "times=2", "runs=1"]);
    assert_eq!(told.results(), ["forged", "forged"]);
    // One that comes when its child has another task is nobody's.
    let told = run(&["answer_late", "recycle=3", "times=2", "runs=1"]);
    assert_eq!(told.results(), ["1", "2"]);
    // The control: one that answers once is used again.
    let told = run(&["remember", "recycle=3", "times=2", "runs=1"]);
    assert_eq!(told.results(), ["1", "2"]);
}

#[test]
fn words_without_end_keep_nobody_from_ending_the_run() {
    let steps = ["flood", "word=steps", "cpu=60000"];
    assert_eq!(run(&[&steps[..], &["timeout=300"]].concat()).class(), "timeout");
    assert_eq!(run(&[&steps[..], &["wall=300"]].concat()).class(), "wall");
    let told = run(&[&steps[..], &["cancel=1"]].concat());
    assert_eq!(told.decision(), "Archive(Cancelled)");
}

#[test]
fn prints_without_end_keep_nobody_from_ending_the_run() {
    let prints = ["flood", "word=prints", "cpu=60000"];
    let told = run(&[&prints[..], &["timeout=300"]].concat());
    assert_eq!(told.class(), "timeout");
    let told = run(&[&prints[..], &["wall=300"]].concat());
    assert!(told.class() == "wall" && told.message().contains("bytes before]"), "{told:?}");
}
