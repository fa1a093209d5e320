//! A server with an ACL file of ours, the functions deployed by the one who may, and whoever logs in as one of
//! its users.

use std::sync::Arc;

use oncue::broker::redis::acl::{DEFAULT_OFF, Password, Role, Scope, user_line};
use oncue::broker::redis::{Options, RedisBroker, deploy};
use oncue::clock::ManualClock;
use redis::{Client, Connection, Value};

use crate::fixture::run;
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::Setup;

pub const NAMESPACE: &str = "test";

/// The server, and the passwords of one user a role. When it ends nothing may have been refused that a test did
/// not ask about.
pub struct Users {
    pub server: Server,
    passwords: Vec<Password>,
}

impl Users {
    /// Users of the queues of this scope.
    #[track_caller]
    pub fn of(queues: &[&str]) -> Self {
        let scope = Scope::new(NAMESPACE, queues.iter().copied()).expect("a scope");
        let passwords = Role::ALL.map(|_| Password::generate().expect("a password")).to_vec();
        let lines = Role::ALL.iter().zip(&passwords).map(|(role, password)| {
            user_line(role.as_str(), std::slice::from_ref(password), &[*role], &scope)
                .expect("a line")
        });
        let lines = [DEFAULT_OFF.to_owned()].into_iter().chain(lines).collect::<Vec<_>>();
        let server = Setup::default().acl(&lines.join("\n")).start();
        Self { server, passwords }
    }

    /// How this role is reached.
    pub fn options(&self, role: Role, clock: &Arc<ManualClock>) -> Options {
        let options = Options::parse(&self.url(role)).expect("a URL");
        options.namespace(NAMESPACE).clock(clock.clone())
    }

    pub fn url(&self, role: Role) -> String {
        let at = Role::ALL.iter().position(|other| *other == role).expect("a role");
        self.server.url_as(role.as_str(), self.passwords[at].reveal())
    }

    /// The functions, by the deployer.
    #[track_caller]
    pub fn deploy(&self, clock: &Arc<ManualClock>) {
        run(deploy(self.options(Role::Deployer, clock))).expect("deployed");
    }

    pub fn broker(&self, role: Role, clock: &Arc<ManualClock>) -> RedisBroker {
        RedisBroker::open(self.options(role, clock)).expect("a broker")
    }

    /// A bare connection of a role.
    #[track_caller]
    pub fn connection(&self, role: Role) -> Connection {
        let url = self.url(role).replace("unix://", "redis+unix://").replace("password=", "pass=");
        let client = Client::open(url).expect("a URL");
        client.get_connection().expect("a connection")
    }

    /// What was refused since it was last asked: the reason and its object.
    pub fn refused(&self) -> Vec<(String, String)> {
        let entries: Vec<std::collections::HashMap<String, Value>> =
            self.server.ask(&["ACL", "LOG", "128"]);
        self.server.cli(&["ACL", "LOG", "RESET"]);
        let text = |value: Option<&Value>| match value {
            Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        };
        entries.iter().map(|entry| (text(entry.get("reason")), text(entry.get("object")))).collect()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // A panic in a panic would abort and hide the first one.
        if !std::thread::panicking() {
            assert_eq!(self.refused(), [], "Redis refused something");
        }
    }
}
