//! The stub answers as it was told, and is enough of a server for a client to begin with.

use redis::{AsyncConnectionConfig, Client, Value};

use super::{ask, connect};
use crate::redis_servers::stub::{Reply, Stub};

#[test]
fn answers_are_those_that_were_written() {
    let stub = Stub::start();
    let mut client = connect(&stub.url()).expect("greeted");
    assert_eq!(ask(&mut client, &["PING"]).expect("answered"), Value::SimpleString("PONG".into()));
    let unknown = ask(&mut client, &["GET", "a"]).expect_err("nothing written");
    assert!(unknown.to_string().contains("unknown command"), "{unknown}");

    stub.otherwise(Reply::null());
    stub.answer("fcall", Reply::int(7));
    for code in ["LOADING", "READONLY", "BUSY", "MISCONF"] {
        stub.answer_once("FCALL", Reply::error(&format!("{code} not now")));
    }
    for code in ["LOADING", "READONLY", "BUSY", "MISCONF"] {
        let refused = ask(&mut client, &["FCALL", "f", "0"]).expect_err("refused");
        assert!(format!("{refused:?} {refused}").to_uppercase().contains(code), "{refused:?}");
    }
    assert_eq!(ask(&mut client, &["FCALL", "f", "0"]).expect("answered"), Value::Int(7));
    assert_eq!(ask(&mut client, &["GET", "a"]).expect("answered"), Value::Nil);
    assert_eq!(stub.sent_of("fcall").len(), 5);
    assert_eq!(stub.until_sent("GET", 2)[1], [b"GET", &b"a"[..]]);

    stub.answer_once("GET", Reply::HangUp);
    let gone = ask(&mut client, &["GET", "a"]).expect_err("gone");
    assert!(gone.is_connection_dropped(), "{gone}");
}

#[test]
fn silence_is_silent() {
    let stub = Stub::start();
    let mut client = connect(&stub.url()).expect("greeted");
    stub.answer_once("PING", Reply::Silence);
    client.set_read_timeout(Some(std::time::Duration::from_millis(50))).expect("set");
    assert!(ask(&mut client, &["PING"]).expect_err("silence").is_timeout());
}

#[test]
fn a_transaction_is_answered_at_its_end() {
    let stub = Stub::start();
    let mut client = connect(&stub.url()).expect("greeted");
    stub.answer("HSET", Reply::int(1));
    stub.answer("FCALL", Reply::bulk(b"done"));
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("HSET").arg("k").cmd("FCALL").arg("f");
    let done: (i64, String) = pipe.query(&mut client).expect("done");
    assert_eq!(done, (1, "done".to_owned()));

    stub.answer_once("FCALL", Reply::error("OOM full"));
    let refused = pipe.query::<(i64, String)>(&mut client).expect_err("refused");
    assert!(format!("{refused:?}").contains("OOM"), "{refused:?}");
    stub.answer_once("EXEC", Reply::error("NOREPLICAS none"));
    for queued in [&["MULTI"][..], &["HSET", "k"]] {
        ask(&mut client, queued).expect("taken");
    }
    let refused = ask(&mut client, &["EXEC"]).expect_err("refused");
    assert_eq!(refused.code(), Some("NOREPLICAS"));
}

#[test]
fn an_asynchronous_client_with_resp3_is_greeted_and_subscribed() {
    let stub = Stub::start();
    let url = format!("{}?protocol=resp3", stub.url());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(tell);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = Client::open(url).expect("a client");
        let mut client =
            client.get_multiplexed_async_connection_with_config(&config).await.expect("greeted");
        client.subscribe(&["wake", "orders"]).await.expect("subscribed");
        for _ in 0..2 {
            assert_eq!(told.recv().await.expect("a push").kind, redis::PushKind::Subscribe);
        }
        let info: String = redis::cmd("INFO").query_async(&mut client).await.expect("told");
        assert!(info.contains("role:master"));
    });
}
