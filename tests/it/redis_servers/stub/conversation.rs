//! One connection to a stub: its protocol, its transaction, and what is answered to it. The script first; then what
//! a server says of itself.

use std::collections::VecDeque;

use super::{Reply, Request, Script};

/// What a connection has said so far.
#[derive(Default)]
pub(super) struct Conversation {
    resp3: bool,
    queued: Option<Vec<Reply>>,
    refused: bool,
}

impl Conversation {
    pub(super) fn answer(&mut self, script: &mut Script, request: Request) -> Reply {
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
