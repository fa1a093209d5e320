//! Exchanges that break off, hang, or are ended: the class, and that the connection ends at once.

use std::net::TcpListener;
use std::time::Duration;

use oncue::Webhook;
use oncue::outcome::Decision;
use oncue::state::{Reason, State};

use super::receiver::{Receiver, Reply};
use super::site::Site;

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

fn hook(receiver: &Receiver) -> Webhook {
    Webhook::new(&receiver.url("/")).expect("a URL").unsigned()
}

#[test]
fn a_receiver_that_never_answers_is_left() {
    let receiver = Receiver::start(|_| Reply::Hold(Vec::new()));
    let site = Site::new(hook(&receiver).timeout(SHORT));
    let (class, reason, _) = site.failure("1");
    assert_eq!((&*class, &*reason), ("timeout", "exhausted"));
    receiver.request();
    receiver.closed();
}

#[test]
fn an_answer_that_never_ends_is_left() {
    let begun = [Reply::head(200, "", 10).as_bytes(), b"[1, "].concat();
    let receiver = Receiver::start(move |_| Reply::Hold(begun.clone()));
    let site = Site::new(hook(&receiver).timeout(SHORT));
    let (class, reason, _) = site.failure("1");
    assert_eq!((&*class, &*reason), ("timeout", "exhausted"));
    receiver.request();
    receiver.closed();
    // It did its work, and the rest is for nobody.
    let task = site.put_kept("1", 0, Duration::ZERO);
    assert_eq!(site.company.settled(&task).0, Decision::Complete(Duration::ZERO));
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    for (bytes, expected) in [
        (String::new(), "disconnected"),
        ("HTTP/1.1 200 OK\r\ncontent-le".to_owned(), "disconnected"),
        // What came of it would be JSON.
        (format!("{}123", Reply::head(200, "", 10)), "disconnected"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n".into(),
            "disconnected",
        ),
        ("SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_owned(), "protocol"),
        (format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(400_000)), "protocol"),
    ] {
        let sent = bytes.clone().into_bytes();
        let receiver = Receiver::start(move |_| Reply::Bytes(sent.clone()));
        let site = Site::new(hook(&receiver));
        let (class, reason, message) = site.failure("1");
        assert_eq!((&*class, &*reason), (expected, "exhausted"), "{bytes:.40}: {message}");
    }
}

#[test]
fn a_receiver_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // From here on nobody listens there.
    drop(listener);
    let url = format!("http://127.0.0.1:{port}/?token=s3cret");
    let site = Site::new(Webhook::new(&url).expect("a URL").unsigned());
    let (class, reason, message) = site.failure("1");
    assert_eq!((&*class, &*reason), ("connect", "exhausted"));
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn a_cancelled_task_ends_its_exchange() {
    let receiver = Receiver::start(|_| Reply::Hold(Vec::new()));
    let site = Site::new(hook(&receiver).timeout(Duration::from_secs(3600)));
    let task = site.put("1", 5);
    receiver.request();
    oncue::block_on(task.cancel()).expect("cancelled");
    receiver.closed();
    site.company.settled(&task);
    let view = site.view(&task);
    assert_eq!((view.state, view.reason), (State::Archived, Some(Reason::Cancelled)));
    receiver.assert_quiet();
}

#[test]
fn the_time_of_a_task_ends_its_exchange() {
    let receiver = Receiver::start(|_| Reply::Hold(Vec::new()));
    let site = Site::new(hook(&receiver).timeout(Duration::from_secs(3600)));
    let draft = oncue::task::RawTask::json(super::site::KIND, "1").expect("JSON").draft();
    let draft = draft.max_retry(0).timeout(SHORT);
    let task = oncue::block_on(site.company.client.enqueue_raw(draft)).expect("enqueued");
    let (_, class) = site.company.settled(&task);
    assert_eq!(class.as_deref(), Some("timeout"));
    receiver.request();
    receiver.closed();
}
