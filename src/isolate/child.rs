//! The life of a child: put on the cage, start anew inside it, say what it knows, run tasks until told no more.
//!
//! Which step it is in stands in its arguments, under a first one that no shell would give: so its environment is
//! empty from its first moment.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::order::{Answer, Call, Go, Order, Ready, Said, Tell};
use super::{cage, descriptors, frame, keeper, syscalls};

/// This binary, even if it was replaced on the disk since it started.
pub(super) const ITSELF: &str = "/proc/self/exe";
/// The first argument of a child, with the version of what is spoken.
const NAME: &str = "oncue-child/1";
/// How it ends when it cannot begin: `EX_SOFTWARE`.
const CANNOT: i32 = 70;
/// Processor time into a second that a task is not compensated for.
const START_MILLIS: u32 = 100;

/// What a child is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Watch over a child that may have children: so many processes, all told.
    Keep { processes: u32 },
    /// Put on the cage.
    Cage,
    /// Run tasks.
    Run,
    /// Run tasks and become nothing else.
    Stay,
}

impl Step {
    /// This binary again, for this step. The kind is for people who look at a list of processes.
    pub(super) fn command(self, kind: &str) -> Command {
        let mut command = Command::new(ITSELF);
        let word = match self {
            Self::Keep { .. } => "keep",
            Self::Cage => "cage",
            Self::Run => "run",
            Self::Stay => "stay",
        };
        command.arg0(NAME).args([word, kind, &std::process::id().to_string()]).env_clear();
        if let Self::Keep { processes } = self {
            command.arg(processes.to_string());
        }
        command
    }
}

/// What this process was started for, if it is a child: the step, the kind, its parent.
fn told() -> Option<(Step, String, u32)> {
    let mut arguments = std::env::args_os().map(|argument| argument.into_string().ok());
    let [name, word, kind, parent] = std::array::from_fn(|_| arguments.next().flatten());
    let step = match word?.as_str() {
        "keep" => Step::Keep { processes: arguments.next()??.parse().ok()? },
        "cage" => Step::Cage,
        "run" => Step::Run,
        "stay" => Step::Stay,
        _ => return None,
    };
    let told = (step, kind?, parent?.parse().ok()?);
    (name.as_deref() == Some(NAME) && arguments.next().is_none()).then_some(told)
}

/// Whether this process is a child.
pub(crate) fn is_child() -> bool {
    told().is_some()
}

/// A handler a child knows.
pub(crate) struct Entry {
    pub(crate) kind: String,
    /// Its name in the program.
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn(Call, Tell) -> Answer>,
}

/// Lives the life of a child.
pub(crate) fn serve(entries: &[Entry]) -> ! {
    let failed = match told() {
        Some((Step::Keep { processes }, kind, parent)) => keeper::keep(&kind, parent, processes),
        Some((Step::Cage, kind, parent)) => go_inside(&kind, parent),
        Some((Step::Run, ..)) => run(entries),
        Some((Step::Stay, ..)) => syscalls::stay().and_then(|()| run(entries)),
        None => Err("this process is no child".to_owned()),
    };
    match failed {
        Ok(code) => std::process::exit(code),
        Err(why) => {
            eprintln!("oncue child: {why}");
            std::process::exit(CANNOT)
        }
    }
}

/// Dies when the thread that started it does, which is to say: not later than its parent.
pub(super) fn die_with(parent: u32, signal: Signal) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(signal))
        .map_err(|error| format!("parent-death signal: {error}"))?;
    // It may have died before it was asked for.
    let now = rustix::process::getppid().map_or(0, Pid::as_raw_pid);
    if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err("the parent is gone".to_owned()) }
}

/// A standard stream as a file of its own, which no exec keeps.
pub(super) fn own(stream: rustix::fd::BorrowedFd<'_>) -> Result<File, String> {
    let owned = rustix::io::fcntl_dupfd_cloexec(stream, 3);
    owned.map(File::from).map_err(|error| format!("a standard stream: {error}"))
}

