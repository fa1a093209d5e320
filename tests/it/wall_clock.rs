//! The wall clock of other processes, which a test sets: they start under it, and it may jump while they run.
//!
//! Time since boot is left alone, as it is when a person or NTP sets a clock. No libfaketime: a `redis-server` whose
//! allocator asks for the time (jemalloc) does not start under it. The few lines of C here need what the build of
//! SQLite needs anyway, a compiler called `cc`.

#![allow(dead_code, reason = "not every feature has somebody whose clock is set")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What is loaded into those who live by the clock.
const SOURCE: &str = include_str!("../data/wall_clock.c");

/// A clock. Those who live by it must not outlive it.
pub struct WallClock {
    directory: TempDir,
    file: File,
}

impl WallClock {
    /// A clock that is so many seconds ahead of this process's; behind, if negative.
    #[track_caller]
    pub fn ahead(seconds: i64) -> Self {
        let directory = tempfile::Builder::new().prefix("oncue-clock-").tempdir();
        let directory = directory.expect("a directory");
        let source = directory.path().join("wall_clock.c");
        std::fs::write(&source, SOURCE).expect("written");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&directory.path().join("wall_clock.so"), &source])
            .status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc compiles a clock");
        let file = File::create(directory.path().join("ahead")).expect("a file");
        let clock = Self { directory, file };
        clock.set(seconds);
        clock
    }

    /// From now on it is so many seconds ahead.
    pub fn set(&self, seconds: i64) {
        // In one write of eight bytes, which nobody reads in halves.
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("set");
    }

    /// What the environment of those must hold who live by it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let path = |name: &str| self.directory.path().join(name);
        [("LD_PRELOAD", path("wall_clock.so")), ("WALL_CLOCK_FILE", path("ahead"))]
    }
}

/// A control for all that stands on this: who lives by it sees it, at the start and after a jump.
#[test]
fn a_clock_that_is_set_is_seen() {
    let clock = WallClock::ahead(3_600);
    let ahead = || {
        let shown = Command::new("date").arg("+%s").envs(clock.environment()).output();
        let shown = String::from_utf8(shown.expect("it runs").stdout).expect("text");
        let here = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        shown.trim().parse::<u64>().expect("a number").cast_signed() - here.cast_signed()
    };
    // Rounded: the same moment within a second or two of a machine that is busy.
    assert_eq!((ahead() + 30) / 60, 60);
    clock.set(-600);
    assert_eq!((ahead() - 30) / 60, -10);
}
