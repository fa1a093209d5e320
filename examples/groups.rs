//! Many tasks to one: notices of a user gather for a moment, and one mail tells of all of them.

use std::time::Duration;

use oncue::{Client, Data, Group, Job, Task, TaskResult, batch};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Serialize, Deserialize)]
struct Notice {
    user: String,
    text: String,
}

impl Task for Notice {
    const KIND: &'static str = "notice";
}

#[derive(Serialize, Deserialize)]
struct Mail {
    to: String,
    lines: Vec<String>,
}

impl Task for Mail {
    const KIND: &'static str = "mail";
}

type Sent = mpsc::UnboundedSender<String>;

/// Called once a group, with all of its tasks.
async fn digest(jobs: Vec<Job<Notice>>, client: Data<Client>) -> TaskResult {
    // A crash between this enqueue and the end of the run repeats it: the same notices find the same mail.
    let mut ids: Vec<_> = jobs.iter().map(|job| job.context.id().to_string()).collect();
    ids.sort();
    let to = jobs[0].task.user.clone();
    let lines = jobs.into_iter().map(|job| job.task.text).collect();
    client.enqueue(Mail { to, lines }.draft().key(ids.join(" "))).await?;
    Ok(())
}

async fn send(mail: Mail, sent: Data<Sent>) -> TaskResult {
    let said = format!("to {}: {} ({})", mail.to, mail.lines.len(), mail.lines.join(", "));
    sent.send(said)?;
    Ok(())
}

fn main() -> oncue::Result<()> {
    oncue::block_on(async {
        let (sent, mut mails) = mpsc::unbounded_channel::<String>();
        let client = oncue::connect("sqlite::memory:").await?;
        let worker = client
            .worker()
            .handle(batch(digest))
            .handle(send)
            .data(client.clone())
            .data(sent)
            .start()
            .await?;
        for (user, text) in [
            ("ada", "a reply"),
            ("grace", "a bug"),
            ("ada", "a like"),
            ("ada", "a new follower"),
            ("grace", "a moth"),
        ] {
            // Once nothing came for 100 ms, after a second at the latest, 50 notices at most.
            let group = Group::named(format!("user-{user}"))
                .grace(Duration::from_millis(100))
                .within(Duration::from_secs(1))
                .most(50);
            let notice = Notice { user: user.to_owned(), text: text.to_owned() };
            client.enqueue(notice.draft().group(group)).await?;
        }
        let mut told: Vec<_> =
            [mails.recv().await, mails.recv().await].into_iter().flatten().collect();
        told.sort();
        told.iter().for_each(|mail| println!("{mail}"));
        worker.shutdown().await.map(drop)
    })
}
