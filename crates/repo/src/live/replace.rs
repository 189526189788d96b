//! Changing one live file.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::look::{Content, Look, Writers, read_in, writers_in};
use super::{Live, OWN_PREFIX, Stat, oid_of, stat_in};
use crate::{FileMode, Oid, RepoPath};

/// What a path is to become.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where.
    pub path: &'a RepoPath,
    /// What is expected to be there; nothing means nothing.
    pub old: Option<Oid>,
    /// What is to be there; nothing deletes it.
    pub new: Option<(Oid, FileMode)>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as wanted.
    Done,
    /// Something else was there, or somebody is writing to it: it was left, or put back.
    Busy {
        /// A save that another save replaced while we looked. It is nowhere else any more: the caller keeps it.
        displaced: Option<Vec<u8>>,
    },
}

/// When a prepared file is put on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// At once.
    Now,
    /// With all others, by [`Live::sync_all`], which is much cheaper for many.
    Later,
}

const BUSY: Outcome = Outcome::Busy { displaced: None };
/// Larger files are compared, but a save of this size that is displaced by another within microseconds is left beside the file.
const LARGEST: u64 = 1 << 30;

impl Live {
    /// Writes the new content beside the path, complete and on disk; its stat. Nothing anybody looks at changes. `like` gives the permissions.
    ///
    /// # Errors
    /// When there is no room, or something that is no folder is in the way.
    pub fn prepare(
        &self,
        path: &RepoPath,
        mode: FileMode,
        content: &[u8],
        like: Option<&Stat>,
        sync: Sync,
    ) -> io::Result<Stat> {
        let folder = self.make_folder(path)?;
        let name = own_name(path);
        remove(&folder, &name)?;
        if mode == FileMode::Symlink {
            rustix::fs::symlinkat(content, &folder, &*name)?;
            return stat_in(&folder, &name)?.ok_or_else(|| Errno::NOENT.into());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let bits = if mode == FileMode::Executable { 0o777 } else { 0o666 };
        let written = (|| {
            let mut file = std::fs::File::from(rustix::fs::openat(&folder, &*name, flags, Mode::from_raw_mode(bits))?);
            file.write_all(content)?;
            if let Some(like) =
                like.filter(|like| matches!(like.kind(), super::Kind::File(FileMode::File | FileMode::Executable)))
            {
                // Another owner needs a privilege; without it the file is ours, in the same group where that is allowed.
                let _ = rustix::fs::fchown(&file, Some(Uid::from_raw(like.uid)), Some(Gid::from_raw(like.gid)))
                    .or_else(|_| rustix::fs::fchown(&file, None, Some(Gid::from_raw(like.gid))));
                let mut bits = like.mode & 0o777;
                match mode {
                    // Whoever may read it may run it.
                    FileMode::Executable => bits |= (bits & 0o444) >> 2,
                    _ => bits &= !0o111,
                }
                rustix::fs::fchmod(&file, Mode::from_raw_mode(bits))?;
            }
            if sync == Sync::Now {
                file.sync_all()?;
            }
            Ok(rustix::fs::fstat(&file)?.into())
        })();
        if written.is_err() {
            // The first error is the one to tell.
            let _ = remove(&folder, &name);
        }
        written
    }

    /// Puts everything that was prepared on disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    /// Takes back what [`Live::prepare`] wrote.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(&self, path: &RepoPath) -> io::Result<()> {
        match self.folder(path)? {
            Some(folder) => remove(&folder, &own_name(path)),
            None => Ok(()),
        }
    }

    /// Makes the path what is wanted, from what [`Live::prepare`] wrote. Not on disk before [`Live::sync_folder_of`].
    ///
    /// # Errors
    /// When the file system refuses; the path has its old content or the new one, and what is beside it is found by [`Live::recover`].
    pub fn replace(&self, wanted: &Wanted<'_>) -> io::Result<Outcome> {
        let Some(folder) = self.folder(wanted.path)? else {
            return Ok(if wanted.new.is_none() { Outcome::Done } else { BUSY });
        };
        let (name, own) = (wanted.path.file_name(), own_name(wanted.path));
        let outcome = match (wanted.old, wanted.new) {
            (_, None) => delete(&folder, name, &own, wanted.old)?,
            (None, Some((new, _))) => create(&folder, name, &own, new)?,
            (Some(old), Some((new, _))) => exchange(&folder, name, &own, old, new)?,
        };
        if wanted.new.is_none() && outcome == Outcome::Done {
            self.remove_empty_folders(wanted.path);
        }
        Ok(outcome)
    }

