//! What of a new checkout is synced, and why that is enough.
//!
//! The promise: after a power cut, a name that readers can reach is a whole checkout. Readers reach it through `rename` and then the link,
//! so everything below must be on disk before the rename. That means the content of *new* files (a linked file's content was synced when
//! it was new) and every folder whose entries are new: all of them in a linked tree, only the changed ones in place. Inodes whose link count
//! went up need nothing: fsck repairs counts, data is not affected, and the journals of ext4, XFS and btrfs order it with the folder entry.
//! Syncing comes after the walk, in one go: the first `fsync` then commits the journal for all of them, and the others find little left to do
//! (interleaved with the walk, every one of them would commit anew). Beyond [`FEW`] new files (a first checkout) one `syncfs` is cheaper than
//! thousands of flushes; with fewer it is avoided, because it also waits for every other writer's dirty pages on the volume.

use std::io;
use std::os::fd::BorrowedFd;

use super::{Builder, Stop};
use crate::RepoError;
use crate::checkout::files;

/// So many new files are synced one by one; beyond, one `syncfs`.
pub(super) const FEW: usize = 64;

impl Builder<'_> {
    /// Puts everything that is new on disk.
    pub(super) fn sync(&mut self, root: BorrowedFd<'_>, fresh: bool) -> Result<(), Stop> {
        let fail = |doing: &'static str| move |e: io::Error| RepoError::io(doing, "a new checkout", e);
        if self.new_files.len() > FEW {
            rustix::fs::syncfs(root).map_err(|e| fail("syncing")(e.into()))?;
            return Ok(());
        }
        for file in self.new_files.drain(..) {
            file.sync_all().map_err(fail("syncing a file of"))?;
        }
        for path in &self.new_dirs {
            if (self.interrupted)() {
                return Err(Stop::Interrupted);
            }
            let dir = files::open_dir(root, path).map_err(fail("opening a folder of"))?;
            rustix::fs::fsync(&dir).map_err(|e| fail("syncing a folder of")(e.into()))?;
        }
        if fresh {
            rustix::fs::fsync(root).map_err(|e| fail("syncing")(e.into()))?;
        }
        Ok(())
    }
}
