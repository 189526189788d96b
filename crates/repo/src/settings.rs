//! Process-wide settings of libgit2.

use std::path::{Path, PathBuf};
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
    /// Known SSH hosts. Each remote checks against its own file; this one also tells libssh2 which of a server's several keys to ask for,
    /// so that a file which only knows the Ed25519 key of a host is enough. Needs [`Settings::home`].
    pub known_hosts: Option<PathBuf>,
    /// A folder of ours that libgit2 takes for the home directory, because it only looks for known hosts there.
    pub home: Option<PathBuf>,
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
            known_hosts: None,
            home: None,
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
    if APPLIED.get().is_some() {
        return Ok(());
    }
    if let (Some(home), Some(known_hosts)) = (&settings.home, &settings.known_hosts) {
        make_home(home, known_hosts).map_err(|e| RepoError::io("preparing", home, e))?;
    }
    ffi::configure(settings)?;
    let _ = APPLIED.set(settings.clone());
    Ok(())
}

static APPLIED: OnceLock<Settings> = OnceLock::new();

/// What was applied.
pub(crate) fn applied() -> Option<&'static Settings> {
    APPLIED.get()
}

/// A link, so that the file is read anew on every connection.
fn make_home(home: &Path, known_hosts: &Path) -> std::io::Result<()> {
    let ssh = home.join(".ssh");
    std::fs::create_dir_all(&ssh)?;
    let link = ssh.join("known_hosts");
    match std::fs::remove_file(&link) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::os::unix::fs::symlink(std::path::absolute(known_hosts)?, link)
}
