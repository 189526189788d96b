//! A copy of the current generation, made while nothing else is to be done, that the next import works on. Copying costs
//! by what exists; this takes it out of the time between a change and its publication.

use std::fs;
use std::thread::JoinHandle;

use super::Engine;
use crate::generation::{Attempt, FileId, Workspace, copy_trusted};

/// A copy that is ready, or being made.
#[derive(Debug)]
pub(super) struct Standby {
    number: u64,
    making: JoinHandle<std::io::Result<FileId>>,
    db_name: String,
}

impl Engine {
    /// Begins to copy the current generation, if this process knows it to be sound.
    pub(super) fn prepare_standby(&mut self) {
        self.standby = None;
        let (Some(known), Some(published)) = (&self.known, self.workspace.current()) else { return };
        if known.number != published.manifest.generation.number {
            return;
        }
        let (number, expected) = (known.number, known.file);
        let dir = self.workspace.standby_dir();
        let db_name = self.settings.publish.db_name.clone();
        let target = dir.join(&db_name);
        let copy = move || {
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir)?;
            copy_trusted(&published.db, &target)?;
            baft_kit::durable::sync_file(&target)?;
            if FileId::of(&published.db)? != expected {
                return Err(std::io::Error::other("the published file changed"));
            }
            FileId::of(&target)
        };
        // Without a copy the next import makes one itself.
        self.standby = std::thread::Builder::new()
            .name("standby".to_owned())
            .spawn(copy)
            .ok()
            .map(|making| Standby { number, making, db_name });
    }
}

impl Standby {
    /// The copy, as the beginning of an attempt, if it is one of generation `number` and nobody touched it.
    pub(super) fn take(self, workspace: &Workspace, number: u64) -> Option<Attempt> {
        let made = self.making.join().ok()?;
        let ready = made.map_err(|error| tracing::debug!(%error, "no copy waits for the next import")).ok()?;
        let there = FileId::of(&workspace.standby_dir().join(&self.db_name)).ok()?;
        if self.number != number || ready != there {
            return None;
        }
        workspace.begin_from_standby().ok()
    }
}
