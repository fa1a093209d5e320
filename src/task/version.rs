//! Versions of a task's payload, side by side: old ones are read by the new code, new ones wait for it.

use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::Result;

use super::Task;

/// A payload that was enqueued by older code.
pub struct Old<'a> {
    version: u16,
    codec: Codec,
    body: &'a [u8],
}

impl Old<'_> {
    /// The [`VERSION`](Task::VERSION) it was enqueued with; less than that of the type it is read as.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Reads it as the type it was then, or as `serde_json::Value` if it is JSON.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        self.codec.decode(self.body)
    }
}

impl std::fmt::Debug for Old<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Old {{ version: {}, bytes: {} }}", self.version, self.body.len())
    }
}

/// Reads a payload of any version up to the type's own; a newer one is the error
/// [`is_newer`](crate::Error::is_newer).
pub(crate) fn read<T: Task>(version: u16, codec: Codec, body: &[u8]) -> Result<T> {
    match version.cmp(&T::VERSION) {
        std::cmp::Ordering::Equal => codec.decode(body),
        std::cmp::Ordering::Less => T::upcast(Old { version, codec, body }),
        std::cmp::Ordering::Greater => Err(crate::Error::newer(format!(
            "version {version} of kind {}, of which this worker knows {}; it waits for a newer one",
            T::KIND,
            T::VERSION
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Mail {
        to: Vec<String>,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct First {
        to: String,
    }

    impl Task for Mail {
        const KIND: &'static str = "mail";
        const VERSION: u16 = 3;

        fn upcast(old: Old<'_>) -> Result<Self> {
            match old.version() {
                1 => Ok(Self { to: vec![old.decode::<First>()?.to] }),
                _ => old.decode(),
            }
        }
    }

    #[test]
    fn old_ones_are_lifted_and_new_ones_wait() {
        let expected = Mail { to: vec!["ada".to_owned()] };
        for codec in [Codec::Json, Codec::Bincode] {
            let first = codec.encode(&First { to: "ada".to_owned() }).expect("encodes");
            assert_eq!(read::<Mail>(1, codec, &first).expect("lifted"), expected);
            let same = codec.encode(&expected).expect("encodes");
            for version in [2, 3] {
                assert_eq!(read::<Mail>(version, codec, &same).expect("read"), expected);
            }
            assert!(read::<Mail>(4, codec, &same).expect_err("newer").is_newer());
        }
        assert!(read::<Mail>(1, Codec::Json, b"{\"to\": 1}").is_err());
    }
}
