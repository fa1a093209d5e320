//! Where frames of RESP2 and RESP3 end in a stream that comes in pieces, of requests as well as of replies.
//! Understands no more of them than that, but for the words of a request.

/// A stream that is no RESP: TLS, most likely.
#[derive(Debug, PartialEq, Eq)]
pub struct NotResp;

/// Longest line that is waited for: a type, a length, a status or a command of one line.
const LINE_MAX: usize = 64 * 1024;

/// Bytes that came, and frames that go.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Before it, everything is taken.
    start: usize,
    /// Before it, everything is scanned.
    at: usize,
    /// Elements that are missing to the frame from `start` on; 0 between frames.
    missing: usize,
}

impl Frames {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.at -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next frame, once it is whole.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, NotResp> {
        if self.missing == 0 {
            self.missing = 1;
        }
        while self.missing > 0 {
            let Some((length, holds)) = element(&self.bytes[self.at..])? else { return Ok(None) };
            self.at += length;
            self.missing = (self.missing + holds).checked_sub(1).ok_or(NotResp)?;
        }
        let frame = self.bytes[self.start..self.at].to_vec();
        self.start = self.at;
        Ok(Some(frame))
    }

    /// Takes everything that was not taken yet: the beginning of a frame, or what is no frame.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.start);
        *self = Self::default();
        rest
    }
}

/// The length of the element that begins here, and how many elements follow that belong to it.
fn element(bytes: &[u8]) -> Result<Option<(usize, usize)>, NotResp> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !b"+-:$*_#,(!=%~>|".contains(&kind) && !kind.is_ascii_alphabetic() {
        return Err(NotResp);
    }
    let Some(end) = bytes.windows(2).take(LINE_MAX).position(|pair| pair == b"\r\n") else {
        return if bytes.len() > LINE_MAX { Err(NotResp) } else { Ok(None) };
    };
    let line = end + 2;
    let count = || {
        let digits = std::str::from_utf8(&bytes[1..end]).map_err(|_| NotResp)?;
        // -1 is how RESP2 writes null.
        let count: i64 = digits.parse().map_err(|_| NotResp)?;
        Ok(usize::try_from(count).ok())
    };
    Ok(match kind {
        b'$' | b'!' | b'=' => match count()? {
            None => Some((line, 0)),
            Some(size) => (bytes.len() >= line + size + 2).then_some((line + size + 2, 0)),
        },
        b'*' | b'~' | b'>' => Some((line, count()?.unwrap_or(0))),
        b'%' => Some((line, 2 * count()?.unwrap_or(0))),
        // Attributes stand before the element they belong to, which is still to come.
        b'|' => Some((line, 2 * count()?.unwrap_or(0) + 1)),
        _ => Some((line, 0)),
    })
}

/// Whether a frame answers no request.
pub fn is_push(frame: &[u8]) -> bool {
    frame.first() == Some(&b'>')
}

/// The words of a request: an array of bulk strings, or a line.
pub fn words(request: &[u8]) -> Vec<&[u8]> {
    if request.first() != Some(&b'*') {
        let line = request.split(u8::is_ascii_whitespace);
        return line.filter(|word| !word.is_empty()).collect();
    }
    let head = element(request).ok().flatten().map_or(0, |(length, _)| length);
    let (mut words, mut at) = (Vec::new(), head);
    while let Ok(Some((length, _))) = element(&request[at..]) {
        let bulk = &request[at..at + length - 2];
        let body = bulk.iter().position(|byte| *byte == b'\n').map_or(0, |line| line + 1);
        words.push(&bulk[body..]);
        at += length;
    }
    words
}

/// The name of the command of a request, in capitals.
pub fn name(request: &[u8]) -> String {
    String::from_utf8_lossy(words(request).first().unwrap_or(&&b""[..])).to_ascii_uppercase()
}
