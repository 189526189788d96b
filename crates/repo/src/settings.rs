//! Process-wide settings of libgit2.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{RepoError, ffi};

/// What libgit2 keeps per process, not per repository.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for one read or write on a connection. The total is bounded by each remote's own deadline.
    pub io_timeout: Duration,
    /// Certificate authorities (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Most memory for windows into pack files.
    pub window_bytes: usize,
    /// Most memory for cached objects.
    pub cache_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            io_timeout: Duration::from_secs(30),
            ca_file: None,
            window_bytes: 64 << 20,
            cache_bytes: 1 << 20,
        }
    }
}

/// Applies the settings. The first call of a process wins, because libgit2 must not be changed while it works; later calls do nothing.
///
/// # Errors
/// When libgit2 refuses a setting (an unreadable CA file, for instance).
pub fn init(settings: &Settings) -> Result<(), RepoError> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    ffi::configure(settings)?;
    let _ = DONE.set(());
    Ok(())
}
