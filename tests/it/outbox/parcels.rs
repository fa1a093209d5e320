//! Parcels: sealed, the same for ever, refused if they are anything else; their times count from the seal.

use std::sync::Arc;
use std::time::Duration;

use oncue::broker::Enqueued;
use oncue::broker::sqlite::{Options, SqliteBroker};
use oncue::clock::{ManualClock, Timestamp};
use oncue::event::Event;
use oncue::state::State;
use oncue::{Client, PARCEL_BYTES_MAX, Parcel, Task, Unique};

use crate::fixture::{HOUR, MINUTE, START};
use crate::runtime::company::*;

/// A client of a broker whose clock stands, and that clock.
fn at_a_clock() -> (Client, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let broker = SqliteBroker::open(Options::memory().clock(clock.clone())).expect("a broker");
    (client_of(Arc::new(broker)), clock)
}

fn hand_over(client: &Client, parcel: &Parcel) -> Enqueued {
    let answers = oncue::block_on(client.hand_over(vec![parcel.clone()]));
    answers.into_iter().next().expect("an answer").expect("handed over")
}

fn state(client: &Client, parcel: &Parcel) -> Option<State> {
    let handle = client.handle(parcel.queue().as_str(), parcel.id()).expect("a name");
    oncue::block_on(handle.state()).expect("known")
}

#[test]
fn a_parcel_shows_what_a_broker_sees_and_no_more() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Letter(String);
    impl Task for Letter {
        const KIND: &'static str = "letter";
    }
    let client = client();
    let draft = Letter("a secret".into()).draft().header("tenant", "hidden").queue("mail");
    let parcel = client.parcel(draft).expect("sealed");
    let bytes = String::from_utf8_lossy(parcel.as_bytes()).into_owned();
    assert!(bytes.contains("letter") && bytes.contains("mail"));
    assert!(!bytes.contains("secret") && !bytes.contains("hidden") && !bytes.contains("tenant"));
    let shown = format!("{parcel:?}");
    assert!(shown.contains("for mail") && shown.len() < 100, "{shown}");
    assert_eq!(count(&client, "mail", State::Pending), 0, "nothing is enqueued");
}

#[test]
fn all_that_a_draft_says_comes_through() {
    let client = client();
    let draft = Number(7)
        .draft()
        .key("seven")
        .front()
        .unique(Unique::until_end().key("a lock").lasts(HOUR).replace());
    let parcel = client.parcel(draft).expect("sealed");
    let read = Parcel::from_bytes(parcel.as_bytes()).expect("read");
    assert_eq!((read.id(), read.queue()), (parcel.id(), parcel.queue()));
    assert_eq!(read.as_bytes(), parcel.as_bytes());

    let first = oncue::block_on(client.enqueue(Number(1))).expect("enqueued");
    let holder = Number(2).draft().unique(Unique::until_end().key("a lock"));
    let holder = oncue::block_on(client.enqueue(holder)).expect("enqueued");
    assert_eq!(hand_over(&client, &read), Enqueued::Replaced(holder.id()));
    // The key finds it.
    let again = oncue::block_on(client.enqueue(Number(7).draft().key("seven"))).expect("found");
    assert_eq!((again.id(), again.is_created()), (read.id(), false));
    let company = Company::start(client, |worker| {
        let lane = oncue::Lane::strict(["default"]).concurrency(1);
        worker.handle(|_: Number| async { oncue::TaskResult::Ok(()) }).lane(lane)
    });
    let next = || {
        company.until(|event| match event {
            Event::Started { id, .. } => Some(*id),
            _ => None,
        })
    };
    assert_eq!([next(), next()], [read.id(), first.id()], "to the front");
    company.end();
}

#[test]
fn times_count_from_the_seal() {
    let (client, clock) = at_a_clock();
    let later = client.parcel(Number(1).draft().after(MINUTE * 10)).expect("sealed");
    let short = client.parcel(Number(2).draft().after(MINUTE * 10)).expect("sealed");
    assert_eq!(hand_over(&client, &later), Enqueued::Created);
    assert_eq!(state(&client, &later), Some(State::Scheduled));
    let view = oncue::block_on(client.broker().show(later.queue().clone(), later.id()));
    assert_eq!(view.expect("shown").expect("there").until, Some(START.plus(MINUTE * 10)));
    clock.advance(MINUTE * 10);
    assert_eq!(hand_over(&client, &short), Enqueued::Created);
    assert_eq!(state(&client, &short), Some(State::Pending), "its time came while it waited");
}

#[test]
fn what_makes_no_sense_in_an_outbox_is_refused() {
    let client = client();
    for draft in [
        Number(1).draft().wait_if_full(MINUTE),
        Number(1).draft().spill_to("elsewhere"),
        Number(1).draft().queue("no name"),
        Number(1).draft().after(Duration::MAX),
    ] {
        assert!(client.parcel(draft).expect_err("refused").is_invalid());
    }
}

#[test]
fn what_is_no_parcel_is_refused_by_name() {
    let client = client();
    let good = client.parcel(Number(1)).expect("sealed").as_bytes().to_vec();
    assert!(Parcel::from_bytes(&good).is_ok());
    assert!(Parcel::from_bytes(b"").expect_err("empty").is_corrupt());
    assert!(Parcel::from_bytes(&[&[2], &good[1..]].concat()).expect_err("format 2").is_newer());
    assert!(Parcel::from_bytes(&vec![1; PARCEL_BYTES_MAX + 1]).expect_err("long").is_corrupt());
    assert!(Parcel::from_bytes(&[&good[..], b"x"].concat()).expect_err("more").is_corrupt());
    for length in 0..good.len() {
        // Nothing that was cut short is a parcel, but for a tail of the ciphertext that is left out by its length.
        assert!(Parcel::from_bytes(&good[..length]).expect_err("cut").is_corrupt(), "{length}");
    }
    for at in 0..good.len() {
        for altered in [1, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= altered;
            // Whatever it is, it neither panics nor takes long.
            let _ = Parcel::from_bytes(&bytes);
        }
    }
}

/// A negative control of I1: a payload in the place of what is sealed is no parcel, so no broker ever gets it.
#[test]
fn plaintext_cannot_pass_for_a_parcel() {
    let client = client();
    let good = client.parcel(Number(123_456)).expect("sealed").as_bytes().to_vec();
    let magic = good.windows(4).position(|four| four == [0x9a, 1, 1, 1]).expect("sealed there");
    let mut open = good.clone();
    let plain = b"{\"card\":\"4111\"}".iter().cycle();
    open[magic..].iter_mut().zip(plain).for_each(|(byte, plain)| *byte = *plain);
    assert!(Parcel::from_bytes(&open).expect_err("plaintext").is_corrupt());
    // Sealed, but as something else.
    let mut result = good;
    result[magic + 2] = 2;
    assert!(Parcel::from_bytes(&result).expect_err("a result").is_corrupt());
}

#[test]
fn a_time_before_the_seal_is_at_once() {
    let (client, _clock) = at_a_clock();
    let parcel = client.parcel(Number(1).draft().at(Timestamp(1).into())).expect("sealed");
    assert_eq!(hand_over(&client, &parcel), Enqueued::Created);
    assert_eq!(state(&client, &parcel), Some(State::Pending));
}
