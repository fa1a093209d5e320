//! Making one connection to one server: address, login, TLS, times, socket.

use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
};

use super::address::Host;
use super::credentials::Credentials;
use super::fault::{Class, Fault};
use crate::error::Error;

/// How long a connection may take to be made, login included.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a peer may be silent before TCP asks whether it is there, and between two questions.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// How long what was sent may go unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// Most commands on their way at once; more wait here, and their time does not run yet.
const WINDOW: usize = 256;

/// What all connections of one attempt share.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) tls: Option<TlsCertificates>,
    pub(super) login: Option<Credentials>,
    pub(super) response_timeout: Duration,
}

impl Dial {
    /// To a server by TCP, with TLS if this is how.
    pub(super) async fn host(
        &self,
        host: &Host,
        listener: Option<impl redis::aio::AsyncPushSender>,
    ) -> Result<MultiplexedConnection, Fault> {
        let info = self.info(host)?;
        let client = match &self.tls {
            Some(tls) => Client::build_with_tls(info, tls.clone())?,
            None => Client::open(info)?,
        };
        self.finish(client, listener).await
    }

    /// To a server by its socket.
    pub(super) async fn unix(
        &self,
        path: &Path,
        listener: impl redis::aio::AsyncPushSender,
    ) -> Result<MultiplexedConnection, Fault> {
        let info = ConnectionAddr::Unix(path.to_owned()).into_connection_info()?;
        let client = Client::open(info.set_redis_settings(self.settings()))?;
        self.finish(client, Some(listener)).await
    }

    async fn finish(
        &self,
        client: Client,
        listener: Option<impl redis::aio::AsyncPushSender>,
    ) -> Result<MultiplexedConnection, Fault> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIME_MAX))
            .set_response_timeout(Some(self.response_timeout))
            .set_concurrency_limit(WINDOW);
        if let Some(listener) = listener {
            config = config.set_push_sender(listener);
        }
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => Ok(connection),
            Err(error) if error.is_connection_dropped() && !error.is_connection_refusal() => {
                Err(closed(&error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the library wants to know of a host.
    pub(super) fn info(&self, host: &Host) -> RedisResult<ConnectionInfo> {
        let (name, port) = (host.name.clone(), host.port);
        let address = match self.tls {
            Some(_) => {
                ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
            }
            None => ConnectionAddr::Tcp(name, port),
        };
        let info = address.into_connection_info()?;
        Ok(info.set_tcp_settings(socket()).set_redis_settings(self.settings()))
    }

    fn settings(&self) -> RedisConnectionInfo {
        // No CLIENT SETINFO: least privilege has no right to it, and each refusal would stand in the ACL log.
        let settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        match &self.login {
            Some(login) => settings.set_username(login.user()).set_password(login.secret()),
            None => settings,
        }
    }
}

/// A server that is at its limit says so and closes at once; what it said is lost if our greeting came too late to
/// be read.
fn closed(error: &RedisError) -> Fault {
    let text = format!(
        "Redis closed the connection as it was made; it may take no more (`maxclients`), or be going down ({error})"
    );
    Fault::new(Class::Ambiguous, Error::unreachable(text))
}

/// A socket that sends at once and notices a peer that is gone.
pub(super) fn socket() -> TcpSettings {
    let (silent, between) = KEEPALIVE;
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(silent).with_interval(between));
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED_MAX);
    settings
}
