//! The broker a bench works on: one that was named, or a file of its own.

use oncue::seal::{KeySource, Keyring};
use oncue::state::State;
use oncue::{Client, Connect, Error, Result};
use zeroize::Zeroizing;

use super::QUEUE;
use crate::cli::file::DatabaseFile;

/// Where the bench takes place.
pub(super) struct Place {
    url: String,
    /// None for a broker without a file.
    file: Option<DatabaseFile>,
    /// The keyring of the bench's own file, as text; it is never written. None for a broker that was named.
    own: Option<Zeroizing<String>>,
}

impl KeySource for OwnKeys {
    fn load(&self) -> Result<Keyring> {
        Keyring::parse(&self.0)
    }
}

/// The same keys each time the bench opens its own file.
struct OwnKeys(Zeroizing<String>);

impl Place {
    /// The broker named, else a file in the current directory.
    pub(super) fn new(named: Option<&str>) -> Result<Self> {
        if let Some(url) = named {
            let file =
                url.strip_prefix("sqlite:").map(|rest| rest.split('?').next().unwrap_or(rest));
            let file = file.map(|path| path.strip_prefix("//").unwrap_or(path));
            let file = file.filter(|path| *path != ":memory:").map(DatabaseFile::new);
            return Ok(Self { url: url.to_owned(), file, own: None });
        }
        let name = format!("oncue-bench-{}.db", std::process::id());
        let file = DatabaseFile::new(&name);
        if file.path().symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{name} exists; remove it")));
        }
        let own = Some(Keyring::generate()?.to_text());
        Ok(Self { url: format!("sqlite:{name}"), file: Some(file), own })
    }

    pub(super) async fn client(&self) -> Result<Client> {
        let connect = Connect::new(&self.url);
        Client::open(match &self.own {
            Some(text) => connect.keys(OwnKeys(text.clone())),
            None => connect,
        })
        .await
    }

    /// Whether everything is gone with the last handle.
    pub(super) fn is_volatile(&self) -> bool {
        self.file.is_none()
    }

    /// How many tasks of earlier runs are pending. Refuses a queue that is not empty, unless `run_along`.
    pub(super) async fn held(&self, client: &Client, run_along: bool) -> Result<u64> {
        let stats = client.broker().stats().await?;
        let held = stats.iter().find(|stats| stats.queue.as_str() == QUEUE);
        match held.map_or(0, |stats| stats.total()) {
            0 => Ok(0),
            _ if run_along => Ok(held.map_or(0, |stats| stats.count(State::Pending))),
            count => Err(Error::refused(format!(
                "queue {QUEUE} holds {count} tasks; run them along with --yes"
            ))),
        }
    }

    /// Size of the file, once nobody here has it open.
    pub(super) async fn size(&self) -> Option<u64> {
        match &self.file {
            Some(file) => Some(file.size().await),
            None => None,
        }
    }

    /// Removes the bench's own file.
    pub(super) async fn remove(&self) {
        if let (Some(file), Some(_)) = (&self.file, &self.own) {
            file.remove().await;
        }
    }
}
