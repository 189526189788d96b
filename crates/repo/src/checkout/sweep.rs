//! Removing checkouts that nobody needs any more. Never on the path of a publish: unlinking costs as much as linking.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use super::manifest::Window;
use super::{Checkouts, MANIFESTS, files};
use crate::{Oid, RepoError};

/// Which checkouts stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest, the current one included.
    pub newest: usize,
    /// And every one that was current less than this ago.
    pub younger_than: Duration,
}

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Checkouts that are gone.
    pub removed: Vec<Oid>,
    /// Whether it was interrupted and has to be called again.
    pub interrupted: bool,
}

impl Checkouts {
    /// Removes old checkouts, keeping `current` in any case, and what crashes left behind. `interrupted` is asked between folders. A checkout
    /// disappears by name first, so nobody opens half of one.
    ///
    /// # Errors
    /// When something cannot be read or removed.
    pub fn sweep(&self, keep: Keep, current: Oid, interrupted: &dyn Fn() -> bool) -> Result<Swept, RepoError> {
        let now = SystemTime::now();
        let mut swept = Swept::default();
        let mut newer = 1; // the current one
        for (oid, used) in self.aged()? {
            if oid == current {
                continue;
            }
            newer += 1;
            let age = now.duration_since(used).unwrap_or_default();
            if newer <= keep.newest || (age < keep.younger_than) {
                continue;
            }
            let name = oid.to_string();
            let trash = self.temporary("trash", &name);
            rustix::fs::renameat(&self.fd, name.as_str(), &self.fd, trash.as_str())
                .map_err(|e| self.io("removing", &name, e.into()))?;
            let _ = std::fs::remove_file(self.root.join(MANIFESTS).join(&name));
            swept.removed.push(oid);
        }
        let from = files::clock_before();
        let (complete, touched) = self.sweep_leftovers(interrupted)?;
        swept.interrupted = !complete;
        if touched {
            // Unlinking moved the ctime of every file these share with what was removed.
            let window = Window { from, to: files::clock() };
            self.note_spare_window(window)?;
            let name = current.to_string();
            if let Some(manifest) = self.read_manifest(&name) {
                self.note_window(&name, manifest, window)?;
            }
        }
        Ok(swept)
    }

    /// Removes everything that is being built or removed by nobody. Returns whether nothing is left, and whether there was anything.
    pub(super) fn sweep_leftovers(&self, interrupted: &dyn Fn() -> bool) -> Result<(bool, bool), RepoError> {
        let mut touched = false;
        for entry in std::fs::read_dir(&self.root).map_err(|e| self.io("reading", "", e))? {
            let name = entry.map_err(|e| self.io("reading", "", e))?.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(".tmp-") || name.starts_with(".trash-"))
            else {
                continue;
            };
            touched = true;
            let complete = files::remove_tree(self.fd.as_fd(), name.as_bytes(), interrupted)
                .map_err(|e| self.io("removing", name, e))?;
            if !complete {
                return Ok((false, true));
            }
        }
        Ok((true, touched))
    }
}
