//! An application and the relay of its outbox, killed at every step of the way from a transaction to Redis, and at
//! random: each committed order has its task there once, which runs once, and no other order has one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oncue::broker::Reply;
use oncue::outbox::{Moved, Outbox, OutboxStore, Page, Relay, Row};
use oncue::{Client, Data, TaskResult};
use rusqlite::Connection;
use rustix::process::Signal;

use super::ledger::now;
use super::player::{Player, QUEUE};
use super::role::{say, word};
use super::stage::{Dice, Home, wait_for};
use crate::redis_servers::proxy::{Proxy, Way};
use crate::runtime::company::{Company, Other};

/// Names the database of the application.
const SHOP: &str = "ONCUE_TEST_SHOP";
/// Names the step at which a child dies, if it is to.
const STEP: &str = "ONCUE_TEST_STEP";
/// Kills at random.
const KILLS: usize = 30;
/// Between two kills, at most.
const PAUSE_MS: u64 = 60;
/// Longest all of them may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What every order of the shop did when it ran.
type Runs = Arc<Mutex<BTreeMap<u64, usize>>>;

fn die() -> ! {
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, Signal::KILL).expect("killed");
    unreachable!("SIGKILL is not survived")
}

fn dies_at(step: &str) -> bool {
    std::env::var(STEP).is_ok_and(|at| at == step)
}

/// The role of the application: sells, mostly, and dies at its step.
pub fn sell(client: &Client) {
    let mut shop = Connection::open(word(SHOP)).expect("opens");
    shop.busy_timeout(LIMIT).expect("set");
    say("going");
    for sale in 0.. {
        let order = order(client, &mut shop, sale % 3 != 1, true);
        if let Some(order) = order {
            say(&format!("committed {order}"));
        }
    }
}

/// One order with its task, committed or rolled back; answers its number if it is there.
fn order(client: &Client, shop: &mut Connection, is_paid: bool, may_die: bool) -> Option<u64> {
    let number = now();
    let tx = shop.transaction().expect("begins");
    tx.execute("INSERT INTO orders VALUES (?1)", [number.cast_signed()]).expect("inserted");
    client.enqueue_in(&tx, Other(number)).expect("written");
    if may_die && dies_at("written") {
        die();
    }
    if !is_paid {
        tx.rollback().expect("rolled back");
        return None;
    }
    tx.commit().expect("committed");
    if may_die && dies_at("committed") {
        die();
    }
    Some(number)
}

/// An outbox whose user dies at its step.
struct Mortal(Arc<Outbox>);

impl OutboxStore for Mortal {
    fn read(&self, page: Page) -> Reply<Vec<Row>> {
        let reading = self.0.read(page);
        Box::pin(async move {
            let rows = reading.await?;
            if !rows.is_empty() && dies_at("read") {
                die();
            }
            Ok(rows)
        })
    }

    fn remove(&self, rows: Vec<i64>) -> Reply<()> {
        if dies_at("handed over") {
            die();
        }
        let removing = self.0.remove(rows);
        Box::pin(async move {
            removing.await?;
            if dies_at("removed") {
                die();
            }
            Ok(())
        })
    }

    fn version(&self) -> Reply<Option<i64>> {
        self.0.version()
    }
}

/// The role of the relay. At the step `told` it hands over what is there, and goes on when it is told to.
pub fn relay(client: &Client) {
    let outbox = Outbox::open(word(SHOP)).expect("opens");
    let relay = Relay::new(client.clone(), Mortal(Arc::new(outbox)));
    oncue::block_on(async {
        if dies_at("told") {
            relay.once().await.expect("handed over");
            say("waits");
            std::io::stdin().lines().next();
        }
        say("going");
        relay.run().await
    });
}

/// The scene: a shop with an outbox, and a Redis with a worker that counts.
struct Scene {
    home: Home,
    client: Client,
    runs: Runs,
}

impl Scene {
    fn new() -> Self {
        let home = Home::on_redis();
        let client = home.client();
        let scene = Self { home, client, runs: Runs::default() };
        let shop = scene.shop();
        shop.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE orders (number INTEGER UNIQUE)",
        )
        .expect("a shop");
        Outbox::create(&shop).expect("an outbox");
        scene
    }

    fn path(&self) -> PathBuf {
        self.home.path("shop.db")
    }

    fn shop(&self) -> Connection {
        Connection::open(self.path()).expect("opens")
    }

    fn player(&self, role: &str, words: &[(&str, &str)]) -> Player {
        let path = self.path().display().to_string();
        Player::start(&self.home, role, &[words, &[(SHOP, &path)]].concat())
    }

    /// A worker that is never killed, so that each task runs once.
    fn work(&self) -> Company {
        async fn run(task: Other, runs: Data<Runs>) -> TaskResult {
            *runs.lock().expect("not poisoned").entry(task.0).or_default() += 1;
            Ok(())
        }
        let runs = self.runs.clone();
        Company::start(self.client.clone(), |worker| worker.handle(run).data(runs))
    }

    fn orders(&self) -> BTreeSet<u64> {
        let shop = self.shop();
        let mut read = shop.prepare("SELECT number FROM orders").expect("read");
        let rows = read.query_map([], |row| row.get::<_, i64>(0)).expect("read");
        rows.map(|row| row.expect("read").cast_unsigned()).collect()
    }

    fn rows(&self) -> usize {
        let count = "SELECT count(*) FROM oncue_outbox";
        let count = self.shop().query_row(count, [], |row| row.get::<_, i64>(0)).expect("counted");
        usize::try_from(count).expect("not negative")
    }

    /// A paid order and another one.
    fn two_orders(&self) {
        let mut shop = self.shop();
        order(&self.client, &mut shop, true, false).expect("committed");
        assert_eq!(order(&self.client, &mut shop, false, false), None);
    }

    fn relay_once(&self) -> Moved {
        let outbox = Outbox::open(self.path()).expect("opens");
        oncue::block_on(Relay::new(self.client.clone(), outbox).once()).expect("handed over")
    }

    /// Waits until as many have run as are ordered; each has, once, and no other.
    #[track_caller]
    fn check(&self) {
        let orders = self.orders();
        wait_for(|| self.runs.lock().expect("not poisoned").len() >= orders.len());
        let runs = self.runs.lock().expect("not poisoned");
        assert_eq!(runs.keys().copied().collect::<BTreeSet<_>>(), orders);
        assert!(runs.values().all(|times| *times == 1), "{runs:?}");
    }
}

