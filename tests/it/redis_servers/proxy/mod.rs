//! A proxy between a client and a server that spoils the way: late, stuck, deaf, cut, or one reply or request
//! that never arrives or arrives much later. Faults of the way only; those of a server are made on a real one,
//! or with the stub.
//!
//! It relays whole frames and so can tell one request from another. TLS it relays as it comes: then delays,
//! stalls, cuts and resets work, and whatever counts requests or replies does not.

mod control;
mod line;
mod relay;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use control::{Control, Picked};
pub use control::{Counts, Way};

use super::background::Background;
use super::server::Server;
use super::until;

/// Where a proxy leads to.
#[derive(Clone)]
pub enum Target {
    Tcp(String),
    Unix(PathBuf),
}

/// A proxy that listens on a TCP port of its own. Gone, with its connections, when dropped.
pub struct Proxy {
    control: Arc<Control>,
    port: u16,
    _background: Background,
}

impl Proxy {
    /// In front of a server: of its TCP port if it has one, else of its unix socket.
    pub fn to(server: &Server) -> Self {
        Self::to_target(server.target())
    }

    /// In front of anything.
    pub fn to_target(target: Target) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("an address").port();
        let control = Arc::new(Control::default());
        let shared = control.clone();
        let background = Background::begin(move || relay::serve(listener, target, shared));
        Self { control, port, _background: background }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// For the default user without a password, and no TLS.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// From now on every piece of up to 64 KiB waits this long, and what comes after it waits behind it.
    pub fn delay(&self, way: Way, time: Duration) {
        self.control.flow(way, |flow| flow.delay = time);
    }

    /// Holds all bytes, and the news of an end, until `release`. New connections are made, and hold theirs.
    pub fn stall(&self, way: Way) {
        self.control.flow(way, |flow| flow.stalled = true);
    }

    /// Ends `stall`: all that was held goes its way, even if who sent it is gone.
    pub fn release(&self, way: Way) {
        self.control.flow(way, |flow| flow.stalled = false);
    }

    /// Throws all bytes away until `hear`, and tells nobody of an end: half a connection. One that lost bytes is
    /// good for nothing afterwards but `reset`.
    pub fn swallow(&self, way: Way) {
        self.control.flow(way, |flow| flow.swallowed = true);
    }

    /// Ends `swallow`.
    pub fn hear(&self, way: Way) {
        self.control.flow(way, |flow| flow.swallowed = false);
    }

    /// Resets every connection: RST to the client, a close to the server.
    pub fn reset(&self) {
        self.control.reset();
    }

    /// Resets every new connection at once, or no longer.
    pub fn refuse(&self, refused: bool) {
        self.control.refuse(refused);
    }

    /// Lets this many more bytes pass, over all connections, then closes the one they were on, once.
    pub fn cut_after(&self, way: Way, bytes: usize) {
        self.control.plan(|plan| *plan.cut(way) = Some(bytes));
    }

    /// Closes the connection instead of passing the reply to the `k`-th request from now on, which the server has
    /// executed by then. What came after that reply is lost with it. `k` counts from 1.
    pub fn drop_reply(&self, k: usize) {
        self.control.plan(|plan| plan.drop_reply = Some(Picked::nth(k)));
    }

    /// The same for the `k`-th request of this command.
    pub fn drop_reply_to(&self, command: &str, k: usize) {
        self.control.plan(|plan| plan.drop_reply = Some(Picked::command(command, k)));
    }

    /// Closes the client's connection instead of passing on the `k`-th request of this command from now on, and
    /// keeps the request until `land`. In a transaction hold `EXEC`: it lands with all that was queued.
    /// What the client sent after it is lost.
    pub fn hold_request(&self, command: &str, k: usize) {
        self.control.plan(|plan| plan.hold = Some(Picked::command(command, k)));
    }

    /// The same, but the client sees nothing: it waits for a reply, which comes after `land`.
    pub fn hold_request_in_silence(&self, command: &str, k: usize) {
        let picked = Picked::command(command, k).in_silence();
        self.control.plan(|plan| plan.hold = Some(picked));
    }

    /// Lets what is held go to the server, on the connection it was sent on, and waits for the replies: then it
    /// is executed. Answers how many requests landed.
    #[track_caller]
    pub fn land(&self) -> usize {
        let held = self.counts().held;
        self.control.land();
        until("what was held to land", || {
            let counts = self.counts();
            (counts.landed + counts.lost >= held).then_some(())
        });
        let landed = self.counts();
        assert_eq!(landed.lost, 0, "the server closed a connection with a held request");
        self.control.count(|counts| {
            counts.held -= held;
            counts.landed -= held;
        });
        held
    }

    /// What passed so far.
    pub fn counts(&self) -> Counts {
        self.control.counts()
    }

    /// Waits until the counts are such.
    #[track_caller]
    pub fn until(&self, what: &str, are: impl Fn(&Counts) -> bool) -> Counts {
        until(what, || Some(self.counts()).filter(&are))
    }
}
