//! What a missing right leaves behind. A function has its caller's rights, and what it wrote before it was refused
//! stays: so each is called as a user who lacks one of its commands, for every command it has.
//!
//! Either nothing changed, or what is left heals once the rights are there, or the case stands in [`STRANDED`]:
//! the rules are generated so that it never comes to that, and must not be cut by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oncue::broker::redis::acl::{Role, Scope, grants, rules};
use oncue::broker::redis::{Options, RedisBroker};
use oncue::broker::*;
use oncue::clock::ManualClock;
use oncue::queue::Kind;
use oncue::state::Reason;

use super::users::NAMESPACE;
use crate::fixture::*;
use crate::redis_servers::server::Server;

const USER: &str = "lacking";
const PASSWORD: &str = "lacking-password";

/// By verb, the rights whose lack leaves a record to which no list leads, which nothing brings back. Of an enqueue it
/// is one nobody was promised: it failed, and its record is only in the way.
const STRANDED: &[(&str, &[&str])] =
    &[("advance", &["HDEL"]), ("dequeue", &["HSET", "RPUSH"]), ("enqueue", &["HDEL"])];

/// A server, a broker that may all, and one whose rights are changed while it is connected.
struct Stage {
    server: Server,
    clock: Arc<ManualClock>,
    bench: Bench,
    lacking: RedisBroker,
}

impl Stage {
    fn new() -> Self {
        let (server, clock) = (Server::start(), Arc::new(ManualClock::at(START)));
        let open = |url: &str| {
            let options = Options::parse(url).expect("a URL").namespace(NAMESPACE);
            RedisBroker::open(options.clock(clock.clone())).expect("a broker")
        };
        let full = open(&server.url());
        run(full.stats()).expect("deployed");
        let words = ["ACL", "SETUSER", USER, "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"];
        server.cli(&words);
        let lacking = open(&server.url_as(USER, PASSWORD));
        run(lacking.stats()).expect("connected");
        let opened = Opened { broker: Arc::new(full), guard: None };
        let bench = Bench::at(clock.clone(), opened);
        Self { server, clock, bench, lacking }
    }

    /// The rights of a role but for one command.
    fn give(&self, role: Role, but: &str) {
        let scope = Scope::new(NAMESPACE, ["*"]).expect("a scope");
        let rules = rules(&[role], &scope);
        let but = format!("+{}", but.to_lowercase());
        let mut words =
            vec!["ACL".to_owned(), "SETUSER".into(), USER.into(), "clearselectors".into()];
        for (at, part) in rules.split(" (").enumerate() {
            let kept: Vec<_> =
                part.trim_end_matches(')').split(' ').filter(|word| *word != but).collect();
            match at {
                0 => words.extend(kept.iter().map(|word| (*word).to_owned())),
                // A selector of which nothing is left but its keys is none.
                _ if !kept.iter().any(|word| word.starts_with('+')) => {}
                _ => words.push(format!("({})", kept.join(" "))),
            }
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.server.cli(&words);
    }

    fn digest(&self) -> String {
        self.server.ask(&["DEBUG", "DIGEST"])
    }

    fn key(&self, name: &str) -> String {
        format!("oncue:{{{NAMESPACE}/default}}:{name}")
    }

    /// Ids of records that no list, set or sorted set of the queue leads to.
    fn strays(&self) -> usize {
        let ids: BTreeSet<Vec<u8>> = self.server.ask(&["HKEYS", &self.key("t")]);
        let orphans: BTreeSet<Vec<u8>> = self.server.ask(&["SMEMBERS", &self.key("or")]);
        let mut led = BTreeSet::new();
        let keys: Vec<Vec<u8>> = self.server.ask(&["KEYS", "*"]);
        let prefix = self.key("");
        for key in keys.iter().filter_map(|key| key.strip_prefix(prefix.as_bytes())) {
            let (ask, ids_from) = match key {
                [b'p', ..] | [b'z', _, ..] => (("LRANGE", vec!["0", "-1"]), 6),
                [b's' | b'r' | b'c' | b'x' | b'g'] => (("ZRANGE", vec!["0", "-1"]), 0),
                [b'a', b':', ..] | [b'd', b'e', b'a', b'd', b':', ..] => (("HVALS", vec![]), 0),
                _ => continue,
            };
            let mut command = ::redis::cmd(ask.0);
            command.arg([prefix.as_bytes(), key].concat()).arg(ask.1);
            let mut admin = self.server.admin().expect("a connection");
            let found: Vec<Vec<u8>> = command.query(&mut admin).expect("a list");
            let ids =
                found.iter().flat_map(|member| member[ids_from.min(member.len())..].chunks(16));
            led.extend(ids.map(<[u8]>::to_vec));
        }
        ids.difference(&led).filter(|id| !orphans.contains(*id)).count()
    }

    /// Time passes and sweeps are made by those who may all: what was held is held by nobody any more.
    fn heal(&self) {
        for _ in 0..4 {
            self.bench.pass(GAP / 2 + SECOND);
            let (sweeper, claims) = self.bench.take_over();
            let back =
                claims.iter().map(|claim| Settlement::new(claim.ticket, release())).collect();
            if !claims.is_empty() {
                self.bench.settle(&sweeper, back);
            }
        }
        self.bench.put(tasks(1));
    }
}

/// A call of a verb.
type Act = Box<dyn Fn(&RedisBroker) -> oncue::Result<()>>;
/// Makes what must be there before it.
type Prepare = fn(&Stage) -> Act;

fn call<T: 'static>(make: impl Fn(&RedisBroker) -> Reply<T> + 'static) -> Act {
    Box::new(move |broker| run(make(broker)).map(drop))
}