    /// Looks for what an interrupted [`Live::replace`] left beside the path. What is ours is removed; a save of somebody's is put back, or its bytes
    /// are given to the caller to keep. Then the replacing may be done again.
    ///
    /// # Errors
    /// When it cannot be read or moved.
    pub fn recover(&self, wanted: &Wanted<'_>) -> io::Result<Vec<Vec<u8>>> {
        let mut displaced = Vec::new();
        let Some(folder) = self.folder(wanted.path)? else { return Ok(displaced) };
        let (name, own) = (wanted.path.file_name(), own_name(wanted.path));
        let new = wanted.new.map(|(new, _)| new);
        for beside in [own.clone(), format!("{own}-old")] {
            let found = match read_in(&folder, &beside, LARGEST)? {
                Look::Stable { content: Content::Bytes(bytes), .. } => bytes,
                // Nothing there, or nothing that could be judged: it stays.
                Look::Absent | Look::Stable { .. } | Look::Special | Look::Unstable => continue,
            };
            let oid = Some(oid_of(&found));
            let at_path = content_of(&folder, name)?;
            // What was swapped out is told from a half-written file of ours by what is at the path now.
            let swapped_out = if new.is_some() { at_path == new } else { at_path.is_none() };
            let expected = oid == wanted.old && writers_in(&folder, &beside) != Writers::Some;
            if oid == new || expected {
                remove(&folder, &beside)?;
            } else if swapped_out {
                put_back(&folder, name, &beside)?;
            } else {
                remove(&folder, &beside)?;
                displaced.push(found);
            }
        }
        Ok(displaced)
    }

    /// As git does: a folder whose last file went goes too.
    fn remove_empty_folders(&self, path: &RepoPath) {
        let mut folder = path.parent();
        while let Some(here) = folder {
            let removed = self
                .folder(&here)
                .ok()
                .flatten()
                .is_some_and(|parent| rustix::fs::unlinkat(parent, here.file_name(), AtFlags::REMOVEDIR).is_ok());
            if !removed {
                return;
            }
            folder = here.parent();
        }
    }
}

/// The name of what is ours beside a path; always the same, so that it is found again after a crash.
fn own_name(path: &RepoPath) -> String {
    format!("{OWN_PREFIX}{}", Oid::of_blob(path.as_str().as_bytes()).short())
}

fn remove(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(e) if e != Errno::NOENT => Err(e.into()),
        _ => Ok(()),
    }
}

fn content_of(folder: &OwnedFd, name: &str) -> io::Result<Option<Oid>> {
    Ok(match read_in(folder, name, LARGEST)? {
        Look::Stable { content: Content::Bytes(bytes), .. } => Some(oid_of(&bytes)),
        Look::Absent => None,
        // Nothing that is expected has this id.
        Look::Stable { .. } | Look::Unstable | Look::Special => Some(Oid::from_bytes([0xff; 20])),
    })
}

/// Renames to a name that must be free.
fn rename_new(folder: &OwnedFd, from: &str, to: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(folder, from, folder, to, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, from, AtFlags::empty())
        }
        other => other,
    }
}

fn put_back(folder: &OwnedFd, name: &str, beside: &str) -> io::Result<()> {
    match rename_new(folder, beside, name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            swap(folder, beside, name)?;
            remove(folder, beside)
        }
        Err(e) => Err(e.into()),
    }
}

fn swap(folder: &OwnedFd, a: &str, b: &str) -> Result<(), Errno> {
    rustix::fs::renameat_with(folder, a, folder, b, RenameFlags::EXCHANGE)
}

fn create(folder: &OwnedFd, name: &str, own: &str, new: Oid) -> io::Result<Outcome> {
    match rename_new(folder, own, name) {
        Ok(()) => Ok(Outcome::Done),
        Err(Errno::EXIST) => {
            let there = content_of(folder, name)?;
            remove(folder, own)?;
            Ok(if there == Some(new) { Outcome::Done } else { BUSY })
        }
        Err(e) => Err(e.into()),
    }
}

