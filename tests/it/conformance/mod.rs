//! What every broker owes its callers, one file per verb. Mounted once per broker; the mount gives `open`.

mod act;
mod advance;
mod beat;
mod concurrency;
mod conflicts;
mod dequeue;
mod enqueue;
mod front;
mod groups;
mod groups_claimed;
mod groups_returns;
mod groups_touched;
mod inspect;
mod kept;
mod limits;
mod lines;
mod locks;
mod notes;
mod operate;
mod reclaim;
mod releases;
mod replace;
mod retire;
mod settle;
mod timetable;
mod wait;

use super::open;
