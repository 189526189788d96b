//! Why a registry cannot run.

use baft_bus::BusError;
use baft_kit::Exit;
use baft_kit::config::ConfigError;

/// Why a registry cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A value is not allowed.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// NATS cannot be used.
    #[error("{0}")]
    Bus(#[from] BusError),
    /// It keeps nothing itself.
    #[error("session-registry keeps sessions in NATS: set --nats-url (NATS_URL)")]
    NoNats,
    /// The operating system refused something.
    #[error("{what} failed: {source}")]
    Io {
        /// What was done.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

impl RegistryError {
    /// The exit code that belongs to it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::NoNats => Exit::Config,
            Self::Bus(error) if !error.is_retryable() => Exit::Config,
            Self::Bus(_) | Self::Io { .. } => Exit::Failure,
        }
    }
}
