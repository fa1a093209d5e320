//! A program in a configuration file: found, and what it may use.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use oncue::{Error, Limits, Network, Program, Result};
use serde::{Deserialize, Serialize};

use super::handler::Handler;
use crate::cli::amount::{Bytes, Time};

/// Most of a script that is read for the name of its interpreter, as the kernel does.
const HEAD_MAX: u64 = 256;
/// Where `env` looks without a PATH; musl looks in the last as well.
const ENV_PATH: &str = "/bin:/usr/bin:/usr/local/bin";
/// How the variables of the worker itself begin, its keys among them.
const OWN: &str = "ONCUE_";

/// What a program may use.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Allowed {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<Time>,
    memory: Bytes,
    files: u64,
    file_size: Bytes,
    processes: u32,
    network: Network,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    metadata: bool,
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
            metadata: limits.metadata,
            require_all: limits.required,
        }
    }
}

/// Makes its paths absolute and fills in what it leaves out.
pub(super) fn settle(handler: &mut Handler, home: &Path) -> Result<()> {
    let Some(command) = handler.exec.first_mut() else {
        return Err(Error::invalid("exec is empty; name a program"));
    };
    if command.contains('/') {
        *command = home.join(&*command).to_string_lossy().into_owned();
    } else {
        *command = find(command)?;
    }
    let directory = handler.directory.get_or_insert_with(|| ".".into());
    *directory = home.join(&*directory);
    handler.env.get_or_insert_default();
    let limits = handler.limits.get_or_insert_default();
    for path in limits.read.iter_mut().chain(&mut limits.write) {
        *path = home.join(&*path);
    }
    Ok(())
}

/// What is started.
pub(super) fn program(handler: &Handler) -> Result<Program> {
    let (path, arguments) =
        handler.exec.split_first().ok_or_else(|| Error::invalid("exec is empty"))?;
    let mut program = Program::new(path);
    if let Some(directory) = &handler.directory {
        program = program.directory(directory.to_string_lossy());
    }
    for argument in arguments {
        program = program.arg(argument);
    }
    for name in handler.env.iter().flatten() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::invalid(
                "env names variables of the worker's, without their values; write env = [\"NAME\"]",
            ));
        }
        if name.starts_with(OWN) {
            return Err(Error::refused(format!(
                "env: {name} is this worker's own, and may be its key; give the program a variable of another name"
            )));
        }
        // One that is not set here is not set there.
        if let Some(value) = std::env::var_os(name) {
            let value = value.into_string();
            let value = value.map_err(|_| Error::invalid(format!("{name} is not UTF-8")))?;
            program = program.env(name, value);
        }
    }
    Ok(program)
}

/// Refuses a script whose interpreter is not there: its tasks would fail with words of the kernel's that name neither.
pub(super) fn interpreted(handler: &Handler) -> Result<()> {
    let Some(script) = handler.exec.first() else { return Ok(()) };
    let mut head = Vec::new();
    let read = File::open(script).and_then(|file| file.take(HEAD_MAX).read_to_end(&mut head));
    // What this process may not read is the kernel's to tell.
    let Some(line) = read.ok().and_then(|_| head.strip_prefix(b"#!")) else { return Ok(()) };
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or(line));
    let line = line.trim_matches([' ', '\t']);
    // The kernel makes one argument of all that follows.
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let is_there = Path::new(interpreter).is_file();
    let sought = argument.trim_start_matches([' ', '\t']);
    let is_sought =
        interpreter.ends_with("/env") && !sought.starts_with('-') && !sought.contains('=');
    if is_there && (!is_sought || sought.is_empty() || env_finds(handler, sought)) {
        return Ok(());
    }
    let what = if is_there {
        format!("{interpreter} finds no {sought:?}")
    } else {
        format!("there is no {interpreter:?}")
    };
    let hint = if line.ends_with('\r') {
        "; end the lines of the script with \\n alone"
    } else if is_there && sought.contains([' ', '\t']) {
        "; with arguments write env -S"
    } else if is_there {
        "; it looks in /bin and /usr/bin, and where this worker would if env = [\"PATH\"]"
    } else {
        ""
    };
    Err(Error::invalid(format!("program {script}: {what}, which its first line names{hint}")))
}

/// Whether `env` will find a program in the PATH it has there.
fn env_finds(handler: &Handler, name: &str) -> bool {
    let is_given = handler.env.iter().flatten().any(|name| name == "PATH");
    let own = std::env::var_os("PATH").filter(|_| is_given);
    let places = own.unwrap_or_else(|| ENV_PATH.into());
    std::env::split_paths(&places).any(|place| place.join(name).is_file())
}

