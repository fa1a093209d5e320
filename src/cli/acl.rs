//! `oncue acl`: users of Redis for the roles oncue knows, as an ACL file. Reaches no server.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use oncue::connect::acl::{DEFAULT_OFF, Password, Role, Scope, user_line};
use oncue::{Error, Result};
use serde::Serialize;

use super::output::Output;

/// Users of Redis.
#[derive(Subcommand)]
pub(super) enum Acl {
    /// Print an ACL file: one user a role, and nobody else
    ///
    /// Roles: producer (enqueues, waits for results), worker (runs tasks), scheduler
    /// (sweeps, enqueues), viewer (looks), operator (looks, cancels, pauses, stops
    /// workers), deployer (`oncue deploy`). A process that
    /// both enqueues and works is producer+worker. New passwords are printed once, on
    /// standard error, or with --json in the answer on standard output; the file (with
    /// --json: `lines`) has their digests. For `aclfile` in redis.conf.
    #[command(verbatim_doc_comment)]
    Generate(Args),
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// A user of this role, or of several joined by +; may be given again
    #[arg(long, value_name = "ROLE[+ROLE]", required_unless_present = "all")]
    role: Vec<String>,
    /// A user of every role
    #[arg(long, conflicts_with = "role")]
    all: bool,
    /// The namespace
    #[arg(long, default_value = "default")]
    namespace: String,
    /// The queues, joined by commas; '*' is all of the namespace
    #[arg(long, default_value = "*", value_delimiter = ',', value_name = "NAME,NAME|*")]
    queue: Vec<String>,
    /// What the name of each user begins with
    #[arg(long, default_value = "oncue-", value_name = "TEXT")]
    user_prefix: String,
    /// The password of the one user, instead of a new one; given twice, both are good
    #[arg(long, value_name = "FILE")]
    password_file: Vec<PathBuf>,
}

pub(super) fn run(command: Acl, output: Output) -> Result<()> {
    let Acl::Generate(args) = command;
    let made = generate(&args)?;
    if !output.is_json() {
        for user in &made.users {
            let Some(password) = &user.password else { continue };
            // Without a standard error the password is lost, and another run makes another.
            let _ = writeln!(std::io::stderr(), "password of {}: {password}", user.name);
        }
    }
    output.print(&made)
}

fn generate(args: &Args) -> Result<Made> {
    let scope = Scope::new(&args.namespace, args.queue.iter().map(String::as_str))?;
    let users: Vec<Vec<Role>> = match args.all {
        true => Role::ALL.map(|role| vec![role]).to_vec(),
        false => args.role.iter().map(|text| roles(text)).collect::<Result<_>>()?,
    };
    if users.len() > 1 && !args.password_file.is_empty() {
        return Err(Error::invalid(
            "--password-file is for one user, and each needs a password of its own; run it once a role",
        ));
    }
    let given: Vec<Password> =
        args.password_file.iter().map(Password::file).collect::<Result<_>>()?;
    let mut made = Made { users: Vec::new(), lines: vec![DEFAULT_OFF.to_owned()] };
    for roles in users {
        let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        let name = format!("{}{}", args.user_prefix, words.join("-"));
        let fresh = if given.is_empty() { Some(Password::generate()?) } else { None };
        let passwords = fresh.as_ref().map_or(&given[..], std::slice::from_ref);
        if made.users.iter().any(|user| user.name == name) {
            return Err(Error::invalid(format!("user {name} would be there twice")));
        }
        made.lines.push(user_line(&name, passwords, &roles, &scope)?);
        let password = fresh.map(|fresh| fresh.reveal().to_owned());
        made.users.push(User { name, roles: words, password });
    }
    Ok(made)
}

fn roles(text: &str) -> Result<Vec<Role>> {
    let mut roles = text.split('+').map(str::parse).collect::<Result<Vec<Role>>>()?;
    roles.sort();
    roles.dedup();
    Ok(roles)
}

#[derive(Serialize)]
struct Made {
    users: Vec<User>,
    lines: Vec<String>,
}

#[derive(Serialize)]
struct User {
    name: String,
    roles: Vec<&'static str>,
    /// None if it was given.
    password: Option<String>,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}
