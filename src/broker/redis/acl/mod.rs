//! Users of Redis with no more rights than their role needs, as lines of its ACL file.
//!
//! The rules follow from one `table` of what is done to which key. A user's root rule lets it call the
//! functions on the keys they are told; what they do inside is allowed by selectors, each of some commands on
//! some keys. This limits what a role can reach, not how: a producer may also write such keys by hand, and what
//! it writes does not open.

mod duty;
mod password;
mod shared;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use password::Password;

use super::keys::{Key, NAMESPACE_KEYS, QUEUE_KEYS, QueueKeys, Type, namespace_key};
use crate::error::{Error, Result, suggestion};
use crate::queue::QueueName;

/// Turns off the user everybody is who does not log in. The first line of an ACL file.
pub const DEFAULT_OFF: &str = "user default off resetpass resetkeys resetchannels -@all";

/// What a user of Redis is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Enqueues, and waits for results.
    Producer,
    /// Runs tasks: claims, settles, beats, and sweeps as every worker does.
    Worker,
    /// Sweeps and enqueues, but claims nothing that is pending: what is due, lost or kept too long.
    Scheduler,
    /// Looks, and changes nothing.
    Viewer,
    /// Looks, cancels tasks, pauses and limits queues, tells workers.
    Operator,
    /// Loads the functions, and sees no key.
    Deployer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [
        Self::Producer,
        Self::Worker,
        Self::Scheduler,
        Self::Viewer,
        Self::Operator,
        Self::Deployer,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Deployer => "deployer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == name);
        found.ok_or_else(|| {
            let hint = suggestion(name, Self::ALL.map(Self::as_str));
            let all = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid(format!("unknown role {name:?}{hint}; roles are {all}"))
        })
    }
}

/// Which queues of a namespace a user may reach.
#[derive(Clone, Debug)]
pub struct Scope {
    namespace: String,
    queues: Vec<QueueKeys>,
}

impl Scope {
    /// These queues; `*` stands for all of the namespace, those to come too.
    ///
    /// # Errors
    /// Names that are none [`is_invalid`](Error::is_invalid). A namespace must be written like a queue: other
    /// characters would mean something in a pattern.
    pub fn new<'q>(namespace: &str, queues: impl IntoIterator<Item = &'q str>) -> Result<Self> {
        if QueueName::parse(namespace).is_err() {
            return Err(Error::invalid(format!(
                "namespace {namespace:?} cannot stand in an ACL; use 1 to 64 of a-z 0-9 _ . : -, starting with a \
                 letter or digit"
            )));
        }
        let mut names = BTreeSet::new();
        for name in queues {
            names.insert(match name {
                "*" => QueueKeys::all(namespace),
                name => QueueKeys::new(namespace, &QueueName::parse(name)?),
            });
        }
        if names.is_empty() {
            return Err(Error::invalid("no queue is named; \"*\" stands for all of the namespace"));
        }
        Ok(Self { namespace: namespace.to_owned(), queues: names.into_iter().collect() })
    }

    /// The patterns of a key or channel by its name in the table, of queues and of the namespace.
    fn patterns(&self, name: &str) -> Vec<String> {
        let sigil = |key: &Key| if key.kind == Type::Channel { '&' } else { '~' };
        let named = |key: &&Key| key.name == name;
        let of_queues = QUEUE_KEYS.iter().filter(named).flat_map(|key| {
            self.queues.iter().map(move |queue| format!("{}{}", sigil(key), queue.of(key.name)))
        });
        let of_namespace = NAMESPACE_KEYS.iter().filter(named);
        let of_namespace = of_namespace
            .map(|key| format!("{}{}", sigil(key), namespace_key(&self.namespace, key.name)));
        of_queues.chain(of_namespace).collect()
    }
}

