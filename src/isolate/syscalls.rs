//! Which system calls a child may make: seccomp filters that refuse some. Not which files: see `paths`.
//!
//! A deny list: handlers are ordinary programs, whose calls nobody can list. It closes the network, new processes,
//! what outlives a child, and the ways to other processes, their files and the kernel's own workings.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter, sock_filter,
};

use super::limits::{Limits, Network};
use super::refused::{
    FCNTL, IOCTL, KERNEL, METADATA, METADATA_OF_OPEN, OTHERS, SHARED_COUNTS, STORES,
};

/// Flags of a new thread that shares all with its process. One with descriptors of its own would have a limit of its
/// own, too.
const THREAD: [i32; 3] = [libc::CLONE_THREAD, libc::CLONE_FILES, libc::CLONE_FS];
/// Flags of a new namespace, in which a process has powers it does not have here.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// What of the type of a socket is no flag.
const TYPE_MASK: u64 = 0xf;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts this process and whatever it becomes or starts.
pub(super) fn restrict(limits: &Limits, lacks: &mut Vec<String>) -> Result<(), String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        let arch = std::env::consts::ARCH;
        lacks.push(format!("network, processes: no seccomp filter is known for {arch}"));
        return Ok(());
    };
    let programs = programs(limits, rustix::process::getuid().is_root(), arch);
    let programs = programs.map_err(|error| format!("seccomp: {error}"))?;
    // Each is tried, and what lacks is told once.
    let failed: Vec<_> =
        programs.iter().filter_map(|program| apply_filter(program).err()).collect();
    if let Some(error) = failed.first() {
        lacks.push(format!("network, processes: seccomp is not to be had: {error}"));
    }
    Ok(())
}

/// Lets this process become no other program. A thread that did would be a child the kernel does not end with its
/// parent.
pub(super) fn stay() -> Result<(), String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    let exec = [libc::SYS_execve, libc::SYS_execveat].map(|call| (call, Vec::new()));
    let program = compile(Rules::from(exec), libc::EPERM, arch);
    match apply_filter(&program.map_err(|error| format!("seccomp: {error}"))?) {
        // A kernel without filters: told when the cage was put on.
        Err(seccompiler::Error::Seccomp(error))
            if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
        {
            Ok(())
        }
        applied => applied.map_err(|error| format!("seccomp: {error}")),
    }
}

fn programs(
    limits: &Limits,
    is_root: bool,
    arch: TargetArch,
) -> Result<Vec<BpfProgram>, BackendError> {
    // `clone3` takes its flags from memory, where no filter sees them, and with them the control group the process is
    // born in: any that its user may write to. Where it is unknown, libc takes `clone`.
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let refused = compile(refuse(limits, is_root)?, libc::EPERM, arch)?;
    let mut programs = vec![refused, compile(unknown, libc::ENOSYS, arch)?];
    if arch == TargetArch::x86_64 {
        programs.push(without_x32());
    }
    Ok(programs)
}

fn compile(rules: Rules, errno: i32, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?.try_into()
}

/// On x86-64 the calls have second numbers, for x32: with a bit, and some of 36 more that old kernels know without it.
fn without_x32() -> BpfProgram {
    let (load, at_least, end) = (0x20, 0x35, 0x06);
    let allow = 0x7fff_0000;
    let unknown = 0x0005_0000 | libc::ENOSYS.unsigned_abs();
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(load, 0, 0, 0),
        step(at_least, 3, 0, 0x4000_0000),
        step(at_least, 1, 0, 548),
        step(at_least, 1, 0, 512),
        step(end, 0, 0, allow),
        step(end, 0, 0, unknown),
    ]
}

fn is(argument: u8, op: Is, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Width::Dword, op, value)
}

/// One rule for each of these: any of them is enough.
fn any<const N: usize>(
    conditions: [Result<SeccompCondition, BackendError>; N],
) -> Result<Vec<SeccompRule>, BackendError> {
    conditions.into_iter().map(|condition| SeccompRule::new(vec![condition?])).collect()
}

