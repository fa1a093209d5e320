//! A configuration file: read, completed, and turned into programs with limits. Paths in it are relative to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use oncue::{Error, Limits, Network, Program, Result, worker};
use serde::{Deserialize, Serialize};

use super::amount::{Bytes, Time};
use super::keys;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file says, and what it leaves out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// The broker, unless the command line or the environment names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker: Option<String>,
    /// Runs at once, of all kinds together.
    pub(super) concurrency: usize,
    pub(super) lease: Time,
    pub(super) shutdown: Time,
    /// Queues and their weights; those of the handlers, alike, if none are named.
    queues: BTreeMap<String, u32>,
    pub(super) handler: BTreeMap<String, Handler>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker: None,
            concurrency: worker::CONCURRENCY,
            lease: Time(worker::LEASE),
            shutdown: Time(worker::SHUTDOWN),
            queues: BTreeMap::new(),
            handler: BTreeMap::new(),
        }
    }
}

/// One kind and its program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handler {
    exec: Vec<String>,
    #[serde(default = "default_queue")]
    pub(super) queue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) concurrency: Option<usize>,
    /// How long a run may take, beside what its task says.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Time>,
    #[serde(default = "here")]
    directory: PathBuf,
    /// Variables of this process that the program gets.
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    limits: Allowed,
}

fn default_queue() -> String {
    "default".to_owned()
}

fn here() -> PathBuf {
    ".".into()
}

/// What a program may use.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Allowed {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Time>,
    memory: Bytes,
    files: u64,
    file_size: Bytes,
    processes: u32,
    network: Network,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    require_all: bool,
}

impl Default for Allowed {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            cpu: limits.cpu.map(Time),
            memory: Bytes(limits.memory),
            files: limits.files,
            file_size: Bytes(limits.file_size),
            processes: limits.processes,
            network: limits.network,
            read: limits.read,
            write: limits.write,
            require_all: limits.required,
        }
    }
}

impl Config {
    /// Reads a file and looks for everything it names.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let unread = |error: std::io::Error| {
            Error::invalid(format!("cannot read {}", path.display())).because(error)
        };
        let size = path.metadata().map_err(unread)?.len();
        if size > FILE_BYTES_MAX {
            return Err(Error::too_large(format!(
                "{} is over {FILE_BYTES_MAX} bytes",
                path.display()
            )));
        }
        let text = std::fs::read_to_string(path).map_err(unread)?;
        let home = std::path::absolute(path).map_err(unread)?;
        let home = home.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, home).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            match std::error::Error::source(&error) {
                Some(source) => Error::invalid(what).because(source.to_string()),
                None => Error::invalid(what),
            }
        })
    }

    fn parse(text: &str, home: &Path) -> Result<Self> {
        let wrong =
            |error: toml::de::Error| Error::invalid(error.to_string().trim_end().to_owned());
        // Keys first: what is misspelt is not merely missing.
        keys::check(&text.parse().map_err(wrong)?)?;
        let mut config: Self = toml::from_str(text).map_err(wrong)?;
        if config.handler.is_empty() {
            return Err(Error::invalid(
                "no handlers; add [handler.\"KIND\"] with exec = [\"./program\"]",
            ));
        }
        for (kind, handler) in &mut config.handler {
            let named = |error: Error| Error::invalid(format!("handler.{kind:?}: {error}"));
            oncue::queue::Kind::parse(kind)?;
            handler.settle(home).map_err(named)?;
            handler.program()?.check().map_err(named)?;
            handler.limits().check().map_err(named)?;
        }
        Ok(config)
    }

    /// The queues to serve, with their weights.
    pub(super) fn queues(&self) -> BTreeMap<String, u32> {
        if self.queues.is_empty() {
            self.handler.values().map(|handler| (handler.queue.clone(), 1)).collect()
        } else {
            self.queues.clone()
        }
    }
}

impl Handler {
    /// Makes its paths absolute.
    fn settle(&mut self, home: &Path) -> Result<()> {
        let Some(command) = self.exec.first_mut() else {
            return Err(Error::invalid("exec is empty; name a program"));
        };
        if command.contains('/') {
            *command = home.join(&*command).to_string_lossy().into_owned();
        } else {
            *command = find(command)?;
        }
        self.directory = home.join(&self.directory);
        for path in self.limits.read.iter_mut().chain(&mut self.limits.write) {
            *path = home.join(&*path);
        }
        Ok(())
    }

