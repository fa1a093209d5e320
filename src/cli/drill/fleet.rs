//! The processes of the drill: who is there, who died, who takes the place.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oncue::broker::Setting;
use oncue::{Error, Result};
use rustix::process::Signal;

use super::child::{Part, Role};
use super::ledger::{By, Ledger, Line, now};
use super::member::{Member, Standing};
use super::place::Place;
use super::plan::{LEASE, Plan};
use super::producer::{Acknowledged, PRODUCERS};

/// How long a process that was told to end may take: its shutdown, and a thread that blocks for three leases.
const GOODBYE: Duration = Duration::from_secs(10);
/// How many processes may end by themselves before the drill gives up.
const DEFECTS_MAX: usize = 20;
/// How long a stopped process may keep the broker from writing, and how often another moment is tried.
const FREE: Duration = Duration::from_millis(250);
const MOMENTS_MAX: usize = 10;
/// How often ended processes are looked for.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// The name of the ledger of the drill itself.
const OWN: &str = "drill";

/// What was done to the processes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) kills: u64,
    pub(super) terms: u64,
    pub(super) stops: u64,
    pub(super) starved: u64,
    pub(super) restarts: u64,
}

/// The processes.
pub(super) struct Fleet<'p> {
    pub(super) place: &'p Place,
    pub(super) plan: Plan,
    pub(super) ledger: Ledger,
    pub(super) members: Vec<Member>,
    pub(super) counts: Counts,
    /// All who ever were there.
    names: Vec<String>,
    /// By share, what producers before the present one had acknowledged; and the name of that one.
    produced: HashMap<u64, (Acknowledged, Option<String>)>,
    defects: usize,
    span: Duration,
    pub(super) keep: Duration,
    began: u64,
}

impl<'p> Fleet<'p> {
    pub(super) fn new(
        place: &'p Place,
        plan: Plan,
        span: Duration,
        keep: Duration,
    ) -> Result<Self> {
        let ledger = Ledger::open(&place.ledger(OWN))?;
        let (members, names, counts) = (Vec::new(), Vec::new(), Counts::default());
        let produced = HashMap::new();
        let began = now();
        Ok(Self {
            place,
            plan,
            ledger,
            members,
            counts,
            names,
            produced,
            defects: 0,
            span,
            keep,
            began,
        })
    }

    /// Starts the processes of the drill.
    pub(super) fn launch(&mut self, workers: u64) -> Result<()> {
        self.began = now();
        (0..PRODUCERS).try_for_each(|share| self.add(Role::Producer { share }))?;
        self.add(Role::Scheduler)?;
        (0..workers).try_for_each(|_| self.add(Role::Worker))
    }

    /// Starts one process.
    pub(super) fn add(&mut self, role: Role) -> Result<()> {
        let word = match role {
            Role::Worker => "worker",
            Role::Scheduler => "scheduler",
            Role::Producer { .. } => "producer",
            Role::Calm => "calm",
        };
        let name = format!("{word}-{}", self.names.len());
        let queue = if role == Role::Calm { &self.place.calm } else { &self.place.queue };
        let from = match role {
            Role::Producer { share } => self.go_on_from(share, &name)?,
            _ => None,
        };
        let part = Part {
            role,
            parent: std::process::id(),
            url: self.place.url.clone(),
            queue: queue.to_string(),
            ledger: self.place.ledger(&name),
            from,
            plan: self.plan,
            began: self.began,
            span: self.span,
            keep: self.keep,
        };
        self.members.push(Member::start(self.place, name.clone(), &part)?);
        self.names.push(name);
        Ok(())
    }

    /// Where a new producer of a share goes on; each ledger is read once.
    fn go_on_from(&mut self, share: u64, name: &str) -> Result<Option<u64>> {
        let (acknowledged, present) = self.produced.entry(share).or_default();
        if let Some(last) = present.replace(name.to_owned()) {
            acknowledged.read(&self.place.ledger(&last))?;
        }
        Ok(acknowledged.resume())
    }

