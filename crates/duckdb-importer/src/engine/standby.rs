//! A copy of the current generation, made while nothing else is to be done, that the next import works on. Copying costs
//! by what exists; this takes it out of the time between a change and its publication.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::{Engine, Known};
use crate::generation::{Attempt, FileId, Workspace, copy_trusted};

/// A copy that is ready, or being made. Dropped before it is taken, it is gone.
#[derive(Debug)]
pub(super) struct Standby {
    number: u64,
    dir: PathBuf,
    db: PathBuf,
    making: Option<JoinHandle<std::io::Result<FileId>>>,
}

impl Engine {
    /// Begins to copy the current generation, if this process knows it to be sound and no copy waits already.
    pub(super) fn prepare_standby(&mut self) {
        let (Some(known), Some(published)) = (&self.known, self.workspace.current()) else { return };
        let number = published.manifest.generation.number;
        if !self.keep_standby || known.number != number || self.standby.as_ref().is_some_and(|it| it.number == number) {
            return;
        }
        // The old one must have stopped copying before a new one begins.
        self.standby = None;
        self.standby = Standby::begin(&self.workspace, known, published.db);
    }
}

impl Standby {
    fn begin(workspace: &Workspace, known: &Known, from: PathBuf) -> Option<Self> {
        let dir = workspace.standby_dir();
        let db = dir.join(from.file_name()?);
        let expected = known.file;
        let (folder, target) = (dir.clone(), db.clone());
        let copy = move || make(&folder, &from, &target, expected);
        let making = std::thread::Builder::new().name("standby".to_owned()).spawn(copy);
        Some(Self { number: known.number, dir, db, making: Some(making.ok()?) })
    }

    /// The copy, as the beginning of an attempt, if it is one of generation `number` and nobody touched it. Otherwise the
    /// import copies for itself.
    pub(super) fn take(mut self, workspace: &Workspace, number: u64) -> Option<Attempt> {
        let made = self.making.take()?.join().ok()?;
        let ready = made.map_err(|error| tracing::debug!(%error, "no copy waits for the next import")).ok()?;
        if self.number != number || FileId::of(&self.db).ok()? != ready {
            return None;
        }
        workspace.begin_from_standby().ok()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        if let Some(making) = self.making.take() {
            let _ = making.join();
        }
        // Taken, it is not there any more.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn make(dir: &Path, from: &Path, to: &Path, expected: FileId) -> std::io::Result<FileId> {
    fs::create_dir(dir)?;
    // The next generation needs as much again, and an old one is only removed after that.
    let size = fs::metadata(from)?.len();
    if baft_kit::durable::free_bytes(dir)? < size.saturating_mul(3) {
        return Err(std::io::Error::other("there is little space left"));
    }
    copy_trusted(from, to)?;
    baft_kit::durable::sync_file(to)?;
    if FileId::of(from)? != expected {
        return Err(std::io::Error::other("the published file changed"));
    }
    FileId::of(to)
}
