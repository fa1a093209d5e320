//! Where a control group that bounds processes may be made: read from what the kernel tells of this process. Nothing
//! is made here.
//!
//! With version 1 it is our own group. With version 2 a group that has processes passes no limits on to children, and
//! the worker is not moved: there it is the group above, if that was given to us.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The mark of a group that was given to whoever runs in it, and its value: systemd sets it.
const DELEGATED: (&str, &[u8]) = ("user.delegate", b"1");
/// What to do, where systemd is.
const ADVICE: &str =
    "write `Delegate=pids` and `DelegateSubgroup=worker` into the worker's unit (systemd 254)";

/// A directory in which groups may be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// Version 2.
    pub(super) unified: bool,
}

impl Place {
    /// Where this process may make groups.
    pub(super) fn find() -> Result<Self, String> {
        // A path may hold anything; what is no text here is no directory later.
        let read = |path: &str| match fs::read(path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(format!("{path}: {error}")),
        };
        let place = Self::of(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)?;
        if place.unified {
            place.enable()?;
        }
        Ok(place)
    }

    /// What the texts say. A controller is in one version, so the first question is in which.
    fn of(groups: &str, mounts: &str) -> Result<Self, String> {
        let lines = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        });
        let lines: Vec<_> = lines.collect();
        let has_pids = |options: &str| options.split(',').any(|option| option == "pids");
        let legacy = lines.iter().find(|(_, controllers, _)| has_pids(controllers));
        let unified =
            lines.iter().find(|(number, controllers, _)| (*number, *controllers) == ("0", ""));
        let (own, mut mounts) = match (legacy, unified) {
            (Some((.., own)), _) => {
                (own, Mount::all(mounts, |kind, options| kind == "cgroup" && has_pids(options)))
            }
            (None, Some((.., own))) => (own, Mount::all(mounts, |kind, _| kind == "cgroup2")),
            (None, None) => return Err("the kernel has no control groups".to_owned()),
        };
        let found = mounts.find_map(|mount| Some((mount.directory(own)?, mount.at)));
        let (own, top) = found.ok_or_else(|| {
            format!(
                "no file system of control groups is mounted that shows {own} and bounds processes"
            )
        })?;
        let unified = legacy.is_none();
        let above = own.parent().filter(|_| unified && own != top).map(Path::to_owned);
        Ok(Self { directory: above.unwrap_or(own), unified })
    }

    /// Has groups made here bound processes. The kernel refuses it where processes are.
    fn enable(&self) -> Result<(), String> {
        let directory = &self.directory;
        if !self.is_given() {
            return Err(format!("{} is not delegated; {ADVICE}", directory.display()));
        }
        let control = directory.join("cgroup.subtree_control");
        let told = |error| format!("{}: {error}; {ADVICE}", control.display());
        let enabled = fs::read_to_string(&control).map_err(told)?;
        if enabled.split_whitespace().any(|controller| controller == "pids") {
            return Ok(());
        }
        fs::write(&control, "+pids").map_err(told)
    }

    /// Whether it was given to us. Root may write anywhere, but a group elsewhere would take the child out of the bounds
    /// that were set for the worker.
    fn is_given(&self) -> bool {
        let mut value = [0; 2];
        let read = rustix::fs::getxattr(&self.directory, DELEGATED.0, &mut value);
        read.is_ok_and(|length| value.get(..length) == Some(DELEGATED.1))
    }
}

/// A mounted file system of control groups.
struct Mount {
    /// The group that is its root.
    root: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// Those of a `mountinfo` whose type and options are wanted.
    fn all<'t>(
        text: &'t str,
        is_wanted: impl Fn(&str, &str) -> bool + 't,
    ) -> Box<dyn Iterator<Item = Self> + 't> {
        Box::new(text.lines().filter_map(move |line| {
            let (place, device) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(3).map(unescape);
            let (root, at) = (place.next()?.into(), place.next()?.into());
            let mut device = device.split(' ');
            let (kind, options) = (device.next()?, device.nth(1)?);
            is_wanted(kind, options).then_some(Self { root, at })
        }))
    }

    /// The directory of a group, if this mount shows it.
    fn directory(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(&self.root).ok()?;
        let is_inside = below.components().all(|part| matches!(part, Component::Normal(_)));
        // Not joined when it is nothing, which would leave a slash at the end.
        is_inside.then(|| self.at.components().chain(below.components()).collect())
    }
}

