//! Crashes at every step: what is safe holds at each of them, what is not is found.

use std::sync::{Arc, Mutex};

use oncue::testing::{Bench, Crashes, Moment, crash_at_every_step, enqueued};
use oncue::worker::Builder;
use oncue::{Client, Data, Task, TaskContext, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order(u64);

impl Task for Order {
    const KIND: &'static str = "order";
}

#[derive(Serialize, Deserialize)]
struct Parcel(u64);

impl Task for Parcel {
    const KIND: &'static str = "parcel";
    const QUEUE: &'static str = "parcels";
}

/// What a handler did, in order.
type Deeds = Arc<Mutex<Vec<&'static str>>>;

struct World {
    client: Client,
    deeds: Deeds,
}

impl World {
    async fn with(bench: &Bench) -> oncue::Result<Self> {
        bench.client().enqueue(Order(7)).await?;
        Ok(Self { client: bench.client().clone(), deeds: Deeds::default() })
    }

    fn of(&self, worker: Builder) -> Builder {
        worker.data(self.client.clone()).data(self.deeds.clone())
    }

    fn count(&self, deed: &str) -> usize {
        self.deeds.lock().expect("not poisoned").iter().filter(|done| **done == deed).count()
    }
}

fn deed(deeds: &Deeds, what: &'static str) {
    deeds.lock().expect("not poisoned").push(what);
}

/// A key makes it safe: enqueued again it finds the first one.
async fn safe(order: Order, client: Data<Client>, deeds: Data<Deeds>) -> TaskResult {
    deed(&deeds, "begun");
    client.enqueue(Parcel(order.0).draft().key(format!("order {}", order.0))).await?;
    deed(&deeds, "enqueued");
    Ok(())
}

async fn unsafely(order: Order, client: Data<Client>, deeds: Data<Deeds>) -> TaskResult {
    deed(&deeds, "begun");
    client.enqueue(Parcel(order.0)).await?;
    Ok(())
}

fn told(crashes: &Crashes) -> Vec<(&'static str, Moment)> {
    crashes.steps.iter().map(|step| (step.verb, step.moment)).collect()
}

use Moment::{After, Before};

const STEPS: [(&str, Moment); 5] = [
    ("dequeue", After),
    ("enqueue", Before),
    ("enqueue", After),
    ("settle", Before),
    ("settle", After),
];

#[test]
fn what_is_safe_holds_after_a_crash_anywhere() {
    let crashes = oncue::block_on(crash_at_every_step(
        World::with,
        |world, worker| world.of(worker.handle(safe)),
        async |_, bench| {
            let parcels = enqueued::<Parcel>(bench.client()).expect("read");
            assert_eq!(parcels.len(), 1);
            assert_eq!(enqueued::<Order>(bench.client()).expect("read").len(), 0, "it ended");
        },
    ));
    let crashes = crashes.expect("it holds");
    assert_eq!(told(&crashes), STEPS);
    assert_eq!(crashes.steps[3].to_string(), "at step 4, before settle");
}

#[test]
fn what_is_not_safe_is_found_where_it_breaks() {
    let broken = Mutex::new(Vec::new());
    let crashes = oncue::block_on(crash_at_every_step(
        World::with,
        |world, worker| world.of(worker.handle(unsafely)),
        async |_, bench| {
            let parcels = enqueued::<Parcel>(bench.client()).expect("read");
            broken.lock().expect("not poisoned").push(parcels.len());
        },
    ));
    assert_eq!(told(&crashes.expect("told")), STEPS);
    // Undisturbed, after each step, and once more to see that there is no further one.
    assert_eq!(*broken.lock().expect("not poisoned"), [1, 1, 1, 2, 2, 1, 1]);
}

#[test]
fn no_code_of_a_run_goes_on_after_the_crash() {
    let seen = Mutex::new(Vec::new());
    let crashes = oncue::block_on(crash_at_every_step(
        World::with,
        |world, worker| world.of(worker.handle(safe)),
        async |world: &World, _| {
            seen.lock()
                .expect("not poisoned")
                .push((world.count("begun"), world.count("enqueued")));
        },
    ));
    assert_eq!(told(&crashes.expect("told")), STEPS);
    let expected = [(1, 1), (1, 1), (2, 1), (2, 1), (2, 2), (1, 1), (1, 1)];
    assert_eq!(*seen.lock().expect("not poisoned"), expected);
}

#[test]
fn an_effect_is_done_again_only_if_its_note_was_not_written() {
    async fn charge(_: Order, context: TaskContext, deeds: Data<Deeds>) -> TaskResult {
        let effect = async |_| {
            deed(&deeds, "charged");
            TaskResult::Ok(())
        };
        context.once("charge", effect).await
    }
    let seen = Mutex::new(Vec::new());
    let crashes = oncue::block_on(crash_at_every_step(
        World::with,
        |world, worker| world.of(worker.handle(charge)),
        async |world: &World, _| seen.lock().expect("not poisoned").push(world.count("charged")),
    ));
    let steps = [
        ("dequeue", After),
        ("note", Before),
        ("note", After),
        ("settle", Before),
        ("settle", After),
    ];
    assert_eq!(told(&crashes.expect("told")), steps);
    assert_eq!(*seen.lock().expect("not poisoned"), [1, 1, 2, 1, 1, 1, 1]);
}

#[test]
fn a_check_that_fails_ends_it() {
    let rounds = Mutex::new(0);
    let run = crash_at_every_step(
        World::with,
        |world, worker| world.of(worker.handle(unsafely)),
        async |_, bench| {
            *rounds.lock().expect("not poisoned") += 1;
            assert_eq!(enqueued::<Parcel>(bench.client()).expect("read").len(), 1);
        },
    );
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| oncue::block_on(run)));
    assert!(ended.is_err());
    let rounds = rounds.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert_eq!(rounds, 4, "undisturbed, twice well, then not");
}

#[test]
fn what_is_wrong_with_the_scenario_is_told() {
    let broken = oncue::block_on(crash_at_every_step(
        async |_| Ok(()),
        |(), worker| worker,
        async |(), _| panic!("not reached"),
    ));
    assert!(broken.expect_err("no handlers").is_invalid());
}

/// A worker may be about to claim when it dies: what it claimed then is in the hands of nobody who lives.
#[test]
fn claims_that_were_on_their_way_come_back() {
    for _ in 0..8 {
        let crashes = oncue::block_on(crash_at_every_step(
            async |bench| {
                let later = Order(7).draft().after(std::time::Duration::from_secs(86_400));
                bench.client().enqueue(later).await?;
                let (client, deeds) = (bench.client().clone(), Deeds::default());
                Ok(World { client, deeds })
            },
            |world, worker| world.of(worker.handle(safe)),
            async |_, bench| {
                assert_eq!(enqueued::<Order>(bench.client()).expect("read").len(), 0, "it ended");
            },
        ));
        assert_eq!(told(&crashes.expect("it holds")), STEPS);
    }
}