#[test]
fn a_death_at_any_step_costs_no_task_and_makes_none() {
    let scene = Scene::new();
    let work = scene.work();
    for (step, rows) in [("written", 0), ("committed", 1)] {
        let mut shop = scene.player("shop", &[(STEP, step)]);
        assert_eq!(shop.end().signal(), Some(Signal::KILL.as_raw()));
        assert_eq!(scene.rows(), rows, "{step}");
    }
    for (step, rows) in [("read", 1), ("handed over", 1), ("removed", 0)] {
        scene.relay_once();
        scene.two_orders();
        let mut relay = scene.player("relay", &[(STEP, step)]);
        assert_eq!(relay.end().signal(), Some(Signal::KILL.as_raw()));
        assert_eq!(scene.rows(), rows, "{step}");
        if step != "read" {
            // The task runs to its end and is gone before it is handed over again.
            scene.check();
        }
    }
    scene.relay_once();
    assert_eq!(scene.rows(), 0);
    scene.check();
    assert_eq!(scene.orders().len(), 4);
    drop(work.end());
}

#[test]
fn a_death_while_redis_is_asked_costs_no_task_and_makes_none() {
    let scene = Scene::new();
    let work = scene.work();
    for is_executed in [false, true] {
        let proxy = Proxy::to(scene.home.server());
        scene.two_orders();
        let mut relay = scene.player("relay", &[(QUEUE, &proxy.url()), (STEP, "told")]);
        relay.until("waits");
        scene.check();
        if is_executed {
            proxy.stall(Way::Replies);
        } else {
            proxy.hold_request_in_silence("FCALL", 1);
        }
        scene.two_orders();
        relay.tell("go on");
        if is_executed {
            // It has even run, and nobody told the relay that it is there.
            scene.check();
        } else {
            proxy.until("the call", |counts| counts.held == 1);
        }
        relay.kill();
        assert_eq!(scene.rows(), 1);
        assert_eq!(scene.relay_once().handed, 1);
        scene.check();
        if !is_executed {
            // The call of the dead one arrives after all, when the task has ended.
            assert_eq!(proxy.land(), 1);
            assert_eq!(scene.relay_once().handed, 0);
        }
    }
    let (client, _) = work.end();
    let left = oncue::block_on(client.broker().stats()).expect("counted");
    assert!(left.iter().all(|queue| queue.total() == 0), "{left:?}");
    scene.check();
}

/// A control: a relay that takes a row for a new task each time is found out.
#[test]
fn a_relay_that_knows_no_ids_is_found_out() {
    let scene = Scene::new();
    let work = scene.work();
    scene.two_orders();
    let orders = scene.orders();
    let number = *orders.first().expect("one");
    oncue::block_on(scene.client.enqueue(Other(number))).expect("enqueued");
    scene.relay_once();
    wait_for(|| scene.runs.lock().expect("not poisoned").get(&number) == Some(&2));
    drop(work.end());
}

#[test]
fn kills_at_random_cost_no_task_and_make_none() {
    let (scene, mut dice) = (Scene::new(), Dice::new());
    let work = scene.work();
    let deadline = Instant::now() + LIMIT;
    let mut players = ["shop", "relay"].map(|role| (role, scene.player(role, &[])));
    let mut acknowledged = BTreeSet::new();
    let heard = |player: &Player, acknowledged: &mut BTreeSet<u64>| {
        for line in player.last_words() {
            if let Some(number) = line.strip_prefix("committed ") {
                acknowledged.insert(number.parse().expect("a number"));
            }
        }
    };
    for (_, player) in &players {
        player.until("going");
    }
    for kill in 0..KILLS {
        assert!(Instant::now() < deadline, "{kill} kills in {LIMIT:?}");
        // The schedule of the faults, not a wait for anything.
        std::thread::sleep(Duration::from_millis(dice.roll(PAUSE_MS)));
        let (role, player) = &mut players[usize::from(dice.roll(2) == 1)];
        player.kill();
        heard(player, &mut acknowledged);
        *player = scene.player(role, &[]);
        player.until("going");
    }
    for (_, player) in &mut players {
        player.kill();
        heard(player, &mut acknowledged);
    }
    scene.relay_once();
    assert_eq!(scene.rows(), 0);
    scene.check();
    let orders = scene.orders();
    assert!(orders.is_superset(&acknowledged), "what was committed is there");
    assert!(
        acknowledged.len() > KILLS,
        "{} orders are too few to show anything",
        acknowledged.len()
    );
    println!("{KILLS} kills, {} orders, {} acknowledged", orders.len(), acknowledged.len());
    drop(work.end());
}
