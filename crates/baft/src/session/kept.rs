//! What this person's machine remembers of a session: its id and epoch, for each clone.
//!
//! It lies in the person's own state folder, not in the clone: two people who share a clone have a session each.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use baft_bus::NatsArgs;
use baft_bus::payload::Epoch;
use baft_kit::durable;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::runtime::Runtime;

/// What the clone of `agent` is kept under: in the fleet that runs here, or on the server that was named.
#[must_use]
pub fn of_clone(state_home: Option<PathBuf>, runtime: Option<&Runtime>, nats: &NatsArgs, agent: &str) -> Kept {
    let fleet = match runtime {
        Some(runtime) => runtime.workspace.display().to_string(),
        // What cannot be read cannot be connected to either, which says more.
        None => format!("{:?}/{}", nats.addresses().unwrap_or_default(), nats.nats_subject_prefix),
    };
    Kept::of(state_home, &fleet, agent)
}

/// A session that was started from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSession {
    /// Its id.
    pub session_id: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// How often its holder should beat, in seconds.
    #[serde(default)]
    pub heartbeat_every_s: u64,
}

/// Where the session of one clone is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    file: Option<PathBuf>,
}

impl Kept {
    /// For the clone of `agent` in the fleet called `fleet`: its workspace, or its server.
    #[must_use]
    pub fn of(state_home: Option<PathBuf>, fleet: &str, agent: &str) -> Self {
        // The name only has to differ; what is inside says which session.
        let mut hasher = DefaultHasher::new();
        (fleet, agent).hash(&mut hasher);
        let name = format!("{:016x}.json", hasher.finish());
        Self { file: state_home.map(|folder| folder.join("baft/sessions").join(name)) }
    }

    /// The session that is kept, if one is.
    #[must_use]
    pub fn read(&self) -> Option<KeptSession> {
        serde_json::from_slice(&std::fs::read(self.file.as_ref()?).ok()?).ok()
    }

    /// Keeps a session.
    ///
    /// # Errors
    /// The folder cannot be written: the other commands then need the id.
    pub fn write(&self, session: &KeptSession) -> Result<(), Failure> {
        let Some(file) = &self.file else {
            return Err(Failure::new("neither HOME nor XDG_STATE_HOME is set, so the session's id is not kept"));
        };
        let cannot =
            |error: std::io::Error| Failure::new(format!("cannot keep the session in {}: {error}", file.display()));
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(cannot)?;
        }
        let text = serde_json::to_vec(session).map_err(|error| cannot(error.into()))?;
        durable::write_private_file(file, &text).map_err(cannot)
    }

    /// Forgets the session, unless another one was started meanwhile.
    pub fn forget(&self, session_id: &str) {
        if let (Some(file), Some(kept)) = (&self.file, self.read())
            && kept.session_id == session_id
        {
            // Still there, it is offered again and refused: that harms nobody.
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> KeptSession {
        let epoch = Epoch { incarnation: "A".to_owned(), revision: 7 };
        KeptSession { session_id: id.to_owned(), epoch, heartbeat_every_s: 30 }
    }

    #[test]
    fn each_clone_has_its_own_session_and_only_that_one_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let kept = |agent: &str| Kept::of(Some(home.path().to_owned()), "/work/.baft", agent);
        assert_eq!(kept("desk").read(), None);
        kept("desk").write(&session("a")).unwrap();
        kept("other").write(&session("b")).unwrap();
        assert_eq!(kept("desk").read(), Some(session("a")));
        kept("desk").forget("another");
        assert_eq!(kept("desk").read(), Some(session("a")));
        kept("desk").forget("a");
        assert_eq!((kept("desk").read(), kept("other").read()), (None, Some(session("b"))));
    }

    #[test]
    fn without_a_home_nothing_is_kept_and_that_is_said() {
        let kept = Kept::of(None, "x", "y");
        assert_eq!(kept.read(), None);
        assert!(kept.write(&session("a")).unwrap_err().message.contains("HOME"));
    }
}
