//! What is sealed opens where it belongs, and nowhere else: every refusal beside its control.

use std::collections::HashSet;
use std::time::Duration;

use oncue::clock::Timestamp;
use oncue::codec::{Codec, PAYLOAD_BYTES_MAX};
use oncue::envelope::{Envelope, Extension, Header, RECORD_BYTES_MAX, Stored};
use oncue::queue::{Kind, QueueName};
use oncue::seal::{Keyring, OVERHEAD, OpenedTask, Purpose, SEALED_BYTES_MAX, Sealed, Sealer, Seat};
use oncue::task::{TaskId, Trail};
use oncue::{Error, Result};
use proptest::prelude::*;

/// Keys of the golden record: bytes 00..1f, 40..5f, 80..9f.
const ACTIVE: &str = "active:7:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";
const ID: TaskId = TaskId::from_bytes(*b"0123456789abcdef");
const BODY: &[u8] = br#"{"to":"PayloadCanary"}"#;
const GOLDEN: &[u8] = include_bytes!("../data/record-v1.bin");

fn sealer(keyring: &str, namespace: &str) -> Sealer {
    Sealer::new(Keyring::parse(keyring).expect("keyring"), namespace).expect("sealer")
}

fn prod() -> Sealer {
    sealer(ACTIVE, "prod")
}

fn header(kind: &str, queue: &str) -> Header {
    Header::new(
        Kind::parse(kind).expect("kind"),
        QueueName::parse(queue).expect("queue"),
        Timestamp(1_700_000_000_000),
    )
}

fn rich_header() -> Header {
    Header {
        deadline: Some(Timestamp(1_800_000_000_000)),
        retention: Duration::from_secs(60),
        group: Some("GroupName".into()),
        extensions: vec![Extension { tag: 9, critical: false, data: b"ExtensionCanary".to_vec() }],
        ..header("email:send", "mail")
    }
}

fn trace() -> Vec<(String, String)> {
    vec![("traceparent".into(), "HeaderCanary".into())]
}

fn envelope(sealer: &Sealer, header: Header) -> Envelope {
    let mut batch = sealer.batch(1).expect("batch");
    batch.envelope(ID, header, &trace(), BODY).expect("seals")
}

fn open(sealer: &Sealer, id: TaskId, record: &[u8]) -> Result<OpenedTask> {
    sealer.open_task(&Stored::parse(id, record.to_vec())?)
}

#[track_caller]
fn opens(sealer: &Sealer, record: &[u8]) {
    let task = open(sealer, ID, record).expect("the control opens");
    assert_eq!((&*task.body, task.headers, task.codec), (BODY, trace(), Codec::Json));
}

#[track_caller]
fn is_tampered(result: Result<OpenedTask>) {
    let error = result.expect_err("opened what it must not");
    assert!(error.is_tampered(), "{error:?}");
    no_bytes(&error);
}

#[track_caller]
fn no_bytes(error: &Error) {
    assert!(!format!("{error:?}").contains("Canary"), "{error:?}");
}

/// A record of these two parts.
fn record(header: &[u8], sealed: &[u8]) -> Vec<u8> {
    [&(header.len() as u16).to_be_bytes(), header, sealed].concat()
}

/// Header and sealed part of a record.
fn parts(record: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::from(u16::from_be_bytes([record[0], record[1]]));
    record[2..].split_at(length)
}

fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut copy = bytes.to_vec();
        copy[bit / 8] ^= 1 << (bit % 8);
        (bit, copy)
    })
}

#[test]
fn the_golden_record_still_opens() {
    // Only for a new format, under a new name: what is written is kept for ever.
    if std::env::var_os("ONCUE_WRITE_GOLDEN").is_some_and(|write| write == "1") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/record-v1.bin");
        return std::fs::write(path, envelope(&prod(), rich_header()).record()).expect("written");
    }
    opens(&prod(), GOLDEN);
    opens(&sealer(&ACTIVE.replace("active", "open"), "prod"), GOLDEN);
    let stored = Stored::parse(ID, GOLDEN.to_vec()).expect("parses");
    assert_eq!(stored.header().expect("header"), rich_header());
    assert_eq!((stored.key_id(), stored.record_len()), (Some(7), GOLDEN.len()));
    let again = envelope(&prod(), rich_header()).record();
    assert_eq!(again.len(), GOLDEN.len());
    assert_eq!(parts(&again).0, parts(GOLDEN).0);
    assert_ne!(parts(&again).1, parts(GOLDEN).1, "every seal has a nonce of its own");
}