/// The commands of these roles, each with all keys it is used on.
fn commands(roles: &[Role]) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut commands: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for role in roles {
        let duty = duty::duty(*role);
        let inside = duty.functions.iter().flat_map(|name| table::calls_of(name, duty.without));
        let native = duty::CONNECT.iter().chain(duty.native).copied();
        for (command, keys) in inside.chain(native) {
            commands.entry(command).or_default().extend(keys);
        }
    }
    commands
}

/// What these roles together may do, as rules of `ACL SETUSER` or an ACL file. Whoever both enqueues and works
/// has both roles.
pub fn rules(roles: &[Role], scope: &Scope) -> String {
    let commands = commands(roles);
    let (mut root, mut selectors): (Vec<&str>, BTreeMap<_, Vec<&str>>) = Default::default();
    for (command, keys) in &commands {
        match keys.is_empty() || command.starts_with("FCALL") {
            true => root.push(command),
            false => selectors.entry(keys).or_default().push(command),
        }
    }
    let mut rules = vec!["resetkeys resetchannels -@all".to_owned()];
    rules.extend(root.iter().map(|command| format!("+{}", command.to_lowercase())));
    let calls = commands.keys().any(|name| name.starts_with("FCALL"));
    let declared = ["t", "workers", "never"].into_iter().filter(|_| calls);
    for pattern in declared.flat_map(|name| scope.patterns(name)) {
        // For a call that may write Redis wants both rights on the keys it is told.
        let read_only = !commands.contains_key("FCALL");
        rules.push(if read_only { format!("%R{pattern}") } else { pattern });
    }
    for (keys, commands) in selectors {
        let commands: Vec<_> =
            commands.iter().map(|name| format!("+{}", name.to_lowercase())).collect();
        let patterns: Vec<_> = keys.iter().flat_map(|name| scope.patterns(name)).collect();
        // The server's setting may give channels to whoever does not say otherwise.
        let reset = if patterns[0].starts_with('&') { "resetchannels " } else { "" };
        rules.push(format!("({reset}{} {})", commands.join(" "), patterns.join(" ")));
    }
    rules.join(" ")
}

/// A line of an ACL file: a user who may log in with any of these passwords.
///
/// # Errors
/// A name that is no word of `A-Z a-z 0-9 _ . : -`, and no password at all, [`is_invalid`](Error::is_invalid):
/// no user of ours goes without.
pub fn user_line(
    name: &str,
    passwords: &[Password],
    roles: &[Role],
    scope: &Scope,
) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if !(1..=128).contains(&name.len()) || !name.chars().all(good) {
        return Err(Error::invalid(format!(
            "user {name:?} cannot stand in an ACL file; use 1 to 128 of A-Z a-z 0-9 _ . : -"
        )));
    }
    if passwords.is_empty() || roles.is_empty() {
        return Err(Error::invalid(format!("user {name:?} needs a password and a role")));
    }
    let passwords: Vec<_> = passwords.iter().map(|one| format!("#{}", one.sha256())).collect();
    Ok(format!("user {name} on resetpass {} {}", passwords.join(" "), rules(roles, scope)))
}

/// What a role may do: commands, in capitals, with the keys and channels they are used on, named as they are
/// after the prefix of a queue or namespace. For tests of the rules.
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub fn grants(role: Role) -> Vec<(&'static str, Vec<&'static str>)> {
    let commands = commands(&[role]).into_iter();
    commands.map(|(command, keys)| (command, keys.into_iter().collect())).collect()
}

/// Every key and channel there is, whole, with its name in [`grants`] and an example of it. For tests.
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub fn places(namespace: &str, queue: &QueueName) -> Vec<(&'static str, String)> {
    let queue = QueueKeys::new(namespace, queue);
    let example = |name: &str| name.replace('*', "\u{1}x");
    let queues = QUEUE_KEYS.iter().map(|key| (key.name, queue.of(&example(key.name))));
    let shared = NAMESPACE_KEYS.iter().map(|key| (key.name, namespace_key(namespace, key.name)));
    queues.chain(shared).collect()
}

#[cfg(test)]
mod tests;
