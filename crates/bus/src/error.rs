//! What can go wrong on the bus, said so that the reader knows what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Why an operation on the bus failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The configuration is not usable. Belongs to exit code 78.
    #[error("{0}")]
    Config(String),
    /// A file with credentials cannot be read or understood.
    #[error("cannot use {path}: {reason}", path = path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The server refused the credentials several times in a row.
    #[error(
        "nats-server at {url} refused the credentials {attempts} times in a row: check the user's file and that the server knows it"
    )]
    Unauthorized {
        /// Which server, without credentials.
        url: String,
        /// How often.
        attempts: u32,
    },
    /// The server's certificate or ours does not do.
    #[error("no TLS with nats-server at {url}: {reason}; {hint}")]
    Tls {
        /// Which server, without credentials.
        url: String,
        /// Why not.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// The server is older than what Baft relies on.
    #[error(
        "nats-server at {url} is version {found}: Baft needs 2.11 or later (JetStream API level 1), please upgrade it"
    )]
    ServerTooOld {
        /// Which server, without credentials.
        url: String,
        /// Its version.
        found: String,
    },
    /// The server runs without JetStream.
    #[error("nats-server at {url} has no JetStream for this account: start it with `-js` or a `jetstream {{}}` block")]
    NoJetStream {
        /// Which server, without credentials.
        url: String,
    },
    /// There is no connection right now.
    #[error("not connected to NATS at {url}: {reason}")]
    Disconnected {
        /// Which server, without credentials.
        url: String,
        /// Why not, as far as it is known.
        reason: String,
    },
    /// No answer in time. What was asked for may have happened all the same.
    #[error("no answer to {operation} within {after:?}")]
    Timeout {
        /// What was waited for.
        operation: String,
        /// How long.
        after: Duration,
    },
    /// The user may not publish or subscribe there.
    #[error("the NATS user is not permitted to do this: {violation}; give the user that permission or use another one")]
    NotPermitted {
        /// The server's words.
        violation: String,
    },
    /// No stream covers the subject, or the stream does not exist.
    #[error("no stream answers for `{subject}`: run `baft admin init` to create the streams")]
    NoStream {
        /// The subject or stream.
        subject: String,
    },
    /// JetStream refused.
    #[error("JetStream refused {operation}: {description} (error {code})")]
    JetStream {
        /// What was asked for.
        operation: String,
        /// The server's `err_code`.
        code: u64,
        /// The server's words.
        description: String,
    },
    /// What the server sent cannot be understood.
    #[error("cannot understand the answer to {operation}: {reason}")]
    Protocol {
        /// What was asked for.
        operation: String,
        /// Why not.
        reason: String,
    },
    /// A message is larger than the server takes.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The connection was closed by [`crate::Bus::drain`].
    #[error("the connection to NATS is closed")]
    Closed,
}

impl BusError {
    /// Could the same call succeed later without anybody changing anything?
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Timeout { .. } | Self::NoStream { .. })
    }
}
