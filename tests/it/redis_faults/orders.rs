//! Orders over Redis, from another connection than the worker's: told by a message, and, where listeners are cut
//! off, by the next beat.

use std::time::Duration;

use oncue::broker::{Cancelled, Signal};
use oncue::state::{Reason, State};
use oncue::worker::Life;
use oncue::{Client, Handle};

use super::company::Shop;
use super::site::eventually;
use crate::redis_servers::server::Server;
use crate::runtime::company::{Number, show};

/// A run ends by being cut off, or not within a test.
const FOR_EVER: Duration = Duration::from_secs(3_600);

fn running(client: &Client) -> Handle {
    let task = oncue::block_on(client.enqueue(Number(1))).expect("enqueued");
    let state = || show(client, &task).map(|view| view.state);
    eventually("a run", || state() == Some(State::Active));
    task
}

fn cancel(client: &Client, task: &Handle) {
    assert_eq!(oncue::block_on(task.cancel()).expect("cancelled"), Cancelled::Asked);
    let ended = || show(client, task).is_some_and(|view| view.reason == Some(Reason::Cancelled));
    eventually("the end of a cancelled run", ended);
}

#[test]
fn a_run_is_cancelled_and_its_worker_made_quiet_and_stopped_from_elsewhere() {
    let server = Server::start();
    let shop = Shop::at(&server.url());
    let (client, work) = (shop.client(), shop.client());
    let build = work.worker().handle(|_: Number| async {
        tokio::time::sleep(FOR_EVER).await;
        oncue::TaskResult::Ok(())
    });
    let build = build.shutdown_timeout(Duration::from_millis(100));
    let worker = oncue::block_on(build.start()).expect("starts");
    cancel(&client, &running(&client));
    // The listener is cut off: what is ordered meanwhile comes with the next beat, or when it is back.
    let task = running(&client);
    let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    cancel(&client, &task);
    let task = running(&client);
    let signal = |signal| {
        let told = client.broker().signal(worker.id(), signal);
        assert!(oncue::block_on(told).expect("answered"), "it is there");
    };
    signal(Signal::Quiet);
    eventually("a quiet worker", || worker.life() == Life::Quiet);
    signal(Signal::Stop);
    oncue::block_on(worker.run()).expect("ends by itself");
    assert_eq!(show(&client, &task).map(|view| view.state), Some(State::Pending));
    assert_eq!(oncue::block_on(client.broker().workers()).expect("listed"), []);
}
