//! `git.synced` events, derived from the [journal](crate::journal).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use baft_bus::payload::{ChangeStatus, ChangedFile, GitSynced, cap_changes};
use baft_bus::{Ledger, LedgerError, Outgoing};
use baft_kit::metrics::IntGauge;
use baft_repo::{Repo, Status};

use crate::journal::{JournalFile, Step};

/// The ledger of one git-sync.
#[derive(Debug)]
pub(crate) struct SyncedLedger {
    pub(crate) journal: Arc<Mutex<JournalFile>>,
    pub(crate) mirror: PathBuf,
    pub(crate) repo: String,
    pub(crate) reference: String,
    pub(crate) unannounced: IntGauge,
}

impl SyncedLedger {
    /// What changed in a step. A commit the mirror no longer has (rewritten history, cloned again since) makes the list incomplete, not wrong.
    fn changes(&self, step: &Step) -> (Vec<ChangedFile>, bool) {
        let diff = Repo::open(&self.mirror).and_then(|repo| repo.diff(step.old, step.new));
        match diff {
            Ok(changes) => {
                let changed = changes.into_iter().map(|change| ChangedFile {
                    path: change.path.as_str().to_owned(),
                    status: match change.status {
                        Status::Added => ChangeStatus::Added,
                        Status::Modified => ChangeStatus::Modified,
                        Status::Deleted => ChangeStatus::Deleted,
                        Status::TypeChanged => ChangeStatus::TypeChanged,
                    },
                });
                cap_changes(changed.collect())
            }
            Err(error) => {
                tracing::warn!(number = step.number, %error, "cannot tell what changed; the event says so");
                (Vec::new(), true)
            }
        }
    }
}

impl Ledger for SyncedLedger {
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError> {
        let (step, id) = {
            let file = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let journal = file.get();
            self.unannounced.set(i64::try_from(journal.unannounced.len()).unwrap_or(i64::MAX));
            let Some(step) = journal.unannounced.front().cloned() else { return Ok(None) };
            let id = journal.event_id(&step);
            (step, id)
        };
        let (changed, truncated) = self.changes(&step);
        let payload = GitSynced {
            repo: self.repo.clone(),
            reference: self.reference.clone(),
            old: step.old.map(|oid| oid.to_string()),
            new: step.new.to_string(),
            forced: step.forced,
            changed,
            truncated,
            trigger: step.trigger,
        };
        Outgoing::new(id, &payload).map(|event| Some(event.happened_at(step.at))).map_err(LedgerError::new)
    }

    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError> {
        let mut file = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if file.get().unannounced.front().is_none_or(|step| file.get().event_id(step) != id) {
            return Ok(());
        }
        file.change(|journal| journal.acknowledged(id)).map_err(LedgerError::new)?;
        self.unannounced.set(i64::try_from(file.get().unannounced.len()).unwrap_or(i64::MAX));
        Ok(())
    }
}
