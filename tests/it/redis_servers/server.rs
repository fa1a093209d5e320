//! A real server: its own process, directory, unix socket and, if it was set up so, TCP port, which it keeps over
//! restarts. Gone with its value. Tests share none: one more costs tens of milliseconds, and leaks nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use redis::{Client, Connection, FromRedisValue, RedisResult, Value};
use tempfile::TempDir;

use super::process::Process;
use super::proxy::Target;
use super::setup::{HARNESS, Setup};

/// Longest a server may take to answer its first PING.
const START: Duration = Duration::from_secs(60);
/// Longest it may take to answer the harness.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a port may turn out to be taken.
const TRIES: usize = 10;

/// A server. Killed when dropped.
pub struct Server {
    process: Process,
    setup: Setup,
    port: Option<u16>,
    // After the process, which works in it.
    directory: TempDir,
}

impl Server {
    /// A server on a unix socket.
    #[track_caller]
    pub fn start() -> Self {
        Setup::default().start()
    }

    /// A server on a TCP port.
    #[track_caller]
    pub fn on_tcp() -> Self {
        Setup::default().tcp().start()
    }

    #[track_caller]
    pub(super) fn from_setup(setup: Setup) -> Self {
        for _ in 0..TRIES {
            let port = setup.choose_port();
            let directory = tempfile::Builder::new().prefix("oncue-redis-").tempdir();
            let directory = directory.expect("a directory");
            setup.write(directory.path(), port);
            let process = spawn(&setup, &directory);
            let mut server = Self { process, setup: setup.clone(), port, directory };
            if server.comes_up() {
                return server;
            }
        }
        panic!("{TRIES} ports were free, and taken a moment later");
    }

    /// Waits until it answers; false if it ended because somebody else has its port.
    #[track_caller]
    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.try_cli(&["PING"]);
            match answer {
                Ok(_) => return true,
                Err(_) if self.process.has_ended() => {
                    if self.log().contains("Address already in use") {
                        return false;
                    }
                    panic!("the server ended");
                }
                Err(error) => assert!(Instant::now() < deadline, "no PONG in {START:?}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Where it is, for its default user: the TCP port if it has one, else the unix socket.
    pub fn url(&self) -> String {
        let password = self.setup.known_password();
        match (self.port, password) {
            (None, None) => format!("unix://{}", self.socket().display()),
            (None, Some(password)) => {
                format!("unix://{}?password={password}", self.socket().display())
            }
            (Some(_), None) => format!("{}://{}/0", self.scheme(), self.address()),
            (Some(_), Some(password)) => {
                format!("{}://:{password}@{}/0", self.scheme(), self.address())
            }
        }
    }

    /// Where it is, for a user of its ACL.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        match self.port {
            None => {
                format!("unix://{}?user={user}&password={password}", self.socket().display())
            }
            Some(_) => format!("{}://{user}:{password}@{}/0", self.scheme(), self.address()),
        }
    }

    /// `redis`, or with TLS `rediss`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.setup.is_tls() { "rediss" } else { "redis" }
    }

    /// `127.0.0.1:port`. Only of a server that has one.
    #[track_caller]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    #[track_caller]
    pub fn port(&self) -> u16 {
        self.port.expect("a server set up with tcp()")
    }

    /// Where a proxy finds it.
    pub(super) fn target(&self) -> Target {
        self.port.map_or_else(|| Target::Unix(self.socket()), |_| Target::Tcp(self.address()))
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("server.sock")
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sends SIGKILL and waits until it is gone.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Sends SIGTERM and waits until it is gone.
    pub fn terminate(&mut self) {
        self.process.terminate();
    }

    /// Stops it with SIGSTOP: connections stay, nothing is answered.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Lets it go on after `stop`.
    pub fn cont(&self) {
        self.process.go_on();
    }

    /// Starts it again in the same place, after killing it if it still lives, and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        self.launch();
        assert!(self.comes_up(), "its port was taken while it was down");
    }

    /// The same without the wait: it may be loading its data, or refusing to.
    pub fn launch(&mut self) {
        if !self.process.has_ended() {
            self.process.kill();
        }
        self.process = spawn(&self.setup, &self.directory);
    }

    /// A connection that may do everything, by the unix socket: no proxy, no TLS and no ACL stands in its way.
    pub fn admin(&self) -> RedisResult<Connection> {
        let socket = self.socket();
        let url = format!("redis+unix://{}?user={HARNESS}&pass=any", socket.display());
        let admin = Client::open(url)?.get_connection_with_timeout(ANSWER)?;
        admin.set_read_timeout(Some(ANSWER))?;
        Ok(admin)
    }

    /// What it answers to a command of an admin; an error may be the answer.
    pub fn try_cli(&self, words: &[&str]) -> RedisResult<Value> {
        redis::cmd(words[0]).arg(&words[1..]).query(&mut self.admin()?)
    }

    /// What it answers to a command of an admin.
    #[track_caller]
    pub fn cli(&self, words: &[&str]) -> Value {
        self.ask(words)
    }

    /// The same, read as a type.
    #[track_caller]
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.try_cli(words).and_then(|value| Ok(T::from_redis_value(value)?));
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A line of INFO.
    #[track_caller]
    pub fn info(&self, name: &str) -> Option<String> {
        let info: String = self.ask(&["INFO", "everything"]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::to_owned)
    }

    /// All it has written to its log.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn spawn(setup: &Setup, directory: &TempDir) -> Process {
    let more: &[&str] = if setup.is_sentinel() { &["--sentinel"] } else { &[] };
    Process::spawn(directory.path(), more, setup.environment())
}
