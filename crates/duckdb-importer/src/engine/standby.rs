//! A copy of the current generation, made and opened while nothing else is to be done, for the next import to work on.
//! Copying costs by the size of the file and opening by the number of tables; this takes both out of the time between a
//! change and its publication.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::stored::{self, StoredRow};
use super::update::NAME;
use super::{Engine, Known};
use crate::ImporterError;
use crate::db::{Access, Session};
use crate::generation::{Attempt, FileId, Workspace, copy_trusted, sync_early};

/// A copy that is ready, or being made. Dropped before it is taken, it is gone.
#[derive(Debug)]
pub(super) struct Standby {
    number: u64,
    dir: PathBuf,
    db: PathBuf,
    making: Option<JoinHandle<io::Result<Handles>>>,
    ready: Option<Handles>,
    /// Somebody waits: what only helps is left out.
    hurry: Arc<AtomicBool>,
}

/// Two handles on a copy that is attached as [`NAME`], for two threads to write it.
#[derive(Debug)]
pub(super) struct Handles {
    pub(super) one: Session,
    pub(super) other: Session,
    file: FileId,
}

impl Handles {
    /// Handles on a file that `session`'s instance has attached as [`NAME`].
    pub(super) fn on(session: &Session, db: &Path) -> Result<Self, ImporterError> {
        let file = FileId::of(db).map_err(ImporterError::io("look at", db))?;
        Ok(Self { one: session.another_using(NAME)?, other: session.another_using(NAME)?, file })
    }
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
                .and_then(|()| open(&session, &target, &hurried).map_err(io::Error::other));
            if made.is_err() {
                let _ = fs::remove_dir_all(&folder);
            }
            made
        };
        let making = std::thread::Builder::new().name("standby".to_owned()).spawn(make);
        Some(Self { number: known.number, dir, db, making: Some(making.ok()?), ready: None, hurry })
    }

    /// The copy as the beginning of an attempt, if it is one of generation `number` and nobody touched it. Otherwise the
    /// import copies for itself.
    pub(super) fn take(mut self, workspace: &Workspace, number: u64) -> Option<(Attempt, Handles)> {
        let handles = self.wait()?;
        if self.number == number && FileId::of(&self.db).is_ok_and(|file| file == handles.file) {
            return Some((workspace.begin_from_standby(), handles));
        }
        self.discard(handles);
        None
    }

    /// What the database knows of the rows of some files; nothing while the copy is being made, or when it is not one of
    /// generation `number`.
    pub(super) fn rows(&mut self, number: u64, paths: &[String]) -> Option<Vec<StoredRow>> {
        if self.number != number || self.making.as_ref().is_some_and(|making| !making.is_finished()) {
            return None;
        }
        self.ready = self.wait();
        stored::rows(self.ready.as_ref()?.one.connection(), paths).ok()
    }

    fn wait(&mut self) -> Option<Handles> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        self.hurry.store(true, Ordering::Relaxed);
        let made = self.making.take()?.join().unwrap_or_else(|_| Err(io::Error::other("the copying thread died")));
        made.map_err(|error| tracing::debug!(%error, "no copy waits for the next import")).ok()
    }

    fn discard(&self, handles: Handles) {
        let Handles { one, other, .. } = handles;
        drop(other);
        if let Err(error) = one.detach(NAME) {
            tracing::debug!(%error, "the copy that waited cannot be closed");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // Taken, it is somebody else's.
        if let Some(handles) = self.wait() {
            self.discard(handles);
        }
    }
}

fn open(session: &Session, db: &Path, hurry: &AtomicBool) -> Result<Handles, ImporterError> {
    session.attach(db, NAME, Access::Write)?;
    warm(session, hurry)?;
    Handles::on(session, db)
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
