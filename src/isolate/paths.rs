//! Which files a child may touch: Landlock rules. Not who owns them; the usual permissions hold as well.

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};

use super::limits::{Limits, Network};

/// What any program needs to start and to know the time: nothing here is secret.
const BASE: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/alternatives",
    "/proc/cpuinfo",
    "/proc/meminfo",
    // By number of this process, so no other's.
    "/proc/self",
];
/// Devices that hold nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// What it takes to find and trust a host.
const NAMES: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
];
/// The newest interface these rules are written for; an older kernel keeps what it knows.
const WRITTEN_FOR: ABI = ABI::V6;
/// The first that keeps signals inside.
const KEEPS_SIGNALS: ABI = ABI::V6;

/// Restricts this process and whatever it becomes or starts.
pub(super) fn restrict(
    limits: &Limits,
    program: Option<&str>,
    lacks: &mut Vec<String>,
) -> Result<(), String> {
    let read = AccessFs::from_read(WRITTEN_FOR);
    // What it writes it cannot run.
    let execute: BitFlags<AccessFs> = AccessFs::Execute.into();
    let write = AccessFs::from_all(WRITTEN_FOR) & !execute;
    let names: &[&str] = if limits.network == Network::All { &NAMES } else { &[] };
    // This link leads to the program that runs, even if the file was replaced on disk since.
    let own = program.unwrap_or("/proc/self/exe");
    let restrict = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(WRITTEN_FOR))?
            .scope(Scope::AbstractUnixSocket)?
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(BASE, read))?
            .add_rules(path_beneath_rules(names, read))?
            .add_rules(path_beneath_rules([own], read))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::ReadFile | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(&limits.read, read))?
            .add_rules(path_beneath_rules(&limits.write, write))?
            .restrict_self()
    };
    let status =
        restrict().map_err(|error: landlock::RulesetError| format!("Landlock: {error}"))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => {
            lacks.push("paths: this kernel has no Landlock, or it is off".to_owned());
        }
        (_, LandlockStatus::Available { effective_abi, .. }) if effective_abi < KEEPS_SIGNALS => {
            lacks.push(format!(
                "paths: {effective_abi} of Landlock lacks some of the rules; Linux 6.12 has all"
            ));
        }
        _ => {}
    }
    Ok(())
}
