//! The `oncue` binary: parses the command line, runs one command, exits with its code.
//!
//! Everything it does is in `cli`, and everything `cli` does is in the library's public API.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // What `work` runs is caged by this program.
    let [] = oncue::child([]);
    let (cli, output) = match cli::parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match cli::run(cli, output) {
        Ok(verdict) => verdict.into(),
        Err(error) => output.fail(&error),
    }
}
