//! One connection of a relay: a pump each way. The end of the server's side ends the connection; the end of the
//! client's is passed on, so that what it sent last still arrives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::control::{Control, Fate, Way};
use crate::redis_servers::frame::{self, Frames};

const PIECE: usize = 64 * 1024;

/// Why a connection is over. `Ok` is the ordinary end of a side.
pub enum Cut {
    Closed,
    Reset,
}

/// What is to become of the reply to a request that was passed on.
enum Awaited {
    Pass,
    Drop,
    Landing,
}

/// One connection.
pub struct Line {
    control: Arc<Control>,
    /// One for each request that was passed on and not answered yet, in order.
    awaited: Mutex<VecDeque<Awaited>>,
    /// Tells the replies that the client is to be left.
    leave_client: CancellationToken,
    /// A request is held, or on its way since.
    holds: Mutex<bool>,
}

impl Line {
    pub fn new(control: Arc<Control>) -> Self {
        let leave_client = CancellationToken::new();
        Self { control, awaited: Mutex::default(), leave_client, holds: Mutex::default() }
    }

    pub fn end(&self) {
        let lost = usize::from(*self.holds.lock().expect("no panic"));
        self.control
            .count(|counts| (counts.open, counts.lost) = (counts.open - 1, counts.lost + lost));
    }

    fn awaits(&self, reply: Awaited) {
        self.awaited.lock().expect("no panic").push_back(reply);
    }

    pub async fn requests(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Cut {
        let done = self.pump_requests(&mut from, &mut to).await;
        if let Err(cut) = done {
            return cut;
        }
        self.may_end(Way::Requests).await;
        let _ = to.shutdown().await;
        // What was sent before is still answered; the replies end it.
        std::future::pending().await
    }

    async fn pump_requests(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Cut> {
        let (mut frames, mut piece) = (Frames::default(), vec![0; PIECE]);
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            frames.push(&piece[..length]);
            let mut out = Vec::new();
            loop {
                let request = match frames.next() {
                    Ok(Some(request)) => request,
                    Ok(None) => break,
                    Err(frame::NotResp) => {
                        out.extend(frames.rest());
                        break;
                    }
                };
                let command = frame::name(&request);
                match self.control.decide(&command) {
                    Fate::Held { silent } => {
                        self.pass(Way::Requests, to, std::mem::take(&mut out)).await?;
                        self.hold(silent).await;
                        self.awaits(Awaited::Landing);
                        self.pass(Way::Requests, to, request).await?;
                        if !silent {
                            // Its reply ends the connection.
                            return std::future::pending().await;
                        }
                    }
                    fate => {
                        // In RESP3 these are answered with pushes, in RESP2 with one message per channel.
                        if !command.ends_with("SUBSCRIBE") {
                            let drop = fate == Fate::Unanswered;
                            self.awaits(if drop { Awaited::Drop } else { Awaited::Pass });
                        }
                        out.extend(request);
                    }
                }
            }
            self.pass(Way::Requests, to, out).await?;
        }
        self.pass(Way::Requests, to, frames.rest()).await
    }

    /// Waits for a landing.
    async fn hold(&self, silent: bool) {
        let mut landings = self.control.watch_landings();
        *self.holds.lock().expect("no panic") = true;
        self.control.count(|counts| counts.held += 1);
        if !silent {
            self.leave_client.cancel();
        }
        let _ = landings.changed().await;
    }

    pub async fn replies(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Cut {
        let (mut frames, mut piece, mut left) = (Frames::default(), vec![0; PIECE], false);
        loop {
            let length = tokio::select! {
                read = from.read(&mut piece) => read.unwrap_or(0),
                () = self.leave_client.cancelled(), if !left => {
                    left = true;
                    let _ = to.shutdown().await;
                    continue;
                }
            };
            if length == 0 {
                break;
            }
            frames.push(&piece[..length]);
            let passed = self.pass_replies(&mut frames, &mut to).await;
            if let Err(cut) = passed {
                return cut;
            }
        }
        if let Err(cut) = self.pass(Way::Replies, &mut to, frames.rest()).await {
            return cut;
        }
        self.may_end(Way::Replies).await;
        Cut::Closed
    }

    async fn pass_replies(
        &self,
        frames: &mut Frames,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Cut> {
        let mut out = Vec::new();
        loop {
            let reply = match frames.next() {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(frame::NotResp) => {
                    out.extend(frames.rest());
                    break;
                }
            };
            if !frame::is_push(&reply) {
                self.control.count(|counts| counts.replies += 1);
                let awaited = self.awaited.lock().expect("no panic").pop_front();
                match awaited {
                    Some(Awaited::Drop) => {
                        self.pass(Way::Replies, to, out).await?;
                        self.control.count(|counts| counts.dropped += 1);
                        return Err(Cut::Closed);
                    }
                    Some(Awaited::Landing) => {
                        *self.holds.lock().expect("no panic") = false;
                        self.control.count(|counts| counts.landed += 1);
                        if self.leave_client.is_cancelled() {
                            return Err(Cut::Closed);
                        }
                    }
                    Some(Awaited::Pass) | None => {}
                }
            }
            out.extend(reply);
        }
        self.pass(Way::Replies, to, out).await
    }

    /// Passes bytes on as the way is now. That nobody is there to take them is not noticed: the end of a side is
    /// seen where it is read from.
    async fn pass(
        &self,
        way: Way,
        to: &mut (impl AsyncWrite + Unpin),
        bytes: Vec<u8>,
    ) -> Result<(), Cut> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut flow = self.control.watch_flow(way);
        let now = *flow
            .wait_for(|flow| !flow.stalled || flow.swallowed)
            .await
            .map_err(|_| Cut::Closed)?;
        if now.swallowed {
            return Ok(());
        }
        tokio::time::sleep(now.delay).await;
        let cut = self.control.plan(|plan| plan.spend(way, bytes.len()));
        let length = cut.unwrap_or(bytes.len());
        // Counted first: who gets the bytes may look at the counts at once.
        self.control.count(|counts| {
            counts.cut += usize::from(cut.is_some());
            match way {
                Way::Requests => counts.request_bytes += length,
                Way::Replies => counts.reply_bytes += length,
            }
        });
        let _ = to.write_all(&bytes[..length]).await;
        let _ = to.flush().await;
        if cut.is_some() { Err(Cut::Closed) } else { Ok(()) }
    }

    /// Waits until the news of an end may pass.
    async fn may_end(&self, way: Way) {
        let mut flow = self.control.watch_flow(way);
        let _ = flow.wait_for(|flow| !flow.stalled && !flow.swallowed).await;
    }
}
