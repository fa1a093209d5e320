//! What a stub may do about a request, and RESP2 for those who write replies by hand.

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

    pub(super) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Silence | Self::HangUp => panic!("{self:?} is no element of an array"),
        }
    }

    pub(super) fn is_error(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.starts_with(b"-"))
    }
}