#[test]
fn no_bit_of_a_sealed_blob_may_differ() {
    let sealer = prod();
    let original = envelope(&sealer, header("a", "b")).record();
    let (header, sealed) = parts(&original);
    for (bit, altered) in flips(sealed) {
        let error = open(&sealer, ID, &record(header, &altered)).expect_err("altered");
        let expected = match bit / 8 {
            1 => error.is_newer(),
            4..8 => error.is_unknown_key(),
            8..56 => error.is_wrong_key(),
            _ => error.is_tampered(),
        };
        assert!(expected, "bit {bit}: {error:?}");
        no_bytes(&error);
    }
    opens(&sealer, &original);
}

#[test]
fn no_bit_of_a_header_may_differ() {
    let sealer = prod();
    let original = envelope(&sealer, rich_header()).record();
    let (header, sealed) = parts(&original);
    for (_, altered) in flips(header) {
        is_tampered(open(&sealer, ID, &record(&altered, sealed)));
    }
    opens(&sealer, &original);
    // The length prefix moves bytes from one part to the other.
    for (_, altered) in flips(&original[..2]) {
        let error = open(&sealer, ID, &[&altered, &original[2..]].concat()).expect_err("moved");
        assert!(error.is_tampered() || error.is_corrupt(), "{error:?}");
    }
}

#[test]
fn nothing_opens_in_another_place() {
    let sealer = prod();
    let original = envelope(&sealer, header("email:send", "mail")).record();
    let sealed = parts(&original).1;
    opens(&sealer, &original);
    let other = TaskId::from_bytes(*b"0123456789abcdeg");
    is_tampered(open(&sealer, other, &original));
    for foreign in [
        header("email:sent", "mail"),
        header("email:send", "mall"),
        Header { max_retry: 26, ..header("email:send", "mail") },
    ] {
        let foreign = foreign.encode().expect("encodes");
        is_tampered(open(&sealer, ID, &record(&foreign, sealed)));
    }
    for namespace in ["proe", "pro", "prod2"] {
        is_tampered(open(&self::sealer(ACTIVE, namespace), ID, &original));
    }
    opens(&self::sealer(ACTIVE, "prod"), &original);
}

const PURPOSES: [Purpose; 7] = [
    Purpose::Payload,
    Purpose::Result,
    Purpose::Error,
    Purpose::Progress,
    Purpose::CronTemplate,
    Purpose::Group,
    Purpose::Overrides,
];

#[test]
fn no_blob_serves_another_purpose_or_attempt() {
    let sealer = prod();
    let seat = |purpose, attempt| Seat { purpose, task: ID, attempt, header: b"header" };
    for purpose in PURPOSES {
        let sealed = sealer.seal(&seat(purpose, 0), Codec::Bincode, b"text").expect("seals");
        let opened = sealer.open(&seat(purpose, 0), sealed.as_bytes()).expect("the control opens");
        assert_eq!((&*opened.plaintext, opened.codec), (&b"text"[..], Codec::Bincode));
        for attempt in [1, u32::MAX] {
            let error = sealer.open(&seat(purpose, attempt), sealed.as_bytes()).expect_err("moved");
            assert!(error.is_tampered());
        }
        for other in PURPOSES.into_iter().filter(|other| *other != purpose) {
            let mut relabelled = sealed.as_bytes().to_vec();
            for relabel in [false, true] {
                relabelled[2] = if relabel { other as u8 } else { purpose as u8 };
                let error = sealer.open(&seat(other, 0), &relabelled).expect_err("relabelled");
                assert!(error.is_tampered(), "{purpose:?} as {other:?}: {error:?}");
            }
        }
    }
}

#[test]
fn no_length_but_its_own_opens() {
    let sealer = prod();
    let original = envelope(&sealer, header("a", "b")).record();
    let (header, sealed) = parts(&original);
    for length in 0..sealed.len() {
        is_tampered(open(&sealer, ID, &record(header, &sealed[..length])));
        assert!(open(&sealer, ID, &original[..length]).is_err());
    }
    for length in [1, 2, 16, 100, 70_000] {
        is_tampered(open(&sealer, ID, &[&original[..], &vec![0; length]].concat()));
    }
    let most = vec![0x9a; RECORD_BYTES_MAX + 1];
    assert!(Stored::parse(ID, most).expect_err("long").is_corrupt());
    opens(&sealer, &original);
}

