//! What is in an entry as a broker keeps it: clear but for the template, which is sealed.
//!
//! Times and policies are clear and not authenticated, so that people without a key can see and pause an entry: whoever
//! may write to the broker may also say when its tasks run. What they are, how they run and what they carry is the
//! header and the template, and neither can be altered. Stored as a format version byte and a flat bincode struct.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broker::ENTRY_BYTES_MAX;
use crate::clock::Timestamp;
use crate::codec;
use crate::cron::{Gap, Overlap, Schedule};
use crate::envelope::Header;
use crate::error::{Error, Result};
use crate::task::Group;

use super::{Due, Missed};

/// Newest format this version writes and reads. The first knew no groups, and is written where there is none: an older
/// worker goes on to read it.
const VERSION: u8 = 2;

/// What becomes of a tick while the task of an earlier one has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Runs {
    /// It is enqueued all the same.
    #[default]
    Allow,
    /// It is passed over. A task has ended when it is completed, archived or gone; one that is to be retried has not.
    Skip,
    /// It waits for the end of that task, for as long as its policy for missed ticks lets it; of several that wait, those
    /// are enqueued that this policy would take after an outage.
    Queue,
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It was put there while running: by a client or the command line.
    #[default]
    Dynamic,
    /// It stands in the code of a worker, which writes it when it starts.
    Static,
}

/// An entry as it is kept.
#[derive(Clone)]
pub struct Plan {
    pub(crate) schedule: Schedule,
    pub(crate) missed: Missed,
    pub(crate) catch_up: Option<Duration>,
    pub(crate) runs: Runs,
    pub(crate) paused: bool,
    pub(crate) origin: Origin,
    /// No tick up to this one is of this plan: it was paused, or another schedule.
    pub(crate) since: Timestamp,
    pub(crate) replicas: u8,
    pub(crate) front: bool,
    /// The group its tasks join; the header names it too, and proves it.
    pub(crate) group: Option<Group>,
    /// As it is sealed with: enqueued at 0, so that its expiry is a delay.
    pub(crate) header: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

/// What format 2 has behind it. Golden as well.
#[derive(Serialize, Deserialize)]
struct Gathers<'a> {
    name: Cow<'a, str>,
    grace: u64,
    within: Option<u64>,
    most: u64,
}

/// The stored form, field for field. Golden: format 1 never changes.
#[derive(Serialize, Deserialize)]
struct Flat<'a> {
    version: u8,
    text: Cow<'a, str>,
    zone: Cow<'a, str>,
    gap: u8,
    overlap: u8,
    jitter: u64,
    missed: u8,
    catch_up: Option<u64>,
    runs: u8,
    paused: bool,
    origin: u8,
    since: u64,
    replicas: u8,
    front: bool,
    header: Cow<'a, [u8]>,
    sealed: Cow<'a, [u8]>,
}

impl Plan {
    /// When it ticks.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// What becomes of missed ticks.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// How late a tick is enqueued at most.
    pub fn catch_up(&self) -> Option<Duration> {
        self.catch_up
    }

