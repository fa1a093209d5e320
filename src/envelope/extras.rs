//! What later versions added to the header, by tag: tags for people, and a retry policy of the task's own.
//!
//! Neither is critical: who does not know them runs the task all the same.

use std::time::Duration;

use crate::codec;
use crate::error::{Error, Result};
use crate::retry::RetryPolicy;

use super::header::{Extension, Header};

/// Most tags of one task.
pub const TAGS_MAX: usize = 16;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 64;

const TAGS: u8 = 1;
const RETRY: u8 = 2;
/// Largest value of one of these.
const BYTES_MAX: usize = 2048;

/// A retry policy as it is stored: ms, and shares in ppm. Golden.
type FlatRetry = (u64, u64, u64, u32, bool);

const PPM: f64 = 1e6;

impl Header {
    fn extra(&self, tag: u8) -> Option<&[u8]> {
        self.extensions.iter().find(|extra| extra.tag == tag).map(|extra| &extra.data[..])
    }

    fn set_extra(&mut self, tag: u8, data: Vec<u8>) {
        self.extensions.retain(|extra| extra.tag != tag);
        self.extensions.push(Extension { tag, critical: false, data });
    }

    /// Words for people to find the task by; in clear. None if they cannot be read.
    pub fn tags(&self) -> Vec<String> {
        let tags = self.extra(TAGS).map(|data| codec::from_bincode::<Vec<String>>(data, BYTES_MAX));
        let tags = tags.and_then(Result::ok).unwrap_or_default();
        tags.into_iter().filter(|tag| is_tag(tag)).take(TAGS_MAX).collect()
    }

    pub(crate) fn set_tags(&mut self, tags: &[String]) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        if tags.len() > TAGS_MAX {
            return Err(Error::too_large(format!("{} tags; at most {TAGS_MAX}", tags.len())));
        }
        if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
            let shown: String = tag.chars().take(TAG_BYTES_MAX).collect();
            return Err(Error::invalid(format!(
                "{shown:?} is no tag; use 1 to {TAG_BYTES_MAX} visible ASCII characters"
            )));
        }
        self.set_extra(TAGS, codec::to_bincode(&tags, BYTES_MAX)?);
        Ok(())
    }

    /// How long to wait before each retry of this very task, in place of what its handler says.
    pub fn retry(&self) -> Option<RetryPolicy> {
        let (min, max, factor, jitter, front) =
            codec::from_bincode::<FlatRetry>(self.extra(RETRY)?, BYTES_MAX).ok()?;
        Some(RetryPolicy {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
            factor: factor as f64 / PPM,
            jitter: f64::from(jitter) / PPM,
            front,
        })
    }

    pub(crate) fn set_retry(&mut self, policy: &RetryPolicy) -> Result<()> {
        policy.check()?;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (factor, jitter) = ((policy.factor * PPM) as u64, (policy.jitter * PPM) as u32);
        let flat: FlatRetry = (ms(policy.min), ms(policy.max), factor, jitter, policy.front);
        self.set_extra(RETRY, codec::to_bincode(&flat, BYTES_MAX)?);
        Ok(())
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG_BYTES_MAX).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::queue::{Kind, QueueName};

    fn header() -> Header {
        let (kind, queue) =
            (Kind::parse("k").expect("kind"), QueueName::parse("q").expect("queue"));
        Header::new(kind, queue, Timestamp(1))
    }

    #[test]
    fn what_is_added_comes_back_and_is_golden() {
        let mut header = header();
        assert_eq!((header.tags().len(), header.retry()), (0, None));
        header.set_tags(&["a".to_owned(), "b:c".to_owned()]).expect("tags");
        let policy = RetryPolicy { jitter: 0.25, front: true, ..RetryPolicy::DEFAULT };
        header.set_retry(&policy).expect("policy");
        let read = Header::decode(&header.encode().expect("encodes")).expect("decodes");
        assert_eq!(
            (read.tags(), read.retry()),
            (vec!["a".to_owned(), "b:c".to_owned()], Some(policy))
        );
        assert_eq!(read.extra(TAGS), Some(&b"\x02\x01a\x03b:c"[..]));
        let retry = b"\xfb\xe8\x03\xfc\x00\x97\x49\x01\xfc\x80\x84\x1e\x00\xfc\x90\xd0\x03\x00\x01";
        assert_eq!(read.extra(RETRY), Some(&retry[..]));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_cannot_be_read_is_nothing() {
        let mut header = header();
        let long = "x".repeat(TAG_BYTES_MAX + 1);
        for bad in ["", "a b", "ä", "a\n", &long, &"y".repeat(1 << 20)] {
            assert!(header.set_tags(&[bad.to_owned()]).expect_err(bad).is_invalid());
        }
        let many = vec!["t".to_owned(); TAGS_MAX + 1];
        assert!(header.set_tags(&many).expect_err("many").is_too_large());
        for factor in [f64::NAN, f64::INFINITY, -1.0] {
            let policy = RetryPolicy { factor, ..RetryPolicy::DEFAULT };
            assert!(header.set_retry(&policy).expect_err("no number").is_invalid());
        }
        header.set_extra(TAGS, vec![0xff; 9]);
        header.set_extra(RETRY, vec![0xff; 9]);
        assert_eq!((header.tags().len(), header.retry()), (0, None));
    }
}
