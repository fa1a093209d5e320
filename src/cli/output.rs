//! How an answer or an error is printed: for people or as JSON.
//!
//! A reader that goes away early (`| head`) ends the printing, not the command.

use std::error::Error as _;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, presets};
use oncue::{Error, Result};
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// The exit code of wrong usage.
const USAGE: u8 = 2;

/// Where answers go.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// The same output, in JSON even unasked.
    pub(super) fn in_json(self, json: bool) -> Self {
        Self { json: self.json || json }
    }

    /// Prints an answer: as one line of JSON, or as it displays.
    pub(super) fn print(self, answer: &(impl Serialize + Display)) -> Result<()> {
        if !self.json {
            return write(format_args!("{answer}"));
        }
        let line = serde_json::to_string(answer).map_err(|error| {
            Error::system("the answer cannot be written as JSON").because(error)
        })?;
        write(format_args!("{line}"))
    }

    /// Prints an error and answers its exit code.
    pub(crate) fn fail(self, error: &Error) -> ExitCode {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        // Without a standard error there is nobody to tell.
        let mut stderr = io::stderr().lock();
        let _ = if self.json {
            let (code, message) = (error.code(), error.to_string());
            writeln!(stderr, "{}", told(code, &message, &causes))
        } else {
            let causes: String =
                causes.iter().map(|cause| format!("\n  because: {}", plain(cause))).collect();
            writeln!(stderr, "error: {}{causes}", plain(&error.to_string()))
        };
        ExitCode::from(code(error))
    }
}

fn told(code: &str, message: &str, causes: &[String]) -> serde_json::Value {
    json!({ "error": { "code": code, "message": message, "causes": causes } })
}

/// The exit code of an error, as the root's `--help` lists them.
fn code(error: &Error) -> u8 {
    match error.code() {
        "invalid" | "too_large" => USAGE,
        "not_found" => 3,
        "unreachable" => 4,
        "refused" => 5,
        _ => 1,
    }
}

/// Prints what clap says: help and version on standard output, faults on standard error.
pub(super) fn usage(said: clap::Error) -> ExitCode {
    if !said.use_stderr() {
        // A reader that went away has seen enough.
        let _ = said.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = said.render().to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim();
        let _ = writeln!(io::stderr().lock(), "{}", told("usage", message, &[]));
    } else {
        let _ = said.print();
    }
    ExitCode::from(USAGE)
}

fn write(line: std::fmt::Arguments<'_>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::system("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Starts logging to standard error, as JSON where errors are. `RUST_LOG` goes before `level`.
pub(super) fn log(level: &str, output: Output) -> Result<()> {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { level } else { &wanted };
    let filter = wanted.parse::<Targets>().map_err(|error| {
        Error::invalid(format!(
            "RUST_LOG is {wanted:?}, and should be like info,oncue=debug: {error}"
        ))
    })?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = io::stderr().is_terminal() && !plain;
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let log = if output.json { log.json().boxed() } else { log.with_ansi(color).boxed() };
    tracing_subscriber::registry().with(log.with_filter(filter)).init();
    Ok(())
}

/// Text that came from outside, fit for a terminal: what would move the cursor, begin a line or turn the
/// direction of writing is spelled out.
pub(super) fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => plain.extend(c.escape_default()),
            _ if c.is_control() || turns(c) => plain.extend(c.escape_unicode()),
            _ => plain.push(c),
        }
    }
    plain
}

/// An empty table with these columns. Without a terminal it is as wide as its content.
pub(super) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.to_vec());
    table
}

/// A list, narrow enough for a terminal of 80 columns: without frames, its first column, the name, whole.
pub(super) fn list<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = table(columns);
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('═')));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    if let Some(name) = table.column_mut(0) {
        name.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// Numbers in this column of a list.
pub(super) fn numbers(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in table.column_iter_mut().skip(columns.start).take(columns.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// A time in its largest unit, for lists; JSON has it exactly.
pub(super) fn brief(time: Duration) -> String {
    let (seconds, minute, hour, day) = (time.as_secs(), 60, 3600, 86_400);
    match seconds {
        _ if seconds < 2 * minute => format!("{seconds} s"),
        _ if seconds < 2 * hour => format!("{} min", seconds / minute),
        _ if seconds < 2 * day => format!("{} h", seconds / hour),
        _ => format!("{} d", seconds / day),
    }
}

/// A table of names and values.
pub(super) fn pairs<N: Into<String>>(rows: impl IntoIterator<Item = (N, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    for (name, value) in rows {
        table.add_row([name.into(), value]);
    }
    table
}

/// `"; did you mean \"x\"?"` when one of `known` is close to `word`, else nothing.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known.into_iter().map(|known| (strsim::jaro_winkler(word, known), known));
    match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, known)) if score > 0.75 => format!("; did you mean {known:?}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_time_has_one_unit() {
        for (seconds, expected) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")]
        {
            assert_eq!(brief(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_list_keeps_its_names_whole_and_fits() {
        let mut table = list(["id", "kind", "why"]);
        let id = "01937a5c-6e0a-7000-8000-000000000000";
        table.add_row([id, "a:kind:of:task", &"long ".repeat(20)]).set_width(80);
        let text = table.to_string();
        assert!(text.contains(id) && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn every_kind_of_error_has_its_exit_code() {
        for (error, expected) in [
            (Error::invalid("x"), 2),
            (Error::too_large("x"), 2),
            (Error::not_found("x"), 3),
            (Error::unreachable("x"), 4),
            (Error::refused("x"), 5),
            (Error::corrupt("x"), 1),
            (Error::key("x"), 1),
            (Error::tampered("x"), 1),
        ] {
            assert_eq!(code(&error), expected, "{error:?}");
        }
    }
}
