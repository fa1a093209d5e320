//! The last bytes somebody printed: as many as are worth keeping, however many there were.

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Bytes kept of what a child prints on standard error: the end of it, where the reason stands.
pub(super) const STDERR_BYTES_MAX: usize = 6 * 1024;

/// What was printed last.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// How many bytes before these are gone.
    lost: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(STDERR_BYTES_MAX);
        self.bytes.drain(..surplus);
        self.lost += surplus as u64;
    }

    /// Follows a pipe, and never ends.
    pub(super) async fn follow(&mut self, pipe: &mut Receiver) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            self.push(&buffer[..read]);
            // It may print without end: whoever ends its run has a turn between any two pieces.
            tokio::task::yield_now().await;
        }
        std::future::pending().await
    }

    /// Takes what is in a pipe already.
    pub(super) fn rest(&mut self, pipe: &Receiver) {
        let mut buffer = [0; 4096];
        // A pipe holds 64 KiB unless somebody asked for more, 1 MiB at most.
        for _ in 0..256 {
            match pipe.try_read(&mut buffer) {
                Ok(read @ 1..) => self.push(&buffer[..read]),
                _ => return,
            }
        }
    }

    /// As text; what was lost is counted.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes).trim_end().to_owned();
        match self.lost {
            0 => text,
            lost => format!("[{lost} bytes before]\n{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_the_loss_is_told() {
        let mut tail = Tail::default();
        tail.push(b"fine\n");
        assert_eq!(tail.text(), "fine");
        tail.push(&[b'x'; STDERR_BYTES_MAX]);
        assert_eq!(tail.text(), format!("[5 bytes before]\n{}", "x".repeat(STDERR_BYTES_MAX)));
    }
}
