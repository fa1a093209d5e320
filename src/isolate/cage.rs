//! The cage: what a child puts on itself before it is told what to do. Nothing of it can be taken off again.
//!
//! It is put on by the child and not between fork and exec, which needs no unsafe code: everything here is kept by
//! the exec that follows. What this system lacks is collected and told, never passed over.

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::limits::Limits;
use super::order::{Caged, Order};
use super::{paths, syscalls};

/// Puts the cage on this process.
pub(super) fn put_on(order: &Order) -> Caged {
    let mut lacks = Vec::new();
    let failed = enclose(order, &mut lacks).err();
    Caged { lacks, failed }
}

fn enclose(order: &Order, lacks: &mut Vec<String>) -> Result<(), String> {
    let Order { limits, program, .. } = order;
    let program = program.as_ref().map(|program| program.path.as_str());
    // First: whatever is executed from here on gains nothing, and the next two need no privilege for it.
    set_no_new_privs(true).map_err(|error| format!("no_new_privs: {error}"))?;
    set_limits(limits, order.calls)?;
    if let Some(why) = &order.ungrouped {
        count_for_user(limits, why, lacks)?;
    }
    // Root keeps its files and loses its powers; together with no_new_privs an exec does not bring them back.
    let nothing = CapabilitySet::empty();
    let none = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    set_capabilities(None, none).map_err(|error| format!("capabilities: {error}"))?;
    paths::restrict(limits, program, lacks)?;
    syscalls::restrict(limits, lacks)
}

fn set(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> Result<(), String> {
    setrlimit(resource, Rlimit { current: soft, maximum: hard })
        .map_err(|error| format!("{resource:?} {soft:?}: {error}"))
}

fn set_limits(limits: &Limits, calls: u32) -> Result<(), String> {
    let both = |resource, limit: u64| {
        let limit = Some(limit).filter(|limit| *limit != u64::MAX);
        set(resource, limit, limit)
    };
    leave_no_core()?;
    both(Resource::As, limits.memory)?;
    both(Resource::Fsize, limits.file_size)?;
    both(Resource::Nofile, limits.files)?;
    if let Some(cpu) = limits.cpu_seconds() {
        // The soft limit names itself by its signal; the hard one, a second later, is for who ignores that. Each
        // task but the first may begin in the middle of a second, and takes the rest of it too.
        let all = cpu.saturating_add(1).saturating_mul(u64::from(calls));
        set(Resource::Cpu, Some(cpu), Some(all))?;
    }
    Ok(())
}

/// Bounds the processes of a child that no control group bounds, as far as that goes: the kernel counts all processes
/// and threads of the user, not those of this child, and does not count for root at all.
fn count_for_user(limits: &Limits, why: &str, lacks: &mut Vec<String>) -> Result<(), String> {
    if rustix::process::getuid().is_root() {
        lacks.push(format!(
            "processes: root is spared by RLIMIT_NPROC, and there is no control group: {why}"
        ));
        return Ok(());
    }
    let most = Some(threads_of_this_user() + u64::from(limits.processes));
    set(Resource::Nproc, most, most)
}

/// No core dump: on disk a payload would outlive its task. With a limit of 1 byte no file is written, and none goes to
/// a program that takes dumps from a pipe; a limit of 0 does not stop that.
pub(super) fn leave_no_core() -> Result<(), String> {
    let most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Core, most(1))
        .or_else(|_| setrlimit(Resource::Core, most(0)))
        .map_err(|error| format!("cores: {error}"))
}

/// How many threads the user of this process has.
fn threads_of_this_user() -> u64 {
    use std::os::linux::fs::MetadataExt;
    let own = rustix::process::getuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let of_ours = entries.flatten().filter(|entry| {
        let number = entry.file_name().to_string_lossy().bytes().all(|c| c.is_ascii_digit());
        number && entry.metadata().is_ok_and(|meta| meta.st_uid() == own)
    });
    let threads = |entry: std::fs::DirEntry| {
        std::fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)
    };
    of_ours.map(threads).sum()
}
