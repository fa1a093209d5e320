//! What is stored in Redis, read past the broker: where each task is, and whether the books agree.

use std::collections::{BTreeMap, BTreeSet};

use oncue::task::TaskId;
use redis::Connection;

use crate::redis_servers::server::Server;

/// The keys of a queue, read one by one: nothing else may be going on.
#[derive(Debug, Default)]
pub struct Audit {
    /// The ids that have a record.
    pub records: BTreeSet<Vec<u8>>,
    /// Records that the next enqueue takes away.
    pub orphans: BTreeSet<Vec<u8>>,
    /// Where each id is found, by the names of keys; twice in one line is two places, a void one is none.
    pub places: BTreeMap<Vec<u8>, Vec<String>>,
    /// The ids that are in the gatherings themselves.
    gathered: BTreeSet<Vec<u8>>,
    /// Since which turn the places of an id are not void.
    turns: BTreeMap<Vec<u8>, u32>,
}

impl Audit {
    #[track_caller]
    pub fn of(server: &Server, prefix: &str) -> Self {
        Self::without(server, prefix, "")
    }

    /// The same but for one key, of another type.
    #[track_caller]
    pub fn without(server: &Server, prefix: &str, but: &str) -> Self {
        let mut admin = server.admin().expect("an admin");
        // Namespaces and queues of tests have none of the characters that mean something in a pattern.
        let pattern = format!("{prefix}*");
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg(pattern).query(&mut admin).expect("keys");
        let mut audit = Self::default();
        let void: BTreeMap<Vec<u8>, Vec<u8>> =
            redis::cmd("HGETALL").arg(format!("{prefix}vp")).query(&mut admin).unwrap_or_default();
        let turn = |place: &Vec<u8>| u32::from_be_bytes(place[..4].try_into().expect("a place"));
        audit.turns = void.iter().map(|(id, place)| (id.clone(), turn(place))).collect();
        for key in keys.iter().filter(|key| key[prefix.len()..] != *but.as_bytes()) {
            audit.read(&mut admin, key, &key[prefix.len()..]);
        }
        audit
    }

    fn read(&mut self, admin: &mut Connection, key: &[u8], name: &[u8]) {
        let mut ask = |words: &[&str]| -> Vec<Vec<u8>> {
            let mut cmd = redis::cmd(words[0]);
            cmd.arg(key).arg(&words[1..]);
            cmd.query(admin).expect("an answer")
        };
        let place = String::from_utf8_lossy(name).into_owned();
        let found = match name {
            b"t" => return self.records.extend(ask(&["HKEYS"])),
            b"or" => return self.orphans.extend(ask(&["SMEMBERS"])),
            b"s" | b"r" | b"c" | b"x" | b"g" => ask(&["ZRANGE", "0", "-1"]),
            _ if name.starts_with(b"gm:") => {
                return self.gathered.extend(ask(&["ZRANGE", "0", "-1"]));
            }
            [b'p' | b'z', _, ..] => {
                let entries = ask(&["LRANGE", "0", "-1"]);
                entries.iter().flat_map(|entry| self.standing(entry)).collect()
            }
            _ if name.starts_with(b"a:") || name.starts_with(b"dead:") => {
                ids_behind(0, ask(&["HVALS"]))
            }
            _ => return,
        };
        for member in found {
            let id = member.get(..16).unwrap_or(&member).to_vec();
            self.places.entry(id).or_default().push(place.clone());
        }
    }

    /// The ids that have a place in an entry of a line: `since 6 | ids` or `since 6 | id | turn 4`.
    fn standing(&self, entry: &[u8]) -> Vec<Vec<u8>> {
        let (packed, turn) = match entry.len() {
            26 => (&entry[..22], u32::from_be_bytes(entry[22..].try_into().expect("a turn"))),
            _ => (entry, 0),
        };
        let mut ids = ids_behind(6, vec![packed.to_vec()]);
        ids.retain(|id| self.turns.get(id).is_none_or(|from| turn >= *from));
        ids
    }

    /// The places of a task.
    pub fn places_of(&self, id: TaskId) -> Vec<&str> {
        let places = self.places.get(&id.as_bytes()[..]);
        places.map_or_else(Vec::new, |places| places.iter().map(String::as_str).collect())
    }

    /// Why the books do not agree, if they do not: a record that belongs to no task, a task without one, a task
    /// in two places.
    pub fn complaint(&self) -> Option<String> {
        let twice = self.places.iter().filter(|(_, places)| places.len() > 1);
        let twice: Vec<_> = twice.map(|(id, places)| (hex(id), places)).collect();
        let leaked = self.records.iter().filter(|id| !self.places.contains_key(*id));
        let leaked: Vec<_> = leaked.map(|id| hex(id)).collect();
        let empty = self.places.keys().filter(|id| !self.records.contains(*id));
        let empty: Vec<_> = empty.map(|id| hex(id)).collect();
        let listed = self.places.iter().filter(|(_, places)| places.contains(&"g".to_owned()));
        let listed: BTreeSet<_> = listed.map(|(id, _)| id.clone()).collect();
        let astray = listed.symmetric_difference(&self.gathered);
        let astray: Vec<_> = astray.map(|id| hex(id)).collect();
        let all = [twice.len(), leaked.len(), empty.len(), astray.len()];
        (all != [0; 4]).then(|| {
            format!(
                "in two places: {twice:?}; no task: {leaked:?}; no record: {empty:?}; half gathered: {astray:?}"
            )
        })
    }

    /// Fails unless there are exactly these tasks, each in one place.
    #[track_caller]
    pub fn check(&self, ids: impl IntoIterator<Item = TaskId>) {
        if let Some(complaint) = self.complaint() {
            panic!("{complaint}");
        }
        let ids: BTreeSet<Vec<u8>> = ids.into_iter().map(|id| id.as_bytes().to_vec()).collect();
        assert_eq!(self.records.len(), ids.len(), "records");
        assert_eq!(self.records, ids);
    }
}

/// The ids that are packed behind so many bytes of each of these; what is none, as it is.
pub fn ids_behind(bytes: usize, packed: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let ids = |packed: &Vec<u8>| -> Vec<Vec<u8>> {
        packed.get(bytes..).unwrap_or_default().chunks(16).map(<[u8]>::to_vec).collect()
    };
    packed.iter().flat_map(ids).collect()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
