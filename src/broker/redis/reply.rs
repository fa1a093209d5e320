//! Taking replies apart. What does not look as our functions answer [`is_corrupt`](Error::is_corrupt).

use redis::Value;

use super::fault::Fault;
use crate::error::{Error, Result};

/// What else than `what` it is. Within a transaction a refusal is one of the replies.
fn odd(what: &str, found: Value) -> Error {
    match found {
        Value::ServerError(error) => Fault::from(error).into(),
        _ => Error::corrupt(format!(
            "Redis answered something else than {what}; are the functions ours?"
        )),
    }
}

pub(super) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        found => Err(odd("a list", found)),
    }
}

/// The parts of a reply of known length.
pub(super) fn parts<const N: usize>(value: Value) -> Result<[Value; N]> {
    array(value)?.try_into().map_err(|_| odd("a list of that length", Value::Nil))
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        found => Err(odd("a string", found)),
    }
}

/// Ids in one string.
pub(super) fn ids(value: Value) -> Result<Vec<[u8; 16]>> {
    let bytes = bytes(value)?;
    match bytes.as_chunks::<16>() {
        (ids, []) => Ok(ids.to_vec()),
        _ => Err(odd("ids", Value::Nil)),
    }
}

/// None if there is nothing.
pub(super) fn maybe_bytes(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::Nil => Ok(None),
        value => bytes(value).map(Some),
    }
}

pub(super) fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Double(number) => Ok(*number as i64),
        Value::BulkString(text) => {
            let text = std::str::from_utf8(text).map_err(|_| odd("a number", Value::Nil))?;
            text.parse::<f64>().map(|number| number as i64).map_err(|_| odd("a number", Value::Nil))
        }
        found => Err(odd("a number", found.clone())),
    }
}

/// A number that is none below zero.
pub(super) fn count(value: &Value) -> Result<u64> {
    integer(value).map(|number| u64::try_from(number).unwrap_or(0))
}

/// A time; none below zero.
pub(super) fn time(value: &Value) -> Result<Option<crate::clock::Timestamp>> {
    Ok(u64::try_from(integer(value)?).ok().map(crate::clock::Timestamp))
}
