//! Who we are to Redis: a user and a password, and where they come from.
//!
//! A source is asked at every connect, so a password that was changed is found without a restart. What Redis
//! lets the user do is its ACL's business.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::{Secret, variable};

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 8 * 1024;
/// How often a file is looked at for a new password.
const FILE_POLL: Duration = Duration::from_secs(5);

const SECRET: Secret = Secret {
    what: "password",
    missing: "",
    bytes_max: PASSWORD_BYTES_MAX,
    error: |message| Error::denied(message),
};

/// A user and a password. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Option<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// The password of the user named elsewhere: in the URL, in `ONCUE_REDIS_USER`, else `default`.
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: Zeroizing::new(password.into()) }
    }

    /// A user and its password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..Self::password(password) }
    }

    pub(super) fn or_user(mut self, user: Option<&str>) -> Self {
        self.user = self.user.or_else(|| user.map(str::to_owned));
        self
    }

    pub(super) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }

    pub(super) fn secret(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Gives the credentials for Redis: this type itself, or a variable, a file, a command, or a type of your own.
pub trait CredentialSource: Send + Sync {
    /// Reads the credentials as they are now. Blocks; runs on a thread that may. Asked at every connect, and once
    /// more when Redis refuses them.
    ///
    /// # Errors
    /// What it says is logged and tried again; it must not quote the password.
    fn load(&self) -> Result<Credentials>;

    /// How often to look for new credentials while connected, so that live connections change over before the
    /// old ones end. None, the default: only at connects.
    fn poll(&self) -> Option<Duration> {
        None
    }
}

impl CredentialSource for Credentials {
    fn load(&self) -> Result<Credentials> {
        Ok(self.clone())
    }
}

/// The password in an environment variable, by its name.
#[derive(Clone, Debug)]
pub struct EnvPassword(pub String);

impl CredentialSource for EnvPassword {
    fn load(&self) -> Result<Credentials> {
        let Self(name) = self;
        let bytes = variable(name).ok_or_else(|| {
            Error::denied(format!(
                "environment variable {name}, which holds the password, is not set"
            ))
        })?;
        read(&bytes, &format!("environment variable {name}"))
    }
}

/// The password in a file that only its owner can read: mode 0600 or stricter. One newline at its end is not part
/// of it. Looked at every 5 s while connected.
#[derive(Clone, Debug)]
pub struct FilePassword(pub PathBuf);

impl CredentialSource for FilePassword {
    fn load(&self) -> Result<Credentials> {
        read(&SECRET.file(&self.0)?, &format!("password file {}", self.0.display()))
    }

    fn poll(&self) -> Option<Duration> {
        Some(FILE_POLL)
    }
}

/// The password on the standard output of a command: program and arguments, run without a shell, for at most
/// 30 s. One newline at its end is not part of it.
#[derive(Clone)]
pub struct CommandPassword(pub Vec<String>);

impl fmt::Debug for CommandPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(argv) = self;
        write!(f, "CommandPassword {{ {:?}, arguments: {} }}", argv.first(), argv.len().max(1) - 1)
    }
}

impl CredentialSource for CommandPassword {
    fn load(&self) -> Result<Credentials> {
        let bytes = SECRET.command(&self.0)?;
        read(&bytes, &format!("password command {:?}", self.0[0]))
    }
}

fn read(bytes: &[u8], what: &str) -> Result<Credentials> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::denied(format!("{what} holds no password: it is not UTF-8")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.len() {
        0 => Err(Error::denied(format!("{what} is empty; it is to hold a password"))),
        1..=PASSWORD_BYTES_MAX => Ok(Credentials::password(text)),
        _ => Err(Error::denied(format!("{what} holds more than {PASSWORD_BYTES_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_of_others_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let source = FilePassword(path.clone());
        assert!(source.load().expect_err("missing").to_string().contains("no password file"));
        std::fs::write(&path, "hunter2\r\n").expect("written");
        let mode =
            |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
        mode(0o640);
        let error = source.load().expect_err("readable by a group");
        assert!(error.is_denied() && error.to_string().contains("chmod 600"), "{error}");
        mode(0o600);
        assert_eq!(source.load().expect("read").secret(), "hunter2");
        std::fs::write(&path, "\n").expect("written");
        assert!(source.load().expect_err("empty").to_string().contains("is empty"));
    }

    #[test]
    fn a_command_gives_a_password() {
        let command =
            |argv: &[&str]| CommandPassword(argv.iter().map(|&word| word.into()).collect());
        let source = command(&["printf", "pass word\n"]);
        assert_eq!(source.load().expect("runs").secret(), "pass word");
        assert!(!format!("{source:?}").contains("word\\n"));
        assert!(command(&["false"]).load().expect_err("fails").is_denied());
        assert!(command(&[]).load().expect_err("empty").is_denied());
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials::new("ada", "hunter2").or_user(Some("bob"));
        assert_eq!((credentials.user(), credentials.secret()), ("ada", "hunter2"));
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert_eq!(Credentials::password("x").or_user(Some("bob")).user(), "bob");
        assert_eq!(Credentials::password("x").or_user(None).user(), "default");
    }
}
