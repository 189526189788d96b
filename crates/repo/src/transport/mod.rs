//! The network: listing, fetching and pushing refs of a remote, behind a trait so that another implementation can be added.

mod advertised;
mod auth;
mod classify;
mod cookies;
mod deadline;
mod kept;
mod known_hosts;
mod libgit2;
mod local;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use baft_kit::{Secret, SecretFile};

pub use self::libgit2::Libgit2;
pub use self::url::Scheme;
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
    /// Everything done in one call must be finished by then; two minutes when nothing is said.
    pub deadline: Option<Duration>,
}

/// What may be presented to a remote. Files are read on every use, so rotated secrets are picked up. Each is presented once per call, and
/// only to the host of the remote's URL, whatever a redirect says.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// User name for password authentication and SSH; the URL's own wins.
    pub username: Option<String>,
    /// Password or token.
    pub password: Option<Password>,
    /// Somebody who makes user name and password when they are needed; tried first.
    pub login: Option<Arc<dyn LoginSource>>,
    /// Private keys for SSH, tried in order.
    pub ssh_keys: Vec<PathBuf>,
    /// Whether the keys of a running SSH agent may be used, after the files.
    pub ssh_agent: SshAgent,
    /// Cookies (Netscape's format) to send to HTTP remotes.
    pub cookie_file: Option<PathBuf>,
}

/// Where a password comes from.
#[derive(Debug, Clone)]
pub enum Password {
    /// A file, read on every use.
    File(SecretFile),
    /// A value from the environment.
    Value(Secret),
}

/// Whether an SSH agent may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SshAgent {
    /// No.
    #[default]
    Ignore,
    /// Yes, when `SSH_AUTH_SOCK` names one.
    Use,
}

/// A user name and password that somebody made for us.
#[derive(Debug, Clone)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: Secret,
}

/// Somebody who makes a login when a remote asks for one: an askpass URL, a GitHub App.
pub trait LoginSource: Send + Sync + std::fmt::Debug {
    /// A login that is good now.
    ///
    /// # Errors
    /// One line that says what failed.
    fn login(&self) -> Result<Login, String>;
}

/// Which SSH host keys are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KnownHosts {
    /// None: SSH remotes are refused.
    #[default]
    None,
    /// Those in this file (OpenSSH's format), read on every use. See [`crate::Settings::known_hosts`] for hosts with several keys.
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
    /// What the remote advertised on the same connection.
    pub refs: Vec<RemoteRef>,
}

/// What the server said about one pushed ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedRef {
    /// The ref on the server.
    pub name: String,
    /// Nothing when the server took it, its reason otherwise.
    pub rejected: Option<String>,
    /// What the server told people during the push (`remote: …`), where a hook explains itself.
    pub said: String,
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
    /// A ref on the remote is not where it was expected to be.
    Moved,
    /// The server refused (over quota, too many requests, a hook, a protected branch).
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
            Self::Moved => "moved",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A remote operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
pub struct TransportError {
    /// What kind of failure.
    pub class: Class,
    /// What failed, on which remote; credentials never appear.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl TransportError {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A way to talk to remotes. Calls block; none outlives the remote's deadline by more than a moment.
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
    /// [`Class::Moved`] when a ref is not where it was expected (nothing was sent then); any other class when the push did not happen as a
    /// whole. A ref the server refused is in the report instead.
    fn push(&self, repo: &Repo, remote: &Remote, specs: &[PushSpec]) -> Result<Vec<PushedRef>, TransportError>;
}
