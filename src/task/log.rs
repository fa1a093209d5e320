//! What the runs of a task said: lines, the oldest of which go when there are too many. It is not the log of a process.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Most bytes of one line; the rest is cut.
pub const LINE_BYTES_MAX: usize = 1024;
/// Most bytes of the lines that are kept, together.
pub const LOG_BYTES_MAX: usize = 32 * 1024;
/// What a line counts beside its text.
const LINE_EXTRA: usize = 32;

/// The lines, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Log {
    /// How many lines are gone, the oldest.
    pub dropped: u64,
    /// Those that are there.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Line {
    /// When it was said, by the clock of the worker.
    pub at: Timestamp,
    /// By which attempt; 1 is the first.
    pub attempt: u32,
    /// What was said: one line, without control characters.
    pub text: String,
}

impl Log {
    /// Adds a line; the oldest go if there is no room.
    pub(crate) fn push(&mut self, at: Timestamp, attempt: u32, text: &str) {
        let mut line = String::new();
        for c in text.trim_end().chars() {
            let c = if c.is_control() { ' ' } else { c };
            if line.len() + c.len_utf8() > LINE_BYTES_MAX {
                break;
            }
            line.push(c);
        }
        self.lines.push(Line { at, attempt, text: line });
        self.fit();
    }

    /// Adds what was said later.
    pub(crate) fn append(&mut self, later: Self) {
        self.dropped = self.dropped.saturating_add(later.dropped);
        self.lines.extend(later.lines);
        self.fit();
    }

    fn fit(&mut self) {
        let size = |line: &Line| line.text.len() + LINE_EXTRA;
        let mut bytes: usize = self.lines.iter().map(size).sum();
        let mut surplus = 0;
        while bytes > LOG_BYTES_MAX && surplus < self.lines.len() {
            bytes -= size(&self.lines[surplus]);
            surplus += 1;
        }
        self.lines.drain(..surplus);
        self.dropped = self.dropped.saturating_add(surplus as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_and_are_counted() {
        let mut log = Log::default();
        for number in 0..100 {
            log.push(Timestamp(number), 1, &format!("{number} {}", "x".repeat(2 * LINE_BYTES_MAX)));
        }
        assert!(log.lines.iter().all(|line| line.text.len() == LINE_BYTES_MAX));
        assert_eq!(log.lines.len() as u64 + log.dropped, 100);
        assert!(log.lines.len() >= 30 && log.lines.last().expect("kept").at == Timestamp(99));
        let mut before = Log::default();
        before.push(Timestamp(0), 1, "old\r\n");
        assert_eq!(before.lines[0].text, "old");
        before.append(log.clone());
        assert_eq!(before.dropped, log.dropped + 1);
        before.push(Timestamp(1), 2, "a\u{1b}[2Jb");
        assert_eq!(before.lines.last().expect("kept").text, "a [2Jb");
    }
}