    /// The ledgers of all who ever were there, and the drill's own.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        let names = self.names.iter().map(String::as_str).chain([OWN]);
        names.map(|name| (name, self.place.ledger(name)))
    }

    /// Continues who was stopped for long enough, kills who does not end, replaces who ended.
    pub(super) fn tick(&mut self) -> Result<()> {
        for ended in self.reap() {
            if ended.1 != By::Done {
                self.counts.restarts += 1;
                self.add(ended.0)?;
            }
        }
        if self.defects > DEFECTS_MAX {
            let folder = self.place.folder().display();
            return Err(Error::system(format!(
                "more than {DEFECTS_MAX} processes ended by themselves; what they said is in {folder}"
            )));
        }
        Ok(())
    }

    fn reap(&mut self) -> Vec<(Role, By)> {
        let mut ended = Vec::new();
        for member in &mut self.members {
            match member.standing {
                Standing::Stopped { until, .. } if Instant::now() >= until => {
                    go_on(member, &self.ledger);
                }
                Standing::Told { since } if since.elapsed() > GOODBYE => {
                    self.counts.kills += 1;
                    member.kill();
                }
                _ => {}
            }
        }
        self.members.retain_mut(|member| {
            let Some(by) = member.ended() else { return true };
            self.ledger.add(&[Line::Died { who: member.name.clone(), by, at: now() }]);
            self.defects += usize::from(by == By::Itself);
            ended.push((member.role, by));
            false
        });
        ended
    }

    /// Whether every producer has enqueued all it had to.
    pub(super) fn has_produced(&self) -> bool {
        !self.members.iter().any(|member| matches!(member.role, Role::Producer { .. }))
    }

    pub(super) fn kill(&mut self, member: usize) {
        self.counts.kills += 1;
        self.members[member].kill();
    }

    pub(super) fn terminate(&mut self, member: usize) {
        self.counts.terms += 1;
        let member = &mut self.members[member];
        self.ledger.add(&[Line::Told { who: member.name.clone(), at: now() }]);
        member.standing = Standing::Told { since: Instant::now() };
        member.signal(Signal::TERM);
    }

    /// Stops a process at a moment when it keeps nobody else from writing: one that holds the lock of a shared
    /// file stops them all, which is in the nature of such a file and is told in the documents.
    pub(super) async fn stop(&mut self, member: usize, how_long: Duration) {
        for _ in 0..MOMENTS_MAX {
            let from = now();
            self.members[member].stop().await;
            let broker = self.place.client.broker();
            let write = broker.set(self.place.queue.clone(), Setting::Limit(None));
            if tokio::time::timeout(FREE, write).await.is_ok() {
                self.counts.stops += 1;
                let until = Instant::now() + how_long;
                self.members[member].standing = Standing::Stopped { from, until };
                return;
            }
            self.members[member].standing = Standing::Stopped { from, until: Instant::now() };
            go_on(&mut self.members[member], &self.ledger);
        }
    }

    /// Continues everybody who is stopped.
    pub(super) fn go_on(&mut self) {
        for member in &mut self.members {
            go_on(member, &self.ledger);
        }
    }

    /// Tells everybody to end and waits for it.
    pub(super) async fn end(&mut self) {
        self.go_on();
        for member in 0..self.members.len() {
            if self.members[member].standing == Standing::Up {
                self.terminate(member);
                self.counts.terms -= 1;
            }
        }
        // Bounded: who does not end is killed.
        while !self.members.is_empty() {
            self.reap();
            tokio::time::sleep(TICK).await;
        }
    }
}

/// Continues a process that is stopped.
fn go_on(member: &mut Member, ledger: &Ledger) {
    if let Standing::Stopped { from, .. } = member.standing {
        member.signal(Signal::CONT);
        member.standing = Standing::Up;
        ledger.add(&[Line::Stopped { who: member.name.clone(), from, until: now() }]);
    }
}

const _: () = assert!(GOODBYE.as_nanos() > LEASE.as_nanos() * 4);
