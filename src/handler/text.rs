//! What came from outside as bytes, as the result of a task: a program's output, a receiver's answer.

use serde::de::IgnoredAny;

#[cfg(feature = "isolate")]
use crate::codec::PAYLOAD_BYTES_MAX;

/// As it is if it is JSON, else as a string; nothing if there is nothing.
pub(super) fn result(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        None
    } else if is_json(text) {
        Some(text.to_vec()).filter(|text| text != b"null")
    } else {
        serde_json::to_vec(&String::from_utf8_lossy(text)).ok()
    }
}

/// Whether these bytes may be kept as a result.
#[cfg(feature = "isolate")]
pub(super) fn is_result(bytes: &[u8]) -> bool {
    bytes.len() <= PAYLOAD_BYTES_MAX && is_json(bytes)
}

/// Whether it is JSON, of whatever shape. Nothing of it is built.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_result() {
        let result = |text: &str| result(text.as_bytes());
        assert_eq!(result(" {\"a\": 1}\n"), Some(b"{\"a\": 1}".to_vec()));
        assert_eq!(result("done\n"), Some(b"\"done\"".to_vec()));
        assert_eq!((result(" \n"), result("null")), (None, None));
    }
}
