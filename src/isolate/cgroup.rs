//! The control group of a child that may start others: it bounds how many there are, whoever the user is.
//!
//! A keeper makes it, stays outside, puts its child in, and removes it when nobody is left. Where it can be made: see
//! `place`. Memory and processor time are not bounded by it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::Place;

/// How the name of a group of ours begins. A namespace of pids, the pid of its keeper, and when that started follow.
const NAME: &str = "oncue";
/// The highest bound the kernel takes; there are no more pids than that.
const BOUND_MAX: u32 = 1 << 22;
/// Entries beside it that a keeper looks at, for groups that nobody keeps any more.
const LOOKED_AT_MAX: usize = 10_000;
/// How often it tries to remove a group, and how long it waits between: who was waited for may stand in it for a
/// moment yet.
const REMOVALS_MAX: usize = 50;
const BETWEEN: Duration = Duration::from_millis(2);

/// A group with a bound.
pub(super) struct Group {
    directory: PathBuf,
}

impl Group {
    /// Makes one for so many processes and threads, all told. Also removes those whose keepers are gone.
    pub(super) fn make(processes: u32) -> Result<Self, String> {
        let place = Place::find()?.directory;
        let namespace = namespace().ok_or("/proc does not tell the namespace of pids")?;
        let own = Name { namespace, keeper: std::process::id(), started: 0 };
        let started = own.born().ok().flatten().ok_or("/proc does not tell when it started")?;
        sweep(&place, namespace);
        let directory = place.join(Name { started, ..own }.text());
        let told = |error| format!("{}: {error}", directory.display());
        fs::create_dir(&directory).map_err(told)?;
        let group = Self { directory: directory.clone() };
        match group.write("pids.max", &processes.min(BOUND_MAX).to_string()) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(told(error))
            }
        }
    }

    /// Puts a process in, that started no other yet. It leaves no more: its cage keeps it from these files.
    pub(super) fn admit(&self, child: u32) -> Result<(), String> {
        let put = self.write("cgroup.procs", &child.to_string());
        put.map_err(|error| format!("{}: {error}", self.directory.display()))
    }

    /// Has nobody in it start another, and kills them all where the kernel can. Whoever is left is for the keeper.
    pub(super) fn kill(&self) {
        let _ = self.write("pids.max", "0");
        // Version 2 only, from Linux 5.14 on.
        let _ = self.write("cgroup.kill", "1");
    }

    /// Removes it. Should somebody be left in it, the next keeper does.
    pub(super) fn remove(self) {
        for _ in 0..REMOVALS_MAX {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(BETWEEN);
                }
                _ => return,
            }
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        // Not `fs::write`: these files are the kernel's, and none is to be made.
        let mut file = fs::File::options().write(true).open(self.directory.join(file))?;
        io::Write::write_all(&mut file, text.as_bytes())
    }
}

/// Removes groups of ours whose keepers are gone. The kernel refuses it as long as somebody is in one.
fn sweep(place: &Path, namespace: u64) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.take(LOOKED_AT_MAX).flatten() {
        let name = entry.file_name();
        let name = name.to_str().and_then(Name::read);
        // The pids of another namespace mean nothing here.
        if name.is_some_and(|name| name.namespace == namespace && name.is_orphan()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The number of the namespace in which this process has its pid.
fn namespace() -> Option<u64> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// Whose group it is. A pid is used again, but not with the same start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    namespace: u64,
    keeper: u32,
    /// In ticks since the boot.
    started: u64,
}

impl Name {
    fn text(self) -> String {
        let Self { namespace, keeper, started } = self;
        format!("{NAME}-{namespace}-{keeper}-{started}")
    }

    /// None for what we did not name.
    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix(NAME)?.strip_prefix('-')?.splitn(3, '-');
        let mut next = || numbers.next();
        let name = Self {
            namespace: next()?.parse().ok()?,
            keeper: next()?.parse().ok()?,
            started: next()?.parse().ok()?,
        };
        (name.text() == text).then_some(name)
    }

    /// Whether the keeper is gone for certain.
    fn is_orphan(self) -> bool {
        match self.born() {
            Ok(born) => born != Some(self.started),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// When the process with this pid started, if it is one that still runs.
    fn born(self) -> io::Result<Option<u64>> {
        let stat = fs::read(format!("/proc/{}/stat", self.keeper))?;
        let stat = String::from_utf8_lossy(&stat);
        // After the name, which may hold anything: state, and the start as the twentieth.
        let mut fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        let state = fields.as_mut().and_then(Iterator::next);
        let lives = state.is_some_and(|state| !matches!(state, "Z" | "X"));
        let started = fields.and_then(|mut fields| fields.nth(18)?.parse().ok());
        Ok(started.filter(|_| lives))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is() {
        let name = Name { namespace: 4_026_531_836, keeper: 77, started: 9 };
        assert_eq!(Name::read(&name.text()), Some(name));
        for strange in [
            "oncue",
            "oncue-",
            "oncue-1-2",
            "oncue-1-2-3-4",
            "oncue-01-2-3",
            "oncue-1-2-+3",
            "oncue-1-2-x",
            "oncues-1-2-3",
            "my-oncue-1-2-3",
            "oncue-1-99999999999-3",
        ] {
            assert_eq!(Name::read(strange), None, "{strange}");
        }
    }

    #[test]
    fn only_groups_of_the_gone_are_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let namespace = namespace().expect("a number");
        let own = Name { namespace, keeper: std::process::id(), started: 0 };
        let started = own.born().expect("readable").expect("this process runs");
        let kept = [
            Name { started, ..own }.text(),
            Name { namespace: namespace + 1, ..own }.text(),
            "oncue".to_owned(),
            "jobs-1-2-3".to_owned(),
        ];
        let gone = [
            Name { started: started + 1, ..own }.text(),
            // No process has a number like this.
            Name { keeper: u32::MAX, ..own }.text(),
        ];
        for name in kept.iter().chain(&gone) {
            fs::create_dir(place.path().join(name)).expect("made");
        }
        // Somebody is in it.
        let busy = Name { started: started + 2, ..own }.text();
        fs::create_dir_all(place.path().join(&busy).join("x")).expect("made");
        sweep(place.path(), namespace);
        let left = fs::read_dir(place.path()).expect("readable").flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        let expected = kept.into_iter().chain([busy]).map(OsString::from);
        let mut expected: Vec<_> = expected.collect();
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
    }
}