#[test]
fn every_state_of_a_key_has_its_own_error() {
    let original = envelope(&prod(), header("a", "b")).record();
    let with = |keyring: &str| open(&sealer(keyring, "prod"), ID, &original);
    opens(&sealer(&format!("{ACTIVE} open:8:{OTHER}"), "prod"), &original);
    opens(&sealer(&format!("{} 8:{OTHER}", ACTIVE.replace("active", "open")), "prod"), &original);
    let wrong = with(&format!("active:7:{OTHER}")).expect_err("wrong key");
    assert!(wrong.is_wrong_key() && !wrong.is_tampered(), "{wrong:?}");
    let retired = format!("retired:7 8:{OTHER}");
    assert!(with(&retired).expect_err("retired").is_retired_key());
    assert!(with(&ACTIVE.replace("active", "retired")).expect_err("retired").is_retired_key());
    assert!(with(&format!("active:8:{OTHER}")).expect_err("unknown").is_unknown_key());
    let mut future = original.clone();
    let suite = original.len() - parts(&original).1.len() + 1;
    future[suite] = 2;
    let error = open(&prod(), ID, &future).expect_err("future");
    assert!(error.is_newer() && error.to_string().contains("sealed by a newer version"));
}

#[test]
fn a_new_keyring_counts_at_once() {
    let sealer = prod();
    let clone = sealer.clone();
    let original = envelope(&sealer, header("a", "b")).record();
    opens(&clone, &original);
    let replace = |text: &str| sealer.replace_keyring(Keyring::parse(text).expect("keyring"));
    replace(&format!("active:7:{OTHER}"));
    let error = open(&clone, ID, &original).expect_err("the cache is of the old keyring");
    assert!(error.is_wrong_key());
    replace("retired:7");
    assert!(open(&clone, ID, &original).expect_err("retired").is_retired_key());
    assert!(clone.batch(1).expect_err("no active key").is_key());
    replace(ACTIVE);
    opens(&clone, &original);
    assert_eq!(clone.keyring().active_id(), Some(7));
    let salt = |record: &[u8]| parts(record).1[8..24].to_vec();
    let later = envelope(&sealer, header("a", "b")).record();
    assert_ne!(salt(&later), salt(&original), "a new keyring opens a new epoch");
    assert_eq!(salt(&later), salt(&envelope(&sealer, header("a", "b")).record()));
}

#[test]
fn nonces_are_never_shared() {
    let sealer = prod();
    let mut seen = HashSet::new();
    // The second batch is told half of what it seals, so it draws again.
    for told in [1_000, 500] {
        let mut batch = sealer.batch(told).expect("batch");
        for _ in 0..1_000 {
            let envelope = batch.envelope(ID, header("a", "b"), &[], b"").expect("seals");
            let record = envelope.record();
            seen.insert(<[u8; 12]>::try_from(&parts(&record).1[56..68]).expect("nonce"));
        }
    }
    assert_eq!(seen.len(), 2_000);
    let mut huge = sealer.batch(usize::MAX).expect("a batch is bounded whatever it is told");
    assert!(huge.envelope(ID, header("a", "b"), &[], b"").is_ok());
    assert!(sealer.batch(0).expect("empty").envelope(ID, header("a", "b"), &[], b"").is_ok());
}

#[test]
fn the_limit_of_a_payload_is_exact() {
    let sealer = prod();
    let body = vec![7; PAYLOAD_BYTES_MAX + 1];
    let mut batch = sealer.batch(3).expect("batch");
    // The largest of everything at once: header, sealed headers, body.
    let headers = [("h".to_owned(), "v".repeat(oncue::seal::HEADERS_BYTES_MAX - 6))];
    for length in [PAYLOAD_BYTES_MAX - 1, PAYLOAD_BYTES_MAX] {
        let envelope =
            batch.envelope(ID, rich_header(), &headers, &body[..length]).expect("within the limit");
        assert!(envelope.record_len() <= RECORD_BYTES_MAX);
        let task = open(&sealer, ID, &envelope.record()).expect("opens");
        assert!(*task.body == body[..length] && task.headers == headers);
    }
    let over = batch.envelope(ID, rich_header(), &[], &body).expect_err("over the limit");
    assert!(over.is_too_large());
    let many = vec![("a".to_owned(), String::new()); 17];
    assert!(batch.envelope(ID, rich_header(), &many, b"").expect_err("many").is_too_large());
    let split = [("a\r\nb".to_owned(), String::new())];
    assert!(batch.envelope(ID, rich_header(), &split, b"").expect_err("split").is_invalid());
}

#[test]
fn a_namespace_is_a_name() {
    for bad in ["", "Prod", "a b", "a{b}"] {
        let keyring = Keyring::parse(ACTIVE).expect("keyring");
        assert!(Sealer::new(keyring, bad).expect_err(bad).is_invalid());
    }
}

