//! The link readers follow: `<root>/<link> -> checkouts/<commit>`, whose target's last part is the commit.

use std::path::{Path, PathBuf};

use baft_kit::durable;
use baft_repo::Oid;

use crate::config::relative;
use crate::error::SyncError;

/// The link and the folder its targets are in.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    path: PathBuf,
    checkouts: PathBuf,
}

impl Link {
    /// Makes the folders above the link.
    pub(crate) fn at(path: PathBuf, checkouts: PathBuf) -> Result<Self, SyncError> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).map_err(|error| SyncError::io("creating", parent, error))?;
        if std::fs::symlink_metadata(&path).is_ok_and(|there| !there.is_symlink()) {
            return Err(baft_kit::config::ConfigError::new(
                "--link",
                path.display(),
                "a path where nothing is, or a link (a file or folder is there)",
            )
            .into());
        }
        Ok(Self { path, checkouts })
    }

    /// The commit it shows: only when it leads to one of our checkouts, and that is there.
    pub(crate) fn shows(&self) -> Option<Oid> {
        let target = durable::read_link(&self.path).ok()??;
        let oid = target.file_name()?.to_str()?.parse().ok()?;
        let there = std::fs::canonicalize(&self.path).ok()?;
        let expected = std::fs::canonicalize(&self.checkouts).ok()?.join(target.file_name()?);
        (there == expected && there.is_dir()).then_some(oid)
    }

    /// Points it at a commit, in one step.
    pub(crate) fn flip(&self, commit: Oid) -> Result<(), SyncError> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let target = relative(parent, &self.checkouts.join(commit.to_string()));
        durable::flip_link(&self.path, &target).map_err(|error| SyncError::io("flipping", &self.path, error))
    }
}

impl From<SyncError> for crate::error::Failure {
    fn from(error: SyncError) -> Self {
        Self::new(baft_bus::payload::FailureClass::Disk, error.to_string())
    }
}
