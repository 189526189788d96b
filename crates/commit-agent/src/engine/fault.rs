//! One kind of failure inside the engine, with the class that decides what happens next.

use std::io;

use baft_repo::RepoError;
use baft_repo::transport::{Class as Network, TransportError};

use super::{Blocked, Class, Step, StepError};

/// A step that did not get through.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    pub(super) message: String,
    /// Somebody is at work in the clone: no failure at all.
    pub(super) blocked: Option<Blocked>,
}

impl Fault {
    pub(super) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), blocked: None }
    }

    pub(super) fn other(message: impl Into<String>) -> Self {
        Self::new(Class::Other, message)
    }

    pub(super) fn blocked(blocked: Blocked) -> Self {
        Self { class: Class::Other, message: format!("waits: {}", blocked.as_str()), blocked: Some(blocked) }
    }

    pub(super) fn at(self, step: Step) -> StepError {
        StepError { step, class: self.class, message: self.message }
    }
}

/// Any error below the engine.
pub(super) fn fault(error: impl Into<Below>) -> Fault {
    match error.into() {
        Below::Repo(error) => of_repo(&error),
        Below::Io(error) => of_io(&error),
        Below::Transport(error) => {
            let class = match error.class {
                Network::Auth => Class::Auth,
                Network::Network | Network::Timeout => Class::Network,
                Network::NotFound => Class::NotFound,
                Network::Corrupt => Class::Corrupt,
                Network::Disk => Class::Disk,
                Network::Moved => Class::Race,
                Network::Refused => Class::Policy,
                Network::Unsupported => Class::Other,
            };
            Fault::new(class, error.to_string())
        }
    }
}

/// What the engine stands on.
pub(super) enum Below {
    Repo(RepoError),
    Io(io::Error),
    Transport(TransportError),
}

impl From<RepoError> for Below {
    fn from(error: RepoError) -> Self {
        Self::Repo(error)
    }
}

impl From<io::Error> for Below {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TransportError> for Below {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

fn of_repo(error: &RepoError) -> Fault {
    let class = match error {
        RepoError::Corrupt { .. } | RepoError::NotFound { .. } => Class::Corrupt,
        RepoError::DiskFull { .. } => Class::Disk,
        RepoError::Io { source, .. } => return Fault { message: error.to_string(), ..of_io(source) },
        RepoError::Moved { .. } => Class::Race,
        RepoError::Index { message } => {
            return Fault { message: error.to_string(), ..Fault::blocked(Blocked::Index(message.clone())) };
        }
        RepoError::Locked { path, age } if path.file_name().is_some_and(|name| name == "index.lock") => {
            return Fault { message: error.to_string(), ..Fault::blocked(Blocked::IndexLock { age: *age }) };
        }
        _ => Class::Other,
    };
    Fault::new(class, error.to_string())
}

fn of_io(error: &io::Error) -> Fault {
    let class = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => Class::Disk,
        _ => Class::Other,
    };
    Fault::new(class, error.to_string())
}
