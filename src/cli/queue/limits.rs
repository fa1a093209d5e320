//! What `oncue queue limit` sets: how much a queue may hold, run at once, and keep.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use oncue::broker::Setting;
use oncue::queue::Kind;
use oncue::{Error, Result};

use crate::cli::amount::Bytes;

/// The limits of a queue; only those named are changed.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(in crate::cli) struct Limits {
    /// Most tasks that have not ended; an enqueue beyond is refused
    #[arg(long, value_name = "N|none")]
    tasks: Option<Most<u64>>,
    /// Most bytes of all records, such as 256MiB; an enqueue beyond is refused
    #[arg(long, value_name = "SIZE|none")]
    bytes: Option<Most<Size>>,
    /// Most tasks that run at once, in all workers
    #[arg(long, value_name = "N|none")]
    concurrency: Option<Most<u64>>,
    /// Most tasks of a kind that run at once, in all workers
    #[arg(long, value_name = "KIND=N|none")]
    kind: Vec<OfKind>,
    /// Most completed tasks that are kept
    #[arg(long, value_name = "N|none")]
    keep_completed: Option<Most<u64>>,
    /// Most archived tasks that are kept; goes with --keep-archived-for, which it resets if that is left out
    #[arg(long, value_name = "N|none")]
    keep_archived: Option<Most<u64>>,
    /// How long archived tasks are kept, such as 90days; resets --keep-archived if that is left out
    #[arg(long, value_name = "DURATION|none")]
    keep_archived_for: Option<Most<Time>>,
}

impl Limits {
    /// What is to be set.
    pub(super) fn settings(&self) -> Result<Vec<Setting>> {
        let mut settings = Vec::new();
        settings.extend(self.tasks.as_ref().map(|most| Setting::Limit(most.0)));
        settings.extend(self.bytes.as_ref().map(|most| Setting::Bytes(most.0.map(|size| size.0))));
        settings.extend(self.concurrency.as_ref().map(|most| Setting::Concurrency(most.0)));
        for OfKind(kind, most) in &self.kind {
            settings.push(Setting::KindConcurrency(Kind::parse(kind)?, *most));
        }
        settings.extend(self.keep_completed.as_ref().map(|most| Setting::KeepCompleted(most.0)));
        if self.keep_archived.is_some() || self.keep_archived_for.is_some() {
            let most = self.keep_archived.as_ref().and_then(|most| most.0);
            let time = self.keep_archived_for.as_ref().and_then(|time| time.0);
            settings.push(Setting::KeepArchived(most, time.map(|time| time.0)));
        }
        Ok(settings)
    }
}

/// A limit, or `none`.
#[derive(Clone, Copy)]
struct Most<V>(Option<V>);

impl<V: FromStr> FromStr for Most<V> {
    type Err = V::Err;

    fn from_str(text: &str) -> Result<Self, V::Err> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

/// A number of bytes.
#[derive(Clone, Copy)]
struct Size(u64);

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // What has no end, or none that a broker can count to, is no limit.
        let bytes = Bytes::parse(text).filter(|bytes| i64::try_from(bytes.0).is_ok());
        bytes.map(|bytes| Self(bytes.0)).ok_or_else(|| {
            Error::invalid(format!("{text:?} is no size; write \"256MiB\" or \"none\""))
        })
    }
}

/// A time.
#[derive(Clone, Copy)]
struct Time(Duration);

impl FromStr for Time {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

/// A limit of a kind: `KIND=N`.
#[derive(Clone)]
struct OfKind(String, Option<u64>);

impl FromStr for OfKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("{text:?}; write \"KIND=4\" or \"KIND=none\""));
        let (kind, most) = text.rsplit_once('=').ok_or_else(wrong)?;
        let Most(most) = most.parse().map_err(|_| wrong())?;
        Ok(Self(kind.to_owned(), most))
    }
}
