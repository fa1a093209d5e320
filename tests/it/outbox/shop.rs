//! An application: a file of its own with an outbox in it, clients of either broker, and a relay that is heard.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

use oncue::broker::{PAGE_ROWS_MAX, Page};
use oncue::event::Event;
use oncue::outbox::{Moved, Outbox, Relay};
use oncue::queue::QueueName;
use oncue::state::State;
use oncue::{Client, Result, TaskId};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::runtime::company::await_event;

/// The database of an application.
pub struct Shop {
    directory: TempDir,
}

impl Shop {
    /// With an empty outbox.
    pub fn new() -> Self {
        let shop = Self { directory: TempDir::new().expect("a directory") };
        let open = shop.open();
        open.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE orders (number INTEGER);")
            .expect("a shop");
        Outbox::create(&open).expect("an outbox");
        shop
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("shop.db")
    }

    /// The application's own connection.
    pub fn open(&self) -> Connection {
        Connection::open(self.path()).expect("opens")
    }

    /// The outbox as a relay has it.
    pub fn outbox(&self) -> Outbox {
        Outbox::open(self.path()).expect("opens")
    }

    /// The parcels that are there, oldest first.
    pub fn parcels(&self) -> Vec<Vec<u8>> {
        let open = self.open();
        let mut read = open.prepare("SELECT parcel FROM oncue_outbox ORDER BY row").expect("read");
        let rows = read.query_map([], |row| row.get(0)).expect("read");
        rows.map(|row| row.expect("read")).collect()
    }

    pub fn rows(&self) -> usize {
        self.parcels().len()
    }

    /// Hands over what is there, once.
    pub fn relay_once(&self, client: &Client) -> Result<Moved> {
        oncue::block_on(Relay::new(client.clone(), self.outbox()).once())
    }
}

/// A relay at work, on a runtime without any actor.
pub struct Working {
    pub relay: Relay,
    events: Receiver<Event>,
    running: JoinHandle<Moved>,
    runtime: Runtime,
}

impl Working {
    pub fn start(relay: Relay) -> Self {
        let (tell, events) = channel();
        let relay = relay.on_event(move |event| drop(tell.send(event.clone())));
        let runtime = Runtime::new().expect("a runtime");
        let running = runtime.spawn(relay.run());
        Self { relay, events, running, runtime }
    }

    /// Waits for an event that is one of these.
    #[track_caller]
    pub fn until<V>(&self, pick: impl FnMut(&Event) -> Option<V>) -> V {
        await_event(&self.events, pick)
    }

    /// Waits until so many rows were handed over, from now on.
    #[track_caller]
    pub fn handed(&self, mut rows: usize) {
        self.until(|event| {
            if let Event::HandedOver { rows: now } = event {
                rows = rows.checked_sub(*now).expect("no more than these");
            }
            (rows == 0).then_some(())
        });
    }

    /// Stops it; answers what it did, and what it told that nobody asked for.
    pub fn end(self) -> (Moved, Vec<Event>) {
        self.relay.stop();
        let moved = self.runtime.block_on(self.running).expect("ends");
        (moved, self.events.try_iter().collect())
    }
}

/// What waits in a queue, in the order in which it would be claimed.
pub fn pending(client: &Client, queue: &str) -> Vec<TaskId> {
    let queue = QueueName::parse(queue).expect("a name");
    let mut page = Page { queue, state: State::Pending, cursor: None, rows: PAGE_ROWS_MAX };
    let mut found = Vec::new();
    loop {
        let listing = oncue::block_on(client.broker().list(page.clone())).expect("listed");
        found.extend(listing.tasks.iter().map(|task| task.stored.id()));
        match listing.cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return found,
        }
    }
}

/// The test on either broker.
pub fn on_both(test: impl Fn(&Client)) {
    test(&crate::runtime::company::client());
    #[cfg(feature = "redis")]
    {
        let server = crate::redis_servers::server::Server::start();
        test(&crate::runtime::company::client_on(&server.url()));
    }
}
