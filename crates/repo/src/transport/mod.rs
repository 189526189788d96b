//! The network: listing, fetching and pushing refs of a remote, behind a trait so that another implementation can be added.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Oid, Repo};

/// How a remote is reached and what may be shown to it.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// `https://…`, `http://…`, `ssh://…`, `user@host:path`, `file://…` or a path.
    pub url: String,
    /// What to present when asked.
    pub credentials: Credentials,
    /// How an SSH host's key is checked.
    pub known_hosts: KnownHosts,
    /// Everything done in one call must be finished by then.
    pub deadline: Option<Duration>,
}

/// What may be presented to a remote. Files are read on every use, so rotated secrets are picked up.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// User name for password authentication; the URL's own wins.
    pub username: Option<String>,
    /// File holding the password or token.
    pub password_file: Option<PathBuf>,
    /// Private keys for SSH, tried in order.
    pub ssh_keys: Vec<PathBuf>,
}

/// Which SSH host keys are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KnownHosts {
    /// None: SSH remotes are refused.
    #[default]
    None,
    /// Those in this file (OpenSSH's format).
    File(PathBuf),
    /// Any. Only for networks where nobody can stand in between.
    Any,
}

/// One ref a remote advertises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    /// Full name, `HEAD`, or a tag's peeled twin `refs/tags/v1^{}`.
    pub name: String,
    /// What it points to.
    pub oid: Oid,
    /// For a symbolic ref (`HEAD`): what it stands for.
    pub target: Option<String>,
}

/// What a fetch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Objects received.
    pub objects: usize,
    /// Bytes received.
    pub bytes: u64,
}

/// What the server said about one pushed ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedRef {
    /// The ref on the server.
    pub name: String,
    /// Nothing when the server took it, its reason otherwise.
    pub rejected: Option<String>,
}

/// One ref to push: `new` to `name`, only from `expected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSpec {
    /// What to push; nothing deletes the ref.
    pub new: Option<Oid>,
    /// Full name on the server.
    pub name: String,
    /// What the server must have now; nothing means it must not exist.
    pub expected: Option<Oid>,
}

/// Why a remote operation failed, for deciding what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The remote did not accept who we are, or we did not accept the remote's key or certificate.
    Auth,
    /// The remote cannot be reached, or the connection broke.
    Network,
    /// There is no such repository or ref.
    NotFound,
    /// What came is damaged, or the local repository is.
    Corrupt,
    /// The disk.
    Disk,
    /// The deadline passed.
    Timeout,
    /// The server refused (over quota, a hook, a protected branch).
    Refused,
    /// The URL or the server speaks something we do not.
    Unsupported,
}

impl Class {
    /// The word used in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Network => "network",
            Self::NotFound => "not_found",
            Self::Corrupt => "corrupt",
            Self::Disk => "disk",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A remote operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
pub struct TransportError {
    /// What kind of failure.
    pub class: Class,
    /// What failed, on which remote; credentials never appear.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

/// A way to talk to remotes.
pub trait Transport: Send + Sync {
    /// The refs the remote has now. Transfers no objects.
    ///
    /// # Errors
    /// See [`Class`].
    fn list(&self, remote: &Remote) -> Result<Vec<RemoteRef>, TransportError>;

    /// Brings refs and what they need into `repo`. Refspecs as git writes them: `+refs/heads/main:refs/remotes/origin/main`.
    ///
    /// # Errors
    /// See [`Class`]. The repository is whole afterwards in any case; refs move only when everything they need has arrived.
    fn fetch(&self, repo: &Repo, remote: &Remote, refspecs: &[String]) -> Result<FetchReport, TransportError>;

    /// Pushes refs by compare-and-swap and reports what the server said about each.
    ///
    /// # Errors
    /// When the push did not happen as a whole; a ref the server refused is in the report instead.
    fn push(&self, repo: &Repo, remote: &Remote, specs: &[PushSpec]) -> Result<Vec<PushedRef>, TransportError>;
}
