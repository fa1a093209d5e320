//! The children of one kind: made ready before they are needed, used, and made anew.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

use super::ending::Ending;
use super::gives_way;
use super::limits::Limits;
use super::order::{Answer, Call, Word};
use super::process::{Idle, Live, Plan, Work};
use super::program::Program;

/// What a run holds until its child is gone.
pub(crate) type Hold = Box<dyn Any + Send + Sync>;

/// Children of one kind. Those that are ready and those at work are at most `most` together.
pub(crate) struct Pool {
    plan: Plan,
    most: usize,
    /// What the first child lacked, which was told.
    lacks: Vec<String>,
    crowd: Mutex<Crowd>,
}

#[derive(Default)]
struct Crowd {
    ready: Vec<Idle>,
    busy: usize,
    coming: usize,
}

/// What the tests of a start taught.
pub(crate) struct Started {
    pub(crate) pool: Arc<Pool>,
    /// What this system cannot enforce, in words.
    pub(crate) lacks: Vec<String>,
}

impl Pool {
    /// For a handler, by its name in this program; a first child is made ready, which shows that it can be.
    pub(crate) async fn of_handler(
        kind: &str,
        name: &'static str,
        limits: Limits,
        recycle: u32,
        most: usize,
    ) -> Result<Started> {
        let plan = Plan { kind: kind.to_owned(), work: Work::Handler(name), limits, recycle };
        Self::start(plan, most).await
    }

    /// For a program, which is not started before there is a task; a first cage is made ready.
    pub(crate) async fn of_program(
        kind: &str,
        program: Program,
        limits: Limits,
        most: usize,
    ) -> Result<Started> {
        program.check()?;
        let plan = Plan { kind: kind.to_owned(), work: Work::Program(program), limits, recycle: 1 };
        Self::start(plan, most).await
    }

    async fn start(plan: Plan, most: usize) -> Result<Started> {
        plan.limits.check()?;
        if !gives_way() {
            return Err(Error::invalid(format!(
                "kind {} is to run in a process of its own, which is this program again: make \
                 `oncue::child([..])` the first line of a plain `fn main`, before any runtime, and hand the \
                 worker what it returns",
                plan.kind
            )));
        }
        let (first, lacks) = Live::start(&plan).await?;
        let ready = first.rest(&plan);
        let crowd = Crowd { ready: Vec::from_iter(ready), ..Crowd::default() };
        let pool = Self { plan, most, lacks: lacks.clone(), crowd: Mutex::new(crowd) };
        Ok(Started { pool: Arc::new(pool), lacks })
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one task in a child of its own, and hears what is to be noted meanwhile. Whoever does not wait for the end
    /// kills the child.
    ///
    /// # Errors
    /// How the child ended that gave no answer.
    pub(crate) async fn run(
        self: &Arc<Self>,
        call: &Call,
        hold: Hold,
        hear: &dyn Fn(Word) -> Result<()>,
    ) -> Result<(Answer, String), Ending> {
        let busy = Busy::new(self);
        let mut child = self.take().await?;
        child.hold(Some(hold));
        let answer = child.call(call, &self.plan.limits, hear).await?;
        let stderr = child.stderr();
        if child.may_rest(&self.plan) {
            drop(child.hold(None));
        }
        if let Some(idle) = child.rest(&self.plan) {
            self.crowd().ready.push(idle);
        }
        drop(busy);
        self.make_ready();
        Ok((answer, stderr))
    }

    /// Runs a program on one payload: its exit code, what it printed as a result, and what as a log.
    ///
    /// # Errors
    /// How a program ended that did not exit.
    pub(crate) async fn feed(
        self: &Arc<Self>,
        payload: &[u8],
        hold: Hold,
    ) -> Result<(i32, Vec<u8>, String), Ending> {
        let busy = Busy::new(self);
        let mut child = self.take().await?;
        child.hold(Some(hold));
        let (code, printed) = child.feed(payload, &self.plan.limits).await?;
        let stderr = child.stderr();
        drop((child, busy));
        self.make_ready();
        Ok((code, printed, stderr))
    }

    /// A child that is ready, or a fresh one.
    async fn take(&self) -> Result<Live, Ending> {
        loop {
            let Some(idle) = self.crowd().ready.pop() else { return self.fresh().await };
            // One may have died of something else meanwhile.
            if idle.is_fit()
                && let Ok(live) = Live::wake(idle)
            {
                return Ok(live);
            }
        }
    }

    async fn fresh(&self) -> Result<Live, Ending> {
        let started = self.another().await;
        started.map_err(|error| Ending::new("start", format!("{error:?}"), String::new()))
    }

    /// One more child, that lacks no limit the first one had.
    async fn another(&self) -> Result<Live> {
        let (child, lacks) = Live::start(&self.plan).await?;
        let of = |lack: &str| lack.split(':').next().map(str::to_owned);
        let is_known = |lack: &String| self.lacks.iter().any(|known| of(known) == of(lack));
        match lacks.iter().find(|lack| !is_known(lack)) {
            None => Ok(child),
            Some(lack) => Err(Error::system(format!(
                "a limit of kind {} held when the worker started, and holds no more: {lack}",
                self.plan.kind
            ))),
        }
    }

    /// Makes a child ready in the background, if there is room for one.
    fn make_ready(self: &Arc<Self>) {
        let coming = {
            let mut crowd = self.crowd();
            if crowd.ready.len() + crowd.busy + crowd.coming >= self.most {
                return;
            }
            crowd.coming += 1;
            Coming(self.clone())
        };
        tokio::spawn(async move {
            match coming.0.another().await {
                Ok(child) => {
                    let idle = child.rest(&coming.0.plan);
                    let mut crowd = coming.0.crowd();
                    // A run that could not wait for it may have made another meanwhile: then this one is too many.
                    let has_room = crowd.ready.len() + crowd.busy < coming.0.most;
                    let surplus = if has_room {
                        crowd.ready.extend(idle);
                        None
                    } else {
                        idle
                    };
                    drop(crowd);
                    drop(surplus);
                }
                // The next run tries again, and tells.
                Err(error) => tracing::warn!(%error, "a child could not be made ready"),
            }
        });
    }
}

/// Counts a run.
struct Busy<'p>(&'p Pool);

impl<'p> Busy<'p> {
    fn new(pool: &'p Pool) -> Self {
        pool.crowd().busy += 1;
        Self(pool)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.crowd().busy -= 1;
    }
}

/// Counts a child that is being made ready.
struct Coming(Arc<Pool>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.crowd().coming -= 1;
    }
}
