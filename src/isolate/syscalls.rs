//! Which system calls a child may make: a seccomp filter that refuses some. Not which files: see `paths`.
//!
//! A deny list: handlers are ordinary programs, whose calls nobody can list. It closes the network, new processes,
//! and the ways to other processes and to the kernel's own workings.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::limits::{Limits, Network};

/// Refused always: other processes' memory, descriptors and limits, kernel interfaces that no handler needs, and
/// `io_uring`, whose operations no filter sees.
const NEVER: [i64; 31] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
];
/// On x86-64 the same calls have second numbers, with this bit.
const X32: i64 = 0x4000_0000;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts this process and whatever it becomes or starts.
pub(super) fn restrict(limits: &Limits, lacks: &mut Vec<String>) -> Result<(), String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        let arch = std::env::consts::ARCH;
        lacks.push(format!("network, processes: no seccomp filter is known for {arch}"));
        return Ok(());
    };
    let mut refused = Rules::new();
    let made = refuse(limits, &mut refused).and_then(|()| {
        // Its flags are in memory, where no filter sees them, and the control group a process is born in with them: any
        // that its user may write to. libc then takes `clone`.
        let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
        Ok([compile(refused, libc::EPERM, arch)?, compile(unknown, libc::ENOSYS, arch)?])
    });
    let programs = made.map_err(|error| format!("seccomp: {error}"))?;
    for program in &programs {
        if let Err(error) = apply_filter(program) {
            lacks.push(format!("network, processes: seccomp is not to be had: {error}"));
        }
    }
    Ok(())
}

fn compile(
    rules: Rules,
    errno: i32,
    arch: TargetArch,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let both =
        |(call, rules): (i64, Vec<SeccompRule>)| [(call, rules.clone()), (call | X32, rules)];
    let rules = match arch {
        TargetArch::x86_64 => rules.into_iter().flat_map(both).collect(),
        _ => rules,
    };
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?.try_into()
}

fn refuse(limits: &Limits, rules: &mut Rules) -> Result<(), seccompiler::BackendError> {
    let own = u64::from(std::process::id());
    let is = |argument, op, value| SeccompCondition::new(argument, Width::Dword, op, value);
    rules.extend(NEVER.map(|call| (call, Vec::new())));
    // Another process's limits are its own business. An exec keeps the number of this one.
    let others = SeccompRule::new(vec![is(0, Is::Ne, 0)?, is(0, Is::Ne, own)?])?;
    rules.insert(libc::SYS_prlimit64, vec![others]);
    match limits.network {
        Network::All => {}
        Network::None => drop(rules.insert(libc::SYS_socket, Vec::new())),
        Network::Unix => {
            let unix = u64::from(libc::AF_UNIX.unsigned_abs());
            let foreign = SeccompRule::new(vec![is(0, Is::Ne, unix)?])?;
            rules.insert(libc::SYS_socket, vec![foreign]);
        }
    }
    if limits.forks() {
        return Ok(());
    }
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let process = SeccompRule::new(vec![is(0, Is::MaskedEq(thread), 0)?])?;
    rules.insert(libc::SYS_clone, vec![process]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_fork, libc::SYS_vfork].map(|call| (call, Vec::new())));
    // It may end itself, and nobody else.
    let other = SeccompRule::new(vec![is(0, Is::Ne, own)?])?;
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_tkill] {
        rules.insert(call, vec![other.clone()]);
    }
    let ways =
        [libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo, libc::SYS_pidfd_send_signal];
    rules.extend(ways.map(|call| (call, Vec::new())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_compiles_and_differs() {
        let arch = TargetArch::x86_64;
        let length = |network, processes| {
            let mut rules = Rules::new();
            let limits = Limits { network, processes, ..Limits::default() };
            refuse(&limits, &mut rules).expect("rules");
            compile(rules, libc::EPERM, arch).expect("compiles").len()
        };
        let open = length(Network::All, 2);
        assert!(length(Network::None, 2) > open && length(Network::All, 1) > open);
        assert!(length(Network::Unix, 1) > length(Network::None, 1));
    }
}
