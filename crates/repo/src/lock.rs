//! Lock files of git's kind (`index.lock`, `main.lock`) that can be told from anybody else's, also after a crash.
//!
//! Git's lock files say nothing about their owner, so one that was left behind wedges a repository until a person looks. Ours are hard links: the
//! file is first written under a name of our own in `.git/baft/locks/` (its twin), then linked to the lock's name, which fails when there is a
//! lock, as git's own `O_EXCL` does. A lock that is the same file as a twin is ours; the twin keeps the inode from being used again. Whatever has no
//! twin is somebody else's and is never touched.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::RepoError;

/// Takes lock files, and finds its own again after a crash. One per repository and process; the process holds the repository's own `flock`.
#[derive(Debug, Clone)]
pub struct Locks {
    twins: PathBuf,
}

/// A lock file of ours. Dropping it gives it back.
#[derive(Debug)]
pub struct OwnLock {
    path: PathBuf,
    twin: PathBuf,
}

impl Locks {
    /// Keeps its twins in this folder, which must be on the repository's file system and is created.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn new(twins: impl Into<PathBuf>) -> Result<Self, RepoError> {
        let twins = twins.into();
        fs::create_dir_all(&twins).map_err(|e| RepoError::io("creating", &twins, e))?;
        Ok(Self { twins })
    }

    /// Takes the lock file at `path`, with this content. Does not wait.
    ///
    /// # Errors
    /// [`RepoError::Locked`] when somebody has it.
    pub fn take(&self, path: &Path, content: &[u8]) -> Result<OwnLock, RepoError> {
        let twin = self.twin_of(path);
        if same_file(path, &twin) {
            // One that could not be given back (a read-only file system, for a while).
            remove(path)?;
        }
        remove(&twin)?;
        let written = fs::OpenOptions::new().write(true).create_new(true).open(&twin).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        if let Err(e) = written {
            // The first error is the one to tell.
            let _ = fs::remove_file(&twin);
            return Err(RepoError::io("writing", twin, e));
        }
        let lock = OwnLock { path: path.to_owned(), twin };
        match fs::hard_link(&lock.twin, path) {
            Ok(()) => Ok(lock),
            // Dropping `lock` removes the twin alone: the file at `path` is not the same.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(RepoError::Locked { path: path.to_owned(), age: age(path).unwrap_or_default() })
            }
            Err(e) => Err(RepoError::io("locking", path, e)),
        }
    }

    /// Removes locks of ours that a crash left. Only under the repository's own `flock`, when nothing is going on. Which there were.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not be removed.
    pub fn sweep(&self) -> Result<Vec<PathBuf>, RepoError> {
        let mut removed = Vec::new();
        let entries = fs::read_dir(&self.twins).map_err(|e| RepoError::io("reading", &self.twins, e))?;
        for entry in entries {
            let twin = entry.map_err(|e| RepoError::io("reading", &self.twins, e))?.path();
            let name = twin.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some(path) = hex::decode(&name).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                let path = self.twins.join(path);
                if same_file(&path, &twin) {
                    remove(&path)?;
                    removed.push(path);
                }
            }
            remove(&twin)?;
        }
        Ok(removed)
    }

    /// The twin's name is the lock's path seen from the twins' folder, so that a repository may be moved.
    fn twin_of(&self, path: &Path) -> PathBuf {
        let git_dir = self.twins.parent().and_then(Path::parent);
        let inside = git_dir.and_then(|git_dir| path.strip_prefix(git_dir).ok());
        let name = match inside {
            Some(inside) => format!("../../{}", inside.display()),
            None => path.display().to_string(),
        };
        self.twins.join(hex::encode(name))
    }
}

impl OwnLock {
    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the lock file to `target`, which gives the lock back: git's way of replacing what it guards.
    ///
    /// # Errors
    /// When the lock is not ours any more, or the rename fails.
    pub(crate) fn commit(self, target: &Path) -> Result<(), RepoError> {
        self.check()?;
        fs::rename(&self.path, target).map_err(|e| RepoError::io("replacing", target, e))?;
        drop(self);
        sync_parent(target)
    }

    /// Whether the lock is still ours: a person may have removed it, and somebody else have taken it since.
    ///
    /// # Errors
    /// [`RepoError::Locked`] when it is not.
    pub fn check(&self) -> Result<(), RepoError> {
        match same_file(&self.path, &self.twin) {
            true => Ok(()),
            false => Err(RepoError::Locked { path: self.path.clone(), age: age(&self.path).unwrap_or_default() }),
        }
    }
}

impl Drop for OwnLock {
    fn drop(&mut self) {
        if same_file(&self.path, &self.twin) {
            // A lock that cannot be removed is found again by `sweep`, because its twin stays as well.
            if fs::remove_file(&self.path).is_err() {
                return;
            }
        }
        let _ = fs::remove_file(&self.twin);
    }
}

/// How old a lock file is; nothing when there is none.
#[must_use]
pub fn age(path: &Path) -> Option<Duration> {
    let modified = fs::symlink_metadata(path).ok()?.modified().ok()?;
    // A clock that was set back makes it young, not gone.
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::symlink_metadata(a), fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn remove(path: &Path) -> Result<(), RepoError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(RepoError::io("removing", path, e)),
        _ => Ok(()),
    }
}

pub(crate) fn sync_parent(path: &Path) -> Result<(), RepoError> {
    let parent = path.parent().unwrap_or(path);
    baft_kit::durable::sync_dir(parent).map_err(|e| RepoError::io("syncing", parent, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> (tempfile::TempDir, Locks, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::new(folder.path().join("baft/locks")).unwrap();
        let path = folder.path().join("index.lock");
        (folder, locks, path)
    }

    #[test]
    fn a_lock_excludes_others_and_is_given_back() {
        let (_folder, locks, path) = start();
        let lock = locks.take(&path, b"x").unwrap();
        assert!(fs::File::create_new(&path).is_err(), "git's own way of taking it fails");
        drop(lock);
        assert!(!path.exists());
        locks.take(&path, b"x").unwrap();
    }

    #[test]
    fn somebody_elses_lock_is_never_removed() {
        let (_folder, locks, path) = start();
        fs::write(&path, "").unwrap();
        assert!(matches!(locks.take(&path, b"x"), Err(RepoError::Locked { .. })));
        assert!(path.exists());
        assert_eq!(locks.sweep().unwrap(), Vec::<PathBuf>::new());
        assert!(path.exists());
    }

    #[test]
    fn a_lock_left_by_a_crash_is_known_by_its_twin() {
        let (_folder, locks, path) = start();
        std::mem::forget(locks.take(&path, b"x").unwrap());
        assert!(path.exists());
        assert_eq!(locks.sweep().unwrap().len(), 1);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_that_a_person_removed_and_another_took_is_left_to_the_other() {
        let (_folder, locks, path) = start();
        let lock = locks.take(&path, b"x").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(lock.check().is_err());
        drop(lock);
        assert!(path.exists());
        assert_eq!(locks.sweep().unwrap(), Vec::<PathBuf>::new());
    }
}
