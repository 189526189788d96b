//! Keeping the number of packs small.
//!
//! Every fetch leaves a pack, nobody runs `git gc` on a mirror (it may throw away what readers still need), and libgit2 looks through all packs
//! for an object. So once in a while the small ones are written again as one. Nothing is ever dropped: what was in a pack is in the new one.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Repo, RepoError};

/// A pack this large is left alone: writing it again costs more than it saves.
const LARGE: u64 = 64 << 20;

impl Repo {
    /// Writes the small packs again as one when there are more than `most` of them, and removes them; how many were removed. Readers in other
    /// processes notice nothing. Meant for quiet moments; an interrupted call changes nothing.
    ///
    /// # Errors
    /// When a pack cannot be read or written; every object stays where it was then.
    pub fn consolidate(&self, most: usize, interrupted: &dyn Fn() -> bool) -> Result<usize, RepoError> {
        let folder = self.git.path().join("objects/pack");
        let small = small_packs(&folder)?;
        if small.len() <= most.max(1) || interrupted() {
            return Ok(0);
        }
        let fail = |e| RepoError::git("consolidating packs", e);
        let mut builder = self.git.packbuilder().map_err(fail)?;
        for index in &small {
            for oid in objects(index)? {
                builder.insert_object(oid, None).map_err(fail)?;
            }
        }
        let odb = self.git.odb().map_err(fail)?;
        let mut writer = odb.packwriter().map_err(fail)?;
        let mut failed = None;
        let written = builder.foreach(|chunk| {
            failed = writer.write_all(chunk).err();
            failed.is_none() && !interrupted()
        });
        match (failed, written) {
            (Some(e), _) => return Err(RepoError::io("writing", folder, e)),
            (None, Err(_)) if interrupted() => return Ok(0),
            (None, Err(e)) => return Err(fail(e)),
            (None, Ok(())) => {}
        }
        writer.commit().map_err(fail)?;
        baft_kit::durable::sync_dir(&folder).map_err(|e| RepoError::io("syncing", &folder, e))?;
        // The new pack could only have the name of an old one if it were the same pack.
        let name = builder.name().ok().flatten().map(|hash| format!("pack-{hash}.idx")).unwrap_or_default();
        let mut removed = 0;
        for index in small.iter().filter(|index| index.file_name().is_some_and(|file| *file != *name)) {
            // The index first: a pack without one is not looked at.
            for extension in ["idx", "rev", "bitmap", "pack"] {
                match std::fs::remove_file(index.with_extension(extension)) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(RepoError::io("removing", index.with_extension(extension), e));
                    }
                    _ => {}
                }
            }
            removed += 1;
        }
        odb.refresh().map_err(fail)?;
        Ok(removed)
    }
}

/// The indexes of complete packs that are small and that nobody asked to keep.
fn small_packs(folder: &Path) -> Result<Vec<PathBuf>, RepoError> {
    let fail = |e| RepoError::io("reading", folder, e);
    let mut indexes = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let is_index = path.extension().is_some_and(|extension| extension == "idx");
        let pack = std::fs::metadata(path.with_extension("pack"));
        if is_index && !path.with_extension("keep").exists() && pack.is_ok_and(|pack| pack.len() < LARGE) {
            indexes.push(path);
        }
    }
    Ok(indexes)
}

/// The ids in a pack's index (version 2, the only one written since 2008).
fn objects(index: &Path) -> Result<Vec<git2::Oid>, RepoError> {
    const FANOUT: usize = 8;
    const IDS: usize = FANOUT + 256 * 4;
    let bytes = std::fs::read(index).map_err(|e| RepoError::io("reading", index, e))?;
    let damaged = || RepoError::Corrupt { message: format!("{} is not a pack index of version 2", index.display()) };
    if !bytes.starts_with(b"\xfftOc\x00\x00\x00\x02") {
        return Err(damaged());
    }
    let count = bytes.get(IDS - 4..IDS).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes).ok_or_else(damaged)?;
    let ids = bytes.get(IDS..IDS + count as usize * 20).ok_or_else(damaged)?;
    ids.chunks_exact(20)
        .map(|id| git2::Oid::from_bytes(id).map_err(|e| RepoError::git("reading a pack index", e)))
        .collect()
}
