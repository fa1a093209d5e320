//! One request and its answer, on a connection of its own that ends with it.
//!
//! Dropped, the exchange closes its connection at once: nothing is spawned but the look-up of a name, which tokio does
//! on a thread. It follows no redirects, uses no proxy and decompresses nothing. What an answer means for a task is
//! not known here.

use std::error::Error as StdError;
use std::fmt::Write;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::address::Address;

/// Bytes after which the head of an answer is not read on; looked at after each read, which is as long at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no answer, or not the whole of it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) class: &'static str,
    pub(super) message: String,
}

impl Fault {
    fn new(class: &'static str, what: &str, error: &(dyn StdError + 'static)) -> Self {
        let (mut message, mut below) = (what.to_owned(), Some(error));
        while let Some(error) = below {
            // Writing to a String does not fail.
            let _ = write!(message, ": {error}");
            below = error.source();
        }
        Self { class, message }
    }

    /// Time is up.
    fn late(what: &str) -> Self {
        Self { class: "timeout", message: what.to_owned() }
    }

    /// A connection that came about did not bring what it should.
    fn broken(error: &hyper::Error) -> Self {
        // What is too long to be a head is none.
        if error.is_parse() {
            Self::new("protocol", "what came back is not HTTP", error)
        } else {
            Self::new("disconnected", "the connection ended before the whole answer came", error)
        }
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// At most as many bytes as were asked for.
    pub(super) body: Vec<u8>,
    /// Whether that is all of it.
    pub(super) end: Result<(), End>,
}

/// Why a body is not whole.
#[derive(Debug)]
pub(super) enum End {
    TooLarge,
    Broken(Fault),
}

/// Where a request goes.
pub(super) struct Receiver {
    pub(super) address: Address,
    /// None: unencrypted.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Whether it must be this machine, whatever its name resolves to.
    pub(super) at_home: bool,
}

impl Receiver {
    /// Sends a request and waits for its answer, both of them until then; of the body of an answer as much as
    /// `bytes_max` says for its status.
    pub(super) async fn exchange(
        &self,
        request: Request<String>,
        until: Instant,
        bytes_max: impl Fn(StatusCode) -> usize,
    ) -> Result<Answer, Fault> {
        let Address { host, port, .. } = &self.address;
        let stream = timeout_at(until, TcpStream::connect((&**host, *port))).await;
        let stream = stream.map_err(|_| Fault::late("no connection in time"))?;
        let stream = stream.map_err(|error| Fault::new("connect", "no connection", &error))?;
        // A request is one write, and waits for nothing.
        let _ = stream.set_nodelay(true);
        if self.at_home && !stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
            let message = format!("{host} is not this machine, and http:// goes nowhere else");
            return Err(Fault { class: "connect", message });
        }
        let Some(tls) = &self.tls else {
            return talk(stream, request, until, bytes_max).await;
        };
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|error| Fault::new("tls", "no name to verify", &error))?;
        let stream = timeout_at(until, TlsConnector::from(tls.clone()).connect(name, stream)).await;
        let stream = stream.map_err(|_| Fault::late("no TLS in time"))?;
        talk(stream.map_err(|error| unverified(&error))?, request, until, bytes_max).await
    }
}

/// A handshake that failed: over what TLS says, or because the connection did.
fn unverified(error: &io::Error) -> Fault {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(cause) => Fault::new("tls", "the receiver could not be verified", cause),
        None => Fault::new("connect", "the connection ended during the TLS handshake", error),
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<String>,
    until: Instant,
    bytes_max: impl Fn(StatusCode) -> usize,
) -> Result<Answer, Fault> {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let connected = http.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|error| Fault::broken(&error))?;
    let answered = async move {
        let response = timeout_at(until, sender.send_request(request)).await;
        let response = response.map_err(|_| Fault::late("no answer in time"))?;
        let (head, body) = response.map_err(|error| Fault::broken(&error))?.into_parts();
        let (body, end) = read(body, bytes_max(head.status), until).await;
        Ok(Answer { status: head.status, headers: head.headers, body, end })
    };
    let (mut answered, connection) = (pin!(answered), pin!(connection));
    // The connection does the work of both; what it still brought when it ended is not lost.
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = connection => answered.await,
    }
}

/// Reads a body as far as it may be read.
async fn read(mut body: Incoming, bytes_max: usize, until: Instant) -> (Vec<u8>, Result<(), End>) {
    let mut bytes = Vec::new();
    let whole = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|error| End::Broken(Fault::broken(&error)))?;
            let data = frame.into_data().unwrap_or_default();
            let room = bytes_max - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Err(End::TooLarge);
            }
        }
        Ok(())
    };
    let late = |_| Err(End::Broken(Fault::late("the answer did not end in time")));
    let end = timeout_at(until, whole).await.unwrap_or_else(late);
    (bytes, end)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_host_that_turns_out_to_be_elsewhere_gets_nothing() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let served = std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if stream.read(&mut [0; 1024]).is_ok_and(|bytes| bytes > 0) {
                    stream.write_all(b"HTTP/1.1 204 Said\r\n\r\n").expect("written");
                    return stream.local_addr().expect("an address");
                }
            }
            panic!("nobody came");
        });
        let exchange = |host: &str, at_home| {
            let address = Address::parse(&format!("http://{host}:{port}/")).expect("a URL");
            let receiver = Receiver { address, tls: None, at_home };
            crate::block_on(async move {
                let until = Instant::now() + Duration::from_secs(30);
                receiver.exchange(Request::new(String::new()), until, |_| 0).await
            })
        };
        // It leads here, but not by an address that says so; where there is no IPv6 it leads nowhere.
        let elsewhere = exchange("[::ffff:127.0.0.1]", true);
        assert_eq!(elsewhere.err().map(|fault| fault.class), Some("connect"));
        let answer = exchange("127.0.0.1", true).unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(answer.status, 204);
        assert_eq!(served.join().expect("served").port(), port);
    }
}