fn delete(folder: &OwnedFd, name: &str, own: &str, old: Option<Oid>) -> io::Result<Outcome> {
    remove(folder, own)?;
    if writers_in(folder, name) == Writers::Some {
        return Ok(BUSY);
    }
    match stat_in(folder, name)?.map(|stat| stat.kind()) {
        None => return Ok(Outcome::Done),
        Some(super::Kind::File(_)) => {}
        Some(_) => return Ok(BUSY),
    }
    match rename_new(folder, name, own) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Outcome::Done),
        Err(e) => return Err(e.into()),
    }
    if content_of(folder, own)? == old && writers_in(folder, own) != Writers::Some {
        remove(folder, own)?;
        return Ok(Outcome::Done);
    }
    match rename_new(folder, own, name) {
        Ok(()) => Ok(BUSY),
        Err(Errno::EXIST) => keep_displaced(folder, own),
        Err(e) => Err(e.into()),
    }
}

fn exchange(folder: &OwnedFd, name: &str, own: &str, old: Oid, new: Oid) -> io::Result<Outcome> {
    let give_up = || remove(folder, own).map(|()| BUSY);
    if writers_in(folder, name) == Writers::Some {
        return give_up();
    }
    match content_of(folder, name)? {
        Some(there) if there == old => {}
        Some(there) if there == new => return remove(folder, own).map(|()| Outcome::Done),
        _ => return give_up(),
    }
    match swap(folder, own, name) {
        Ok(()) => {}
        Err(Errno::NOENT) => return give_up(),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return replace_without_exchange(folder, name, own, old),
        Err(e) => return Err(e.into()),
    }
    if content_of(folder, own)? == Some(old) && writers_in(folder, own) != Writers::Some {
        remove(folder, own)?;
        return Ok(Outcome::Done);
    }
    // Somebody saved between the look and the exchange, or writes to the old file: it goes back.
    match swap(folder, own, name) {
        Ok(()) => {}
        Err(Errno::NOENT) => {
            // And deleted ours since. Their save is what there is.
            return match rename_new(folder, own, name) {
                Ok(()) => Ok(BUSY),
                Err(Errno::EXIST) => keep_displaced(folder, own),
                Err(e) => Err(e.into()),
            };
        }
        Err(e) => return Err(e.into()),
    }
    if content_of(folder, own)? == Some(new) {
        return give_up();
    }
    // And once more since: the newest save belongs at the path, the one before it is kept.
    swap(folder, own, name)?;
    keep_displaced(folder, own)
}

fn keep_displaced(folder: &OwnedFd, own: &str) -> io::Result<Outcome> {
    match read_in(folder, own, LARGEST)? {
        Look::Stable { content: Content::Bytes(bytes), .. } if writers_in(folder, own) != Writers::Some => {
            remove(folder, own)?;
            Ok(Outcome::Busy { displaced: Some(bytes) })
        }
        // Somebody still writes to it: it stays beside the path until `recover` finds it at rest.
        _ => Ok(BUSY),
    }
}

/// For file systems that cannot exchange: the old file keeps a second name until it is known that nobody changed it. A save by rename in the moment
/// between the check and our rename would be lost, which the exchange rules out.
fn replace_without_exchange(folder: &OwnedFd, name: &str, own: &str, old: Oid) -> io::Result<Outcome> {
    let link = format!("{own}-old");
    remove(folder, &link)?;
    rustix::fs::linkat(folder, name, folder, &*link, AtFlags::empty())?;
    if content_of(folder, &link)? != Some(old)
        || stat_in(folder, &link)?.map(|s| s.ino) != stat_in(folder, name)?.map(|s| s.ino)
    {
        remove(folder, &link)?;
        remove(folder, own)?;
        return Ok(BUSY);
    }
    rustix::fs::renameat(folder, own, folder, name)?;
    if content_of(folder, &link)? == Some(old) && writers_in(folder, &link) != Writers::Some {
        remove(folder, &link)?;
        return Ok(Outcome::Done);
    }
    rustix::fs::renameat(folder, &*link, folder, name)?;
    Ok(BUSY)
}