fn refuse(limits: &Limits, is_root: bool) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let mut never = |calls: &[i64]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    [OTHERS, KERNEL, STORES, SHARED_COUNTS].into_iter().for_each(&mut never);
    if !limits.metadata {
        never(METADATA);
        // Root owns what all read. Whoever writes nothing has nothing to set.
        if is_root || limits.write.is_empty() {
            never(METADATA_OF_OPEN);
        }
        // Without a path it is of an open file.
        let path = SeccompCondition::new(1, Width::Qword, Is::Ne, 0)?;
        rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![path])?]);
    }
    rules.insert(libc::SYS_fcntl, any(FCNTL.map(|command| is(1, Is::Eq, command)))?);
    rules.insert(libc::SYS_ioctl, any(IOCTL.map(|command| is(1, Is::Eq, command)))?);
    keep_to_itself(&mut rules)?;
    keep_from_network(limits.network, &mut rules)?;
    let flag = |flag: i32| u64::from(flag.unsigned_abs());
    let mut clone = any(NAMESPACES.map(|name| is(0, Is::MaskedEq(flag(name)), flag(name))))?;
    if !limits.forks() {
        clone.extend(any(THREAD.map(|shared| is(0, Is::MaskedEq(flag(shared)), 0)))?);
        keep_alone(&mut rules)?;
    }
    rules.insert(libc::SYS_clone, clone);
    Ok(rules)
}

/// How another process is run and limited is its own business. An exec keeps the number of this one.
fn keep_to_itself(rules: &mut Rules) -> Result<(), BackendError> {
    let own = u64::from(std::process::id());
    let other =
        |argument| SeccompRule::new(vec![is(argument, Is::Ne, 0)?, is(argument, Is::Ne, own)?]);
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        rules.insert(call, vec![other(0)?]);
    }
    // These two may mean groups and users as well: first what is meant, then which.
    for (call, process) in [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)] {
        let of_many = SeccompRule::new(vec![is(0, Is::Ne, process)?])?;
        rules.insert(call, vec![of_many, other(1)?]);
    }
    Ok(())
}

fn keep_from_network(network: Network, rules: &mut Rules) -> Result<(), BackendError> {
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    let kind = |kind: i32| is(1, Is::MaskedEq(TYPE_MASK), u64::from(kind.unsigned_abs()));
    let foreign = || is(0, Is::Ne, unix);
    match network {
        Network::All => {}
        Network::None => {
            rules.insert(libc::SYS_socket, Vec::new());
            // One of a pair of these sends to any address, too; `SOCK_RAW` is taken for the same.
            let pairs = any([foreign(), kind(libc::SOCK_DGRAM), kind(libc::SOCK_RAW)])?;
            rules.insert(libc::SYS_socketpair, pairs);
        }
        Network::Unix => {
            for call in [libc::SYS_socket, libc::SYS_socketpair] {
                rules.insert(call, any([foreign()])?);
            }
        }
    }
    Ok(())
}

