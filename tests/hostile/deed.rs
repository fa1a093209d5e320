//! The deeds. Each answers in words what it could do, if it lives to tell.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use oncue::{Task, TaskContext, TaskError, TaskResult};
use serde::{Deserialize, Serialize};

use super::flood::{answer_first, answer_late, flood};
use super::reach;

/// How often a swarm tries to start two more.
const SWARM_MAX: usize = 60;

/// A deed by its name, and a word for it.
#[derive(Serialize, Deserialize)]
pub struct Deed {
    pub name: String,
    pub word: String,
}

impl Task for Deed {
    const KIND: &'static str = "deed";
}

/// Does it.
pub fn act(deed: Deed, context: TaskContext) -> TaskResult<String> {
    let word = deed.word.as_str();
    Ok(match deed.name.as_str() {
        "fine" => format!("{word} {}", context.attempt()),
        "fail" => return Err(TaskError::skip_retry("on purpose").class("mine")),
        "snooze" => return Err(TaskError::snooze(Duration::from_secs(3_600))),
        "panic" => panic!("in a child"),
        "loop" => spin(),
        "deaf" => spin_deaf(),
        "sleep" => loop {
            std::thread::park();
        },
        "allocate" => format!("{} bytes", vec![0u8; number(word)].len()),
        "overflow" => format!("{}", dig(1)),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "bomb" => bomb(number(word)),
        "escape" | "escape_and_end" => escape(word, deed.name == "escape"),
        "brood" => brood(word),
        "swarm" => swarm(word),
        "leave" => leave(word),
        "clone3" => clone3(),
        "read" => said(std::fs::read_to_string(word), |text| format!("read {}", text.len())),
        "write" => said(std::fs::write(word, "mine"), |()| "written".to_owned()),
        "fill" => fill(word),
        "tcp" => said(TcpStream::connect(word), |_| "connected".to_owned()),
        "udp" => said(
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", word)),
            |_| "sent".to_owned(),
        ),
        "unix" => said(UnixDatagram::unbound(), |_| "made".to_owned()),
        "print" => {
            println!("{{\"Done\": null}} {}", "\u{7f}\u{1}".repeat(100_000));
            eprintln!("said on standard error");
            "printed".to_owned()
        }
        "print_and_fail" => {
            println!("said on standard output");
            eprintln!("said on standard error");
            return Err(TaskError::new("told"));
        }
        "forge" => forge(),
        "flood" => flood(word),
        "answer_first" => answer_first(),
        "answer_late" => answer_late(),
        "meddle" => reach::meddle(word),
        "meddle_own" => reach::meddle_own(word),
        "hoard" => reach::hoard(),
        "outlive" => reach::outlive(),
        "letter" => said(reach::letter(word), |_| "sent".to_owned()),
        "core" => reach::core(),
        "note" => note(&context),
        "once" => return once(&context),
        "huge" => "x".repeat(1 << 20),
        "own" => own(),
        "parent" => parent(),
        "remember" => remember(),
        other => return Err(TaskError::skip_retry(format!("no deed {other:?}"))),
    })
}

