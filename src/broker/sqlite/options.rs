//! How a SQLite broker is opened, by builder or by URL.
//!
//! Nothing is touched here; the file is [`file`](super::file)'s business.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "failpoints")]
use crate::broker::Mutant;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result, suggestion};
use crate::failpoint::Planned;

const SCHEME: &str = "sqlite:";
const MEMORY: &str = ":memory:";
const PARAMETERS: [&str; 2] = ["durability", "create"];

/// Where the tasks are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a file, which many processes may share.
    File(PathBuf),
    /// In this process's memory: for tests; gone with the last handle.
    Memory,
}

/// What an answered call survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What was enqueued or settled survives a power cut.
    #[default]
    Full,
    /// It survives a crash of the process; a power cut may take the last moments, whole transactions at a time.
    Normal,
}

/// How to open a [`SqliteBroker`](super::SqliteBroker).
#[derive(Clone)]
pub struct Options {
    pub(super) location: Location,
    pub(super) durability: Durability,
    pub(super) create: bool,
    pub(super) clock: Arc<dyn Clock>,
    #[cfg(feature = "failpoints")]
    pub(super) mutant: Option<Mutant>,
    pub(super) planned: Planned,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("location", &self.location)
            .field("durability", &self.durability)
            .field("create", &self.create)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Tasks in this file, which is made if it is missing; full durability, the machine's clock.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::at(Location::File(path.into()))
    }

    /// Tasks in memory.
    pub fn memory() -> Self {
        Self::at(Location::Memory)
    }

    fn at(location: Location) -> Self {
        Self {
            location,
            durability: Durability::Full,
            create: true,
            clock: Arc::new(SystemClock),
            #[cfg(feature = "failpoints")]
            mutant: None,
            planned: Planned::default(),
        }
    }

    /// Reads `sqlite:PATH?durability=full|normal&create=true|false` or `sqlite::memory:`; anything else
    /// [`is_invalid`](Error::is_invalid).
    pub fn parse(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix(SCHEME)
            .ok_or_else(|| Error::invalid("a SQLite URL starts with \"sqlite:\""))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        let mut options = match path {
            "" => {
                return Err(Error::invalid("the SQLite URL names no file; write \"sqlite:PATH\""));
            }
            MEMORY => Self::memory(),
            path => Self::file(path),
        };
        let mut seen: Vec<&str> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(Error::invalid(format!("{name:?} stands twice in the SQLite URL")));
            }
            options.set(name, value)?;
            seen.push(name);
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "durability" => {
                self.durability = choose(
                    name,
                    value,
                    [("full", Durability::Full), ("normal", Durability::Normal)],
                )?;
            }
            "create" => {
                self.create = choose(name, value, [("true", true), ("false", false)])?;
            }
            _ => {
                let hint = suggestion(name, PARAMETERS);
                return Err(Error::invalid(format!(
                    "unknown parameter {name:?} in the SQLite URL{hint}"
                )));
            }
        }
        Ok(())
    }

    /// What an answered call survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether a missing file is made.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The broker's time. All processes at one file should have the same.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A planned fault.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// Plans panics, for tests.
    #[cfg(feature = "failpoints")]
    #[must_use]
    pub fn failpoints(mut self, failpoints: Arc<crate::FailPoints>) -> Self {
        self.planned = Planned(failpoints);
        self
    }

    /// Whether a missing file is made.
    pub fn creates(&self) -> bool {
        self.create
    }

    /// Where the tasks are kept.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

fn choose<T, const N: usize>(
    name: &str,
    value: &str,
    choices: [(&'static str, T); N],
) -> Result<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    choices.into_iter().find(|(word, _)| *word == value).map(|(_, choice)| choice).ok_or_else(
        || {
            let hint = suggestion(value, words.iter().copied());
            Error::invalid(format!(
                "parameter {name:?} of the SQLite URL is {value:?}; use {}{hint}",
                words.join(" or ")
            ))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_and_its_options() {
        let options = Options::parse("sqlite:a/b.db?durability=normal&create=false").expect("good");
        assert_eq!(options.location, Location::File("a/b.db".into()));
        assert_eq!((options.durability, options.create), (Durability::Normal, false));
        let options = Options::parse("sqlite:///var/x.db").expect("good");
        assert_eq!(options.location, Location::File("/var/x.db".into()));
        assert_eq!((options.durability, options.create), (Durability::Full, true));
        let options = Options::parse("sqlite::memory:").expect("good");
        assert_eq!(options.location, Location::Memory);
    }

    #[test]
    fn what_is_wrong_in_a_url_is_named() {
        for (url, part) in [
            ("redis://x", "starts with"),
            ("sqlite:", "names no file"),
            (
                "sqlite:x?durabilty=full",
                "unknown parameter \"durabilty\" in the SQLite URL; did you mean \"durability\"?",
            ),
            (
                "sqlite:x?create=flase",
                "\"create\" of the SQLite URL is \"flase\"; use true or false; did you mean \"false\"?",
            ),
            ("sqlite:x?create=true&create=true", "twice"),
        ] {
            let error = Options::parse(url).expect_err(url);
            assert!(error.is_invalid() && error.to_string().contains(part), "{error}");
        }
    }
}
