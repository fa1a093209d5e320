//! A worker that is told to be quiet, or to end, does so without a death in its company.

use std::time::Duration;

use oncue::worker::Life;
use oncue::{Task, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Nap;

impl Task for Nap {
    const KIND: &'static str = "nap";
    const RETENTION: Duration = Duration::from_secs(60);
}

async fn nap(_: Nap) -> TaskResult {
    tokio::time::sleep(Duration::from_millis(400)).await;
    Ok(())
}

#[test]
fn a_quiet_worker_finishes_what_it_has_and_no_actor_dies_of_it() {
    let report = oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;
        let worker = client.worker().handle(nap).start().await?;
        let job = client.enqueue(Nap).await?;
        while job.state().await? != Some(oncue::state::State::Active) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.quiet();
        job.result::<()>().await?;
        assert_eq!(worker.life(), Life::Quiet);
        worker.shutdown().await
    });
    let report = report.expect("ends in good order");
    assert_eq!((report.completed, report.released, report.restarts), (1, 0, 0));
}
