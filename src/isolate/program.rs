//! Any program as a handler: what to start, and with what. Not what its exit code means: see `handler`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A program that handles tasks: the payload on standard input as JSON, the result on standard output.
///
/// It starts in a cage, with the environment given here and no other. Exit 0 is success, 65
/// (`EX_DATAERR`) says that no retry can help, all others, 75 (`EX_TEMPFAIL`) among them, are failures that are retried
/// by the policy of the kind, under the class `exit(n)`. What it prints on standard error is the log of its task, and
/// the detail of a failure: sealed, and its last 6 KiB only.
///
/// ```no_run
/// let program = oncue::Program::new("/usr/local/bin/resize").arg("--fast").env("LANG", "C");
/// let handler = oncue::handler::program("image:resize", program);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub(super) path: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: String,
}

impl Program {
    /// The program at this absolute path.
    pub fn new(path: impl Into<String>) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self { path: path.into(), arguments, environment, directory: "/".to_owned() }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With one more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Started in this directory; `/` if not told.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Refuses what cannot be started; so does the start of a worker.
    ///
    /// # Errors
    /// What is wrong and what to do, [`is_invalid`](Error::is_invalid).
    pub fn check(&self) -> Result<()> {
        let path = Path::new(&self.path);
        let wrong = |what: &str| Err(Error::invalid(format!("program {}: {what}", self.path)));
        let Ok(meta) = path.metadata() else { return wrong("there is no such file") };
        if !path.is_absolute() {
            wrong("the path is not absolute")
        } else if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            wrong("it is not executable; chmod +x makes it so")
        } else if is_anybodys(path) {
            wrong("anybody may write it or replace it; chmod o-w it, or the directory it is in")
        } else if !Path::new(&self.directory).is_dir() {
            wrong(&format!("there is no directory {} to start it in", self.directory))
        } else {
            Ok(())
        }
    }
}

/// Whether all may write the file, or put another in its place.
fn is_anybodys(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mode = |path: &Path| path.metadata().map_or(0, |meta| meta.permissions().mode());
    let (file, directory) = (mode(&real), real.parent().map_or(0, mode));
    // In a sticky directory only its owner replaces a file.
    file & 0o002 != 0 || directory & 0o1002 == 0o002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_anybody_may_change_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("program");
        std::fs::write(&path, "#!/bin/sh\n").expect("written");
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        let program = Program::new(path.to_str().expect("UTF-8"));
        for (file, directory, fine) in [
            (0o755, 0o755, true),
            (0o755, 0o1777, true),
            (0o757, 0o755, false),
            (0o755, 0o777, false),
        ] {
            set(&path, file);
            set(place.path(), directory);
            let checked = program.check();
            assert_eq!(checked.is_ok(), fine, "{file:o} {directory:o} {checked:?}");
        }
    }
}
