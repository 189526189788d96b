//! A generation that is being made. Dropped, it is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use baft_kit::durable;

use super::manifest::{MANIFEST, Manifest};
use super::workspace::{CURRENT, GENS, Published, Workspace, folder_name};
use crate::ImporterError;

/// A private folder in which the next generation is made.
#[derive(Debug)]
pub struct Attempt {
    dir: PathBuf,
    db: PathBuf,
    published: bool,
}

impl Attempt {
    pub(super) fn new(dir: PathBuf, db_name: &str) -> Result<Self, ImporterError> {
        fs::create_dir(&dir).map_err(ImporterError::io("create", &dir))?;
        let db = dir.join(db_name);
        Ok(Self { dir, db, published: false })
    }

    pub(super) fn adopt(dir: PathBuf, db_name: &str) -> Self {
        let db = dir.join(db_name);
        Self { dir, db, published: false }
    }

    /// Where its database file belongs.
    #[must_use]
    pub fn db(&self) -> &Path {
        &self.db
    }

    /// Starts writing the file to disk while work on it goes on, so that the final sync has less to wait for.
    pub fn sync_early(&self) {
        sync_early(&self.db);
    }

    /// Refuses a file that is not one sealed piece: a write-ahead log beside it would be replayed by readers.
    ///
    /// # Errors
    /// When there is a log.
    pub fn check_sealed(&self) -> Result<(), ImporterError> {
        if wal_of(&self.db).exists() {
            return Err(ImporterError::Damaged("a write-ahead log is left beside it".to_owned()));
        }
        Ok(())
    }

    /// Puts the finished, closed and verified file where readers find it: to disk, to its number, then the link.
    ///
    /// # Errors
    /// When a step fails; the link is then where it was.
    pub fn publish(mut self, workspace: &Workspace, manifest: Manifest) -> Result<Published, ImporterError> {
        self.check_sealed()?;
        fs::set_permissions(&self.db, fs::Permissions::from_mode(0o444))
            .map_err(ImporterError::io("protect", &self.db))?;
        durable::sync_file(&self.db).map_err(ImporterError::io("sync", &self.db))?;
        manifest.write(&self.dir.join(MANIFEST))?;
        durable::sync_dir(&self.dir).map_err(ImporterError::io("sync", &self.dir))?;
        let gens = workspace.dir().join(GENS);
        let name = folder_name(manifest.generation.number);
        let home = gens.join(&name);
        fs::rename(&self.dir, &home).map_err(ImporterError::io("rename", &self.dir))?;
        self.published = true;
        durable::sync_dir(&gens).map_err(ImporterError::io("sync", &gens))?;
        let link = workspace.dir().join(CURRENT);
        durable::flip_link(&link, &Path::new(GENS).join(&name)).map_err(ImporterError::io("flip", &link))?;
        let file_name = self.db.file_name().unwrap_or_default().to_owned();
        Ok(Published { db: home.join(file_name), manifest })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Starts writing a file to disk. The sync that counts is the one in [`Attempt::publish`]; when this one fails, so will that.
pub fn sync_early(path: &Path) {
    let path = path.to_owned();
    let _ = std::thread::Builder::new()
        .name("sync".to_owned())
        .spawn(move || fs::File::open(path).and_then(|file| file.sync_data()));
}

/// The write-ahead log DuckDB would keep beside a database file.
pub(super) fn wal_of(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(".wal");
    name.into()
}