    /// What becomes of a tick while an earlier task has not ended.
    pub fn runs(&self) -> Runs {
        self.runs
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What is clear of its tasks: enqueued at 0, so that their expiry is a delay. Not authenticated until the template
    /// is opened.
    pub fn header(&self) -> Result<Header> {
        Header::decode(&self.header)
    }

    /// What is due after the last tick.
    pub(crate) fn due(&self, last: Timestamp, now: Timestamp) -> Due {
        if self.paused {
            return Due::Wait(None);
        }
        Due::of(&self.schedule, self.missed, self.catch_up, last.max(self.since), now)
    }

    /// The next tick after the last one; it may be over.
    pub(crate) fn next(&self, last: Timestamp) -> Option<Timestamp> {
        if self.paused { None } else { self.schedule.next_after(last.max(self.since)) }
    }

    /// Whether both tick alike.
    pub(crate) fn ticks_like(&self, other: &Self) -> bool {
        let of = |plan: &Self| {
            let (gap, overlap, _) = plan.schedule.policies();
            (plan.schedule.to_string(), plan.schedule.zone_name().to_owned(), gap, overlap)
        };
        of(self) == of(other)
    }

    /// Whether both say the same but for what is sealed and what people do to an entry.
    pub(crate) fn says_like(&self, other: &Self) -> Result<bool> {
        let bare = |plan: &Self| {
            let (paused, since, sealed) = (false, Timestamp(0), Vec::new());
            Self { paused, since, sealed, ..plan.clone() }.encode()
        };
        Ok(bare(self)? == bare(other)?)
    }

    /// The stored form; over [`ENTRY_BYTES_MAX`] it [`is_too_large`](Error::is_too_large).
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let (gap, overlap, jitter) = self.schedule.policies();
        let flat = Flat {
            version: if self.group.is_some() { VERSION } else { 1 },
            text: self.schedule.to_string().into(),
            zone: self.schedule.zone_name().into(),
            gap: match gap {
                Gap::Shift => 0,
                Gap::Skip => 1,
            },
            overlap: match overlap {
                Overlap::First => 0,
                Overlap::Both => 1,
            },
            jitter: ms(jitter),
            missed: match self.missed {
                Missed::Latest => 0,
                Missed::All => 1,
                Missed::Skip => 2,
            },
            catch_up: self.catch_up.map(ms),
            runs: match self.runs {
                Runs::Allow => 0,
                Runs::Skip => 1,
                Runs::Queue => 2,
            },
            paused: self.paused,
            origin: match self.origin {
                Origin::Dynamic => 0,
                Origin::Static => 1,
            },
            since: self.since.0,
            replicas: self.replicas,
            front: self.front,
            header: Cow::Borrowed(&self.header),
            sealed: Cow::Borrowed(&self.sealed),
        };
        let Some(group) = &self.group else { return codec::to_bincode(&flat, ENTRY_BYTES_MAX) };
        let gathers = Gathers {
            name: Cow::Borrowed(&group.name),
            grace: ms(group.grace),
            within: group.within.map(ms),
            most: group.most as u64,
        };
        codec::to_bincode(&(flat, gathers), ENTRY_BYTES_MAX)
    }

    /// Reads what is in an entry. A newer format [`is_newer`](Error::is_newer), a schedule that does not parse here
    /// [`is_invalid`](Error::is_invalid); all else that is no plan [`is_corrupt`](Error::is_corrupt).
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (flat, gathers): (Flat<'_>, Option<Gathers<'_>>) = match bytes.first() {
            Some(1) => (codec::from_bincode(bytes, ENTRY_BYTES_MAX)?, None),
            Some(&VERSION) => {
                let (flat, gathers) = codec::from_bincode(bytes, ENTRY_BYTES_MAX)?;
                (flat, Some(gathers))
            }
            Some(version) if *version > VERSION => {
                return Err(Error::newer(format!(
                    "entry format {version} is newer than {VERSION}; upgrade this process"
                )));
            }
            _ => return Err(Error::corrupt(format!("{} bytes are no entry", bytes.len()))),
        };
        let unknown = |what: &str, code: u8| {
            Error::corrupt(format!("an entry with {what} {code}, which there is none"))
        };
        let schedule = Schedule::parse(&flat.text)?
            .zone(&flat.zone)?
            .gap(match flat.gap {
                0 => Gap::Shift,
                1 => Gap::Skip,
                code => return Err(unknown("gap policy", code)),
            })
            .overlap(match flat.overlap {
                0 => Overlap::First,
                1 => Overlap::Both,
                code => return Err(unknown("overlap policy", code)),
            })
            .jitter(Duration::from_millis(flat.jitter));
        Ok(Self {
            schedule,
            missed: match flat.missed {
                0 => Missed::Latest,
                1 => Missed::All,
                2 => Missed::Skip,
                code => return Err(unknown("policy of missed ticks", code)),
            },
            catch_up: flat.catch_up.map(Duration::from_millis),
            runs: match flat.runs {
                0 => Runs::Allow,
                1 => Runs::Skip,
                2 => Runs::Queue,
                code => return Err(unknown("policy of runs", code)),
            },
            paused: flat.paused,
            origin: match flat.origin {
                0 => Origin::Dynamic,
                1 => Origin::Static,
                code => return Err(unknown("origin", code)),
            },
            since: Timestamp(flat.since),
            replicas: flat.replicas,
            front: flat.front,
            group: gathers.map(Gathers::group).transpose()?,
            header: flat.header.into_owned(),
            sealed: flat.sealed.into_owned(),
        })
    }
}

impl Gathers<'_> {
    fn group(self) -> Result<Group> {
        let group = Group {
            name: self.name.into_owned(),
            grace: Duration::from_millis(self.grace),
            within: self.within.map(Duration::from_millis),
            most: usize::try_from(self.most).unwrap_or(usize::MAX),
        };
        group.check().map(|()| group)
    }
}

