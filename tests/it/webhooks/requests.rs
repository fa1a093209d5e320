//! What a receiver gets: the payload as it was sealed, who it comes from, and a signature that holds.

use std::time::SystemTime;

use data_encoding::BASE64;
use oncue::handler::SigningSecret;
use oncue::{Codec, Task, Webhook, webhook};
use ring::digest::{SHA256, digest};

use super::receiver::{Receiver, Reply, Request};
use super::site::{KIND, Site};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn secret(text: &str) -> SigningSecret {
    SigningSecret::parse(text).expect("a secret")
}

/// HMAC-SHA-256 by its definition in RFC 2104, without the library that signs.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = digest(&SHA256, &[&padded(0x36)[..], message].concat());
    digest(&SHA256, &[&padded(0x5c)[..], inner.as_ref()].concat()).as_ref().to_vec()
}

/// Whether one of the signatures holds, as a receiver that knows this secret would find.
fn verifies(request: &Request, secret: &str) -> bool {
    let key = BASE64.decode(secret.trim_start_matches("whsec_").as_bytes()).expect("base64");
    let (id, time) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let content = [format!("{id}.{time}.").as_bytes(), &request.body].concat();
    let expected = format!("v1,{}", BASE64.encode(&hmac(&key, &content)));
    request.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

fn seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}

#[test]
fn a_task_is_delivered_signed_and_its_answer_is_the_result() {
    let receiver = Receiver::start(|_| Reply::of(200, "", b" {\"took\": true}\n"));
    let hook = Webhook::new(&receiver.url("/in?a=b")).expect("a URL").secret(secret(OLD));
    let hook = hook.secret(secret(NEW)).header("Authorization", "Bearer x");
    let site = Site::new(hook);
    let before = seconds();
    let payload = "{ \"b\": [1,  2], \"a\": \"ä\" }";
    let task = site.put(payload, 0);
    assert_eq!(site.result(&task), serde_json::json!({ "took": true }));
    let request = receiver.request();
    assert_eq!(request.line, "POST /in?a=b HTTP/1.1");
    assert_eq!(request.body, payload.as_bytes());
    let id = task.id().to_string();
    for (name, value) in [
        ("host", &*format!("127.0.0.1:{}", receiver.port)),
        ("content-type", "application/json"),
        ("user-agent", concat!("oncue/", env!("CARGO_PKG_VERSION"))),
        ("authorization", "Bearer x"),
        ("webhook-id", &id),
        ("oncue-kind", KIND),
        ("oncue-attempt", "1"),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    let time: u64 = request.header("webhook-timestamp").parse().expect("seconds");
    assert!((before..=seconds()).contains(&time), "{time}");
    assert_eq!(request.maybe("accept-encoding"), None);
    assert!(verifies(&request, OLD) && verifies(&request, NEW));
    // What was altered on the way, or signed by somebody else, does not hold.
    let mut tampered = request.clone();
    tampered.body[0] ^= 1;
    assert!(!verifies(&tampered, OLD) && !verifies(&tampered, NEW));
    assert!(!verifies(&request, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
}

#[test]
fn an_unsigned_webhook_has_no_signature_and_text_is_a_result_as_a_string() {
    let receiver = Receiver::start(|_| Reply::of(202, "", b"taken\n"));
    let site = Site::new(Webhook::new(&receiver.url("")).expect("a URL").unsigned());
    assert_eq!(site.result(&site.put("1", 0)), serde_json::json!("taken"));
    let request = receiver.request();
    assert_eq!(request.line, "POST / HTTP/1.1");
    assert_eq!(request.maybe("webhook-signature"), None);
}

#[test]
fn a_repetition_has_the_same_id_and_a_signature_of_its_own() {
    let receiver = Receiver::start(|request| {
        Reply::of(if request.header("oncue-attempt") == "1" { 503 } else { 204 }, "", b"")
    });
    let hook = Webhook::new(&receiver.url("/")).expect("a URL").secret(secret(OLD));
    let site = Site::new(hook);
    let task = site.put("7", 1);
    assert_eq!(site.result(&task), serde_json::Value::Null);
    let (first, second) = (receiver.request(), receiver.request());
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(second.header("oncue-attempt"), "2");
    assert!(verifies(&first, OLD) && verifies(&second, OLD));
    assert_eq!(site.view(&task).trail.class.as_deref(), Some("http(503)"));
}

#[test]
fn a_payload_that_is_not_json_is_archived_and_not_sent() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Packed(u64);
    impl Task for Packed {
        const KIND: &'static str = "packed";
        const CODEC: Codec = Codec::Bincode;
    }
    let receiver = Receiver::start(|_| Reply::of(200, "", b""));
    let hook = Webhook::new(&receiver.url("/")).expect("a URL").unsigned();
    let site = Site::of(webhook("packed", hook));
    let task = site.company.put(Packed(7));
    let (decision, class) = site.company.settled(&task);
    assert_eq!(class.as_deref(), Some("payload"), "{decision:?}");
    receiver.assert_quiet();
}
