//! One task of a sort at a time: the same search index is not rebuilt twice, and a burst of changes is one rebuild.

use std::time::Duration;

use oncue::{Task, TaskResult, Unique};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Rebuild {
    shop: u64,
    changed: String,
}

impl Task for Rebuild {
    const KIND: &'static str = "index:rebuild";
    const RETENTION: Duration = Duration::from_secs(60);
}

async fn rebuild(task: Rebuild) -> TaskResult<String> {
    Ok(format!("shop {} rebuilt because of {}", task.shop, task.changed))
}

fn change(shop: u64, changed: &str) -> Rebuild {
    Rebuild { shop, changed: changed.to_owned() }
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let client = oncue::connect("sqlite::memory:").await?;

        // One for each shop until it has ended, whatever else is in the payload: a second is dropped.
        let per_shop = Unique::until_end().fields(["shop"]);
        let first = client.enqueue(change(7, "prices").draft().unique(per_shop.clone())).await?;
        let second = client.enqueue(change(7, "stock").draft().unique(per_shop.clone())).await?;
        println!("the second is the first: {}", second.id() == first.id());

        // Once it has been quiet for 100 ms, and after 2 s at the latest: the last of a burst runs.
        let mut last = None;
        for what in ["a name", "a picture", "a text"] {
            let draft = change(8, what).draft().unique(per_shop.clone());
            let quiet = draft.debounce(Duration::from_millis(100), Some(Duration::from_secs(2)));
            last = Some(client.enqueue(quiet).await?);
        }

        let worker = client.worker().handle(rebuild).start().await?;
        println!("{}", first.result::<String>().await?);
        if let Some(last) = last {
            println!("{}", last.result::<String>().await?);
        }
        println!("runs: {}", worker.shutdown().await?.completed);
        Ok(())
    })
}
