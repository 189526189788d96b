//! Why a command ended without doing what it was asked, in words for the person who asked.

use std::io;

use baft_bus::{BusError, Code, RequestError};
use baft_kit::Exit;

/// What went wrong, what to do about it, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, on what. Empty when there is nothing to add, or nobody to tell: the reader of the output has gone.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// Something failed while running.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failure, message: message.into(), hint: None }
    }

    /// Something needed is not there yet; the same command may work later.
    #[must_use]
    pub fn try_again(message: impl Into<String>) -> Self {
        Self { exit: Exit::TryAgain, ..Self::new(message) }
    }

    /// What was asked for cannot work until something is set differently.
    #[must_use]
    pub fn config(message: impl Into<String>) -> Self {
        Self { exit: Exit::Config, ..Self::new(message) }
    }

    /// The command line asks for something that makes no sense.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// Everything was said already; only the exit code is left.
    #[must_use]
    pub fn said(exit: Exit) -> Self {
        Self { exit, message: String::new(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Output cannot be written. When the reader has gone (`baft query … | head`) that is no failure of ours.
    #[must_use]
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Ok, message: String::new(), hint: None };
        }
        Self::new(format!("cannot write the output: {error}"))
    }

    /// Tells the person, and gives the exit code.
    pub fn report(&self) -> Exit {
        use io::Write;
        if !self.message.is_empty() {
            let mut stderr = io::stderr().lock();
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(stderr, "error: {}", self.message);
            if let Some(hint) = &self.hint {
                let _ = writeln!(stderr, "  hint: {hint}");
            }
        }
        self.exit
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        let retryable = error.is_retryable();
        let message = error.to_string();
        if retryable { Self::try_again(message) } else { Self::new(message) }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let exit = match error.code {
            Code::Unavailable | Code::Timeout | Code::Overloaded => Exit::TryAgain,
            Code::InvalidArgument => Exit::Usage,
            _ if error.retryable => Exit::TryAgain,
            _ => Exit::Failure,
        };
        Self { exit, message: error.message, hint: error.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_there_is_a_reason_to_try_again() {
        let failure = Failure::from(RequestError::new(Code::Unavailable, "git-sync is not running").hint("start it"));
        assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::TryAgain, Some("start it")));
        assert_eq!(Failure::from(RequestError::new(Code::NotFound, "no such commit")).exit, Exit::Failure);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Ok, ""));
        assert_eq!(Failure::output(&io::ErrorKind::StorageFull.into()).exit, Exit::Failure);
    }
}
