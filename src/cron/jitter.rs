//! Jitter that every scheduler computes alike: a hash of the entry and the tick, no chance.
//!
//! The hash is FNV-1a, mixed once as SplitMix64 mixes. It must be the same on every machine and in every version,
//! which rules out the hashes of `std`; there is nothing to keep secret, which would be ring's task.

use std::time::Duration;

use crate::clock::Timestamp;

/// Whole milliseconds, fewer than `span` has, spread evenly over entries and ticks.
pub(super) fn delay(entry: &str, tick: Timestamp, span: Duration) -> Duration {
    let bytes = entry.bytes().chain(tick.0.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    // The high half of the product: the share of the span that the hash is of all hashes.
    let share = (u128::from(mixed(hash)) * u128::from(span)) >> 64;
    Duration::from_millis(u64::try_from(share).unwrap_or(0))
}

/// Each bit depends on all bits.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
