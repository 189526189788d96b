//! File operations that survive a power cut: when a call returns, what it did is on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Puts a file's content on disk.
///
/// # Errors
/// What the operating system said, with the path.
pub fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| about(error, "sync", path))
}

/// Puts a directory's entries on disk: created, renamed and removed names.
///
/// # Errors
/// What the operating system said, with the path.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    sync_file(path)
}

/// Writes a file whole or not at all: a reader sees the old content or the new.
///
/// # Errors
/// What the operating system said, with the path; the old file is untouched.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = (path, bytes);
    Err(io::Error::other("unfinished"))
}

/// Points the symbolic link `link` at `target` in one step; a reader sees the old target or the new.
///
/// # Errors
/// What the operating system said, with the path; the old link is untouched.
pub fn flip_link(link: &Path, target: &Path) -> io::Result<()> {
    let _ = (link, target);
    Err(io::Error::other("unfinished"))
}

/// Where a symbolic link points; `None` when there is none.
///
/// # Errors
/// Something else is there, or it cannot be read.
pub fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(error, "read the link", path)),
    }
}

/// Bytes this user may still write on the filesystem of `path`.
///
/// # Errors
/// What the operating system said, with the path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|error| about(error.into(), "ask for the free space of", path))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path} is locked by another process{}; stop that one first, or use another directory", held_by.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path = path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote itself into it.
        held_by: Option<u32>,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}: {source}; check that the directory exists and is writable by this user", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Sole ownership of a directory, through a lock file in it. The kernel releases it when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct DirLock {
    path: PathBuf,
    _file: File,
}

impl DirLock {
    /// Takes the lock file at `path`, or says who has it. Does not wait.
    ///
    /// # Errors
    /// Another process holds it, or the file cannot be made.
    pub fn acquire(path: impl Into<PathBuf>) -> Result<Self, LockError> {
        let path = path.into();
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .map_err(io)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let held_by = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(LockError::Held { path, held_by });
            }
            Err(error) => return Err(io(error.into())),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
        Ok(Self { path, _file: file })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn about(error: io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
}
