//! What the ledgers tell: which tasks were acknowledged, when each ran, and why again.

use std::collections::{HashMap, HashSet};
use std::fmt;

use oncue::Client;
use oncue::broker::{PAGE_ROWS_MAX, Page, TaskView};
use oncue::outcome::CRASHES_MAX;
use oncue::queue::QueueName;
use oncue::state::{Reason, State};

use super::ledger::read;
use super::role::LEASE;
use super::stage::Home;
use crate::runtime::company::count;

/// One run of one task.
struct Run {
    who: String,
    id: String,
    start: u64,
    end: Option<u64>,
}

/// All that is known without asking the broker.
pub struct Evidence {
    acked: HashSet<u64>,
    /// The runs of each task, by their start.
    runs: HashMap<u64, Vec<Run>>,
    /// Whose lease over which task was lost.
    lost: HashSet<(String, String)>,
    deaths: HashMap<String, u64>,
}

impl Evidence {
    /// Reads the ledgers of all these.
    pub fn of(home: &Home, names: &[String], deaths: HashMap<String, u64>) -> Self {
        let (acked, runs, lost) = (HashSet::new(), HashMap::new(), HashSet::new());
        let mut evidence = Self { acked, runs, lost, deaths };
        for name in names {
            read(&home.path(name)).iter().for_each(|line| evidence.add(name, line));
        }
        evidence.runs.values_mut().for_each(|runs| runs.sort_by_key(|run| run.start));
        evidence
    }

    fn add(&mut self, name: &str, line: &[String]) {
        let number = |word: &String| word.parse::<u64>().expect("a number");
        match line {
            [verb, from, until] if verb == "acked" => {
                self.acked.extend(number(from)..number(until));
            }
            [verb, task, start, id] if verb == "start" => {
                let (who, id) = (name.to_owned(), id.clone());
                let run = Run { who, id, start: number(start), end: None };
                self.runs.entry(number(task)).or_default().push(run);
            }
            [verb, task, end] if verb == "end" => {
                // The ledger of one process is in order: what ends here is what started last.
                let runs = self.runs.get_mut(&number(task)).expect("it started");
                let run = runs.iter_mut().rev().find(|run| run.who == name && run.end.is_none());
                run.expect("a run that ends").end = Some(number(end));
            }
            [verb, id] if verb == "lost" => {
                self.lost.insert((name.to_owned(), id.clone()));
            }
            _ => panic!("{name} wrote {line:?}"),
        }
    }

    /// Whether the session of a run was over when the next one began: its process was killed before, or
    /// tells that it lost the lease, or was killed before its next beat could have told it.
    fn is_explained(&self, run: &Run, next: &Run) -> bool {
        let told = next.start + u64::try_from(LEASE.as_nanos()).expect("short");
        self.deaths.get(&run.who).is_some_and(|death| *death <= told)
            || self.lost.contains(&(run.who.clone(), run.id.clone()))
    }

    fn pairs(&self) -> impl Iterator<Item = (&Run, &Run)> {
        self.runs.values().flat_map(|runs| runs.windows(2)).map(|pair| (&pair[0], &pair[1]))
    }

    /// The id of a task that ran.
    pub fn id(&self, task: u64) -> String {
        self.runs[&task][0].id.clone()
    }

    /// How often a task ran.
    pub fn runs(&self, task: u64) -> usize {
        self.runs.get(&task).map_or(0, Vec::len)
    }

    /// A task that ran, as the broker has it.
    pub fn show(&self, client: &Client, task: u64) -> TaskView {
        show(client, &self.id(task))
    }

    /// How many runs did not end.
    pub fn cut_short(&self) -> usize {
        self.runs.values().flatten().filter(|run| run.end.is_none()).count()
    }

    /// Fails unless nothing was lost and nothing ran twice without a reason; answers which were archived as poison.
    pub fn check(&self, client: &Client, tasks: u64) -> HashSet<String> {
        assert_eq!(self.acked.len() as u64, tasks, "all were acknowledged");
        let poisoned = poisoned(client);
        let ran = |task: &u64| {
            let runs = self.runs.get(task).map_or(&[][..], Vec::as_slice);
            runs.iter().any(|run| run.end.is_some() || poisoned.contains(&run.id))
        };
        let lost: Vec<_> = (0..tasks).filter(|task| !ran(task)).collect();
        // Each of its claims was killed before it began: no ledger knows which number that was.
        let begun: HashSet<_> = self.runs.values().flatten().map(|run| run.id.as_str()).collect();
        let unbegun = poisoned.iter().filter(|id| !begun.contains(id.as_str())).count();
        let is_explained = lost.len() == unbegun && !lost.iter().any(|n| self.runs.contains_key(n));
        assert!(is_explained, "never ran to the end: {lost:?}; archived unbegun: {unbegun}");
        assert!(self.runs.keys().all(|task| *task < tasks), "nothing ran that was not enqueued");
        for (run, next) in self.pairs() {
            let death = self.deaths.get(&run.who);
            assert!(
                self.is_explained(run, next),
                "task {} ran again at {} by {}; {} ran it from {} to {:?}, died {death:?}, lost no lease",
                run.id,
                next.start,
                next.who,
                run.who,
                run.start,
                run.end,
            );
        }
        for runs in self.runs.values().filter(|runs| runs.len() > 1) {
            let crashes = show(client, &runs[0].id).trail.crashes.len();
            // A trail keeps the last few.
            let known = runs.len().min(CRASHES_MAX + 1);
            assert!(crashes + 1 >= known, "{crashes} lost leases, {} runs", runs.len());
        }
        let completed = tasks - poisoned.len() as u64;
        assert_eq!(count(client, "default", State::Completed), completed);
        let stats = oncue::block_on(client.broker().stats()).expect("stats");
        assert_eq!(stats[0].total(), tasks, "each key is one task");
        assert_eq!(stats[0].completed, completed, "each completion is recorded once");
        poisoned
    }
}

/// A task as the broker has it.
fn show(client: &Client, id: &str) -> TaskView {
    let (queue, id) = (QueueName::parse("default").expect("a name"), id.parse().expect("an id"));
    oncue::block_on(client.broker().show(queue, id)).expect("shown").expect("kept")
}

/// The tasks that took too many workers down with them, which is the only reason to be archived here.
fn poisoned(client: &Client) -> HashSet<String> {
    let queue = QueueName::parse("default").expect("a name");
    let page = Page { queue, state: State::Archived, cursor: None, rows: PAGE_ROWS_MAX };
    let listing = oncue::block_on(client.broker().list(page)).expect("listed");
    let check = |task: TaskView| {
        assert_eq!(task.reason, Some(Reason::Poisoned));
        assert!(task.trail.crashes.len() >= CRASHES_MAX);
        task.stored.id().to_string()
    };
    listing.tasks.into_iter().map(check).collect()
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.pairs().filter(|(run, next)| run.end.is_some_and(|end| end > next.start));
        let again = self.runs.values().filter(|runs| runs.len() > 1);
        let ended = |runs: &&Vec<Run>| runs.iter().filter(|run| run.end.is_some()).count() > 1;
        f.debug_struct("Evidence")
            .field("acknowledged", &self.acked.len())
            .field("runs", &self.runs.values().map(Vec::len).sum::<usize>())
            .field("tasks_that_ran_again", &again.count())
            .field("runs_cut_short", &self.cut_short())
            .field("live_overlaps", &live.count())
            .field("tasks_that_ended_twice", &self.runs.values().filter(ended).count())
            .field("leases_lost", &self.lost.len())
            .finish()
    }
}