/// Puts on the cage, says so, and becomes what it is to be.
fn go_inside(kind: &str, parent: u32) -> Result<i32, String> {
    die_with(parent, Signal::KILL)?;
    // Ctrl-C is for the worker, which decides.
    rustix::process::setsid().map_err(|error| format!("setsid: {error}"))?;
    descriptors::close_all()?;
    let (mut orders, mut answers) = (own(rustix::stdio::stdin())?, own(rustix::stdio::stdout())?);
    let order: Option<Order> = frame::read(&mut orders).map_err(|error| format!("{error:?}"))?;
    let order = order.ok_or("no order came")?;
    let caged = cage::put_on(&order);
    frame::write(&mut answers, &caged).map_err(|error| format!("{error:?}"))?;
    if let Some(why) = caged.failed {
        return Err(why);
    }
    let mut command = match order.program {
        None if order.limits.forks() => Step::Run.command(kind),
        None => Step::Stay.command(kind),
        Some(program) => {
            // A cage may be made ready before there is a task for it, the program may not.
            if frame::read::<Go>(&mut orders).map_err(|error| format!("{error:?}"))?.is_none() {
                return Ok(0);
            }
            let mut command = Command::new(&program.path);
            command.args(program.arguments).env_clear().envs(program.environment);
            command.current_dir(program.directory);
            command
        }
    };
    let refused = command.exec();
    Err(format!("cannot start {:?}: {refused}", command.get_program()))
}

/// Runs tasks until none come.
fn run(entries: &[Entry]) -> Result<i32, String> {
    let text = |error: crate::Error| format!("{error:?}");
    let (mut calls, mut answers) = (own(rustix::stdio::stdin())?, own(rustix::stdio::stdout())?);
    // What the handler reads is nothing, and what it prints is no frame.
    let nothing = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    let mute = rustix::stdio::dup2_stdin(&nothing)
        .and_then(|()| rustix::stdio::dup2_stdout(rustix::stdio::stderr()));
    mute.map_err(|error| format!("a standard stream: {error}"))?;
    let handlers = entries.iter().map(|entry| (entry.kind.clone(), entry.name.to_owned()));
    frame::write(&mut answers, &Ready { handlers: handlers.collect() }).map_err(text)?;
    let mouth = Mouth(Arc::new(Mutex::new((answers, 0))));
    let each = getrlimit(Resource::Cpu);
    while let Some(call) = frame::read::<Call>(&mut calls).map_err(text)? {
        let entry = entries.iter().find(|entry| entry.kind == call.kind);
        let entry = entry.ok_or_else(|| format!("kind {} is not known here", call.kind))?;
        allow(each)?;
        let answer = (entry.run)(call, mouth.open());
        mouth.answer(answer).map_err(text)?;
    }
    Ok(0)
}

/// Where a child speaks. What is left running of a task that was answered has no say in the next.
struct Mouth(Arc<Mutex<(File, u64)>>);

impl Mouth {
    /// For the words of one more task.
    fn open(&self) -> Tell {
        let number = lock(&self.0).1;
        let mouth = self.0.clone();
        Arc::new(move |word| {
            let (to, open) = &mut *lock(&mouth);
            if *open == number {
                // A worker that does not hear it is gone, which is seen at the answer.
                let _ = frame::write(to, &Said::Word(word));
            }
        })
    }

    /// Answers the task.
    fn answer(&self, answer: Answer) -> crate::Result<()> {
        let (to, open) = &mut *lock(&self.0);
        *open += 1;
        frame::write(to, &Said::Answer(*open, answer))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allows one more task its processor time, counted from now.
fn allow(each: Rlimit) -> Result<(), String> {
    let Some(cpu) = each.current else { return Ok(()) };
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = Duration::try_from(used).map_err(|error| error.to_string())?;
    // The kernel counts whole seconds; what it took to start is not worth one.
    let begun = used.as_secs() + u64::from(used.subsec_millis() > START_MILLIS);
    let current = begun.saturating_add(cpu);
    let current = each.maximum.map_or(current, |hard| current.min(hard));
    let limit = Rlimit { current: Some(current), ..each };
    setrlimit(Resource::Cpu, limit).map_err(|error| format!("processor time: {error}"))
}
