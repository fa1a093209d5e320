//! The functions library: our transitions, run inside Redis, each in one file of `lua/`.
//!
//! Its name carries the version of what its functions take and answer, so that workers of two versions live
//! beside each other, each with its own. `oncue deploy` loads it, or a connection that may.
//! See <https://redis.io/docs/latest/develop/programmability/functions-intro/>.

use redis::{Cmd, Value};
use ring::digest::{SHA256, digest};

use super::address::Address;
use super::fault::{Class, Fault};
use super::link::Conn;
use super::options::Options;
use crate::error::Error;

/// Of what the functions take and answer. Raised whenever that changes.
pub(super) const VERSION: u32 = 1;

/// What functions share; each of these uses those before it.
const SHARED: [(&str, &str); 5] = [
    ("prelude", include_str!("lua/prelude.lua")),
    ("group", include_str!("lua/group.lua")),
    ("lock", include_str!("lua/lock.lua")),
    ("task", include_str!("lua/task.lua")),
    ("tick", include_str!("lua/tick.lua")),
];
const FUNCTIONS: [(&str, &str); 23] = [
    ("enqueue", include_str!("lua/enqueue.lua")),
    ("dequeue", include_str!("lua/dequeue.lua")),
    ("settle", include_str!("lua/settle.lua")),
    ("retire", include_str!("lua/retire.lua")),
    ("beat", include_str!("lua/beat.lua")),
    ("advance", include_str!("lua/advance.lua")),
    ("reclaim", include_str!("lua/reclaim.lua")),
    ("show", include_str!("lua/show.lua")),
    ("stats", include_str!("lua/stats.lua")),
    ("list", include_str!("lua/list.lua")),
    ("groups", include_str!("lua/groups.lua")),
    ("cancel", include_str!("lua/cancel.lua")),
    ("act", include_str!("lua/act.lua")),
    ("replace", include_str!("lua/replace.lua")),
    ("note", include_str!("lua/note.lua")),
    ("holder", include_str!("lua/holder.lua")),
    ("entries", include_str!("lua/entries.lua")),
    ("write_entry", include_str!("lua/write_entry.lua")),
    ("remove_entry", include_str!("lua/remove_entry.lua")),
    ("configure", include_str!("lua/configure.lua")),
    ("report", include_str!("lua/report.lua")),
    ("signal", include_str!("lua/signal.lua")),
    ("workers", include_str!("lua/workers.lua")),
];
const ARM: &str = include_str!("lua/arm.lua");
const PROBE: &str = include_str!("lua/probe.lua");
const CLOCK: &str = include_str!("lua/clock.lua");
#[cfg(feature = "failpoints")]
const CLOCK_GIVEN: &str = include_str!("lua/clock_given.lua");

/// The text of the functions and how they are called.
#[derive(Clone, Debug)]
pub(super) struct Library {
    prefix: String,
    /// For a cluster, whose slots may be on the move. While one is, a function that names `t` alone runs where `t`
    /// is and fails half way at the first key that is not there. One that names a key that never exists is refused
    /// as a whole (TRYAGAIN) until the slot has arrived.
    is_split: bool,
    digest: String,
    text: String,
}

impl Library {
    /// The library for these options: its time is the server's, or where a clock is given the one told with
    /// every call.
    pub(super) fn of(options: &Options) -> Self {
        let is_split = matches!(options.address, Address::Cluster(_));
        let (name, clock) = match options.clock {
            #[cfg(feature = "failpoints")]
            Some(_) => (format!("oncue_{VERSION}_given"), CLOCK_GIVEN),
            _ => (format!("oncue_{VERSION}"), CLOCK),
        };
        Self { is_split, ..Self::build(&name, clock) }
    }

    fn build(name: &str, clock: &str) -> Self {
        let prefix = format!("{name}_");
        let mut body = format!("local PREFIX = '{prefix}'\n{ARM}{clock}\n");
        for (_, part) in SHARED {
            body.push_str(part);
            body.push('\n');
        }
        // In a block each: Lua has room for 200 locals in one.
        for (_, part) in FUNCTIONS {
            body.push_str("do\n");
            body.push_str(part);
            body.push_str("end\n");
        }
        let digest =
            data_encoding::HEXLOWER.encode(&digest(&SHA256, body.as_bytes()).as_ref()[..8]);
        let text = format!("#!lua name={name}\nlocal DIGEST = '{digest}'\n{body}{PROBE}");
        Self { prefix, is_split: false, digest, text }
    }

    /// Its name in Redis, version included.
    pub(super) fn name(&self) -> &str {
        self.prefix.trim_end_matches('_')
    }

    /// The digest of its text, by which two builds of one version are told apart.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// The name Redis knows a function by.
    pub(super) fn function(&self, verb: &str) -> String {
        format!("{}{verb}", self.prefix)
    }

    /// A call of a function on the keys of a queue, or of the namespace, by the one its name is given of.
    pub(super) fn call(&self, verb: &str, key: &str) -> Cmd {
        self.call_by("FCALL", verb, key)
    }

    /// The same for a function that only reads.
    pub(super) fn call_ro(&self, verb: &str, key: &str) -> Cmd {
        self.call_by("FCALL_RO", verb, key)
    }

    fn call_by(&self, command: &str, verb: &str, key: &str) -> Cmd {
        let mut cmd = Cmd::new();
        cmd.arg(command).arg(self.function(verb));
        match (self.is_split, key.rfind(':')) {
            (true, Some(end)) => cmd.arg(2).arg(key).arg(format!("{}never", &key[..=end])),
            _ => cmd.arg(1).arg(key),
        };
        cmd
    }

    /// Asks which functions are there.
    pub(super) fn probe(&self) -> Cmd {
        let mut cmd = Cmd::new();
        cmd.arg("FCALL_RO").arg(self.function("probe")).arg(0);
        cmd
    }

    /// Makes sure that the functions are there: loads them if they are missing or other than ours and this
    /// user may.
    pub(super) async fn ensure(&self, conn: &mut Conn) -> Result<(), Fault> {
        let found = match conn.ask(&self.probe()).await {
            Ok(Value::Array(reply)) => match reply.get(1) {
                Some(Value::BulkString(digest)) if digest == self.digest.as_bytes() => {
                    return Ok(());
                }
                _ => true,
            },
            Ok(_) => true,
            Err(fault) if fault.class == Class::Undeployed => false,
            Err(fault) => return Err(fault),
        };
        match conn.call(&self.load()).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.class == Class::Denied && found => {
                tracing::warn!(
                    library = self.name(),
                    "the functions in Redis are another build's of the same version; run `oncue deploy`"
                );
                Ok(())
            }
            Err(fault) if fault.class == Class::Denied => Err(Fault::new(
                Class::Undeployed,
                Error::undeployed(
                    "the functions of oncue are not in Redis and this user may not load them; run \
                     `oncue deploy` as a user who may",
                ),
            )),
            Err(fault) => Err(fault),
        }
    }

    /// What loads the functions, in the place of those of the same version.
    pub(super) fn load(&self) -> Cmd {
        let mut load = Cmd::new();
        load.arg("FUNCTION").arg("LOAD").arg("REPLACE").arg(&self.text);
        load
    }
}