/// Whole milliseconds, rounded up.
fn ms(time: Duration) -> u64 {
    Timestamp(0).plus(time).0
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("schedule", &self.schedule)
            .field("missed", &self.missed)
            .field("runs", &self.runs)
            .field("paused", &self.paused)
            .field("sealed", &self.sealed.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Format 1, byte for byte.
    const GOLDEN: &[u8] = b"\x01\x090 3 * * *\x0dEurope/Berlin\x01\x01\xfb\x10\x27\x02\x01\xfc\x80\xee\x36\x00\x01\x01\x01\
        \x07\x02\x01\x02hd\x02sl";

    fn plan() -> Plan {
        let schedule = Schedule::parse("0 3 * * *").expect("a schedule");
        Plan {
            schedule: schedule
                .zone("Europe/Berlin")
                .expect("a zone")
                .gap(Gap::Skip)
                .overlap(Overlap::Both)
                .jitter(Duration::from_secs(10)),
            missed: Missed::Skip,
            catch_up: Some(Duration::from_secs(3_600)),
            runs: Runs::Skip,
            paused: true,
            origin: Origin::Static,
            since: Timestamp(7),
            replicas: 2,
            front: true,
            group: None,
            header: b"hd".to_vec(),
            sealed: b"sl".to_vec(),
        }
    }

    #[test]
    fn format_one_is_golden() {
        assert_eq!(plan().encode().expect("encodes"), GOLDEN);
        let read = Plan::decode(GOLDEN).expect("decodes");
        assert_eq!(read.encode().expect("encodes"), GOLDEN);
        assert!(read.ticks_like(&plan()) && read.says_like(&plan()).expect("compared"));
    }

    #[test]
    fn format_two_is_golden_and_has_a_group() {
        let group = Group::named("all").grace(Duration::from_secs(5)).most(9);
        let grouped = Plan { group: Some(group.within(Duration::from_secs(60))), ..plan() };
        let golden = [b"\x02", &GOLDEN[1..], b"\x03all\xfb\x88\x13\x01\xfb\x60\xea\x09"].concat();
        assert_eq!(grouped.encode().expect("encodes"), golden);
        let read = Plan::decode(&golden).expect("decodes");
        assert_eq!(read.group, grouped.group);
        assert!(!read.says_like(&plan()).expect("compared"), "a group is what an entry says");
        let hostile = [b"\x02", &GOLDEN[1..], b"\x03a l\x05\x00\x09"].concat();
        assert!(Plan::decode(&hostile).expect_err("no name").is_invalid());
    }

    #[test]
    fn what_is_no_plan_is_refused_by_name() {
        assert!(Plan::decode(b"").expect_err("empty").is_corrupt());
        assert!(Plan::decode(b"\0rest").expect_err("format 0").is_corrupt());
        assert!(Plan::decode(b"\x03rest").expect_err("format 3").is_newer());
        assert!(Plan::decode(&GOLDEN[..GOLDEN.len() - 1]).expect_err("cut").is_corrupt());
        assert!(Plan::decode(&[GOLDEN, b"x"].concat()).expect_err("longer").is_corrupt());
        for (at, byte) in GOLDEN.iter().enumerate() {
            for altered in 0..=u8::MAX {
                let mut bytes = GOLDEN.to_vec();
                bytes[at] = byte ^ altered;
                // Whatever it is, it neither panics nor takes long.
                let _ = Plan::decode(&bytes);
            }
        }
    }

    #[test]
    fn a_hostile_schedule_is_refused() {
        let hostile = b"0 0 1--100000000 * *";
        let bytes = [&b"\x01\x14"[..], hostile, &GOLDEN[11..]].concat();
        assert!(Plan::decode(&bytes).expect_err("hostile").is_invalid());
    }

    #[test]
    fn what_is_paused_or_over_does_not_tick() {
        let hourly = Schedule::parse("@hourly").expect("a schedule");
        let plan = Plan { schedule: hourly, paused: false, since: Timestamp(3_600_000), ..plan() };
        assert_eq!(plan.next(Timestamp(0)), Some(Timestamp(7_200_000)));
        let wait = Due::Wait(Some(Timestamp(7_200_000)));
        assert_eq!(plan.due(Timestamp(0), Timestamp(7_199_999)), wait);
        let paused = Plan { paused: true, ..plan };
        assert_eq!(paused.due(Timestamp(0), Timestamp(7_200_000)), Due::Wait(None));
    }
}
