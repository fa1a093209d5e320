//! Where other processes meet: a directory with a queue, patience, and dice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use oncue::Client;
#[cfg(feature = "redis")]
use oncue::seal::{FileKeys, Keyring};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::runtime::company::PATIENCE;

/// A directory with a queue in it, its key beside it, and the ledgers.
pub struct Home {
    directory: TempDir,
    broker: Broker,
}

/// Where the tasks are kept.
enum Broker {
    Sqlite,
    #[cfg(feature = "redis")]
    Redis(Box<crate::redis_servers::server::Server>),
}

impl Home {
    /// A queue of its own, in a file.
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let home = Self { directory, broker: Broker::Sqlite };
        drop(home.client());
        home
    }

    /// A queue of its own, in a Redis of its own.
    #[cfg(feature = "redis")]
    pub fn on_redis() -> Self {
        let directory = TempDir::new().expect("a directory");
        let server = crate::redis_servers::server::Server::start();
        let home = Self { directory, broker: Broker::Redis(server.into()) };
        FileKeys::create(home.key(), &Keyring::generate().expect("keys")).expect("written");
        home
    }

    /// The Redis of the queue.
    #[cfg(feature = "redis")]
    #[track_caller]
    pub fn server(&self) -> &crate::redis_servers::server::Server {
        match &self.broker {
            Broker::Sqlite => panic!("the queue is in a file"),
            Broker::Redis(server) => server,
        }
    }

    /// Where the queue is.
    pub fn url(&self) -> String {
        match &self.broker {
            Broker::Sqlite => format!("sqlite:{}", self.database().display()),
            #[cfg(feature = "redis")]
            Broker::Redis(server) => server.url(),
        }
    }

    /// The key of the queue, in a file that SQLite makes beside its own.
    pub fn key(&self) -> PathBuf {
        self.path("queue.db.key")
    }

    /// Whether others can go on while a process that stopped holds what it holds.
    pub fn is_free(&self) -> bool {
        match &self.broker {
            Broker::Sqlite => {
                let raw = self.raw();
                raw.busy_timeout(Duration::ZERO).expect("set");
                raw.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
            }
            #[cfg(feature = "redis")]
            Broker::Redis(_) => true,
        }
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The file of the queue.
    pub fn database(&self) -> PathBuf {
        self.path("queue.db")
    }

    /// A client of the queue, in this process.
    pub fn client(&self) -> Client {
        let how = oncue::Connect::new(self.url());
        #[cfg(feature = "redis")]
        let how = match &self.broker {
            Broker::Redis(_) => how.keys(FileKeys(self.key())),
            Broker::Sqlite => how,
        };
        oncue::block_on(Client::open(how)).expect("the queue opens")
    }

    /// The file as SQLite sees it.
    pub fn raw(&self) -> Connection {
        Connection::open(self.database()).expect("the file opens")
    }

    /// Fails unless every page of the file is what SQLite wants it to be.
    #[track_caller]
    pub fn check_integrity(&self) {
        let Broker::Sqlite = self.broker else { return };
        let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let found = self.raw().query_row("PRAGMA integrity_check", [], check);
        assert_eq!(found.expect("checked"), "ok");
    }
}

/// A client of the queue at this URL, with the keys that are configured.
pub fn connect(url: &str) -> Client {
    oncue::block_on(oncue::connect(url)).expect("the queue opens")
}

/// Asks until it is so. For what nothing tells of.
#[track_caller]
pub fn wait_for(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not become so");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Chance that can be repeated: the seed is printed when a test fails, `ONCUE_TEST_SEED` sets it.
pub struct Dice(u64);

impl Dice {
    /// Fresh dice.
    pub fn new() -> Self {
        let given = std::env::var("ONCUE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(super::ledger::now);
        println!("ONCUE_TEST_SEED={seed}");
        Self(seed)
    }

    /// Below `sides` (SplitMix64).
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