/// A path of `mountinfo`: what would end a field is written as three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                path.push(code.into());
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(groups: &str, mounts: &str, directory: &str, unified: bool) {
        let place = Place::of(groups, mounts).expect("a place");
        assert_eq!(place, Place { directory: directory.into(), unified });
    }

    const V1: &str = "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                      36 31 0:33 / /sys/fs/cgroup/devices rw shared:7 - cgroup cgroup rw,devices\n";
    const V2: &str = "23 1 0:21 / / rw shared:1 master:2 - ext4 /dev/vda1 rw\n\
                      41 31 0:38 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_1_is_our_own_group() {
        let groups = "9:name=systemd:/\n8:pids:/jobs/a:b\n5:devices:/elsewhere\n";
        is(groups, V1, "/sys/fs/cgroup/pids/jobs/a:b", false);
        is("8:pids:/\n", V1, "/sys/fs/cgroup/pids", false);
        let joined = "39 31 0:36 / /cg/both rw - cgroup cgroup rw,net_cls,pids\n";
        is("3:net_cls,pids:/a\n", joined, "/cg/both/a", false);
    }

    #[test]
    fn version_2_is_the_group_above() {
        let worker = "0::/system.slice/jobs.service/worker\n";
        is(worker, V2, "/sys/fs/cgroup/system.slice/jobs.service", true);
        is("0::/worker\n", V2, "/sys/fs/cgroup", true);
        // Which the kernel refuses as long as processes are in it.
        is("0::/\n", V2, "/sys/fs/cgroup", true);
    }

    #[test]
    fn with_both_it_is_the_one_that_has_the_controller() {
        let (both, mounts) = ("8:pids:/a\n0::/b/c\n", format!("{HYBRID}{V1}"));
        is(both, &mounts, "/sys/fs/cgroup/pids/a", false);
        is("5:devices:/x\n0::/b/c\n", &mounts, "/sys/fs/cgroup/unified/b", true);
        // The controller is not where it is not mounted.
        Place::of(both, HYBRID).expect_err("not mounted");
    }

    #[test]
    fn a_container_sees_a_part() {
        // Of a namespace of its own it sees no more than that; without one, the path is longer than the mount.
        let bound = "39 31 0:36 /docker/4f /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        is("8:pids:/docker/4f\n", bound, "/sys/fs/cgroup/pids", false);
        is("8:pids:/docker/4f/jobs\n", bound, "/sys/fs/cgroup/pids/jobs", false);
        for elsewhere in ["8:pids:/docker/4fe\n", "8:pids:/\n", "8:pids:/../5e\n"] {
            Place::of(elsewhere, bound).expect_err("not to be seen");
        }
        Place::of("8:pids:/../5e\n", V1).expect_err("outside of its namespace");
    }

    #[test]
    fn what_would_end_a_field_is_escaped() {
        let mounts = "39 31 0:36 /my\\040jobs /mnt/a\\134b\\011c rw - cgroup cgroup rw,pids\n";
        is("8:pids:/my jobs/x\n", mounts, "/mnt/a\\b\tc/x", false);
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("\\\\040"), "\\ ");
    }

    #[test]
    fn nonsense_is_no_place() {
        for (groups, mounts) in
            [("", V1), ("8:pids\n", V1), ("0::/a\n", ""), ("8:pids:/\n", "x - y")]
        {
            Place::of(groups, mounts).expect_err(groups);
        }
    }
}
