//! What every broker owes its callers, one file per verb. Mounted once per broker; the mount gives `open`.

mod advance;
mod beat;
mod dequeue;
mod enqueue;
mod inspect;
mod locks;
mod operate;
mod reclaim;
mod releases;
mod retire;
mod settle;
mod wait;

use super::open;
