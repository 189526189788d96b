//! What a check came to, before it is a line of a report.

use baft_bus::payload::CheckStatus;
use serde_json::{Map, Value};

/// What one check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it came to.
    pub status: CheckStatus,
    /// One line for people.
    pub message: String,
    /// How to put it right.
    pub hint: Option<String>,
    /// The check whose result made this one be skipped.
    pub because: Option<String>,
    /// For programs.
    pub evidence: Map<String, Value>,
}

impl Finding {
    fn of(status: CheckStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None, because: None, evidence: Map::new() }
    }

    /// As it should be.
    #[must_use]
    pub fn pass(message: impl Into<String>) -> Self {
        Self::of(CheckStatus::Pass, message)
    }

    /// Work can go on, but somebody should look.
    #[must_use]
    pub fn warn(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::of(CheckStatus::Warn, message) }
    }

    /// Not as it must be.
    #[must_use]
    pub fn fail(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::of(CheckStatus::Fail, message) }
    }

    /// Does not apply here.
    #[must_use]
    pub fn skip(message: impl Into<String>) -> Self {
        Self::of(CheckStatus::Skip, message)
    }

    /// Cannot be checked before another check passes.
    #[must_use]
    pub fn skip_because(check: &str, message: impl Into<String>) -> Self {
        Self { because: Some(check.to_owned()), ..Self::of(CheckStatus::Skip, message) }
    }

    /// It could not be found out.
    #[must_use]
    pub fn unknown(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::of(CheckStatus::Unknown, message) }
    }

    /// The check itself broke.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            hint: Some("this is a defect of the probe; please report it".to_owned()),
            ..Self::of(CheckStatus::Error, message)
        }
    }

    /// Adds something for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.evidence.insert(name.to_owned(), value.into());
        self
    }
}