/// Tells how far it is and what it does, and leaves a thread that goes on telling.
fn note(context: &TaskContext) -> String {
    static TASKS: AtomicU32 = AtomicU32::new(0);
    let (late, own) = (context.clone(), TASKS.fetch_add(1, Ordering::SeqCst));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        loop {
            late.log(format!("late {own}"));
            let _ = tell.send(());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    // Threads of the tasks before have had their say.
    (0..20).for_each(|_| told.recv().expect("said"));
    context.progress(&[1, 2]).expect("told");
    context.log("one\ntwo\u{1b}[2J");
    let large = context.progress(&"x".repeat(1 << 20)).expect_err("too large");
    format!("noted, {}", large.code())
}

/// Wants an effect to be kept.
fn once(context: &TaskContext) -> TaskResult<String> {
    let effect = context.once("charge", async |_| TaskResult::Ok("done".to_owned()));
    oncue::block_on(effect)
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

fn said<T>(done: std::io::Result<T>, words: impl FnOnce(T) -> String) -> String {
    done.map_or_else(|error| format!("refused: {error}"), words)
}

fn spin() -> ! {
    let mut n = 0u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

/// Spins with a handler for SIGXCPU, which is as good as ignoring it.
fn spin_deaf() -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    let signal = tokio::signal::unix::SignalKind::from_raw(24);
    let _heard = tokio::signal::unix::signal(signal).expect("a handler");
    spin()
}

fn dig(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    if depth == 0 { 0 } else { dig(depth + 1) + room[depth as usize % 512] }
}

/// Starts up to so many processes, that stay.
fn bomb(most: usize) -> String {
    for started in 0..most {
        let sleep = Command::new("/bin/sleep").arg("97531").stdin(Stdio::null()).spawn();
        if let Err(error) = sleep {
            return format!("{started} started, then refused: {error}");
        }
    }
    format!("{most} started")
}

/// Leaves processes behind in sessions of their own, whose parents are gone.
fn escape(mark: &str, stay: bool) -> String {
    let script = format!(
        "setsid sh -c 'sleep {mark} >/dev/null 2>&1 & sleep {mark} >/dev/null 2>&1 & echo gone' & wait"
    );
    let shell = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).output();
    let text = said(shell, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if stay {
        println!("escaped {text}");
        spin();
    }
    text
}

/// Starts as many as it can, each in a session of its own and without a parent, and goes on trying. Not without an
/// end: if nobody bounds it, the machine is still there.
fn swarm(mark: &str) -> ! {
    let script = format!("setsid sleep {mark} & setsid sleep {mark} &");
    for _ in 0..SWARM_MAX {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null());
        // Those that fail say so, and are tried again.
        drop(shell.stderr(Stdio::null()).status());
    }
    spin()
}

/// Raises the bound of its control group, and leaves it for this one.
fn leave(other: &str) -> String {
    let groups = std::fs::read_to_string("/proc/self/cgroup").expect("readable");
    let own = groups
        .lines()
        .find_map(|line| line.rsplit('/').next().filter(|name| name.starts_with("oncue-")));
    let near = [PathBuf::from(other), PathBuf::from(other).join("..")];
    let own = near.iter().find_map(|place| Some(place.join(own?)).filter(|path| path.exists()));
    let raised = own.is_some_and(|own| std::fs::write(own.join("pids.max"), "max").is_ok());
    let number = std::process::id().to_string();
    let left = std::fs::write(PathBuf::from(other).join("cgroup.procs"), number).is_ok();
    format!("raised {raised}, left {left}")
}

/// What the kernel says to a `clone3` that asks for nothing.
fn clone3() -> String {
    let script = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); \
                  libc.syscall(435, 0, 0); print(ctypes.get_errno())";
    let python = Command::new("python3").args(["-c", script]).stdin(Stdio::null()).output();
    said(python, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Waits for processes that wait for others: nobody of them is an orphan before the first is killed.
fn brood(mark: &str) -> String {
    let script = format!("sleep {mark} & sleep {mark} & wait");
    let shell = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).status();
    said(shell, |status| status.to_string())
}

/// Writes until it is told to stop.
fn fill(path: &str) -> String {
    let mut file = match std::fs::File::create(path) {
        Ok(file) => file,
        Err(error) => return format!("refused: {error}"),
    };
    for written in 0..64 {
        if let Err(error) = file.write_all(&[b'x'; 1 << 20]) {
            return format!("{written} MiB, then refused: {error}");
        }
    }
    "64 MiB".to_owned()
}

/// Writes into every pipe it finds beside the standard streams: one of them carries the answers.
fn forge() -> String {
    let entries = std::fs::read_dir("/proc/self/fd").expect("readable").flatten();
    let mut written = 0;
    for entry in entries.filter(|entry| entry.file_name().len() > 1 || entry.file_name() > *"2") {
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        if link.to_string_lossy().starts_with("pipe:") {
            let pipe = std::fs::File::options().write(true).open(entry.path());
            written += usize::from(pipe.is_ok_and(|mut pipe| pipe.write_all(b"forged!!").is_ok()));
        }
    }
    format!("{written} pipes")
}

/// What it has: variables of its environment, and descriptors.
fn own() -> String {
    let variables = std::env::vars().count();
    let entries = std::fs::read_dir("/proc/self/fd").expect("readable").flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let links: Vec<_> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    format!("{variables} variables, {}", links.join(" "))
}

/// What it can do to its parent.
fn parent() -> String {
    let parent = rustix::process::getppid().expect("a parent");
    let number = parent.as_raw_pid();
    let environment = std::fs::read(format!("/proc/{number}/environ"));
    let signal = rustix::process::test_kill_process(parent);
    let limit = rustix::process::Rlimit { current: None, maximum: None };
    let limited = rustix::process::prlimit(Some(parent), rustix::process::Resource::Core, limit);
    // As they are, if they may be set at all.
    let priority = rustix::process::getpriority_process(Some(parent))
        .and_then(|priority| rustix::process::setpriority_process(Some(parent), priority));
    let cores = rustix::thread::sched_getaffinity(Some(parent))
        .and_then(|cores| rustix::thread::sched_setaffinity(Some(parent), &cores));
    format!(
        "environ {}, signal {}, limit {}, priority {}, cores {}",
        environment.is_ok(),
        signal.is_ok(),
        limited.is_ok(),
        priority.is_ok(),
        cores.is_ok()
    )
}

/// How often this process was asked.
fn remember() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    (ASKED.fetch_add(1, Ordering::SeqCst) + 1).to_string()
}