/// Takes each right in turn and calls: what was refused may strand what the table says, and no more.
fn without_each(verb: &str, role: Role, scenes: &[Prepare]) {
    let stage = Stage::new();
    let mut found: BTreeMap<&str, bool> = BTreeMap::new();
    for prepare in scenes {
        for (command, _) in grants(role) {
            // What is not inside a function: the call itself, and the transaction around it.
            if command.starts_with("FCALL") || ["MULTI", "EXEC"].contains(&command) {
                continue;
            }
            stage.server.cli(&["FLUSHALL"]);
            stage.clock.set(START);
            let act = prepare(&stage);
            stage.give(role, command);
            let before = stage.digest();
            let answer = act(&stage.lacking);
            let Err(error) = answer else { continue };
            assert!(error.is_denied(), "{verb} without {command}: {error}");
            let changed = stage.digest() != before;
            if changed {
                stage.heal();
            }
            *found.entry(command).or_default() |= changed && stage.strays() > 0;
        }
    }
    let stranded = found.iter().filter(|(_, stranded)| **stranded);
    let stranded: Vec<_> = stranded.map(|(command, _)| *command).collect();
    let told =
        STRANDED.iter().find(|(of, _)| *of == verb).map_or(&[][..], |(_, commands)| commands);
    assert_eq!(stranded, told, "{verb}: rights without which a record is stranded");
    assert!(found.len() >= 3, "{verb}: only {} rights were missed", found.len());
}

/// A settlement with a trail.
fn told(claim: &Claim, order: Order) -> Settlement {
    Settlement { trail: Some(trail(1)), ..Settlement::new(claim.ticket, order) }
}

/// Somebody asked and found nothing: the next task wakes.
fn idle(stage: &Stage) {
    assert_eq!(stage.bench.take_all().1.len(), 0);
}

#[test]
fn enqueue() {
    without_each(
        "enqueue",
        Role::Producer,
        &[
            |stage| {
                idle(stage);
                stage.server.cli(&["HSET", &stage.key("cfg"), "max", "100"]);
                stage.server.cli(&["ZADD", &stage.key("d"), "1", "remembered"]);
                stage.server.cli(&["SADD", &stage.key("or"), "an orphan's id"]);
                let specs = [task(KINDS[0]), task(KINDS[0]).after(HOUR), task(KINDS[1]).key("k")];
                let batch = stage.bench.batch(specs);
                call(move |broker| broker.enqueue(batch.clone()))
            },
            // Sent again after its tasks ended: their records must not come back.
            |stage| {
                let batch = stage.bench.batch(tasks(2));
                stage.bench.enqueue(&batch);
                let (session, claims) = stage.bench.take_all();
                let ended = claims.iter().map(|claim| Settlement::new(claim.ticket, complete()));
                stage.bench.settle(&session, ended.collect());
                call(move |broker| broker.enqueue(batch.clone()))
            },
            |stage| {
                stage.bench.set(Setting::Bytes(Some(1 << 20)));
                let batch = stage.bench.batch([of_two(), of_two(), of_two()]);
                call(move |broker| broker.enqueue(batch.clone()))
            },
        ],
    );
}

/// A task of a group that closes with its second.
fn of_two() -> Spec {
    task(KINDS[0]).group(gather("g", HOUR).most(2))
}

