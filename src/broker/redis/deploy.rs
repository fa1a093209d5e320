//! Deploying: the functions library is loaded by somebody who may, so that nobody else must.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::io::Io;
use super::library::Library;
use super::options::Options;
use super::ready;
use crate::broker::Reply;

/// What stood in the place of the library before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing of this version.
    Nothing,
    /// The same text.
    Same,
    /// Another build's of the same version, by its digest; empty if it has none.
    Other(String),
}

/// What was deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deployed {
    /// The name of the library, which holds its version. Those of other versions stay beside it.
    pub library: String,
    /// The digest of its text.
    pub digest: String,
    /// What it replaced; of a cluster, on one of its nodes.
    pub found: Found,
}

/// Loads the functions, on every primary if it is a cluster. Their user needs what
/// [`Role::Deployer`](super::acl::Role::Deployer) has. Replicas and restarts keep them.
pub fn deploy(options: Options) -> Reply<Deployed> {
    let library = Library::of(&options);
    let greeting: super::link::Greeting = Arc::new(|_| Box::pin(std::future::ready(Ok(()))));
    let io = match Io::start("oncue-deploy", Arc::new(options), greeting, Arc::new(|_| {})) {
        Ok(io) => io,
        Err(error) => return ready(Err(error)),
    };
    let link = io.link.clone();
    let reply = io.run(async move {
        let mut list = Cmd::new();
        list.arg("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(library.name()).arg("WITHCODE");
        let found = match digest_in(&link.call(&list).await?) {
            None => Found::Nothing,
            Some(digest) if digest == library.digest() => Found::Same,
            Some(digest) => Found::Other(digest),
        };
        // Loaded even over itself: in a cluster another node may lack it.
        link.call(&library.load()).await?;
        let (library, digest) = (library.name().to_owned(), library.digest().to_owned());
        Ok(Deployed { library, digest, found })
    });
    Box::pin(async move {
        let deployed = reply.await;
        drop(io);
        deployed
    })
}

/// The digest in the code of the first library that is listed; empty if there is none in it.
fn digest_in(listed: &Value) -> Option<String> {
    const BEFORE: &str = "local DIGEST = '";
    match listed {
        Value::BulkString(bytes) => {
            let code = std::str::from_utf8(bytes).ok().filter(|code| code.starts_with("#!lua"))?;
            let after = code.split_once(BEFORE).map_or("", |(_, after)| after);
            Some(after.split('\'').next().unwrap_or_default().to_owned())
        }
        Value::Array(list) | Value::Set(list) => list.iter().find_map(digest_in),
        Value::Map(map) => map.iter().find_map(|(_, value)| digest_in(value)),
        Value::VerbatimString { text, .. } => digest_in(&Value::BulkString(text.clone().into())),
        _ => None,
    }
}
