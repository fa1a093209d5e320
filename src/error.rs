//! The one error of the crate: what went wrong, why, and what to do about it.
//!
//! An [`Error`] is opaque: it is told apart by its `is_*` predicates, not by matching, so a new cause
//! is never a breaking change. Messages are lowercase, without a final stop, and never hold payload or
//! key bytes. It is *not* what a handler returns: that is [`TaskError`](crate::TaskError).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Why a call failed.
///
/// One pointer wide. `Display` gives the message, [`source`](StdError::source) the chain below it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: Cow<'static, str>,
    source: Option<Source>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $make:ident $is:ident $code:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Kind { $($kind),* }

        impl Error {
            $(
                #[doc = concat!("Makes an error for which [`Self::", stringify!($is), "`] holds.")]
                pub fn $make(message: impl Into<Cow<'static, str>>) -> Self {
                    Self::new(Kind::$kind, message.into())
                }

                $(#[$doc])*
                pub fn $is(&self) -> bool {
                    self.0.kind == Kind::$kind
                }
            )*

            /// A stable word for the cause, for logs and `--json`.
            pub fn code(&self) -> &'static str {
                match self.0.kind { $(Kind::$kind => $code),* }
            }
        }
    };
}

kinds! {
    /// The caller's input is wrong: a name, an option, a URL, a time.
    Invalid invalid is_invalid "invalid";
    /// A payload, result, header or batch is over its limit.
    TooLarge too_large is_too_large "too_large";
    /// A key is missing, malformed, weak, or readable by others.
    Key key is_key "key";
    /// The key of a sealed record is not in the keyring.
    UnknownKey unknown_key is_unknown_key "unknown_key";
    /// The key of a sealed record is retired: known, and refused.
    RetiredKey retired_key is_retired_key "retired_key";
    /// The key in the keyring has the right id and other bytes.
    WrongKey wrong_key is_wrong_key "wrong_key";
    /// A sealed record was altered, truncated, or moved to another task, attempt or namespace.
    Tampered tampered is_tampered "tampered";
    /// A record, file or schema was written by a newer version of oncue.
    Newer newer is_newer "newer";
    /// Bytes are not what they should be: a foreign file, a damaged file, a record that does not decode.
    Corrupt corrupt is_corrupt "corrupt";
    /// There is no such task, queue or file.
    NotFound not_found is_not_found "not_found";
    /// The broker cannot be reached, is not ready or did not answer; whether the call took effect is unknown.
    /// To repeat it is right: every call of a broker may be sent twice.
    Unreachable unreachable is_unreachable "unreachable";
    /// The broker has no room: disk full, memory full.
    Full full is_full "full";
    /// The broker can keep nothing safe at the moment: it cannot write its disk, or too few replicas listen.
    /// Nothing was written; later is right.
    NotDurable not_durable is_not_durable "not_durable";
    /// The broker refuses these credentials, or does not allow their user this call.
    Denied denied is_denied "denied";
    /// The broker lacks the functions of this version; `oncue deploy` brings them.
    Undeployed undeployed is_undeployed "undeployed";
    /// The session is gone, closed or not the holder: what it claims or settles is refused.
    Fenced fenced is_fenced "fenced";
    /// Refused for safety; the message says which words allow it.
    Refused refused is_refused "refused";
    /// Time ran out before the answer came.
    Timeout timeout is_timeout "timeout";
    /// The worker or client was shut down.
    Closed closed is_closed "closed";
    /// The task ended without a result: archived, or gone without retention.
    NoResult no_result is_no_result "no_result";
    /// The operating system refused: no thread, no memory, no permission.
    System system is_system "system";
}

impl Error {
    fn new(kind: Kind, message: Cow<'static, str>) -> Self {
        Self(Box::new(Inner { kind, message, source: None }))
    }

    /// Adds what lies below this error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error for another caller of the same batch; the source is kept as text.
    pub(crate) fn replicate(&self) -> Self {
        let copy = Self::new(self.0.kind, self.0.message.clone());
        match &self.0.source {
            Some(source) => copy.because(source.to_string()),
            None => copy,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.0.message)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// `"; did you mean \"x\"?"` when one of `known` is close to `word`, else nothing.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("; did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide_and_keeps_its_chain() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let error = Error::corrupt("cannot read a.db").because(std::io::Error::other("short read"));
        assert!(error.is_corrupt() && !error.is_invalid());
        assert_eq!(format!("{error:?}"), "corrupt: cannot read a.db: short read");
        assert_eq!(format!("{:?}", error.replicate()), "corrupt: cannot read a.db: short read");
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(
            suggestion("durabilty", ["durability", "mode"]),
            "; did you mean \"durability\"?"
        );
        assert_eq!(suggestion("zzz", ["durability", "mode"]), "");
    }
}