/// What it may use.
pub(super) fn limits(handler: &Handler) -> Limits {
    let wall = handler.timeout.map(|timeout| timeout.0);
    let Some(allowed) = &handler.limits else { return Limits { wall, ..Limits::default() } };
    let limits = Limits {
        cpu: allowed.cpu.map(|cpu| cpu.0),
        wall,
        memory: allowed.memory.0,
        files: allowed.files,
        file_size: allowed.file_size.0,
        processes: allowed.processes,
        network: allowed.network,
        read: allowed.read.clone(),
        write: allowed.write.clone(),
        metadata: allowed.metadata,
        ..Limits::default()
    };
    if allowed.require_all { limits.require_all() } else { limits }
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

#[cfg(test)]
mod tests {
    use super::super::file::Config;
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("/usr"))
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_paths_are_relative_to_the_file() {
        let config = parse(
            "[handler.\"a:b\"]\nexec = [\"./bin/env\", \"x\"]\ntimeout = \"5s\"\n\
             limits = { cpu = \"2s\", memory = \"64MiB\", read = [\"lib\"], network = \"unix\" }",
        );
        let config = config.expect("fine");
        let handler = &config.handler["a:b"];
        let (limits, default) = (limits(handler), Limits::default());
        assert_eq!(limits.wall, Some(std::time::Duration::from_secs(5)));
        assert_eq!((limits.memory, limits.network), (64 << 20, Network::Unix));
        assert_eq!(limits.read, [PathBuf::from("/usr/lib")]);
        assert_eq!((limits.files, limits.processes), (default.files, default.processes));
        assert_eq!(handler.exec, ["/usr/./bin/env", "x"]);
        let shown = config.to_string();
        assert!(shown.contains("memory = \"64MiB\""), "{shown}");
        Config::parse(&shown, Path::new("/")).expect("what is shown can be read");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, words) in [
            ("[handler.a]\nexec = []", "handler.\"a\": exec is empty"),
            ("[handler.a]\nexec = [\"./no\"]", "no such file"),
            ("[handler.a]\nexec = [\"./lib\"]", "not executable"),
            ("[handler.a]\nexec = [\"nosuchprogram\"]", "in PATH"),
            ("[handler.a]\nexec = [\"env\"]\nenv = [\"A=s3cret\"]", "write env = [\"NAME\"]"),
            ("[handler.a]\nexec = [\"env\"]\nenv = [\"ONCUE_KEY\"]", "may be its key"),
            ("[handler.a]\nexec = [\"env\"]\nlimits = { memory = \"1B\" }", "memory 1"),
            ("[handler.a]\nexec = [\"env\"]\nlimits = { cpu = \"5\" }", "write \"10s\""),
            (
                "[handler.a]\nexec = [\"env\"]\nlimits = { network = \"some\" }",
                "write `none`, `unix`, `all`",
            ),
        ] {
            let error = parse(text).expect_err(words);
            let error = error.to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{words}: {error}");
        }
    }

    #[test]
    fn a_script_needs_its_interpreter() {
        use std::os::unix::fs::PermissionsExt;

        let home = tempfile::tempdir().expect("a directory");
        for (head, words) in [
            ("#!/no/such/interpreter -x\n", Some("there is no \"/no/such/interpreter\"")),
            ("#!/bin/sh\r\nexit\r\n", Some("end the lines of the script with \\n alone")),
            ("#!\n", Some("there is no \"\"")),
            ("#! /bin/sh -e\n", None),
            ("#!/usr/bin/env sh", None),
            ("#!/usr/bin/env -S no-such-program -x", None),
            ("#!/usr/bin/env  no-such-program\n", Some("env finds no \"no-such-program\"")),
            ("#!/usr/bin/env sh -e\n", Some("with arguments write env -S")),
            ("#!/usr/bin/env sh\r\nexit\r\n", Some("end the lines of the script with \\n alone")),
            ("no script", None),
        ] {
            let path = home.path().join("script");
            std::fs::write(&path, head).expect("written");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("set");
            let parsed = Config::parse("[handler.a]\nexec = [\"./script\"]", home.path());
            match (parsed, words) {
                (Ok(_), None) => {}
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
                (parsed, _) => panic!("{head:?}: {parsed:?}"),
            }
        }
    }
}
