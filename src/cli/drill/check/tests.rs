//! Negative controls: ledgers made by hand, in which something is wrong, and the check finds it.

use super::super::ledger::Line;
use super::*;

const PLAN: Plan = Plan { seed: 1, tasks: 8 };
/// The one poison task of the plan, and two that are none.
const POISON: u64 = 1;
const A: u64 = 0;
const B: u64 = 3;
const S: u64 = 1_000_000_000;

fn id(number: u64) -> TaskId {
    TaskId::from_bytes([number as u8 + 1; 16])
}

fn started(run: u64, number: u64, at: u64) -> Line {
    Line::Started { run, number, id: id(number), attempt: 1, at }
}

fn ended(run: u64, at: u64) -> Line {
    Line::Ended { run, how: How::Completed, at }
}

fn died(who: &str, by: By, at: u64) -> Line {
    Line::Died { who: who.to_owned(), by, at }
}

/// Ledgers in which all is well, and what the broker says of them.
struct Scene {
    drill: Vec<Line>,
    workers: [Vec<Line>; 3],
    book: Book,
}

impl Scene {
    fn sound() -> Self {
        assert!(PLAN.poisons().eq([POISON]));
        let mut drill = vec![Line::Going { from: 0, until: PLAN.tasks }];
        let acked = |number| Line::Acked { number, id: id(number), created: true };
        drill.extend((0..PLAN.tasks).map(acked));
        let (mut workers, mut book) = <([Vec<Line>; 3], Book)>::default();
        for number in (0..PLAN.tasks).filter(|number| *number != POISON) {
            workers[0].extend([started(number, number, S), ended(number, 2 * S)]);
            book.completed.push(id(number));
        }
        book.archived.push((id(POISON), Some(Reason::Poisoned)));
        workers[1].push(started(0, POISON, S));
        drill.push(died("1", By::Abort, 2 * S));
        Self { drill, workers, book }
    }

    fn check(self) -> Checked {
        let [a, b, c] = self.workers;
        let ledgers = [("drill", self.drill), ("0", a), ("1", b), ("2", c)];
        let ledgers = ledgers.map(|(who, lines)| (who.to_owned(), lines));
        check(PLAN, &Evidence::of(PLAN, &ledgers), &self.book)
    }

    /// A second run of `A`, from `from`, by another worker.
    fn again(mut self, from: u64) -> Self {
        self.workers[2].extend([started(0, A, from), ended(0, from + S)]);
        self
    }
}

#[track_caller]
fn found(checked: &Checked, what: &str, words: &str) {
    let found = |finding: &Finding| finding.what == what && finding.why.contains(words);
    assert!(checked.findings.iter().any(found), "{:?}", checked.findings);
}

#[test]
fn nothing_is_found_where_all_is_well() {
    let checked = Scene::sound().check();
    assert_eq!(checked.findings, []);
    let counts = (checked.tasks, checked.completed, checked.archived, checked.poisoned);
    assert_eq!(counts, (8, 7, 1, 1));
    assert_eq!((checked.duplicates, checked.overlaps), (0, 0));
}

#[test]
fn a_lost_task_is_found() {
    let mut never = Scene::sound();
    never.workers[0].retain(|line| !matches!(line, Line::Started { number: B, .. }));
    never.book.completed.retain(|kept| *kept != id(B));
    let checked = never.check();
    assert_eq!(checked.lost, 1);
    found(&checked, "lost", "it never ran");

    let mut claimed = Scene::sound();
    claimed.workers[0].retain(|line| *line != ended(B, 2 * S));
    let checked = claimed.check();
    assert_eq!(checked.lost, 1);
    found(&checked, "lost", "no run of it was");

    let mut gone = Scene::sound();
    gone.book.completed.retain(|kept| *kept != id(B));
    let checked = gone.check();
    assert_eq!(checked.lost, 1);
    found(&checked, "lost", "the broker does not have it");
}

#[test]
fn a_phantom_is_found() {
    let mut ran = Scene::sound();
    ran.workers[2].extend([started(0, 77, S), ended(0, S)]);
    let checked = ran.check();
    assert_eq!(checked.phantom, 1);
    found(&checked, "phantom", "it ran");

    let mut kept = Scene::sound();
    kept.book.completed.push(id(99));
    let checked = kept.check();
    assert_eq!(checked.phantom, 1);
    found(&checked, "phantom", "keeps it");
}

#[test]
fn a_task_in_doubt_is_no_phantom() {
    let mut scene = Scene::sound();
    scene.drill.retain(|line| !matches!(line, Line::Acked { number: B, .. }));
    let checked = scene.check();
    assert_eq!((checked.phantom, checked.tasks), (0, 7));
    found(&checked, "not enqueued", "7 of 8");
}

#[test]
fn an_overlap_that_nothing_explains_is_found() {
    let checked = Scene::sound().again(S + S / 2).check();
    assert_eq!((checked.overlaps, checked.overlaps_unexplained), (1, 1));
    assert_eq!(checked.duplicates, 1);
    found(&checked, "overlap", "never in danger");
}

/// What the same overlap is if its process was stopped so.
fn stopped(from: u64, until: u64, who: &str) -> (u64, u64) {
    let mut scene = Scene::sound();
    scene.workers[0].retain(|line| *line != ended(A, 2 * S));
    scene.workers[0].push(ended(A, 9 * S));
    scene.drill.push(Line::Stopped { who: who.to_owned(), from, until });
    let checked = scene.again(6 * S).check();
    (checked.overlaps, checked.overlaps_unexplained)
}

