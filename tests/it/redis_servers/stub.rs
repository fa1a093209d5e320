//! A stub that speaks RESP and is no Redis: it greets, answers a few questions about itself, and to everything
//! else answers what a test wrote for it. For replies that a real server gives rarely or never on demand.
//!
//! It keeps no data. In a transaction it answers QUEUED, and to EXEC what was written for EXEC, or the replies
//! written for what was queued; an error written for a queued command comes at once, and EXEC is refused then.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::background::Background;
use super::frame::{self, Frames};
use super::until;

/// What a stub does about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers these bytes.
    Bytes(Vec<u8>),
    /// Answers nothing; later requests are answered.
    Silence,
    /// Closes the connection.
    HangUp,
}

impl Reply {
    /// RESP as it stands.
    pub fn raw(text: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(text.into())
    }

    pub fn ok() -> Self {
        Self::raw("+OK\r\n")
    }

    /// An error: `LOADING Redis is loading the dataset in memory`.
    pub fn error(text: &str) -> Self {
        Self::raw(format!("-{text}\r\n"))
    }

    pub fn int(number: i64) -> Self {
        Self::raw(format!(":{number}\r\n"))
    }

    pub fn null() -> Self {
        Self::raw("$-1\r\n")
    }

    pub fn bulk(bytes: &[u8]) -> Self {
        let head = format!("${}\r\n", bytes.len());
        Self::Bytes([head.as_bytes(), bytes, b"\r\n"].concat())
    }

    /// The array of these replies, which must be bytes.
    pub fn array(replies: impl IntoIterator<Item = Self>) -> Self {
        let elements: Vec<Vec<u8>> = replies.into_iter().map(Self::bytes).collect();
        let head = format!("*{}\r\n", elements.len()).into_bytes();
        Self::Bytes([head, elements.concat()].concat())
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Silence | Self::HangUp => panic!("{self:?} is no element of an array"),
        }
    }

    fn is_error(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.starts_with(b"-"))
    }
}

/// A request as words.
pub type Request = Vec<Vec<u8>>;

#[derive(Default)]
struct Script {
    once: HashMap<String, VecDeque<Reply>>,
    always: HashMap<String, Reply>,
    otherwise: Option<Reply>,
    sent: Vec<Request>,
}

/// A stub that listens on a TCP port. Gone, with its connections, when dropped.
pub struct Stub {
    script: Arc<Mutex<Script>>,
    port: u16,
    _background: Background,
}

impl Stub {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("an address").port();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = script.clone();
        let background = Background::begin(move || serve(listener, shared));
        Self { script, port, _background: background }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Answers this to a command from now on, greetings included: to `FCALL`, to `HELLO`.
    pub fn answer(&self, command: &str, reply: Reply) {
        self.script().always.insert(command.to_ascii_uppercase(), reply);
    }

    /// Answers this once, after what it was told before to answer once, and before anything else.
    pub fn answer_once(&self, command: &str, reply: Reply) {
        self.script().once.entry(command.to_ascii_uppercase()).or_default().push_back(reply);
    }

    /// Answers this to commands it was told nothing about; an error until then.
    pub fn otherwise(&self, reply: Reply) {
        self.script().otherwise = Some(reply);
    }

    /// All it was sent so far, over all connections, greetings included.
    pub fn sent(&self) -> Vec<Request> {
        self.script().sent.clone()
    }

    /// The requests of a command.
    pub fn sent_of(&self, command: &str) -> Vec<Request> {
        let is_it = |request: &Request| request[0].eq_ignore_ascii_case(command.as_bytes());
        self.sent().into_iter().filter(is_it).collect()
    }

    /// Waits until it was sent this many requests of a command.
    #[track_caller]
    pub fn until_sent(&self, command: &str, count: usize) -> Vec<Request> {
        until(command, || Some(self.sent_of(command)).filter(|sent| sent.len() >= count))
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("no panic")
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(talk(client, script.clone()));
        }
    }
}

async fn talk(mut client: TcpStream, script: Arc<Mutex<Script>>) {
    let (mut frames, mut piece) = (Frames::default(), vec![0; 64 * 1024]);
    let mut conversation = Conversation::default();
    while let Ok(length @ 1..) = client.read(&mut piece).await {
        frames.push(&piece[..length]);
        // What is no RESP ends the conversation.
        loop {
            let request = match frames.next() {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(frame::NotResp) => return,
            };
            let request: Request = frame::words(&request).into_iter().map(<[u8]>::to_vec).collect();
            if request.is_empty() {
                continue;
            }
            let reply = conversation.answer(&mut script.lock().expect("no panic"), request);
            match reply {
                Reply::Bytes(bytes) if client.write_all(&bytes).await.is_ok() => {}
                Reply::Silence => {}
                Reply::Bytes(_) | Reply::HangUp => return,
            }
        }
    }
}

