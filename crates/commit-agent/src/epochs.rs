//! Which epoch of each session was seen last. A request with an older one comes from somebody who no longer has the session, and is refused;
//! capturing goes on whatever the epoch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use baft_bus::payload::Epoch;
use baft_bus::{Code, RequestError};
use serde::{Deserialize, Serialize};

/// As many sessions are remembered; the ones that were heard of longest ago are forgotten first.
const REMEMBERED: usize = 1000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known {
    /// Counts requests, so that the oldest can be found.
    turn: u64,
    sessions: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    epoch: Epoch,
    turn: u64,
}

/// The epochs, kept in a file.
#[derive(Debug)]
pub struct Epochs {
    path: PathBuf,
    known: Known,
}

impl Epochs {
    /// Reads the file. One that is damaged is forgotten: the registry refuses old epochs too.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let read = std::fs::read(&path).ok();
        let known = read.and_then(|bytes| {
            serde_json::from_slice(&bytes)
                .inspect_err(
                    |error| tracing::warn!(path = %path.display(), %error, "the sessions' epochs are forgotten"),
                )
                .ok()
        });
        Self { path, known: known.unwrap_or_default() }
    }

    /// Lets the session's newest holder pass, and remembers it durably before anything is done for it.
    ///
    /// # Errors
    /// `conflict` for an older epoch than one seen before; `unavailable` when it cannot be remembered.
    pub fn admit(&mut self, session: &str, epoch: &Epoch) -> Result<(), RequestError> {
        if let Some(entry) = self.known.sessions.get(session) {
            if *epoch < entry.epoch {
                return Err(overtaken(session, &entry.epoch, epoch));
            }
            if *epoch == entry.epoch {
                return Ok(());
            }
        }
        let mut known = self.known.clone();
        known.turn += 1;
        known.sessions.insert(session.to_owned(), Entry { epoch: epoch.clone(), turn: known.turn });
        while known.sessions.len() > REMEMBERED {
            let oldest = known.sessions.iter().min_by_key(|(_, entry)| entry.turn).map(|(name, _)| name.clone());
            known.sessions.remove(&oldest.unwrap_or_default());
        }
        let cannot = |error: String| {
            RequestError::new(Code::Unavailable, format!("the session's epoch cannot be remembered: {error}"))
        };
        let bytes = serde_json::to_vec(&known).map_err(|error| cannot(error.to_string()))?;
        baft_kit::durable::write_file(&self.path, &bytes).map_err(|error| cannot(error.to_string()))?;
        self.known = known;
        Ok(())
    }
}

/// What somebody is told who no longer has the session.
pub(crate) fn overtaken(session: &str, now: &Epoch, shown: &Epoch) -> RequestError {
    let message = match now.incarnation == shown.incarnation {
        true => format!(
            "session {session} is at epoch {}, the request has {}: somebody else goes on with the session",
            now.revision, shown.revision
        ),
        false => format!("session {session} has begun anew since epoch {}: the request is of before", shown.revision),
    };
    RequestError::new(Code::Conflict, message)
        .hint("what was saved is captured all the same; resume the session before changing anything in its name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(incarnation: &str, revision: u64) -> Epoch {
        Epoch { incarnation: incarnation.to_owned(), revision }
    }

    #[test]
    fn an_older_epoch_is_refused_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epochs.json");
        let mut epochs = Epochs::open(path.clone());
        epochs.admit("s", &epoch("A", 7)).unwrap();
        epochs.admit("s", &epoch("A", 7)).unwrap();
        epochs.admit("other", &epoch("A", 1)).unwrap();
        let mut epochs = Epochs::open(path);
        assert_eq!(epochs.admit("s", &epoch("A", 6)).unwrap_err().code, Code::Conflict);
        epochs.admit("s", &epoch("B", 1)).unwrap();
        assert!(epochs.admit("s", &epoch("A", 8)).is_err(), "of a bucket that was replaced");
    }

    #[test]
    fn what_cannot_be_remembered_is_not_admitted() {
        let mut epochs = Epochs::open("/no/such/folder/epochs.json".into());
        let error = epochs.admit("s", &epoch("A", 1)).unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::Unavailable, true));
    }

    #[test]
    fn as_many_sessions_as_are_remembered_stay_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut epochs = Epochs::open(folder.path().join("epochs.json"));
        epochs.known.sessions =
            (0..=REMEMBERED as u64).map(|n| (format!("old-{n:05}"), Entry { epoch: epoch("A", 2), turn: n })).collect();
        epochs.known.turn = 5000;
        epochs.admit("new", &epoch("A", 1)).unwrap();
        assert_eq!(epochs.known.sessions.len(), REMEMBERED);
        assert!(
            epochs.admit("old-00000", &epoch("A", 1)).is_ok() && epochs.admit("old-00900", &epoch("A", 1)).is_err()
        );
    }
}
