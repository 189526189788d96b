//! What can go wrong with the daemon itself; what goes wrong elsewhere is a finding.

use baft_kit::Exit;
use baft_kit::config::ConfigError;

/// Why preflight-probe cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The broker cannot be used.
    #[error(transparent)]
    Bus(#[from] baft_bus::BusError),
    /// The signal handlers cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
}

impl ProbeError {
    /// The exit code that fits.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Bus(error) if !error.is_retryable() => Exit::Config,
            Self::Bus(_) | Self::Signals(_) => Exit::Failure,
        }
    }
}
