//! What an answer means for a task: its state, its class, how long it waits.

use std::time::Duration;

use oncue::codec::PAYLOAD_BYTES_MAX;
use oncue::outcome::Decision;
use oncue::state::State;
use oncue::{RetryPolicy, Webhook, webhook};

use super::receiver::{Receiver, Reply, Request};
use super::site::{KIND, Site};

/// Answers with the status that is the payload.
fn as_told(request: &Request) -> Reply {
    let status = std::str::from_utf8(&request.body).expect("text").parse().expect("a status");
    Reply::of(status, "location: /elsewhere\r\n", b"why \x1b[31m\xff")
}

fn hook(receiver: &Receiver) -> Webhook {
    Webhook::new(&receiver.url("/in?token=s3cret")).expect("a URL").unsigned()
}

#[test]
fn statuses_decide_between_done_again_and_never_again() {
    let receiver = Receiver::start(as_told);
    let site = Site::new(hook(&receiver).archive_on([501]).retry_on([409]));
    for status in [200, 201, 299] {
        let task = site.put(&status.to_string(), 0);
        let (decision, class) = site.company.settled(&task);
        assert!(matches!(decision, Decision::Complete(_)), "{status}: {decision:?} {class:?}");
    }
    for status in [408, 409, 425, 429, 500, 502, 503, 504, 599] {
        let (class, reason, message) = site.failure(&status.to_string());
        assert_eq!((class, &*reason), (format!("http({status})"), "exhausted"));
        assert!(message.contains("why ") && !message.contains("s3cret"), "{message}");
    }
    for status in [300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 418, 422, 501] {
        let (class, reason, _) = site.failure(&status.to_string());
        assert_eq!((class, &*reason), (format!("http({status})"), "skip_retry"));
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Receiver::start(|_| Reply::of(200, "", b""));
    let place = format!("location: {}\r\n", other.url("/"));
    let receiver = Receiver::start(move |_| Reply::of(307, &place, b""));
    let site = Site::new(hook(&receiver));
    let (class, reason, _) = site.failure("1");
    assert_eq!((&*class, &*reason), ("http(307)", "skip_retry"));
    receiver.request();
    receiver.assert_quiet();
    other.assert_quiet();
}

#[test]
fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
    let receiver = Receiver::start(|request| {
        let headers = format!("retry-after: {}\r\n", String::from_utf8_lossy(&request.body));
        Reply::of(if request.body.ends_with(b"9") { 404 } else { 503 }, &headers, b"")
    });
    let policy = RetryPolicy::fixed(Duration::from_secs(3));
    let site = Site::of(webhook(KIND, hook(&receiver)).retry(policy));
    for (payload, wait) in [("120", 120), ("8640000", 86_400), ("-1", 3)] {
        let (decision, class) = site.company.settled(&site.put(payload, 5));
        assert_eq!(decision, Decision::Retry(Duration::from_secs(wait)), "{payload}");
        assert_eq!(class.as_deref(), Some("http(503)"));
    }
    // Where no retry helps, none is asked for.
    assert_eq!(site.failure("9").1, "skip_retry");
}

#[test]
fn a_result_is_as_long_as_a_result_may_be() {
    let receiver = Receiver::start(|request| {
        let length: usize = String::from_utf8_lossy(&request.body).parse().expect("a length");
        Reply::of(200, "", format!("\"{}\"", "x".repeat(length - 2)).as_bytes())
    });
    let site = Site::new(hook(&receiver));
    let longest = site.put(&PAYLOAD_BYTES_MAX.to_string(), 0);
    let result = site.result(&longest);
    assert_eq!(result.as_str().map(str::len), Some(PAYLOAD_BYTES_MAX - 2));
    let longer = (PAYLOAD_BYTES_MAX + 1).to_string();
    let (class, reason, message) = site.failure(&longer);
    assert_eq!((&*class, &*reason), ("result", "skip_retry"), "{message}");
    // One that nobody keeps may be of any length.
    let task = site.put_kept(&longer, 0, Duration::ZERO);
    assert_eq!(site.company.settled(&task).0, Decision::Complete(Duration::ZERO));
}

#[test]
fn of_a_failure_without_end_a_little_is_kept() {
    let receiver = Receiver::start(|_| {
        let head = "HTTP/1.1 500 Said\r\ntransfer-encoding: chunked\r\n\r\n";
        Reply::Flood(head.into(), b"4\r\nlong\r\n".to_vec())
    });
    let site = Site::new(hook(&receiver));
    let (class, _, message) = site.failure("1");
    assert_eq!(class, "http(500)");
    assert!(message.ends_with("long") && message.len() < 4 * 1024 + 100, "{}", message.len());
    receiver.request();
    receiver.closed();
}

#[test]
fn a_webhook_that_cannot_be_sent_does_not_start_a_worker() {
    let client = crate::runtime::company::client();
    let hook = Webhook::new("http://localhost/?token=s3cret").expect("a URL");
    let started = oncue::block_on(client.worker().handle(webhook(KIND, hook)).start());
    let error = started.err().expect("no secret, and not unsigned");
    assert!(error.is_refused() && error.to_string().contains("unsigned"), "{error:?}");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    let stats = oncue::block_on(client.broker().stats()).expect("stats");
    assert!(stats.iter().all(|stats| stats.count(State::Active) == 0));
}