    pub(super) fn program(&self) -> Result<Program> {
        let (path, arguments) =
            self.exec.split_first().ok_or_else(|| Error::invalid("exec is empty"))?;
        let mut program = Program::new(path).directory(self.directory.to_string_lossy());
        for argument in arguments {
            program = program.arg(argument);
        }
        for name in &self.env {
            // One that is not set here is not set there.
            if let Some(value) = std::env::var_os(name) {
                let value = value.into_string();
                let value = value.map_err(|_| Error::invalid(format!("{name} is not UTF-8")))?;
                program = program.env(name, value);
            }
        }
        Ok(program)
    }

    pub(super) fn limits(&self) -> Limits {
        let allowed = &self.limits;
        let limits = Limits {
            cpu: allowed.cpu.map(|cpu| cpu.0),
            wall: self.timeout.map(|timeout| timeout.0),
            memory: allowed.memory.0,
            files: allowed.files,
            file_size: allowed.file_size.0,
            processes: allowed.processes,
            network: allowed.network,
            read: allowed.read.clone(),
            write: allowed.write.clone(),
            ..Limits::default()
        };
        if allowed.require_all { limits.require_all() } else { limits }
    }
}

/// A program by its name, where the shell would find it.
fn find(name: &str) -> Result<String> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&places).map(|place| place.join(name)).find(|path| path.is_file());
    let found = found.ok_or_else(|| {
        Error::invalid(format!(
            "no program {name:?} in PATH; write \"./{name}\" for one beside the file"
        ))
    })?;
    Ok(found.to_string_lossy().into_owned())
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = toml::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("/usr"))
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_paths_are_relative_to_the_file() {
        let config = parse(
            "[handler.\"a:b\"]\nexec = [\"./bin/env\", \"x\"]\ntimeout = \"5s\"\n\
             limits = { cpu = \"2s\", memory = \"64MiB\", read = [\"lib\"], network = \"unix\" }\n\
             [handler.c]\nexec = [\"env\"]\nqueue = \"q\"",
        );
        let config = config.expect("fine");
        let handler = &config.handler["a:b"];
        let (limits, default) = (handler.limits(), Limits::default());
        assert_eq!(limits.wall, Some(std::time::Duration::from_secs(5)));
        assert_eq!((limits.memory, limits.network), (64 << 20, Network::Unix));
        assert_eq!(limits.read, [PathBuf::from("/usr/lib")]);
        assert_eq!((limits.files, limits.processes), (default.files, default.processes));
        assert_eq!(handler.exec, ["/usr/./bin/env", "x"]);
        let queues = BTreeMap::from([("default".to_owned(), 1), ("q".to_owned(), 1)]);
        assert_eq!(config.queues(), queues);
        let shown = config.to_string();
        assert!(
            shown.contains("memory = \"64MiB\"") && shown.contains("lease = \"15s\""),
            "{shown}"
        );
        Config::parse(&shown, Path::new("/")).expect("what is shown can be read");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, words) in [
            ("", "no handlers"),
            ("[handler.a]\nexec = []", "handler.\"a\": exec is empty"),
            ("[handler.a]\nexec = [\"./no\"]", "no such file"),
            ("[handler.a]\nexec = [\"./lib\"]", "not executable"),
            ("[handler.a]\nexec = [\"nosuchprogram\"]", "in PATH"),
            ("[handler.a]\nexec = [\"env\"]\nlimits = { memory = \"1B\" }", "memory 1"),
            ("[handler.a]\nexec = [\"env\"]\nlimits = { cpu = \"5\" }", "write \"10s\""),
            ("[handler.a]\nexec = [\"env\"]\nlimits = { network = \"some\" }", "unknown variant"),
            ("[handler.A]\nexec = [\"env\"]", "A"),
            ("lease = 5\n[handler.a]\nexec = [\"env\"]", "line 1"),
        ] {
            let error = parse(text).expect_err(words);
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
}
