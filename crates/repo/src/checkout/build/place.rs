//! One file of a checkout: kept, linked or written.

use std::io;
use std::os::fd::BorrowedFd;

use git2::ObjectType;

use super::sync::FEW;
use super::{Builder, Stop};
use crate::checkout::files;
use crate::checkout::manifest::Stat;
use crate::checkout::verify::intact;
use crate::path::check_part;
use crate::{FileMode, Oid, RepoError};

impl Builder<'_> {
    /// A file that the base has: shared if it still is what was written there, written afresh if not.
    #[allow(clippy::too_many_arguments, reason = "the walk's state, passed down one level")]
    pub(super) fn keep(
        &mut self,
        name: &[u8],
        mode: FileMode,
        oid: Oid,
        recorded: Stat,
        source: Option<BorrowedFd<'_>>,
        target: BorrowedFd<'_>,
        fresh: &mut bool,
    ) -> Result<(), Stop> {
        let place = if self.in_place { Some(target) } else { source };
        if mode == FileMode::Submodule {
            if !self.in_place {
                self.write(name, mode, oid, target)?;
            } else {
                self.writer.file(name, mode, oid, Stat::default());
            }
            return Ok(());
        }
        let Some(place) = place else { return self.write(name, mode, oid, target) };
        if let Some(now) = intact(place, name, mode, oid, recorded, self.window, self.permissions) {
            let stat = if self.in_place {
                Some(now)
            } else {
                match files::link(place, target, name) {
                    Ok(()) => {
                        *fresh = true;
                        let linked = files::stat(target, name).map_err(|e| self.file_io("looking at", name, e))?;
                        // The name could have been given to another file between the look and the link.
                        (Stat { ctime: 0, ..linked } == Stat { ctime: 0, ..now }).then_some(linked)
                    }
                    // Too many links (ext4 allows 65,000), a file system without links, another device: a copy serves as well.
                    Err(e)
                        if matches!(
                            e.raw_os_error(),
                            Some(libc::EMLINK | libc::EPERM | libc::EXDEV | libc::EOPNOTSUPP | libc::ENOENT)
                        ) =>
                    {
                        return self.write(name, mode, oid, target);
                    }
                    Err(e) => return Err(self.file_io("linking", name, e).into()),
                }
            };
            if let Some(stat) = stat {
                self.counts.kept += 1;
                self.writer.file(name, mode, oid, stat);
                return Ok(());
            }
            self.remove(name, false, target)?;
        } else if self.in_place {
            self.remove(name, false, target)?;
        }
        self.counts.altered += 1;
        *fresh = true;
        self.write(name, mode, oid, target)
    }

    /// A file from the object store.
    pub(super) fn write(&mut self, name: &[u8], mode: FileMode, oid: Oid, target: BorrowedFd<'_>) -> Result<(), Stop> {
        check_part(name).map_err(|reason| self.hostile_name(name, reason))?;
        if mode == FileMode::Submodule {
            files::create(target, name, mode, &[], self.permissions).map_err(|e| self.file_io("creating", name, e))?;
            self.writer.file(name, mode, oid, Stat::default());
            return Ok(());
        }
        let object = self.odb.read(oid.git()).map_err(|e| RepoError::git("reading a blob", e))?;
        if object.kind() != ObjectType::Blob {
            return Err(self.hostile_name(name, "it is not a file's content").into());
        }
        let content = object.data();
        if mode == FileMode::Symlink && (content.is_empty() || content.contains(&0)) {
            return Err(self.hostile_name(name, "its link target is empty or has a NUL").into());
        }
        let file = files::create(target, name, mode, content, self.permissions).map_err(|e| match e.kind() {
            // A folder that became a file, and whose old entry comes later in the walk.
            io::ErrorKind::AlreadyExists if self.in_place => Stop::NotOurs,
            io::ErrorKind::AlreadyExists => self.hostile_name(name, "the name is there twice").into(),
            _ => self.file_io("writing", name, e).into(),
        })?;
        if self.new_files.len() <= FEW {
            self.new_files.extend(file);
        }
        let stat = files::stat(target, name).map_err(|e| self.file_io("looking at", name, e))?;
        self.counts.written += 1;
        self.counts.bytes += content.len() as u64;
        self.writer.file(name, mode, oid, stat);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &[u8], is_dir: bool, target: BorrowedFd<'_>) -> Result<(), Stop> {
        let result =
            if is_dir { files::remove_tree(target, name, &|| false).map(drop) } else { files::unlink(target, name) };
        match result {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.io("removing", e).into()),
            _ => Ok(()),
        }
    }
}
