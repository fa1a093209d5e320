//! How a server is to be: the options of a [`Server`], and the configuration they make. Unless told otherwise it
//! listens on a unix socket only, keeps nothing on disk and lets everybody in.

use std::path::{Path, PathBuf};

use super::ports;
use super::server::Server;
use super::tls::Identity;
use crate::wall_clock::WallClock;

/// The user of the harness, which may do everything, whatever a test forbids the others.
pub const HARNESS: &str = "harness";

/// Whether a server wants to see certificates of its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientCertificates {
    Required,
    /// Checked if there is one.
    Optional,
    Ignored,
}

/// What a server shows to its clients, and which authority theirs must come from.
#[derive(Clone)]
struct Tls {
    identity: Identity,
    authority: String,
    clients: ClientCertificates,
}

/// The options of a server.
#[derive(Clone, Default)]
pub struct Setup {
    tcp: bool,
    tls: Option<Tls>,
    password: Option<String>,
    acl: Option<String>,
    aof: bool,
    sentinel: bool,
    lines: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Setup {
    /// Listens on a TCP port too. Its URL names that one.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Listens on a TCP port, with TLS only. Clients' certificates must come from this authority (PEM).
    #[must_use]
    pub fn tls(mut self, identity: Identity, authority: &str, clients: ClientCertificates) -> Self {
        self.tcp = true;
        self.tls = Some(Tls { identity, authority: authority.to_owned(), clients });
        self
    }

    /// The password of the default user.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// The text of an ACL file. Redis ignores a password of the setup then: the file tells those.
    #[must_use]
    pub fn acl(mut self, text: &str) -> Self {
        self.acl = Some(text.to_owned());
        self
    }

    /// Writes an append-only file. What was answered before a kill -9 (of the server, not of the machine) is there
    /// again after a restart: it was written before, and never synced. With `everysec` Redis answers without writing
    /// while a sync goes on, for up to two seconds.
    #[must_use]
    pub fn aof(mut self) -> Self {
        self.aof = true;
        self
    }

    /// A limit of memory, such as `8mb`, and what happens beyond it, such as `noeviction`.
    #[must_use]
    pub fn max_memory(self, limit: &str, policy: &str) -> Self {
        self.line(&format!("maxmemory {limit}")).line(&format!("maxmemory-policy {policy}"))
    }

    /// A line of the configuration, after all others.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Lives by this clock, which must outlive it.
    #[must_use]
    pub fn clock(mut self, clock: &WallClock) -> Self {
        self.environment = clock.environment().into();
        self
    }

    /// A Sentinel instead of a server: with the same TLS, and nothing else of it.
    #[must_use]
    pub(super) fn sentinel(&self) -> Self {
        Self { tcp: true, tls: self.tls.clone(), sentinel: true, ..Self::default() }
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Server {
        Server::from_setup(self)
    }

    pub(super) fn environment(&self) -> &[(&'static str, PathBuf)] {
        &self.environment
    }

    pub(super) fn is_sentinel(&self) -> bool {
        self.sentinel
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A port, if it is to have one.
    pub(super) fn choose_port(&self) -> Option<u16> {
        self.tcp.then(ports::free)
    }

    pub(super) fn known_password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Writes the configuration and the files it names into this directory.
    pub(super) fn write(&self, directory: &Path, port: Option<u16>) {
        let write = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).expect("written");
        };
        let port = port.unwrap_or(0);
        let plain = if self.tls.is_some() { 0 } else { port };
        let mut conf = vec![
            format!("dir {}", directory.display()),
            format!("unixsocket {}/server.sock", directory.display()),
            "bind 127.0.0.1 -::1".to_owned(),
            format!("port {plain}"),
        ];
        let mut say = |line: &str| conf.push(line.to_owned());
        let harness = format!("user {HARNESS} on nopass ~* &* +@all");
        match &self.acl {
            Some(text) => {
                write("users.acl", &format!("{text}\n{harness}\n"));
                say("aclfile users.acl");
            }
            None => say(&harness),
        }
        if let Some(password) = &self.password {
            say(&format!("requirepass {password}"));
        }
        if let Some(tls) = &self.tls {
            write("server.pem", &tls.identity.certificate);
            write("server.key", &tls.identity.key);
            write("authority.pem", &tls.authority);
            say(&format!("tls-port {port}"));
            say(
                "tls-cert-file server.pem\ntls-key-file server.key\ntls-ca-cert-file authority.pem",
            );
            // Its peers, too: replicas, primaries, Sentinels.
            say("tls-replication yes");
            say(match tls.clients {
                ClientCertificates::Required => "tls-auth-clients yes",
                ClientCertificates::Optional => "tls-auth-clients optional",
                ClientCertificates::Ignored => "tls-auth-clients no",
            });
        }
        if !self.sentinel {
            say("save \"\"\nenable-debug-command local");
        }
        if self.aof {
            say("appendonly yes\nappendfsync no");
        }
        conf.extend(self.lines.iter().cloned());
        write("server.conf", &(conf.join("\n") + "\n"));
    }
}