#[test]
fn dequeue() {
    without_each(
        "dequeue",
        Role::Worker,
        &[
            |stage| {
                stage.bench.put_one(task(KINDS[0]));
                let (session, claims) = stage.bench.take_all();
                let again = told(&claims[0], release());
                stage.bench.settle(&session, vec![again]);
                stage.bench.put([task(KINDS[0]).priority(5), task(KINDS[1])]);
                stage.bench.put(tasks(3));
                let lines: Vec<Vec<u8>> = stage.server.ask(&["KEYS", &stage.key("p*")]);
                let hash = oncue::queue::KindHash::of(KINDS[1]).0;
                let line =
                    lines.iter().find(|line| line.ends_with(&hash)).expect("a line of this kind");
                let mut junk = ::redis::cmd("RPUSH");
                let mut admin = stage.server.admin().expect("a connection");
                junk.arg(line).arg("junk").query::<()>(&mut admin).expect("pushed");
                let ask = stage.bench.ask(&stage.bench.session(), 5);
                call(move |broker| broker.dequeue(ask.clone()))
            },
            |stage| {
                let ask = stage.bench.ask(&stage.bench.session(), 4);
                call(move |broker| broker.dequeue(ask.clone()))
            },
            |stage| {
                stage.bench.put([of_two(), of_two(), task(KINDS[0]), task(KINDS[1])]);
                stage.bench.set(Setting::Concurrency(Some(100)));
                let kind = Kind::parse(KINDS[1]).expect("a kind");
                stage.bench.set(Setting::KindConcurrency(kind, Some(100)));
                let ask = stage.bench.ask(&stage.bench.session(), 4);
                call(move |broker| broker.dequeue(ask.clone()))
            },
        ],
    );
}

#[test]
fn settle() {
    without_each(
        "settle",
        Role::Worker,
        &[
            |stage| settle_one(stage, |_| complete()),
            |stage| {
                settle_one(stage, |claim| {
                    let result = Some((1, result_of(claim, 1, b"1")));
                    Order::Complete { keep: HOUR, result }
                })
            },
            |stage| settle_one(stage, |_| Order::Retry { after: MINUTE, front: false }),
            |stage| settle_one(stage, |_| Order::Snooze { after: MINUTE }),
            |stage| settle_one(stage, |_| release()),
            |stage| settle_gathered(stage, release()),
            |stage| settle_gathered(stage, complete()),
            |stage| settle_one(stage, |_| Order::Release { lane: Lane::Alone }),
            |stage| settle_one(stage, |_| Order::Archive { reason: Reason::Exhausted }),
        ],
    );
}

/// Two claims, one of a task with a key of its own that ran alone, settled alike, the second with a trail.
fn settle_one(stage: &Stage, order: fn(&Claim) -> Order) -> Act {
    stage.bench.put([task(KINDS[0]).key("k"), task(KINDS[0])]);
    let (session, claims) = stage.bench.take_all();
    let alone = Order::Release { lane: Lane::Alone };
    stage.bench.settle(&session, vec![Settlement::new(claims[0].ticket, alone)]);
    let ask = Ask { lane: Lane::Alone, ..stage.bench.ask(&session, 1) };
    assert_eq!(stage.bench.claims(ask).len(), 1);
    idle(stage);
    let list = vec![
        Settlement::new(claims[0].ticket, order(&claims[0])),
        told(&claims[1], order(&claims[1])),
    ];
    call(move |broker| broker.settle(session.clone(), list.clone()))
}

/// Two tasks that were claimed as a group, settled alike while so many bytes are the limit.
fn settle_gathered(stage: &Stage, order: Order) -> Act {
    stage.bench.set(Setting::Bytes(Some(1 << 20)));
    stage.bench.put([of_two(), of_two()]);
    let (session, claims) = stage.bench.take_all();
    let list: Vec<_> =
        claims.iter().map(|claim| Settlement::new(claim.ticket, order.clone())).collect();
    call(move |broker| broker.settle(session.clone(), list.clone()))
}

#[test]
fn retire() {
    without_each(
        "retire",
        Role::Worker,
        &[
            |stage| {
                let known = stage.bench.put(tasks(3))[0];
                let (session, _) = stage.bench.take_all();
                idle(stage);
                call(move |broker| broker.retire(session.clone(), vec![known]))
            },
            |stage| {
                let session = stage.bench.session();
                call(move |broker| broker.retire(session.clone(), vec![]))
            },
            |stage| {
                stage.bench.put([of_two(), of_two()]);
                let (session, _) = stage.bench.take_all();
                call(move |broker| broker.retire(session.clone(), vec![]))
            },
        ],
    );
}

#[test]
fn beat() {
    without_each(
        "beat",
        Role::Worker,
        &[|stage| {
            stage.bench.put(tasks(2));
            let sessions = vec![stage.bench.session(), stage.bench.session()];
            stage.bench.take(&sessions[0], 1);
            stage.bench.take(&sessions[1], 1);
            stage.bench.retire(&sessions[1], &[]);
            stage.bench.pass(SECOND);
            let beat = Beat { sessions, lease: LEASE, presence: None };
            call(move |broker| broker.beat(beat.clone()))
        }],
    );
}