/// No processes, no signals but to itself, and an end with its parent.
fn keep_alone(rules: &mut Rules) -> Result<(), BackendError> {
    let own = u64::from(std::process::id());
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_fork, libc::SYS_vfork].map(|call| (call, Vec::new())));
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_tkill] {
        rules.insert(call, any([is(0, Is::Ne, own)])?);
    }
    let ways =
        [libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo, libc::SYS_pidfd_send_signal];
    rules.extend(ways.map(|call| (call, Vec::new())));
    let death_signal = u64::from(libc::PR_SET_PDEATHSIG.unsigned_abs());
    rules.insert(libc::SYS_prctl, any([is(0, Is::Eq, death_signal)])?);
    Ok(())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const EPERM: Option<i32> = Some(libc::EPERM);
    const ENOSYS: Option<i32> = Some(libc::ENOSYS);

    /// What the filters say of a call: the errno it is refused with.
    fn ask(limits: &Limits, is_root: bool, call: i64, arguments: [u64; 2]) -> Option<i32> {
        let programs = programs(limits, is_root, TargetArch::x86_64).expect("compiles");
        let call = u32::try_from(call).expect("a number");
        let mut data = [&call.to_le_bytes()[..], &0xc000_003e_u32.to_le_bytes(), &[0; 8]].concat();
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        data.resize(64, 0);
        programs.iter().find_map(|program| match interpret(program, &data) {
            0x7fff_0000 => None,
            refused => Some(i32::from(u16::try_from(refused & 0xffff).expect("16 bits"))),
        })
    }

    /// The kernel's part: classic BPF, as far as these filters use it.
    fn interpret(program: &[sock_filter], data: &[u8]) -> u32 {
        let (mut at, mut value) = (0, 0u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |is: bool| usize::from(if is { jt } else { jf });
            match code {
                0x20 => {
                    let place = k as usize;
                    value = u32::from_le_bytes(data[place..place + 4].try_into().expect("four"));
                }
                0x54 => value &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(value == k),
                0x25 => at += jump(value > k),
                0x35 => at += jump(value >= k),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn what_is_refused_always_is_refused_whatever_the_limits() {
        let open = Limits {
            processes: 16,
            network: Network::All,
            write: vec!["/tmp".into()],
            ..Limits::default()
        };
        for call in [OTHERS, KERNEL, STORES, SHARED_COUNTS, METADATA].concat() {
            assert_eq!(ask(&open, false, call, [0, 0]), EPERM, "{call}");
        }
        let user = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
        for (call, refused, allowed) in [
            (libc::SYS_clone, [user | 17, 0], [17, 0]),
            (libc::SYS_fcntl, [3, 1024], [3, 6]),
            (libc::SYS_fcntl, [3, 8], [3, 1030]),
            (libc::SYS_ioctl, [3, 0x8901], [3, 0x5401]),
            (libc::SYS_utimensat, [3, 1 << 40], [3, 0]),
            (libc::SYS_prlimit64, [1, 0], [0, 0]),
            (libc::SYS_sched_setscheduler, [1, 0], [u64::from(std::process::id()), 0]),
            (libc::SYS_setpriority, [0, 1], [0, 0]),
            (libc::SYS_setpriority, [2, 0], [0, 0]),
            (libc::SYS_ioprio_set, [1, 1], [1, 0]),
        ] {
            assert_eq!(ask(&open, false, call, refused), EPERM, "{call} {refused:?}");
            assert_eq!(ask(&open, false, call, allowed), None, "{call} {allowed:?}");
        }
        assert_eq!(ask(&open, false, libc::SYS_clone3, [0, 0]), ENOSYS);
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_openat, libc::SYS_prctl] {
            assert_eq!(ask(&open, false, call, [1, 0]), None, "{call}");
        }
    }

    #[test]
    fn the_second_numbers_of_x32_are_unknown() {
        let limits = Limits::default();
        for call in [libc::SYS_ptrace, libc::SYS_socket, libc::SYS_getpid, 521, 539] {
            assert!(ask(&limits, false, call | 0x4000_0000, [0, 0]).is_some(), "{call}");
        }
        for call in [512, 547] {
            assert_eq!(ask(&limits, false, call, [0, 0]), ENOSYS, "{call}");
        }
        assert_eq!(ask(&limits, false, 511, [0, 0]), None);
        assert_eq!(ask(&limits, false, 548, [0, 0]), None);
    }

    #[test]
    fn each_limit_refuses_what_it_names() {
        let limits = Limits::default();
        let forks = Limits { processes: 2, ..Limits::default() };
        let (unix, all) = (
            Limits { network: Network::Unix, ..Limits::default() },
            Limits { network: Network::All, ..Limits::default() },
        );
        let writes = Limits { write: vec!["/tmp".into()], ..Limits::default() };
        let trusted = Limits { metadata: true, ..Limits::default() };
        let (dgram, tipc) = ([1, 2 | 0x8_0000], [30, 1]);
        // As glibc makes a thread; the same with descriptors of its own.
        let (thread, apart) = ([0x003d_0f00, 0], [0x003d_0b00, 0]);
        for (refusing, allowing, call, arguments) in [
            (&limits, &all, libc::SYS_socket, [2, 1]),
            (&limits, &unix, libc::SYS_socket, [1, 1]),
            (&unix, &all, libc::SYS_socket, [2, 1]),
            (&limits, &unix, libc::SYS_socketpair, dgram),
            (&unix, &all, libc::SYS_socketpair, tipc),
            (&limits, &forks, libc::SYS_clone, [17, 0]),
            (&limits, &forks, libc::SYS_clone, apart),
            (&limits, &forks, libc::SYS_vfork, [0, 0]),
            (&limits, &forks, libc::SYS_kill, [1, 9]),
            (&limits, &forks, libc::SYS_prctl, [1, 0]),
            (&limits, &writes, libc::SYS_fchmod, [3, 0]),
            (&writes, &trusted, libc::SYS_fchmodat, [3, 0]),
        ] {
            assert_eq!(ask(refusing, false, call, arguments), EPERM, "{call} {arguments:?}");
            assert_eq!(ask(allowing, false, call, arguments), None, "{call} {arguments:?}");
        }
        assert_eq!(ask(&writes, true, libc::SYS_fchmod, [3, 0]), EPERM);
        assert_eq!(ask(&limits, false, libc::SYS_clone, thread), None);
        assert_eq!(ask(&limits, false, libc::SYS_socketpair, [1, 1 | 0x8_0000]), None);
        assert_eq!(ask(&limits, false, libc::SYS_prctl, [15, 0]), None);
    }
}
