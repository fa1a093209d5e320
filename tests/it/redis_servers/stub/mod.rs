//! A stub that speaks RESP and is no Redis: it greets, answers a few questions about itself, and to everything
//! else answers what a test wrote for it. For replies that a real server gives rarely or never on demand.
//!
//! It keeps no data. In a transaction it answers QUEUED, and to EXEC what was written for EXEC, or the replies
//! written for what was queued; an error written for a queued command comes at once, and EXEC is refused then.

mod conversation;
mod reply;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use conversation::Conversation;
pub use reply::Reply;

use super::background::Background;
use super::frame::{self, Frames};
use super::until;

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