#[test]
fn advance() {
    without_each(
        "advance",
        Role::Worker,
        &[
            |stage| {
                stage.bench.put([task(KINDS[0]).key("k"), task(KINDS[0])]);
                let (session, claims) = stage.bench.take_all();
                stage.bench.end(&session, &claims[0], keep(MINUTE));
                stage.bench.end(&session, &claims[1], Order::Retry { after: MINUTE, front: false });
                stage.bench.put_one(task(KINDS[1]).after(MINUTE));
                stage.server.cli(&["ZADD", &stage.key("s"), "1", "junk"]);
                idle(stage);
                stage.bench.pass(HOUR);
                let queue = stage.bench.queue.clone();
                call(move |broker| broker.advance(queue.clone(), 100))
            },
            too_many_and_due,
        ],
    );
}

/// A group closes, a task joins another, and of what is kept some is too much.
fn too_many_and_due(stage: &Stage) -> Act {
    stage.bench.put([task(KINDS[1]).key("k"), task(KINDS[1])]);
    let (session, claims) = stage.bench.take_all();
    stage.bench.end(&session, &claims[0], keep(HOUR * 2));
    let reason = Reason::Exhausted;
    stage.bench.end(&session, &claims[1], Order::Archive { reason });
    let group = |name| task(KINDS[0]).group(gather(name, MINUTE));
    stage.bench.put([group("open"), group("later").after(MINUTE)]);
    stage.bench.set(Setting::KeepCompleted(Some(0)));
    stage.bench.set(Setting::KeepArchived(None, Some(MINUTE)));
    stage.bench.pass(MINUTE);
    let queue = stage.bench.queue.clone();
    call(move |broker| broker.advance(queue.clone(), 100))
}

#[test]
fn reclaim() {
    without_each(
        "reclaim",
        Role::Worker,
        &[|stage| {
            stage.bench.put(tasks(2));
            let (session, claims) = stage.bench.take_all();
            let again = told(&claims[0], release());
            stage.bench.settle(&session, vec![again]);
            stage.bench.take(&session, 1);
            let group = gather("g", HOUR).most(1);
            stage.bench.put([task("nobody:knows"), task("nobody:gathers").group(group)]);
            for name in ["e", "d"] {
                stage.server.cli(&["ZADD", &stage.key(name), "1", "long ago"]);
            }
            // Sweeps without a gap until what nobody knows has waited long enough, and the session is expired.
            for _ in 0..GRACE.as_secs() / 15 {
                stage.bench.beat(&[&session]);
                stage.bench.pass(15 * SECOND);
                stage.bench.reclaim(&stage.bench.session());
            }
            stage.bench.pass(LEASE + SECOND);
            let sweep = stage.bench.sweep(&stage.bench.session());
            call(move |broker| broker.reclaim(sweep.clone()))
        }],
    );
}

/// A task that wants a lock, which is to be taken from whoever waits with it.
fn locking(stage: &Stage, spec: Spec, conflict: Conflict) -> Batch {
    let mut batch = stage.bench.batch([spec]);
    let names = vec![LockName([7; 16])];
    let lock = Lock { names, hold: Hold::UntilEnd, lasts: None, conflict, within: None };
    batch.tasks = vec![NewTask { lock: Some(Box::new(lock)), ..batch.tasks[0].clone() }].into();
    batch
}

#[test]
fn enqueue_with_a_lock() {
    without_each(
        "enqueue with a lock",
        Role::Producer,
        &[
            |stage| taken_from(stage, task(KINDS[0]), Conflict::Replace),
            |stage| taken_from(stage, task(KINDS[0]).after(HOUR), Conflict::Replace),
            |stage| taken_from(stage, task(KINDS[0]).after(HOUR), Conflict::Reschedule),
            |stage| taken_from(stage, of_two(), Conflict::Replace),
        ],
    );
}

fn taken_from(stage: &Stage, holder: Spec, conflict: Conflict) -> Act {
    stage.bench.enqueue(&locking(stage, holder, conflict));
    let batch = locking(stage, task(KINDS[0]), conflict);
    call(move |broker| broker.enqueue(batch.clone()))
}

#[test]
fn act() {
    without_each(
        "act",
        Role::Operator,
        &[
            |stage| acted(stage, task(KINDS[0]).key("k"), oncue::broker::Act::Delete),
            |stage| acted(stage, task(KINDS[0]), oncue::broker::Act::Archive),
            |stage| acted(stage, task(KINDS[0]).after(HOUR), oncue::broker::Act::Run),
            |stage| acted(stage, of_two(), oncue::broker::Act::Delete),
            |stage| acted(stage, of_two(), oncue::broker::Act::Run),
        ],
    );
}

fn acted(stage: &Stage, spec: Spec, act: oncue::broker::Act) -> Act {
    let batch = locking(stage, spec, Conflict::Keep);
    stage.bench.enqueue(&batch);
    let (queue, id) = (stage.bench.queue.clone(), batch.tasks[0].envelope.id());
    call(move |broker| broker.act(queue.clone(), id, act))
}
