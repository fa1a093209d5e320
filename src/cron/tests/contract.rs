//! `docs/cron.md` says what is so: its examples are run, and what it says of croner is looked up.

use croner::Cron;
use jiff::Zoned;

use super::{at, shown};
use crate::clock::Timestamp;
use crate::cron::{Gap, Overlap, Schedule};

const CONTRACT: &str = include_str!("../../../docs/cron.md");

/// Schedule, zone, policy and two ticks of each example.
fn examples(text: &str) -> Vec<[String; 5]> {
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [_, schedule, zone, policy, ticks, _] = &cells[..] else { return None };
        let (first, second) = ticks.split_once(", then ")?;
        Some([schedule, zone, policy, first, second].map(|cell| cell.to_string()))
    });
    rows.collect()
}

fn wrong(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for [text, zone, policy, first, second] in examples(text) {
        let schedule = Schedule::parse(&text).and_then(|schedule| schedule.zone(&zone));
        let mut schedule = schedule.expect(&text);
        match policy.as_str() {
            "skip" => schedule = schedule.gap(Gap::Skip),
            "both" => schedule = schedule.overlap(Overlap::Both),
            "shift" | "first" | "" => {}
            other => panic!("no policy {other}"),
        }
        let before = Timestamp(at(&first).0 - 1).to_string();
        if shown(&schedule, &before, 2) != [first, second] {
            wrong.push(format!("{text} {zone} {policy}"));
        }
    }
    wrong
}

#[test]
fn the_examples_of_the_contract_are_true() {
    assert!(examples(CONTRACT).len() >= 8, "{:?}", examples(CONTRACT));
    assert_eq!(wrong(CONTRACT), [""; 0]);
    let lie =
        CONTRACT.replace("2026-03-29T03:00:00+02:00, then", "2026-03-29T03:30:00+02:00, then");
    assert_ne!(wrong(&lie), [""; 0]);
}

#[test]
fn croner_alone_drops_one_of_several_times_in_a_gap() {
    let from: Zoned = "2026-03-28T15:00:00+01:00[Europe/Berlin]".parse().expect("a time");
    let next = |text: &str| {
        let cron: Cron = text.parse().expect(text);
        cron.find_next_occurrence(&from, false).expect("a tick").timestamp().to_string()
    };
    assert_eq!(next("0 2 * * *"), "2026-03-29T01:00:00Z", "one time is moved");
    assert_eq!(next("0 2,14 * * *"), "2026-03-29T12:00:00Z", "one of two is not");
    let ours = Schedule::parse("TZ=Europe/Berlin 0 2,14 * * *").expect("parses");
    assert_eq!(ours.next_after(at("2026-03-28T14:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
}
