//! Packs that no collector touches: what is written before a ref leads to it, and is too much to be kept in memory meanwhile.
//!
//! A person's `git gc --prune=now` decides what nothing leads to when it begins and deletes it when it ends. Small objects are remembered and written
//! again ([`Repo::take_written`]); everything else goes into a pack with a `.keep` file, which git leaves alone, and which is removed once refs have
//! led to its objects for longer than a collection takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::ObjectType;

use crate::{Oid, Repo, RepoError};

/// Says in a `.keep` file that it is ours.
const OURS: &str = "baft: written before a ref led to it\n";

impl Repo {
    /// Stores many blobs as one pack, with a few syncs in the place of two for each. Kept from collectors until [`Repo::release_packs`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_blobs(&self, contents: &[Vec<u8>]) -> Result<Vec<Oid>, RepoError> {
        let fail = |e| self.unwritten("writing a pack", e);
        // A handle of its own, whose objects stay in memory until they are in the pack.
        let aside = git2::Repository::open(self.git_dir()).map_err(fail)?;
        let odb = aside.odb().map_err(fail)?;
        let mut builder = aside.packbuilder().map_err(fail)?;
        let mut oids = Vec::with_capacity(contents.len());
        let memory = odb.add_new_mempack_backend(1000).map_err(fail)?;
        for content in contents {
            let oid = Oid::of_blob(content);
            // Also those that are there already: nothing says that a ref leads to them.
            odb.write(ObjectType::Blob, content).map_err(fail)?;
            builder.insert_object(oid.git(), None).map_err(fail)?;
            oids.push(oid);
        }
        if !oids.is_empty() {
            self.place_pack(&mut builder)?;
        }
        memory.reset().map_err(fail)?;
        Ok(oids)
    }

    /// Puts an object that is there into a pack that is kept.
    pub(crate) fn keep_object(&self, oid: git2::Oid) -> Result<(), RepoError> {
        let fail = |e| self.unwritten("writing a pack", e);
        let mut builder = self.git.packbuilder().map_err(fail)?;
        builder.insert_object(oid, None).map_err(fail)?;
        self.place_pack(&mut builder)
    }

    /// Writes the pack aside, and brings it in with its `.keep` file first: no collector ever sees it without.
    fn place_pack(&self, builder: &mut git2::PackBuilder<'_>) -> Result<(), RepoError> {
        let aside = self.git_dir().join("objects").join(format!("baft-incoming-{}", std::process::id()));
        // What a killed process of this id left is not ours to use.
        let _ = fs::remove_dir_all(&aside);
        let placed = self.write_aside(builder, &aside);
        // Nothing is in it any more, or nothing that is of use.
        let _ = fs::remove_dir_all(&aside);
        placed
    }

    fn write_aside(&self, builder: &mut git2::PackBuilder<'_>, aside: &Path) -> Result<(), RepoError> {
        fs::create_dir_all(aside).map_err(|e| RepoError::io("creating", aside, e))?;
        builder.write(aside, 0o444).map_err(|e| self.unwritten("writing a pack", e))?;
        let packs = self.git_dir().join("objects/pack");
        fs::create_dir_all(&packs).map_err(|e| RepoError::io("creating", &packs, e))?;
        let mut files: Vec<PathBuf> = fs::read_dir(aside)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|e| RepoError::io("listing", aside, e))?;
        // The index comes last: with it the pack is one.
        files.sort_by_key(|file| file.extension().is_some_and(|extension| extension == "idx"));
        for file in &files {
            baft_kit::durable::sync_file(file).map_err(|e| RepoError::io("syncing", file, e))?;
        }
        if let Some(pack) = files.first().and_then(|file| file.file_name()) {
            let keep = packs.join(pack).with_extension("keep");
            if !keep.exists() {
                fs::write(&keep, OURS).map_err(|e| RepoError::io("writing", &keep, e))?;
            }
        }
        for file in &files {
            let Some(name) = file.file_name() else { continue };
            let to = packs.join(name);
            fs::rename(file, &to).map_err(|e| RepoError::io("moving a pack to", to, e))?;
        }
        baft_kit::durable::sync_dir(&packs).map_err(|e| RepoError::io("syncing", &packs, e))?;
        self.git.odb().and_then(|odb| odb.refresh()).map_err(|e| RepoError::git("looking for new packs", e))
    }

    /// Leaves packs to collectors that were kept from them for so long; how many.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn release_packs(&self, after: Duration) -> Result<usize, RepoError> {
        let packs = self.git_dir().join("objects/pack");
        let mut released = 0;
        let entries = match fs::read_dir(&packs) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(RepoError::io("listing", packs, e)),
        };
        for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|name| name == "keep")) {
            let path = entry.path();
            let written = entry.metadata().and_then(|file| file.modified());
            // A clock that was set back keeps it for longer, which costs nothing.
            let old = written.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age >= after));
            if old && fs::read_to_string(&path).is_ok_and(|text| text == OURS) && fs::remove_file(&path).is_ok() {
                released += 1;
            }
        }
        Ok(released)
    }
}
