//! A copy of the current generation, made and opened while nothing else is to be done, for the next import to work on.
//! Copying costs by the size of the file and opening by the number of tables; this takes both out of the time between a
//! change and its publication.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::update::NAME;
use super::{Engine, Known, stored};
use crate::ImporterError;
use crate::db::{Access, Session};
use crate::generation::{Attempt, FileId, Workspace, copy_trusted, sync_early};

/// A copy that is ready, or being made. Dropped before it is taken, it is gone.
#[derive(Debug)]
pub(super) struct Standby {
    number: u64,
    dir: PathBuf,
    db: PathBuf,
    making: Option<JoinHandle<io::Result<Ready>>>,
    /// Somebody waits: what only helps is left out.
    hurry: Arc<AtomicBool>,
}

/// A copy that is there, attached as [`NAME`] by this handle on the importer's instance.
#[derive(Debug)]
struct Ready {
    file: FileId,
    session: Session,
}

impl Engine {
    /// Begins to copy the current generation, if this process knows it to be sound and no copy waits already.
    pub(super) fn prepare_standby(&mut self) {
        let (Some(known), Some(published)) = (&self.known, self.workspace.current()) else { return };
        let number = published.manifest.generation.number;
        if !self.keep_standby || known.number != number || self.standby.as_ref().is_some_and(|it| it.number == number) {
            return;
        }
        // The old one must be closed and gone before a new one begins.
        self.standby = None;
        let Some(Ok(session)) = self.session.as_ref().map(Session::another) else { return };
        self.standby = Standby::begin(&self.workspace, known, published.db, session);
    }
}

impl Standby {
    fn begin(workspace: &Workspace, known: &Known, from: PathBuf, session: Session) -> Option<Self> {
        let dir = workspace.standby_dir();
        let db = dir.join(from.file_name()?);
        let expected = known.file;
        let (folder, target) = (dir.clone(), db.clone());
        let hurry = Arc::new(AtomicBool::new(false));
        let hurried = hurry.clone();
        let make = move || {
            let made = copy(&folder, &from, &target, expected)
                .and_then(|()| session.attach(&target, NAME, Access::Write).map_err(io::Error::other))
                .and_then(|()| warm(&session, &hurried).map_err(io::Error::other))
                .and_then(|()| FileId::of(&target));
            if made.is_err() {
                let _ = fs::remove_dir_all(&folder);
            }
            Ok(Ready { file: made?, session })
        };
        let making = std::thread::Builder::new().name("standby".to_owned()).spawn(make);
        Some(Self { number: known.number, dir, db, making: Some(making.ok()?), hurry })
    }

    /// The copy, attached as [`NAME`], as the beginning of an attempt, if it is one of generation `number` and nobody
    /// touched it. Otherwise the import copies for itself.
    pub(super) fn take(mut self, workspace: &Workspace, number: u64) -> Option<Attempt> {
        let ready = self.ready()?;
        if self.number == number && FileId::of(&self.db).is_ok_and(|file| file == ready.file) {
            return Some(workspace.begin_from_standby());
        }
        self.discard(&ready);
        None
    }

    fn ready(&mut self) -> Option<Ready> {
        self.hurry.store(true, Ordering::Relaxed);
        let made = self.making.take()?.join().unwrap_or_else(|_| Err(io::Error::other("the copying thread died")));
        made.map_err(|error| tracing::debug!(%error, "no copy waits for the next import")).ok()
    }

    fn discard(&self, ready: &Ready) {
        if let Err(error) = ready.session.detach(NAME) {
            tracing::debug!(%error, "the copy that waited cannot be closed");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // Taken, it is somebody else's.
        if self.making.is_some()
            && let Some(ready) = self.ready()
        {
            self.discard(&ready);
        }
    }
}

/// Reads what every import asks the file for, so that it is in memory then.
fn warm(session: &Session, hurry: &AtomicBool) -> Result<(), ImporterError> {
    for (table, columns) in stored::asked_for() {
        if hurry.load(Ordering::Relaxed) {
            break;
        }
        let columns = columns.iter().map(|column| format!("max({column})")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {columns} FROM {NAME}.{table}");
        session.connection().execute_batch(&sql).map_err(ImporterError::db("reading ahead"))?;
    }
    Ok(())
}

fn copy(dir: &Path, from: &Path, to: &Path, expected: FileId) -> io::Result<()> {
    fs::create_dir(dir)?;
    // The next generation needs as much again, and an old one is only removed after that.
    let size = fs::metadata(from)?.len();
    if baft_kit::durable::free_bytes(dir)? < size.saturating_mul(3) {
        return Err(io::Error::other("there is little space left"));
    }
    copy_trusted(from, to)?;
    sync_early(to);
    if FileId::of(from)? != expected {
        return Err(io::Error::other("the published file changed"));
    }
    Ok(())
}
