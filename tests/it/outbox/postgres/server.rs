//! A real Postgres: its own process, directory and unix socket, in a temporary directory; gone with its value. It refuses
//! to run as root, so root lends it another user.

use std::fs::File;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio_postgres::{Config, NoTls};

/// Names the directory with `initdb` and `postgres`.
const BINARIES: &str = "ONCUE_POSTGRES_BIN";
/// Where Debian has a directory for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Longest a server may take until it answers.
const START: Duration = Duration::from_secs(30);

pub struct Server {
    process: Child,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    // After the process, which works in it.
    directory: TempDir,
}

impl Server {
    /// A server with an empty database.
    #[track_caller]
    pub fn start() -> Self {
        let (binaries, user) = (binaries(), other_user());
        let directory = tempfile::Builder::new().prefix("oncue-postgres-").tempdir();
        let directory = directory.expect("a directory");
        if let Some((user, group)) = user {
            chown(directory.path(), Some(user), Some(group)).expect("lent");
        }
        let made = command(&binaries.join("initdb"), &directory, user)
            .args(["--username=oncue", "--auth=trust", "--no-sync", "--encoding=UTF8"])
            .args(["--locale=C", "--pgdata=data"])
            .output()
            .unwrap_or_else(|error| missing(&error.to_string()));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let process = launch(&binaries, &directory, user);
        let mut server = Self { process, binaries, user, directory };
        server.comes_up();
        server
    }

    /// Where it is.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(self.directory.path()).user("oncue").dbname("postgres");
        config
    }

    /// Ends it as a crash would: connections are cut, and the next start recovers what was committed.
    pub fn crash(&mut self) {
        self.signal(Signal::QUIT);
        self.process.wait().expect("reaped");
    }

    /// Starts it again after a crash.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(&self.binaries, &self.directory, self.user);
        self.comes_up();
    }

    #[track_caller]
    fn comes_up(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (runtime, config) = (runtime.expect("a runtime"), self.config());
        let deadline = Instant::now() + START;
        while let Err(error) = runtime.block_on(config.connect(NoTls)) {
            let ended = self.process.try_wait().expect("asked").is_some();
            let log = || std::fs::read_to_string(self.directory.path().join("log"));
            assert!(!ended, "the server ended: {}", log().unwrap_or_default());
            assert!(Instant::now() < deadline, "no answer in {START:?}: {error}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        // It may have ended.
        let _ = rustix::process::kill_process(Pid::from_child(&self.process), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::QUIT);
        let _ = self.process.wait();
    }
}

fn command(program: &Path, directory: &TempDir, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}

fn launch(binaries: &Path, directory: &TempDir, user: Option<(u32, u32)>) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join("log"));
    let log = log.expect("a log");
    command(&binaries.join("postgres"), directory, user)
        .args(["-D", "data", "-k"])
        .arg(directory.path())
        .args(["-c", "listen_addresses=", "-c", "max_connections=20", "-c", "fsync=off"])
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| missing(&error.to_string()))
}

/// The newest there is.
fn binaries() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARIES) {
        return named.into();
    }
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path()).filter(|path| version(path).is_some());
    if let Some(newest) = newest.max_by_key(version) {
        return newest.join("bin");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |place: &PathBuf| place.join("initdb").exists() && place.join("postgres").exists();
    std::env::split_paths(&path).find(has).unwrap_or_else(|| missing("no initdb"))
}

fn missing(why: &str) -> ! {
    panic!(
        "{why}: this test needs a Postgres server. Install one:\n    apt-get install -y postgresql\nor name \
         the directory of one: {BINARIES}=/usr/lib/postgresql/15/bin"
    )
}

/// For root: a user the server does run as, and its group; one with a name, for it asks.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    let named = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    Some(named("postgres").or_else(|| named("nobody")).expect("a user beside root"))
}
