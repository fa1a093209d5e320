//! Deeds that reach for what is not the child's own by ways that are no file it opens: attributes, parents, addresses.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::SystemTime;

use rustix::fs::{CWD, MemfdFlags, Timespec, Timestamps, UTIME_NOW, XattrFlags, inotify};
use rustix::process::{Resource, getrlimit};

/// Sets what a file has beside its content, by its path.
pub fn meddle(path: &str) -> String {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    let mode = std::fs::set_permissions(path, Permissions::from_mode(0o644));
    let owner = std::os::unix::fs::chown(path, None, None);
    let attribute = rustix::fs::setxattr(path, "user.oncue", b"x", XattrFlags::empty());
    let times = rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::empty());
    told(&[
        ("mode", mode.is_ok()),
        ("owner", owner.is_ok()),
        ("attribute", attribute.is_ok()),
        ("times", times.is_ok()),
    ])
}

/// The same of a file it made, which is open.
pub fn meddle_own(path: &str) -> String {
    let file = File::create(path).expect("allowed");
    let mode = file.set_permissions(Permissions::from_mode(0o600));
    let times = file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH));
    told(&[("mode", mode.is_ok()), ("times", times.is_ok())])
}

/// Makes what is counted for a whole user, and memory of no address space.
pub fn hoard() -> String {
    let memory = rustix::fs::memfd_create("hoard", MemfdFlags::CLOEXEC);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC);
    told(&[("memory", memory.is_ok()), ("watch", watch.is_ok())])
}

/// How it dies with its parent: it asks not to, and has another thread become another program, which is not asked.
pub fn outlive() -> String {
    let asked = rustix::process::set_parent_process_death_signal(None).is_ok();
    let become_it = || Command::new("/bin/true").exec().to_string();
    let became = std::thread::spawn(become_it).join().expect("told");
    format!("asked {asked}, refused: {became}")
}

/// Sends with one of a pair, for which nobody needs a name.
pub fn letter(path: &str) -> std::io::Result<usize> {
    UnixDatagram::pair()?.0.send_to(b"x", path)
}

/// How large a core it may leave.
pub fn core() -> String {
    format!("{:?}", getrlimit(Resource::Core).maximum)
}

fn told(done: &[(&str, bool)]) -> String {
    let words: Vec<_> = done.iter().map(|(what, done)| format!("{what} {done}")).collect();
    words.join(", ")
}
