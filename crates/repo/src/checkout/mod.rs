//! Immutable checkouts.

use std::path::{Path, PathBuf};

use crate::{Oid, Repo, RepoError};

/// How files of a new checkout are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Unchanged files are hard links to the previous checkout; everything is read-only.
    #[default]
    Link,
    /// Every checkout has its own files, for consumers that may write.
    Copy,
}

/// Who may write to a checkout besides us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Nobody: files are 0444 (0555).
    #[default]
    ReadOnly,
    /// Our group: files are 0664 (0775), folders 2775. Implies [`Mode::Copy`].
    GroupWrite,
}

/// The folder with the checkouts, one per commit, named by its id.
#[derive(Debug)]
pub struct Checkouts {
    root: PathBuf,
}

/// What publishing a checkout did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutReport {
    /// The checkout.
    pub path: PathBuf,
    /// Files shared with the previous checkout.
    pub linked: usize,
    /// Files written.
    pub written: usize,
    /// Bytes written.
    pub bytes: u64,
}

impl Checkouts {
    /// Opens the folder, creating it when needed, and removes what a crash left half done.
    ///
    /// # Errors
    /// When the folder cannot be created or read.
    pub fn open(root: impl AsRef<Path>, _mode: Mode, _access: Access) -> Result<Self, RepoError> {
        Ok(Self { root: root.as_ref().to_owned() })
    }

    /// Where a commit's checkout is or would be.
    pub fn path(&self, commit: Oid) -> PathBuf {
        self.root.join(commit.to_string())
    }

    /// Makes the checkout of a commit appear under its name, whole and on disk, or not at all.
    ///
    /// # Errors
    /// When something cannot be read or written; nothing appears then.
    pub fn publish(&self, _repo: &Repo, commit: Oid, _previous: Option<Oid>) -> Result<CheckoutReport, RepoError> {
        Err(RepoError::NotFound { what: format!("checkout of {commit}") })
    }

    /// The commits that have a checkout, newest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn existing(&self) -> Result<Vec<Oid>, RepoError> {
        Ok(Vec::new())
    }

    /// Removes checkouts until the newest `keep` and `current` are left.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, _keep: usize, _current: Oid) -> Result<Vec<Oid>, RepoError> {
        Ok(Vec::new())
    }
}