#[test]
fn debug_shows_sizes_and_never_bytes() {
    let sealer = prod();
    let envelope = envelope(&sealer, rich_header());
    let stored = Stored::parse(ID, envelope.record()).expect("parses");
    let task = sealer.open_task(&stored).expect("opens");
    assert!(format!("{:?}", &*String::from_utf8_lossy(&task.body)).contains("PayloadCanary"));
    let seat = Seat { purpose: Purpose::Result, task: ID, attempt: 1, header: b"SeatCanary" };
    let sealed: Sealed = sealer.seal(&seat, Codec::Json, b"ResultCanary").expect("seals");
    let opened = sealer.open(&seat, sealed.as_bytes()).expect("opens");
    let batch = sealer.batch(1).expect("batch");
    let shown = format!(
        "{sealer:?} {batch:?} {seat:?} {sealed:?} {opened:?} {envelope:?} {stored:?} {task:?} {:?} {:?}",
        sealer.keyring(),
        rich_header(),
    );
    assert!(!shown.contains("Canary"), "{shown}");
    // Nor as numbers: of the key, the payload, the sealed bytes.
    for bytes in [&[0, 1, 2, 3, 4][..], &BODY[..4], &sealed.as_bytes()[..4]] {
        let numbers = format!("{bytes:?}");
        assert!(!shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
    }
    assert_eq!(sealed.len(), OVERHEAD + b"ResultCanary".len());
    assert_eq!(format!("{sealed:?}"), "Sealed { bytes: 96 }");
    let record = String::from_utf8_lossy(&envelope.record()).into_owned();
    for canary in ["PayloadCanary", "HeaderCanary"] {
        assert!(!record.contains(canary));
    }
    assert!(record.contains("ExtensionCanary"), "the control: clear fields are found");
}

#[test]
fn ids_from_own_keys_depend_on_every_part() {
    let text = format!("{ACTIVE} index:1:{OTHER}");
    let (queue, kind) = (QueueName::parse("q").expect("q"), Kind::parse("k").expect("k"));
    let id = |sealer: &Sealer, key: &str| sealer.derive_id(&queue, &kind, key).expect("id");
    let one = sealer(&text, "prod");
    assert_eq!(id(&one, "a"), id(&sealer(&text, "prod"), "a"));
    assert_ne!(id(&one, "a"), id(&one, "b"));
    assert_ne!(id(&one, "a"), id(&sealer(&text, "test"), "a"));
    assert_eq!(one.derive_ids(&queue, &kind, "a").expect("ids"), [id(&one, "a")]);
    assert!(prod().derive_id(&queue, &kind, "a").expect_err("no index key").is_key());
}

#[test]
fn threads_share_a_sealer() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Sealer>();
    let sealer = prod();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    opens(&sealer, &envelope(&sealer, header("a", "b")).record());
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_sealed_opens(
        body in prop::collection::vec(any::<u8>(), 0..8192),
        headers in prop::collection::vec(("[a-z-]{1,20}", "\\PC{0,40}"), 0..=16),
        id: [u8; 16],
        bincode: bool,
    ) {
        let sealer = prod();
        let codec = if bincode { Codec::Bincode } else { Codec::Json };
        let id = TaskId::from_bytes(id);
        let header = Header { codec, ..header("k", "q") };
        let envelope = sealer.batch(1)?.envelope(id, header.clone(), &headers, &body)?;
        prop_assert_eq!(envelope.record().len(), envelope.record_len());
        let stored = Stored::parse(id, envelope.record())?;
        prop_assert_eq!(stored.header()?, header);
        let task = sealer.open_task(&stored)?;
        prop_assert_eq!((&*task.body, task.headers, task.codec), (&body[..], headers, codec));
    }

    #[test]
    fn foreign_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let sealer = prod();
        let _ = (Header::decode(&bytes), Trail::decode(&bytes));
        let _ = Trail::decode(&[&[1], &bytes[..]].concat());
        let _ = open(&sealer, ID, &bytes);
        let _ = Keyring::parse(&String::from_utf8_lossy(&bytes));
        // As near to the real thing as a forger without the key gets.
        let seat = Seat { purpose: Purpose::Payload, task: ID, attempt: 0, header: b"" };
        prop_assert!(sealer.open(&seat, &bytes).is_err());
        let head: &[u8] = &parts(GOLDEN).1[..56.min(bytes.len())];
        bytes[..head.len()].copy_from_slice(head);
        prop_assert!(sealer.open(&seat, &bytes).is_err());
        prop_assert!(bytes.len() <= SEALED_BYTES_MAX);
    }
}
