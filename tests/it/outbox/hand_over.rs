//! Handing over: what is there already, what is refused for good, what waits, and the order of it all.

use oncue::broker::{Enqueued, Setting};
use oncue::queue::QueueName;
use oncue::{Client, Error, Parcel, Task};

use super::shop::{on_both, pending};
use crate::runtime::company::*;

fn parcels(client: &Client, numbers: std::ops::Range<u64>, queue: &str) -> Vec<Parcel> {
    numbers
        .map(|number| client.parcel(Number(number).draft().queue(queue)).expect("sealed"))
        .collect()
}

fn ids(parcels: &[Parcel]) -> Vec<oncue::TaskId> {
    parcels.iter().map(Parcel::id).collect()
}

fn hand_over(client: &Client, parcels: &[Parcel]) -> Vec<Result<Enqueued, Error>> {
    oncue::block_on(client.hand_over(parcels.to_vec()))
}

#[test]
fn what_was_handed_over_is_known_while_it_waits_and_after_its_end() {
    on_both(|client| {
        let parcel = client.parcel(Number(1)).expect("sealed");
        let one = std::slice::from_ref(&parcel);
        let hand_over = || hand_over(client, one).remove(0).expect("handed over");
        assert_eq!(hand_over(), Enqueued::Created);
        assert_eq!(hand_over(), Enqueued::Existing);
        // Twice in one call, too.
        let twin = client.parcel(Number(2)).expect("sealed");
        let twins = oncue::block_on(client.hand_over(vec![twin.clone(), twin.clone()]));
        let twins: Vec<_> = twins.into_iter().map(|answer| answer.expect("handed over")).collect();
        assert_eq!(twins, [Enqueued::Created, Enqueued::Existing]);

        let company = Company::start(client.clone(), |worker| {
            worker.handle(|_: Number| async { oncue::TaskResult::Ok(()) })
        });
        company.completed(2);
        let (client, report) = company.end();
        assert_eq!(report.completed, 2);
        // Gone without a trace but for its id.
        let handle = client.handle("default", parcel.id()).expect("a name");
        oncue::block_on(handle.delete()).expect("deleted");
        let answers = oncue::block_on(client.hand_over(vec![parcel]));
        assert!(matches!(answers[..], [Ok(Enqueued::Existing)]), "deleted: {answers:?}");
        let fleeting = client.parcel(Other(3)).expect("sealed");
        let answers = oncue::block_on(client.hand_over(vec![fleeting.clone()]));
        assert!(matches!(answers[..], [Ok(Enqueued::Created)]));
        let company = Company::start(client, |worker| {
            worker.handle(|_: Other| async { oncue::TaskResult::Ok(()) })
        });
        company.completed(1);
        let (client, _) = company.end();
        let handle = client.handle("others", fleeting.id()).expect("a name");
        assert_eq!(oncue::block_on(handle.state()).expect("asked"), None);
        let answers = oncue::block_on(client.hand_over(vec![fleeting]));
        assert!(matches!(answers[..], [Ok(Enqueued::Existing)]));
    });
}

#[test]
fn more_than_one_batch_keeps_its_order() {
    on_both(|client| {
        let parcels = parcels(client, 0..2_500, "default");
        let answers = hand_over(client, &parcels);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Enqueued::Created))));
        assert_eq!(pending(client, "default"), ids(&parcels));
    });
}

#[test]
fn one_that_is_refused_for_good_holds_up_no_other() {
    let client = client();
    let mut mixed = parcels(&client, 0..300, "default");
    // A SQLite file has no replicas: it will refuse this at any time.
    let bad = client.parcel(Number(0).draft().replicas(1)).expect("sealed");
    for at in [0, 77, 302] {
        mixed.insert(at.min(mixed.len()), bad.clone());
    }
    let answers = hand_over(&client, &mixed);
    let mut good = Vec::new();
    for (parcel, answer) in mixed.iter().zip(answers) {
        match answer {
            Ok(_) => good.push(parcel.id()),
            Err(error) => {
                assert!(Client::is_refused_for_good(&error), "{error}");
                assert_eq!(parcel.id(), bad.id());
            }
        }
    }
    assert_eq!(good.len(), 300);
    assert_eq!(pending(&client, "default"), good);
}

#[test]
fn a_full_queue_takes_what_it_has_room_for_in_order_and_others_go_on() {
    on_both(|client| {
        let narrow = QueueName::parse("narrow").expect("a name");
        let first = parcels(client, 0..1, "narrow");
        assert!(hand_over(client, &first)[0].is_ok());
        oncue::block_on(client.broker().set(narrow, Setting::Limit(Some(8)))).expect("set");
        let tight = parcels(client, 1..20, "narrow");
        let wide = parcels(client, 0..20, "wide");
        let mixed: Vec<Parcel> =
            tight.iter().zip(&wide).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
        let answers = hand_over(client, &mixed);
        for (parcel, answer) in mixed.iter().zip(&answers) {
            match answer {
                Ok(enqueued) => assert_eq!(*enqueued, Enqueued::Created),
                Err(error) => {
                    assert!(error.is_full() && !Client::is_refused_for_good(error), "{error:?}");
                    assert_eq!(parcel.queue().as_str(), "narrow");
                }
            }
        }
        let there = [&first[..], &tight[..7]].concat();
        assert_eq!(pending(client, "narrow"), ids(&there), "the oldest have the room");
        assert_eq!(pending(client, "wide"), ids(&wide[..19]));
    });
}

/// It would be stored, and archived a day later by workers that cannot open it.
#[test]
fn a_parcel_of_another_namespace_is_refused() {
    let sealer = |namespace: &str| {
        let keys = oncue::seal::Keyring::generate().expect("keys");
        oncue::seal::Sealer::new(keys, namespace).expect("a sealer")
    };
    let (broker, ours) = (broker(), sealer("ours"));
    let there = Client::new(broker.clone(), sealer("theirs")).parcel(Number(1)).expect("sealed");
    let client = Client::new(broker, ours);
    let here = client.parcel(Number(2)).expect("sealed");
    let answers = hand_over(&client, &[there, here.clone()]);
    let error = answers[0].as_ref().expect_err("refused");
    assert!(Client::is_refused_for_good(error) && error.to_string().contains("theirs"), "{error}");
    assert!(matches!(answers[1], Ok(Enqueued::Created)));
    assert_eq!(pending(&client, "default"), [here.id()]);
}
