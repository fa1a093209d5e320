//! `oncue deploy`: brings the functions into Redis, as a user who may; workers and clients then need not.

use std::fmt;

use oncue::connect::Found;
use oncue::{Error, Result};
use serde::Serialize;

use super::output::{Output, plain};
use super::target::Target;

/// Load the functions into Redis
///
/// On every primary, if it is a cluster. Its user needs no more than the role
/// `deployer` has. Run it once for every version of oncue, before the first process
/// of that version; functions of other versions stay, and are used by their own.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

pub(super) async fn run(_: Args, target: &Target, output: Output) -> Result<()> {
    let url = target
        .named()
        .ok_or_else(|| Error::invalid("which Redis? name it with --broker redis://HOST"))?;
    let deployed = oncue::connect::deploy(url).await?;
    let (found, replaced) = match deployed.found {
        Found::Nothing => ("nothing", None),
        Found::Same => ("same", None),
        Found::Other(digest) => ("other", Some(digest)),
    };
    let (library, digest) = (deployed.library, deployed.digest);
    output.print(&Told { library, digest, found, replaced })
}

#[derive(Serialize)]
struct Told {
    library: String,
    digest: String,
    /// What was there before: nothing, the same, or other.
    found: &'static str,
    /// The digest of another build that was replaced.
    replaced: Option<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library, digest, found, replaced } = self;
        write!(f, "deployed {library} ({digest})")?;
        // It stands in a library that anybody may have loaded.
        match (replaced.as_deref().map(plain).as_deref(), *found) {
            (Some(""), _) => f.write_str("; replaced one without a digest"),
            (Some(old), _) => write!(f, "; replaced {old}, another build of the same version"),
            (None, "same") => f.write_str("; it was there already"),
            (None, _) => f.write_str("; nothing of this version was there"),
        }
    }
}
