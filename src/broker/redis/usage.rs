//! What the server has spent: from its `INFO`. For measurements; no decision rests on it.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::Inner;
use super::fault::Class;
use crate::broker::Usage;
use crate::error::Result;

/// None if this user may not ask, or several servers answer.
pub(super) async fn usage(broker: Arc<Inner>) -> Result<Option<Usage>> {
    let mut info = Cmd::new();
    info.arg("INFO").arg("cpu").arg("memory");
    let text = match broker.io.link.call(&info).await {
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(_) => return Ok(None),
        Err(fault) if fault.class == Class::Denied => return Ok(None),
        Err(fault) => return Err(fault.into()),
    };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse::<f64>().ok())
    };
    let cpu = field("used_cpu_sys").zip(field("used_cpu_user"));
    Ok(cpu.zip(field("used_memory")).map(|((system, user), memory)| Usage {
        cpu_us: ((system + user) * 1e6) as u64,
        memory: memory as u64,
        requests: broker.io.link.sent() + broker.beats.link.sent(),
    }))
}
