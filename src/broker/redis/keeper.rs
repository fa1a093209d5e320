//! The task that keeps a link up: connects, greets, subscribes, tells, watches, and begins again.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use redis::PushInfo;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::address::{Address, Host};
use super::cluster;
use super::conn::{Conn, Life, Wire};
use super::credentials::Credentials;
use super::dial::Dial;
use super::fault::{Class, Fault};
use super::link::{Greeting, LinkEvent, OnEvent};
use super::options::Options;
use super::sentinel::Sentinels;
use crate::error::{Error, Result};

/// Waits between two attempts grow from here to there, with full jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Between two attempts that need somebody to change something on the server.
const BACKOFF_DEPLOY: Duration = Duration::from_secs(5);
/// Between two attempts with credentials that were refused.
const BACKOFF_AUTH: Duration = Duration::from_secs(30);
/// How long nothing may be received before a sign of life is asked for.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// What calls wait for.
pub(super) enum State {
    /// Not connected, and why.
    Down(Option<Fault>),
    /// Connected, greeted and subscribed.
    Up(Conn),
}

#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) options: Arc<Options>,
    pub(super) greeting: Greeting,
    pub(super) on_event: OnEvent,
    pub(super) state: watch::Sender<State>,
    /// All channels that were ever asked for; only grows.
    pub(super) channels: watch::Receiver<Vec<String>>,
}

/// A connection that may be used, and what it was made with.
struct Session {
    conn: Conn,
    credentials: Option<Credentials>,
    /// How many of the channels are subscribed to.
    subscribed: usize,
    /// Listens to a sentinel for as long.
    _watcher: Option<AbortOnDropHandle<()>>,
}

impl Keeper {
    /// Whatever ran before is gone, and its connection with it.
    pub(super) fn fall(&self) {
        self.state.send_replace(State::Down(None));
        (self.on_event)(LinkEvent::Down);
    }

    /// Runs until it is aborted.
    pub(super) async fn run(mut self) -> Infallible {
        let (mut failures, mut reread, mut warned) = (0, false, false);
        loop {
            self.options.planned.pass("redis keeper");
            let mut used = None;
            let fault = match self.connect(&mut used, &mut warned).await {
                Ok(mut session) => {
                    reread = false;
                    tracing::debug!(redis = %self.options.address, "connected to Redis");
                    self.state.send_replace(State::Up(session.conn.clone()));
                    (self.on_event)(LinkEvent::Up);
                    let fault = self.hold(&mut session).await;
                    self.state.send_replace(State::Down(Some(fault.replicate())));
                    (self.on_event)(LinkEvent::Down);
                    tracing::warn!(redis = %self.options.address, error = %fault.error, "connection to Redis lost");
                    // One that dies as soon as it is made does not begin anew.
                    failures = if session.conn.life.age() > BACKOFF.1 { 0 } else { failures + 1 };
                    sleep(full_jitter(failures)).await;
                    continue;
                }
                Err(fault) => fault,
            };
            if fault.class == Class::Auth && !reread {
                // They may have been changed between reading and using them.
                reread = true;
                continue;
            }
            self.complain(&fault, failures);
            let wait = match fault.class {
                Class::Auth | Class::Denied => BACKOFF_AUTH,
                class if class.passes() => full_jitter(failures),
                _ => BACKOFF_DEPLOY,
            };
            failures += 1;
            self.state.send_replace(State::Down(Some(fault)));
            self.rest(wait, used.as_ref()).await;
        }
    }

    fn complain(&self, fault: &Fault, failures: u32) {
        let (redis, error) = (&self.options.address, &fault.error);
        if !fault.class.passes() {
            tracing::error!(%redis, ?error, "Redis cannot be used");
        } else if failures == 0 {
            tracing::warn!(%redis, ?error, "Redis cannot be reached; trying on");
        } else {
            tracing::debug!(%redis, ?error, "Redis cannot be reached");
        }
    }

    /// Waits; less if new credentials turn up.
    async fn rest(&self, wait: Duration, refused: Option<&Credentials>) {
        let until = Instant::now() + wait;
        let Some(poll) = self.options.credentials_poll().filter(|poll| *poll < wait) else {
            return sleep_until(until).await;
        };
        while Instant::now() < until {
            sleep(poll.min(until - Instant::now())).await;
            if self.credentials().await.is_ok_and(|now| now.as_ref() != refused) {
                return;
            }
        }
    }

    async fn credentials(&self) -> Result<Option<Credentials>> {
        let options = self.options.clone();
        blocking(move || options.load_credentials()).await
    }

