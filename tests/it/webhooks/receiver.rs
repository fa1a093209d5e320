//! A server that tells what it was sent and answers as it is told, byte by byte if need be.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::time::Duration;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method, target and version.
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header that stands there once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let first = found.next();
        assert!(found.next().is_none(), "{name} twice in {self:?}");
        first.map(|(_, value)| &**value)
    }
}

/// What a server saw.
#[derive(Debug)]
pub enum Seen {
    Request(Request),
    /// The other side closed the connection while it was kept open here.
    Closed,
}

/// What a server does about a request.
pub enum Reply {
    /// Writes this and closes.
    Bytes(Vec<u8>),
    /// Writes this, keeps the connection open, and tells when the other side closes it.
    Hold(Vec<u8>),
    /// Writes this, and the second again and again until the other side closes.
    Flood(Vec<u8>, Vec<u8>),
}

impl Reply {
    /// A whole answer.
    pub fn of(status: u16, headers: &str, body: &[u8]) -> Self {
        Self::Bytes([Self::head(status, headers, body.len()).as_bytes(), body].concat())
    }

    /// The head of an answer; each header ends with `\r\n`.
    pub fn head(status: u16, headers: &str, length: usize) -> String {
        format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {length}\r\n\r\n")
    }
}

pub type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;
/// Puts TLS around an accepted connection, or leaves it bare.
pub type Wrap = Arc<dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync>;

/// A connection, read and written.
pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A server on a port of its own, until the process ends.
pub struct Receiver {
    pub port: u16,
    seen: Inbox<Seen>,
}

impl Receiver {
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::wrapped(Arc::new(|stream| Ok(Box::new(stream))), Arc::new(script))
    }

    pub fn wrapped(wrap: Wrap, script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (tell, seen) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (wrap, script, tell) = (wrap.clone(), script.clone(), tell.clone());
                // A peer that goes away is what some tests are about.
                std::thread::spawn(move || drop(serve(stream, &wrap, &script, &tell)));
            }
        });
        Self { port, seen }
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }

    /// The next request.
    #[track_caller]
    pub fn request(&self) -> Request {
        match self.seen.recv_timeout(PATIENCE).expect("something is seen in time") {
            Seen::Request(request) => request,
            Seen::Closed => panic!("closed, where a request should come"),
        }
    }

    /// Waits until the other side closed a connection that was held.
    #[track_caller]
    pub fn closed(&self) {
        let seen = self.seen.recv_timeout(PATIENCE).expect("something is seen in time");
        assert!(matches!(seen, Seen::Closed), "{seen:?}");
    }

    /// Nothing was seen that was not asked for.
    #[track_caller]
    pub fn assert_quiet(&self) {
        let seen = self.seen.try_recv();
        assert!(seen.is_err(), "{seen:?}");
    }
}

fn serve(stream: TcpStream, wrap: &Wrap, script: &Script, tell: &Sender<Seen>) -> io::Result<()> {
    let mut stream = BufReader::new(wrap(stream)?);
    let request = read(&mut stream)?;
    let _ = tell.send(Seen::Request(request.clone()));
    let wait = match script(&request) {
        Reply::Bytes(bytes) => {
            return stream.get_mut().write_all(&bytes).and(stream.get_mut().flush());
        }
        Reply::Hold(bytes) => {
            stream.get_mut().write_all(&bytes)?;
            stream.get_mut().flush()?;
            stream.read(&mut [0]).map(drop)
        }
        Reply::Flood(head, more) => {
            stream.get_mut().write_all(&head)?;
            let mut flood = || stream.get_mut().write_all(&more);
            std::iter::repeat_with(&mut flood).find(Result::is_err).unwrap_or(Ok(()))
        }
    };
    // However it closed, it did.
    let _ = (wait, tell.send(Seen::Closed));
    Ok(())
}

fn read(stream: &mut impl BufRead) -> io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_suffix("\r\n") {
            Some("") => break,
            Some(line) => lines.push(line.to_owned()),
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let line = lines.remove(0);
    let headers: Vec<(String, String)> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request { line, headers, body: Vec::new() };
    let length = request.header("content-length").parse().expect("a length");
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body)?;
    Ok(request)
}
