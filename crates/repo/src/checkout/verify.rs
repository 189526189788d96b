//! Whether files on disk still are what a manifest says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use git2::ObjectType;

use super::files::{self, Permissions};
use super::manifest::{Manifest, Record, Stat, Window};
use crate::{FileMode, Oid};

/// The file's present state when it is what the manifest says, by its stamps or, when only `ctime` moved, by its content.
pub(super) fn intact(
    dir: BorrowedFd<'_>,
    name: &[u8],
    mode: FileMode,
    oid: Oid,
    recorded: Stat,
    window: Window,
    permissions: Permissions,
) -> Option<Stat> {
    let now = files::stat(dir, name).ok()?;
    if (Stat { ctime: recorded.ctime, ..now }) != recorded {
        return None;
    }
    if now.ctime == recorded.ctime || window.holds(now.ctime) {
        return Some(now);
    }
    let same = files::has_mode(dir, name, mode, permissions).ok()?
        && files::content(dir, name, mode).is_ok_and(|content| hash(&content) == Some(oid));
    same.then_some(now)
}

/// Whether a checkout still is exactly what its manifest says: every file, and no entry more.
pub(super) fn is_intact(manifest: &Manifest, root: BorrowedFd<'_>, permissions: Permissions) -> bool {
    let fits = |dir: BorrowedFd<'_>, mtime: i64| files::stat_fd(dir).is_ok_and(|stat| stat.mtime == mtime);
    let mut cursor = manifest.cursor();
    let mut dirs: Vec<OwnedFd> = Vec::new();
    if !fits(root, manifest.root_mtime()) {
        return false;
    }
    loop {
        let dir = dirs.last().map_or(root, AsFd::as_fd);
        match cursor.next() {
            None => return true,
            Some(Record::Leave) => drop(dirs.pop()),
            Some(Record::Dir { name, mtime, .. }) => match files::open_dir(dir, name) {
                Ok(opened) if fits(opened.as_fd(), mtime) => dirs.push(opened),
                _ => return false,
            },
            Some(Record::File { mode: FileMode::Submodule, .. }) => {}
            Some(Record::File { name, mode, oid, stat }) => {
                if intact(dir, name, mode, oid, stat, manifest.window(), permissions).is_none() {
                    return false;
                }
            }
        }
    }
}

fn hash(content: &[u8]) -> Option<Oid> {
    git2::Oid::hash_object(ObjectType::Blob, content).ok().map(Oid::from)
}