    /// One attempt; leaves the credentials it used behind, and whether an open server was warned about.
    async fn connect(
        &mut self,
        used: &mut Option<Credentials>,
        warned: &mut bool,
    ) -> Result<Session, Fault> {
        let options = self.options.clone();
        let broken = |error| Fault::new(Class::Broken, error);
        options.check().map_err(broken)?;
        let credentials =
            self.credentials().await.map_err(|error| Fault::new(Class::Auth, error))?;
        used.clone_from(&credentials);
        let tls = match options.tls.clone() {
            Some(tls) => Some(blocking(move || tls.load()).await.map_err(broken)?),
            None => None,
        };
        let response_timeout = options.response_timeout;
        let dial = Dial { tls, login: credentials.clone(), response_timeout };
        let life = Arc::new(Life::new());
        let listener = Arc::new(life.listener(self.on_event.clone()));
        let (mut reached, mut watcher) = (None, None);
        let wire = match &options.address {
            Address::Host(host) => {
                reached = Some(host.clone());
                Wire::One(dial.host(host, Some(listener)).await?)
            }
            Address::Unix(path) => Wire::One(dial.unix(path, listener).await?),
            Address::Cluster(nodes) => {
                Wire::Cluster(cluster::connect(nodes, &dial, listener).await?)
            }
            Address::Sentinel { sentinels, primary } => {
                let asked = options.clone();
                let login = blocking(move || asked.load_sentinel_credentials()).await;
                let login = login.map_err(|error| Fault::new(Class::Auth, error))?;
                let sentinels = Sentinels {
                    options: options.clone(),
                    hosts: sentinels.clone(),
                    primary: primary.clone(),
                    sentinel: Dial { login, ..dial.clone() },
                    server: dial.clone(),
                };
                let found = sentinels.connect(listener).await?;
                reached = Some(found.1.clone());
                watcher = Some(AbortOnDropHandle::new(tokio::spawn(
                    sentinels.watch(found.1, life.clone()),
                )));
                Wire::One(found.0)
            }
        };
        let mut conn = Conn::new(wire, life);
        // For people who look at CLIENT LIST; one who may not is no fault.
        let name = format!("oncue:{}", std::process::id());
        let _ = conn.call(redis::cmd("CLIENT").arg("SETNAME").arg(name)).await;
        (self.greeting)(conn.clone()).await?;
        let mut session = Session { conn, credentials, subscribed: 0, _watcher: watcher };
        self.subscribe(&mut session).await?;
        if let Some(host) = reached.filter(|host| session.credentials.is_some() && !host.is_local())
            && !std::mem::replace(warned, true)
        {
            tokio::spawn(warn_if_open(host, dial));
        }
        Ok(session)
    }

    /// Subscribes to what is not subscribed to yet; answers how much that was.
    async fn subscribe(&mut self, session: &mut Session) -> Result<usize, Fault> {
        let channels = self.channels.borrow_and_update().clone();
        let news = &channels[session.subscribed..];
        for channel in news {
            match session.conn.subscribe(channel).await {
                // A worker polls without them, and whoever waits for the end of a task looks now and then.
                Err(fault) if fault.class == Class::Denied => {
                    tracing::error!(channel, error = %fault.error, "Redis refuses a subscription");
                }
                result => result?,
            }
        }
        session.subscribed = channels.len();
        Ok(news.len())
    }

    /// Stays until the connection ends; answers why.
    async fn hold(&mut self, session: &mut Session) -> Fault {
        let life = session.conn.life.clone();
        let poll = self.options.credentials_poll();
        let mut look = Instant::now() + poll.unwrap_or_default();
        loop {
            let quiet = life.quiet();
            tokio::select! {
                fault = life.ended() => return fault,
                Ok(()) = self.channels.changed() => match self.subscribe(session).await {
                    Ok(0) => {}
                    Ok(_) => (self.on_event)(LinkEvent::Subscribed),
                    Err(fault) => return fault,
                },
                () = sleep(QUIET_MAX.saturating_sub(quiet)), if !session.conn.is_cluster() => {
                    if life.quiet() >= QUIET_MAX {
                        session.conn.ping().await;
                    }
                }
                () = sleep_until(look), if poll.is_some() => {
                    look = Instant::now() + poll.unwrap_or_default();
                    if let Some(fault) = self.renew(session).await {
                        return fault;
                    }
                }
            }
        }
    }

    /// Logs in anew if the credentials have changed. What was refused is tried again at the next look: the
    /// connection stays good for as long as Redis lets it.
    async fn renew(&self, session: &mut Session) -> Option<Fault> {
        let now = match self.credentials().await {
            Ok(now) if now != session.credentials => now?,
            Ok(_) => return None,
            Err(error) => {
                tracing::error!(?error, "the credentials for Redis cannot be read");
                return None;
            }
        };
        if session.conn.is_cluster() {
            // Its connections are the library's; new ones are made with what is there now.
            return Some(Fault::new(
                Class::Failover,
                Error::unreachable("the password was changed"),
            ));
        }
        match session.conn.login(&now).await {
            Ok(()) => {
                tracing::info!(user = now.user(), "logged in to Redis with new credentials");
                session.credentials = Some(now);
            }
            Err(fault) if fault.class == Class::Auth => {
                tracing::error!(error = %fault.error, "Redis refuses the new credentials; the old ones are kept");
            }
            Err(fault) => return Some(fault),
        }
        None
    }
}

/// A server on another machine that wants no password is a hole, even if we have one.
async fn warn_if_open(host: Host, dial: Dial) {
    let anybody = Dial { login: None, ..dial };
    let Ok(mut connection) = anybody.host(&host, None::<fn(PushInfo) -> Result<()>>).await else {
        return;
    };
    let answer = connection.send_packed_command(&redis::cmd("PING")).await;
    if answer.and_then(redis::Value::extract_error).is_ok() {
        tracing::warn!(%host, "this Redis takes commands without a password; turn its default user off");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::system("reading the credentials for Redis panicked")),
    }
}

/// Anything up to a wait that doubles from [`BACKOFF`]'s one end to its other.
fn full_jitter(failures: u32) -> Duration {
    let most = BACKOFF.0.saturating_mul(1 << failures.min(16)).min(BACKOFF.1);
    let chance = (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64;
    most.mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_not_further() {
        for (failures, most) in [(0, 50), (1, 100), (4, 800), (5, 1_000), (u32::MAX, 1_000)] {
            let longest = (0..200).map(|_| full_jitter(failures)).max().expect("some");
            assert!(longest <= Duration::from_millis(most), "{failures}: {longest:?}");
            assert!(longest > Duration::from_millis(most / 2), "{failures}: {longest:?}");
        }
    }
}
