//! Frames are found whole, wherever the stream is cut.

use crate::redis_servers::frame::{Frames, NotResp, is_push, name, words};

const FRAMES: [&str; 16] = [
    "+OK\r\n",
    "-ERR no\r\n",
    ":-12\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "$0\r\n\r\n",
    "$4\r\n\r\n*1\r\n",
    "*0\r\n",
    "*2\r\n*2\r\n:1\r\n$1\r\na\r\n*1\r\n*0\r\n",
    "%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n:1\r\n:2\r\n",
    ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
    "|1\r\n+ttl\r\n:5\r\n*2\r\n:1\r\n|1\r\n+a\r\n:1\r\n:2\r\n",
    "=8\r\ntxt:\r\nab\r\n",
    "_\r\n",
    "(123456789012345678901\r\n",
    "PING now\r\n",
];

fn all(frames: &mut Frames) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| frames.next().expect("RESP")).collect()
}

#[test]
fn frames_end_where_they_end() {
    let stream = FRAMES.concat();
    let mut whole = Frames::default();
    whole.push(stream.as_bytes());
    assert_eq!(all(&mut whole), FRAMES.map(|frame| frame.as_bytes().to_vec()));
    assert!(whole.rest().is_empty());
    for size in 1..9 {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in stream.as_bytes().chunks(size) {
            frames.push(piece);
            found.extend(all(&mut frames));
        }
        assert_eq!(found, FRAMES.map(|frame| frame.as_bytes().to_vec()), "in pieces of {size}");
    }
}

#[test]
fn the_rest_is_what_was_not_whole() {
    let mut frames = Frames::default();
    frames.push(b"+OK\r\n*2\r\n:1\r\n$3\r\nab");
    assert_eq!(all(&mut frames), [b"+OK\r\n"]);
    assert_eq!(frames.rest(), b"*2\r\n:1\r\n$3\r\nab");
    frames.push(b"+A\r\n");
    assert_eq!(all(&mut frames), [b"+A\r\n"]);
}

#[test]
fn what_is_no_resp_is_refused() {
    for stream in [&b"\x16\x03\x01"[..], b"*x\r\n", b"$\xff\r\n"] {
        let mut frames = Frames::default();
        frames.push(stream);
        assert_eq!(frames.next(), Err(NotResp), "{stream:?}");
        assert_eq!(frames.rest(), stream);
    }
}

#[test]
fn requests_have_words_and_pushes_are_told() {
    let request = b"*3\r\n$3\r\nset\r\n$0\r\n\r\n$3\r\n\r\nx\r\n";
    assert_eq!(words(request), [&b"set"[..], b"", b"\r\nx"]);
    assert_eq!(name(request), "SET");
    assert_eq!(words(b"PING  now\r\n"), [&b"PING"[..], b"now"]);
    assert_eq!(name(b"*0\r\n"), "");
    assert!(is_push(b">1\r\n+a\r\n") && !is_push(b"*1\r\n+a\r\n"));
}