/// What a connection has said so far.
#[derive(Default)]
struct Conversation {
    resp3: bool,
    queued: Option<Vec<Reply>>,
    refused: bool,
}

impl Conversation {
    fn answer(&mut self, script: &mut Script, request: Request) -> Reply {
        let command = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
        let once = script.once.get_mut(&command).and_then(VecDeque::pop_front);
        let told = once.or_else(|| script.always.get(&command).cloned());
        let reply = self.reply(&command, &request, told, script.otherwise.as_ref());
        script.sent.push(request);
        reply
    }

    fn reply(
        &mut self,
        command: &str,
        request: &[Vec<u8>],
        told: Option<Reply>,
        otherwise: Option<&Reply>,
    ) -> Reply {
        match command {
            "MULTI" => {
                (self.queued, self.refused) = (Some(Vec::new()), false);
                return told.unwrap_or_else(Reply::ok);
            }
            "EXEC" | "DISCARD" => {
                let Some(queued) = self.queued.take() else {
                    return told.unwrap_or_else(|| Reply::error("ERR without MULTI"));
                };
                return match told {
                    Some(reply) => reply,
                    None if command == "DISCARD" => Reply::ok(),
                    None if self.refused => {
                        Reply::error("EXECABORT Transaction discarded because of previous errors.")
                    }
                    None => Reply::array(queued),
                };
            }
            _ => {}
        }
        let unknown = || Reply::error(&format!("ERR unknown command '{command}'"));
        let reply = told
            .or_else(|| self.of_itself(command, request))
            .or_else(|| otherwise.cloned())
            .unwrap_or_else(unknown);
        match &mut self.queued {
            Some(_) if reply.is_error() => self.refused = true,
            Some(queued) if matches!(reply, Reply::Bytes(_)) => {
                queued.push(reply);
                return Reply::raw("+QUEUED\r\n");
            }
            _ => {}
        }
        reply
    }

    /// What it answers by itself.
    fn of_itself(&mut self, command: &str, request: &[Vec<u8>]) -> Option<Reply> {
        let word = |at: usize| {
            let word = request.get(at).map_or(&b""[..], Vec::as_slice);
            String::from_utf8_lossy(word).to_ascii_uppercase()
        };
        Some(match (command, &word(1)[..]) {
            ("HELLO", version) => {
                self.resp3 = version == "3";
                self.hello()
            }
            ("PING", "") => Reply::raw("+PONG\r\n"),
            ("CLIENT", "ID") => Reply::int(1),
            ("AUTH" | "SELECT" | "CLIENT" | "UNWATCH" | "RESET", _) => Reply::ok(),
            ("INFO", _) => Reply::bulk(INFO.as_bytes()),
            ("ROLE", _) => Reply::array([Reply::bulk(b"master"), Reply::int(0), Reply::array([])]),
            ("FUNCTION", "LIST") => Reply::array([]),
            ("FUNCTION", "LOAD") => Reply::bulk(b"oncue"),
            ("SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE", _) => {
                self.subscribed(command, &request[1..])
            }
            _ => return None,
        })
    }

    fn hello(&self) -> Reply {
        let fields = [
            ("server", "redis"),
            ("version", "7.0.15"),
            ("mode", "standalone"),
            ("role", "master"),
        ];
        let mut elements: Vec<Reply> = Vec::new();
        for (name, value) in fields {
            elements.extend([Reply::bulk(name.as_bytes()), Reply::bulk(value.as_bytes())]);
        }
        elements.extend([Reply::bulk(b"proto"), Reply::int(if self.resp3 { 3 } else { 2 })]);
        elements.extend([Reply::bulk(b"id"), Reply::int(1)]);
        elements.extend([Reply::bulk(b"modules"), Reply::array([])]);
        self.as_map(elements)
    }

    /// A map to those who know maps, else an array.
    fn as_map(&self, elements: Vec<Reply>) -> Reply {
        let (pairs, mut bytes) = (elements.len() / 2, Reply::array(elements).bytes());
        if self.resp3 {
            let line = bytes.iter().position(|byte| *byte == b'\n').expect("a line");
            bytes.splice(..=line, format!("%{pairs}\r\n").into_bytes());
        }
        Reply::Bytes(bytes)
    }

    fn subscribed(&self, command: &str, channels: &[Vec<u8>]) -> Reply {
        let kind = command.to_ascii_lowercase();
        let mut all = Vec::new();
        for (channel, count) in channels.iter().zip(1..) {
            let told = [Reply::bulk(kind.as_bytes()), Reply::bulk(channel), Reply::int(count)];
            let mut bytes = Reply::array(told).bytes();
            if self.resp3 {
                bytes[0] = b'>';
            }
            all.extend(bytes);
        }
        Reply::Bytes(all)
    }
}

const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\
    run_id:0123456789012345678901234567890123456789\r\n# Replication\r\nrole:master\r\n\
    connected_slaves:0\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
