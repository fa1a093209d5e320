//! The program with the hostile handler: run, heard, and searched for what it left behind.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const SECOND: Duration = Duration::from_secs(1);
/// Between two looks at what nothing tells of.
const LOOK: Duration = Duration::from_millis(2);

/// A uid that owns nothing and, unlike that of `nobody`, runs nothing else: the kernel counts processes by it.
fn nobody() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    (10_000 + (std::process::id() + run * 4_099) % 50_000).to_string()
}

pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples/hostile");
    assert!(
        path.exists(),
        "{} is not built; run `cargo build --examples --all-features`",
        path.display()
    );
    path
}

/// What became of everything.
#[derive(Debug)]
pub struct Told(pub Value);

impl Told {
    fn task(&self) -> &Value {
        &self.0["tasks"][0]
    }

    /// The class of the first failure.
    pub fn class(&self) -> &str {
        self.task()["class"].as_str().unwrap_or_else(|| panic!("no failure: {}", self.0))
    }

    pub fn message(&self) -> &str {
        self.task()["message"].as_str().unwrap_or_else(|| panic!("no message: {}", self.0))
    }

    pub fn result(&self) -> &str {
        self.task()["result"].as_str().unwrap_or_else(|| panic!("no result: {}", self.0))
    }

    /// What was decided of the first task.
    pub fn decision(&self) -> &str {
        self.task()["decision"].as_str().unwrap_or_else(|| panic!("no decision: {}", self.0))
    }

    /// The results of all.
    #[track_caller]
    pub fn results(&self) -> Vec<&str> {
        let tasks = self.0["tasks"].as_array().expect("tasks").iter();
        tasks.map(|task| task["result"].as_str().expect("a result")).collect()
    }

    /// From start to settlement of the first task.
    pub fn ran(&self) -> Duration {
        Duration::from_millis(self.task()["ms"].as_u64().expect("ms"))
    }
}

#[track_caller]
pub fn within(told: &Told, limit: Duration) {
    // From the end of the limit it is a matter of milliseconds; a second is for a machine that is busy.
    assert!(told.ran() <= limit + SECOND, "{told:?}");
}

/// Runs the program to its end. The worker lived, its neighbors went on, and nobody is left.
#[track_caller]
pub fn run(words: &[&str]) -> Told {
    finish(Command::new(program()), words)
}

/// The same as a user that owns nothing.
#[track_caller]
pub fn run_as_nobody(words: &[&str]) -> Told {
    if !rustix::process::getuid().is_root() {
        return run(words);
    }
    // Nobody may not reach the directory it was built in.
    let home = tempfile::tempdir().expect("a directory");
    let copy = home.path().join("hostile");
    std::fs::copy(program(), &copy).expect("copied");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path(), open).expect("opened to all");
    let mut command = Command::new("setpriv");
    let nobody = nobody();
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]).arg(copy);
    finish(command, words)
}

fn command(mut command: Command, words: &[&str]) -> Command {
    command.args(words).env("RUST_BACKTRACE", "0").env("HOSTILE_SECRET", "x").current_dir("/");
    command
}

/// The same where the file systems of control groups are not mounted. Needs root.
pub fn without_groups() -> Command {
    let script = "umount --lazy /sys/fs/cgroup; exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(program());
    command
}

#[track_caller]
pub fn finish(program: Command, words: &[&str]) -> Told {
    let output = command(program, words).output().expect("the program, and setpriv, are there");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {}\n{text}\n{errors}", output.status);
    check(words, text.lines().last().unwrap_or_default())
}

/// What the program told in the end.
#[track_caller]
fn check(words: &[&str], last: &str) -> Told {
    let told = Told(serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}")));
    let neighbors = told.0["tasks"].as_array().expect("tasks").len().max(1);
    assert_eq!(told.0["neighbors"], neighbors, "{told:?}");
    let allowed = words.iter().find_map(|word| word.strip_prefix("leftovers="));
    let allowed: usize = allowed.map_or(0, |allowed| allowed.parse().expect("a number"));
    assert_eq!(told.0["outlived"], 0, "{told:?}");
    assert!(told.0["left"].as_array().expect("a list").len() <= allowed, "{told:?}");
    told
}

/// Why the program refused to start.
#[track_caller]
pub fn refused(words: &[&str]) -> String {
    why_refused(Command::new(program()), words)
}

#[track_caller]
pub fn why_refused(program: Command, words: &[&str]) -> String {
    let output = command(program, words).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

/// A program that goes on until it is killed.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it and waits until it says that the deed began, or what stands here.
    #[track_caller]
    pub fn until(words: &[&str], line: &str) -> Self {
        let mut command = command(Command::new(program()), words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let found = lines.by_ref().map_while(Result::ok).any(|said| said == line);
        assert!(found, "it ended and never said {line:?}");
        Self { child, lines }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Told {
        let last = self.lines.by_ref().map_while(Result::ok).last().unwrap_or_default();
        assert!(self.child.wait().expect("reaped").success(), "{last}");
        check(&[], &last)
    }

    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    pub fn number(&self) -> u32 {
        self.child.id()
    }
}

/// Processes in whose command line this word stands.
pub fn marked(word: &str) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let marked = numbers.filter(|number| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    });
    marked.filter_map(Pid::from_raw).collect()
}

/// Asks until it is so; not without a pause, for what is waited for needs a core too.
#[track_caller]
pub fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(LOOK);
    }
}

/// A word no other process has: seconds to sleep, that differ from test to test.
pub fn mark(seed: u32) -> String {
    format!("9{}.{seed}", std::process::id())
}

/// Ends what a control left behind on purpose.
pub fn clear(word: &str) {
    for pid in marked(word) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}
