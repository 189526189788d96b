//! A configuration that cannot work, in one line.

use crate::exit::Exit;

/// A setting whose value is readable but cannot work, found after parsing: one line with the flag, the value and what
/// is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: '{value}' is not allowed; use {allowed}")]
pub struct ConfigError {
    /// The flag, with its dashes; add the variable where that helps: `--repo (BAFT_GIT_REPO)`.
    pub flag: String,
    /// What was given.
    pub value: String,
    /// What is allowed, to follow the word "use".
    pub allowed: String,
}

impl ConfigError {
    /// A value that is not allowed; passwords in URLs are left out of it.
    #[must_use]
    pub fn new(flag: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self { flag: flag.into(), value: crate::log::redact_url(&value.to_string()), allowed: allowed.into() }
    }

    /// Writes it to standard error as one line; gives [`Exit::Config`].
    #[must_use]
    pub fn report(&self) -> Exit {
        use std::io::Write;
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "error: {self}");
        Exit::Config
    }
}
