//! File operations that survive a power cut: when a call returns, what it did is on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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
    write_file_mode(path, bytes, 0o666)
}

/// The same for a file that only this user may read.
///
/// # Errors
/// What the operating system said, with the path; the old file is untouched.
pub fn write_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file_mode(path, bytes, 0o600)
}

fn write_file_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, |temporary| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    })
    .map_err(|error| about(error, "write", path))
}

/// Points the symbolic link `link` at `target` in one step; a reader sees the old target or the new.
///
/// # Errors
/// What the operating system said, with the path, or that something else than a link is there; that is untouched.
pub fn flip_link(link: &Path, target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(there) if !there.is_symlink() => {
            let error =
                io::Error::new(io::ErrorKind::AlreadyExists, "something else than a link is there; move it away");
            return Err(about(error, "set the link", link));
        }
        _ => {}
    }
    replace(link, |temporary| std::os::unix::fs::symlink(target, temporary))
        .map_err(|error| about(error, "set the link", link))
}

/// Removes what writes cut short by a crash have left in `dir`. Only for the owner of the directory, when nothing is
/// being written. Gives the number of files removed.
///
/// # Errors
/// What the operating system said, with the path.
pub fn sweep_temporary(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir).map_err(|error| about(error, "list", dir))? {
        let entry = entry.map_err(|error| about(error, "list", dir))?;
        if is_temporary(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(|error| about(error, "remove", &entry.path()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Makes something beside `path` and renames it over `path`, with the directory on disk afterwards.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no name"))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = parent.join(temporary_name(&name.to_string_lossy()));
    // A killed process with our process id may have left one: in containers they are all the same.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let done = make(&temporary).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    done.and_then(|()| sync_dir(parent))
}

const TEMPORARY: &str = ".baft-tmp-";

fn temporary_name(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(".{name}{TEMPORARY}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.contains(TEMPORARY)
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
    file: File,
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
        Ok(Self { path, file })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was just forked, for whatever purpose, has the file open until it runs its
        // program. Fails only for what is no lock.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

fn about(error: io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        write_file(&file, b"old").unwrap();
        write_file(&file, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["state"]);
    }

    #[test]
    fn a_private_file_is_for_its_user_alone_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("runtime");
        write_private_file(&file, b"secret").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_write_that_fails_names_the_file_and_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_file(&dir.path().join("missing/state"), b"").unwrap_err();
        assert!(error.to_string().contains("missing/state"), "{error}");
        fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(write_file(&dir.path().join("taken"), b"").is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn a_link_points_to_the_old_target_or_the_new() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        assert_eq!(read_link(&link).unwrap(), None);
        flip_link(&link, Path::new("gens/1")).unwrap();
        flip_link(&link, Path::new("gens/2")).unwrap();
        assert_eq!(read_link(&link).unwrap().as_deref(), Some(Path::new("gens/2")));
        assert_eq!(names(dir.path()), ["current"]);
    }

    #[test]
    fn what_is_no_link_is_never_replaced_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        fs::write(&link, "precious").unwrap();
        let error = flip_link(&link, Path::new("gens/1")).unwrap_err();
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read(&link).unwrap(), b"precious");
        assert!(read_link(&link).is_err());
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(temporary_name("state")), "half").unwrap();
        fs::write(dir.path().join(".hidden"), "kept").unwrap();
        assert_eq!(sweep_temporary(dir.path()).unwrap(), 1);
        assert_eq!(names(dir.path()), [".hidden"]);
    }

    #[test]
    fn a_second_owner_is_refused_with_the_first_ones_process_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("publish.lock");
        let lock = DirLock::acquire(&path).unwrap();
        let error = DirLock::acquire(&path).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, LockError::Held { held_by: Some(pid), .. } if pid == own), "{error}");
        assert!(error.to_string().contains(&format!("(pid {own})")), "{error}");
        // As a child has it that was forked and does not run its program yet.
        let _inherited = lock.file.try_clone().unwrap();
        drop(lock);
        assert_eq!(DirLock::acquire(&path).unwrap().path(), path);
    }

    #[test]
    fn free_space_is_known_and_a_missing_path_is_named() {
        assert!(free_bytes(Path::new("/")).is_ok());
        let error = free_bytes(Path::new("/no/such/place")).unwrap_err();
        assert!(error.to_string().contains("/no/such/place"), "{error}");
    }
}
