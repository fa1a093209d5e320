//! The harness shown to work, and each fault shown to be one.

mod cluster;
mod frame;
mod proxy;
mod sentinel;
mod server;
mod stub;
mod tls;

use redis::{Client, Connection, RedisResult};

use super::PATIENCE;

/// A connection of an ordinary client.
fn connect(url: &str) -> RedisResult<Connection> {
    let connection = Client::open(url)?.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn ask(connection: &mut Connection, words: &[&str]) -> RedisResult<redis::Value> {
    redis::cmd(words[0]).arg(&words[1..]).query(connection)
}