#[test]
fn only_a_silence_of_its_own_process_long_enough_explains_an_overlap() {
    assert_eq!(stopped(2 * S, 5 * S, "0"), (1, 0));
    assert_eq!(stopped(2 * S, 8 * S, "0"), (1, 0), "still stopped");
    assert_eq!(stopped(2 * S, 5 * S, "2"), (1, 1), "another process");
    assert_eq!(stopped(2 * S, 3 * S, "0"), (1, 1), "too short");
    assert_eq!(stopped(6 * S, 9 * S, "0"), (1, 1), "too late");
    assert_eq!(stopped(0, S / 2, "0"), (1, 1), "over before it began");
}

#[test]
fn silences_with_hardly_a_moment_between_are_one() {
    for (awake, unexplained) in [(S / 10_000, 0), (S / 2, 1)] {
        let mut scene = Scene::sound();
        scene.workers[0].retain(|line| *line != ended(A, 2 * S));
        let stopped = |from, until| Line::Stopped { who: "0".to_owned(), from, until };
        scene.drill.extend([stopped(4 * S + awake, 5 * S), stopped(3 * S, 4 * S)]);
        scene.workers[0].push(ended(A, 9 * S));
        let checked = scene.again(6 * S).check();
        assert_eq!((checked.overlaps, checked.overlaps_unexplained), (1, unexplained), "{awake}");
    }
}

#[test]
fn a_shutdown_explains_an_overlap_only_after_it_waited() {
    for (told, unexplained) in [(S, 0), (5 * S + S / 2, 1), (7 * S, 1)] {
        let mut scene = Scene::sound();
        scene.workers[0].retain(|line| *line != ended(A, 2 * S));
        scene.workers[0].push(ended(A, 9 * S));
        scene.drill.push(Line::Told { who: "0".to_owned(), at: told });
        assert_eq!(scene.again(6 * S).check().overlaps_unexplained, unexplained, "told at {told}");
    }
}

#[test]
fn a_killed_run_ends_with_its_process() {
    let mut scene = Scene::sound();
    scene.workers[1].push(started(1, A, S / 4));
    let checked = scene.again(3 * S).check();
    assert_eq!((checked.overlaps, checked.findings.len()), (1, 1), "the other run, of worker 0");
}

#[test]
fn a_wrong_dead_letter_is_found() {
    let mut double = Scene::sound();
    double.book.archived.push((id(POISON), Some(Reason::Poisoned)));
    let checked = double.check();
    assert_eq!(checked.poisoned, 0);
    found(&checked, "dead letter", "2 dead letters");

    let mut exhausted = Scene::sound();
    exhausted.book.archived[0].1 = Some(Reason::Exhausted);
    found(&exhausted.check(), "dead letter", "should not be");

    let mut company = Scene::sound();
    company.workers[1].push(started(1, B, 3 * S));
    company.drill.retain(|line| !matches!(line, Line::Died { .. }));
    company.drill.push(died("1", By::Abort, 4 * S));
    company.book.completed.retain(|kept| *kept != id(B));
    company.book.archived.push((id(B), Some(Reason::Poisoned)));
    let checked = company.check();
    assert_eq!((checked.for_company, checked.findings.len()), (1, 1));
    found(&checked, "company", "both ran in");
}

#[test]
fn a_task_the_drill_killed_too_often_is_archived_by_right() {
    let mut scene = Scene::sound();
    scene.workers[2].push(started(0, B, 3 * S));
    scene.drill.push(died("2", By::Kill, 4 * S));
    scene.book.completed.retain(|kept| *kept != id(B));
    scene.book.archived.push((id(B), Some(Reason::Poisoned)));
    let checked = scene.check();
    assert_eq!((checked.archived, checked.poisoned, checked.findings.len()), (2, 1, 0));

    let mut stopped = Scene::sound();
    stopped.drill.push(Line::Stopped { who: "0".to_owned(), from: S, until: 5 * S });
    stopped.book.completed.retain(|kept| *kept != id(B));
    stopped.book.archived.push((id(B), Some(Reason::Poisoned)));
    assert_eq!(stopped.check().findings, [], "completed too late");

    let mut waited = Scene::sound();
    waited.workers[0].retain(|line| !matches!(line, Line::Started { number: B, .. }));
    waited.book.completed.retain(|kept| *kept != id(B));
    waited.book.archived.push((id(B), Some(Reason::Poisoned)));
    let checked = waited.check();
    assert_eq!((checked.for_company, checked.lost), (1, 0));
    found(&checked, "company", "after 0 runs");

    let mut untouched = Scene::sound();
    let more = (100..102).flat_map(|run| [started(run, B, 3 * S), ended(run, 3 * S)]);
    untouched.workers[0].extend(more);
    untouched.book.completed.retain(|kept| *kept != id(B));
    untouched.book.archived.push((id(B), Some(Reason::Poisoned)));
    found(&untouched.check(), "dead letter", "should not be");
}

#[test]
fn a_task_made_twice_is_found() {
    let mut twice = Scene::sound();
    twice.drill.push(Line::Acked { number: B, id: id(B), created: true });
    found(&twice.check(), "created twice", "more than once");

    let mut other = Scene::sound();
    other.drill.push(Line::Acked { number: B, id: id(42), created: true });
    found(&other.check(), "created twice", "several ids");
}

#[test]
fn a_process_that_ends_by_itself_is_found() {
    for by in [By::Itself, By::Abort] {
        let mut scene = Scene::sound();
        scene.drill.push(died("0", by, 4 * S));
        assert_eq!(scene.check().findings.len(), 1, "{by:?}");
    }
}
