//! The link readers follow: `<root>/<link> -> checkouts/<commit>`, whose target's last part is the commit.

use std::os::unix::fs::MetadataExt;
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
        let there = std::fs::metadata(&self.path).ok()?;
        let expected = std::fs::symlink_metadata(self.checkouts.join(target.file_name()?)).ok()?;
        let same = (there.dev(), there.ino()) == (expected.dev(), expected.ino());
        (same && there.is_dir()).then_some(oid)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_leads_to_one_of_our_checkouts_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let name = "d34504c2444c20ac8a4442ace72955528b0d4326";
        for place in ["root/checkouts", "elsewhere"] {
            std::fs::create_dir_all(at(place).join(name)).unwrap();
        }
        symlink(at("root"), at("alias")).unwrap();
        let link = Link::at(at("root/link"), at("root/checkouts")).unwrap();
        assert_eq!(link.shows(), None, "there is no link");
        let shows = |target: PathBuf| {
            let _ = std::fs::remove_file(at("root/link"));
            symlink(target, at("root/link")).unwrap();
            link.shows().map(|oid| oid.to_string())
        };
        assert_eq!(shows(PathBuf::from("checkouts").join(name)).as_deref(), Some(name));
        assert_eq!(shows(at("alias/checkouts").join(name)).as_deref(), Some(name), "by another way");
        assert_eq!(shows(at("elsewhere").join(name)), None, "a folder of that name that is not ours");
        assert_eq!(shows(at("root/checkouts")), None, "no commit");
        std::fs::remove_dir(at("root/checkouts").join(name)).unwrap();
        symlink(at("elsewhere").join(name), at("root/checkouts").join(name)).unwrap();
        assert_eq!(shows(PathBuf::from("checkouts").join(name)), None, "ours is a link to something else");
        std::fs::remove_file(at("root/checkouts").join(name)).unwrap();
        assert_eq!(shows(PathBuf::from("checkouts").join(name)), None, "ours is gone");
    }
}
