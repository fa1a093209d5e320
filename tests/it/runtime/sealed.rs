//! What a worker does with records it cannot open, each with the record it can.

use std::sync::Arc;

use oncue::outcome::{Decision, KEY_RETRY};
use oncue::seal::{Keyring, Sealer};
use oncue::state::State;
use oncue::{Client, TaskResult};

use super::company::*;

async fn echo(task: Number) -> TaskResult<u64> {
    Ok(task.0)
}

fn sealer(keys: &str, namespace: &str) -> Sealer {
    Sealer::new(Keyring::parse(keys).expect("keys"), namespace).expect("a sealer")
}

/// Thirty-two bytes as hex, different for each letter.
fn key(letter: char) -> String {
    (0..32)
        .map(|i| format!("{:02x}", (letter as u8).wrapping_mul(31).wrapping_add(i * 7)))
        .collect()
}

/// What becomes of a task sealed by one set of keys when a worker has another.
fn decision(sealed_by: &Sealer, opened_by: &Sealer) -> (Decision, State) {
    let broker = broker();
    let producer = Client::new(broker.clone(), sealed_by.clone());
    let task = oncue::block_on(producer.enqueue(Number(1))).expect("enqueued");
    let consumer = Client::new(broker, opened_by.clone());
    let company = Company::start(consumer, |worker| worker.handle(echo));
    let decision = company.settled(&task).0;
    let state = show(&company.client, &task).expect("never deleted").state;
    (decision, state)
}

#[test]
fn a_missing_or_retired_key_is_waited_for_at_no_cost() {
    let one = sealer(&format!("active:1:{}", key('a')), "default");
    let other = sealer(&format!("active:2:{}", key('b')), "default");
    let retired = sealer(&format!("active:2:{}, retired:1", key('b')), "default");
    assert!(matches!(decision(&one, &one), (Decision::Complete(_), State::Completed)));
    assert_eq!(decision(&one, &other), (Decision::Snooze(KEY_RETRY), State::Scheduled));
    assert_eq!(decision(&one, &retired), (Decision::Snooze(KEY_RETRY), State::Scheduled));
}

#[test]
fn a_record_of_another_namespace_never_reaches_a_handler() {
    let keys = format!("active:1:{}", key('a'));
    let (here, there) = (sealer(&keys, "here"), sealer(&keys, "there"));
    let archived = Decision::Archive(oncue::state::Reason::Unopenable);
    assert_eq!(decision(&here, &there), (archived, State::Archived));
    assert!(matches!(decision(&here, &here).0, Decision::Complete(_)), "the control opens");
}

#[test]
fn a_process_with_other_bytes_under_the_same_id_does_not_start() {
    let (right, wrong) = (format!("active:1:{}", key('a')), format!("active:1:{}", key('b')));
    let broker = broker();
    let start = |keys: &str, broker: &Arc<dyn oncue::broker::Operate>| {
        let client = Client::new(broker.clone(), sealer(keys, "default"));
        oncue::block_on(client.worker().handle(echo).start()).map(drop)
    };
    start(&right, &broker).expect("the first to come");
    let error = start(&wrong, &broker).expect_err("other bytes");
    assert!(error.is_wrong_key(), "{error:?}");
}
