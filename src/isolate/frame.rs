//! Frames: a length in four bytes, then bincode. What is longer than allowed is refused before it is read.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use crate::codec::{PAYLOAD_BYTES_MAX, from_bincode, to_bincode};
use crate::error::{Error, Result};
use crate::seal::HEADERS_BYTES_MAX;

/// Longest frame: a payload with its headers, and room for names, paths and numbers.
pub(super) const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + HEADERS_BYTES_MAX + 64 * 1024;

/// A value as a frame. It may hold a payload: it is wiped when it is dropped.
pub(super) fn frame<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>> {
    let body = Zeroizing::new(to_bincode(value, FRAME_BYTES_MAX)?);
    let length = u32::try_from(body.len()).map_err(|_| Error::too_large("a frame over 4 GiB"))?;
    Ok(Zeroizing::new([&length.to_be_bytes()[..], &body].concat()))
}

fn length(bytes: [u8; 4]) -> Result<usize> {
    match u32::from_be_bytes(bytes) as usize {
        length if length <= FRAME_BYTES_MAX => Ok(length),
        length => Err(Error::too_large(format!("a frame of {length} bytes"))),
    }
}

fn broken(error: io::Error) -> Error {
    Error::corrupt("the frame ends early").because(error)
}

/// Writes a value as a frame.
pub(super) fn write<T: Serialize>(to: &mut impl Write, value: &T) -> Result<()> {
    let told = to.write_all(&frame(value)?);
    told.map_err(|error| Error::system("a frame cannot be written").because(error))
}

/// Reads the next value, reading nothing after it; none at the end.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map_err(broken)?,
    }
    let mut body = vec![0; length(head)?];
    from.read_exact(&mut body).map_err(broken)?;
    from_bincode(&body, FRAME_BYTES_MAX).map(Some)
}

/// Reads the next value; none at the end.
pub(super) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map_err(broken)?,
    };
    let mut body = vec![0; length(head)?];
    from.read_exact(&mut body).await.map_err(broken)?;
    from_bincode(&body, FRAME_BYTES_MAX).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_whole_and_no_further() {
        let mut bytes = frame(&("first", 1u8)).expect("a frame");
        bytes.extend_from_slice(&frame(&("second", 2u8)).expect("a frame"));
        let from = &mut &bytes[..];
        assert_eq!(read(from).expect("reads"), Some(("first".to_owned(), 1u8)));
        assert_eq!(read(from).expect("reads"), Some(("second".to_owned(), 2u8)));
        assert_eq!(read::<u8>(from).expect("the end"), None);
    }

    #[test]
    fn what_is_too_long_or_ends_early_is_refused() {
        let over = u32::try_from(FRAME_BYTES_MAX).expect("fits") + 1;
        let error = read::<u8>(&mut &over.to_be_bytes()[..]).expect_err("too long");
        assert!(error.is_too_large());
        assert!(read::<u8>(&mut &[0, 0, 0, 9, 1][..]).expect_err("early").is_corrupt());
        assert!(read::<u8>(&mut &b"print"[..]).expect_err("a print").is_too_large());
    }
}
