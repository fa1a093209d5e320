//! Deeds of a child that knows how its answers travel, and says what no handler of oncue's would.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

/// What it says, as often as it can; it ends when nobody hears.
pub fn flood(what: &str) -> String {
    if what == "prints" {
        let prints = || while std::io::stderr().write_all(&[b'x'; 1 << 16]).is_ok() {};
        std::thread::spawn(prints);
        prints();
    }
    let mut answers = answers();
    let word = match what {
        "steps" => word(0, b"1"),
        "junk" => word(0, b"none"),
        // More lines than a log keeps, in one word.
        "lines" => word(1, &vec![b'\n'; 300_000]),
        // An answer with a result, which is none.
        "result" => frame(&[1, 1, 0, 1, 4], b"none"),
        other => return format!("no flood of {other:?}"),
    };
    let many = word.repeat(1 + (1 << 16) / word.len());
    while answers.write_all(&many).is_ok() {}
    "nobody hears".to_owned()
}

/// Answers before its handler does: then that answer is one too many.
pub fn answer_first() -> String {
    answer_to_the_first_call();
    "its own".to_owned()
}

/// In its second run answers the first once more, which was answered.
pub fn answer_late() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed) + 1;
    if run == 2 {
        answer_to_the_first_call();
    }
    run.to_string()
}

fn answer_to_the_first_call() {
    answers().write_all(&frame(&[1, 1, 0, 1, 8], b"\"forged\"")).expect("heard");
}

/// The pipe that carries its answers: beside the standard streams the one that is written.
fn answers() -> File {
    let entries = std::fs::read_dir("/proc/self/fd").expect("readable").flatten();
    let mut pipes = entries.filter(|entry| {
        let number = entry.file_name().to_string_lossy().parse::<u32>().expect("a number");
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        number > 2
            && link.to_string_lossy().starts_with("pipe:")
            && info.is_ok_and(|info| info.lines().any(is_written))
    });
    let pipe = pipes.next().expect("a pipe for answers");
    File::options().write(true).open(pipe.path()).expect("opened")
}

fn is_written(line: &str) -> bool {
    line.strip_prefix("flags:").is_some_and(|flags| flags.trim().ends_with('1'))
}

/// A frame of a word: the variants, the length of the text as bincode writes it, the text.
fn word(variant: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("fits").to_le_bytes();
    frame(&[&[0, variant, 252], &length[..]].concat(), text)
}

/// A frame: its length, what it begins with, and its text.
fn frame(start: &[u8], text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(start.len() + text.len()).expect("fits");
    [&length.to_be_bytes()[..], start, text].concat()
}
