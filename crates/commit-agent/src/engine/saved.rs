//! What an agent remembers beside its refs. Losing it loses no content: refs have that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use baft_repo::{Oid, RepoPath};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Confirmed, ParkedKind};
use crate::gates::Reason;

/// Something parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParkedRecord {
    pub(super) commit: Oid,
    pub(super) branch: String,
    pub(super) kind: ParkedKind,
    pub(super) confirmed: Confirmed,
    pub(super) paths: Vec<RepoPath>,
    pub(super) base: Option<Oid>,
    pub(super) theirs: Option<Oid>,
    pub(super) since: i64,
    pub(super) announced: bool,
}

/// Something held, as far as it must survive a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldRecord {
    pub(super) content: Option<Oid>,
    pub(super) reason: Reason,
    pub(super) detail: String,
    pub(super) since: i64,
    pub(super) announced: bool,
}

/// One event that waits to be announced and is not derived from anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PushedRecord {
    pub(super) number: u64,
    pub(super) old: Option<Oid>,
    pub(super) new: Oid,
    pub(super) at: i64,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    /// Which incarnation of this file numbers events.
    pub(super) lineage: String,
    /// The last number given.
    pub(super) number: u64,
    /// What is parked.
    pub(super) parked: Vec<ParkedRecord>,
    /// What is held.
    pub(super) held: BTreeMap<RepoPath, HeldRecord>,
    /// Contents a person let through.
    pub(super) released: BTreeMap<RepoPath, Oid>,
    /// Deletions a person confirmed.
    pub(super) deletions: BTreeSet<RepoPath>,
    /// Contents the server refused.
    pub(super) refused: BTreeMap<RepoPath, Oid>,
    /// Files whose content on disk derives from an older commit than the branch: upstream's change could not be put in their place.
    pub(super) stale: BTreeMap<RepoPath, Oid>,
    /// Upstream's rewritten history that nobody has confirmed.
    pub(super) rewritten: Option<Oid>,
    /// The person's word that it is followed.
    pub(super) follow: Option<Oid>,
    /// What is announced as committed: these and everything before them.
    pub(super) announced: Vec<Oid>,
    /// Pushes, oldest first, that are not announced.
    pub(super) pushes: Vec<PushedRecord>,
    /// What is being announced.
    pub(super) current: Option<super::announce::Current>,
    /// When the remote last had everything.
    pub(super) last_push: Option<i64>,
    /// When it last answered.
    pub(super) last_fetch: Option<i64>,
}

impl Default for Saved {
    fn default() -> Self {
        Self {
            lineage: ulid::Ulid::new().to_string(),
            number: 0,
            parked: Vec::new(),
            held: BTreeMap::new(),
            released: BTreeMap::new(),
            deletions: BTreeSet::new(),
            refused: BTreeMap::new(),
            stale: BTreeMap::new(),
            rewritten: None,
            follow: None,
            announced: Vec::new(),
            pushes: Vec::new(),
            current: None,
            last_push: None,
            last_fetch: None,
        }
    }
}

/// The file it is in.
#[derive(Debug)]
pub(super) struct SavedFile {
    path: PathBuf,
    saved: Saved,
}

impl SavedFile {
    /// Reads it; whether there was one. A damaged one is set aside.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, Found)> {
        let (saved, found) = match read::<Saved>(&path)? {
            Some(Ok(saved)) => (saved, Found::Yes),
            Some(Err(error)) => {
                let aside = path.with_extension("unreadable");
                tracing::error!(path = %path.display(), %error, aside = %aside.display(), "the state is damaged: set aside");
                std::fs::rename(&path, aside)?;
                (Saved::default(), Found::No)
            }
            None => (Saved::default(), Found::No),
        };
        Ok((Self { path, saved }, found))
    }

    pub(super) fn get(&self) -> &Saved {
        &self.saved
    }

    /// Changes it: durable when this returns, unchanged when it fails. What changes nothing writes nothing.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Saved) -> T) -> io::Result<T> {
        let mut changed = self.saved.clone();
        let result = change(&mut changed);
        if changed != self.saved {
            write(&self.path, &changed)?;
            self.saved = changed;
        }
        Ok(result)
    }
}

/// Whether a file was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Yes,
    No,
}

/// Whether the files of a step are changed, or have the content already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Touch {
    /// They are changed.
    Files,
    /// They are left as they are.
    Nothing,
}

/// A step that moves branch, index and perhaps files together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) old: Oid,
    pub(super) new: Oid,
    pub(super) touch: Touch,
}

impl Journal {
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match read::<Self>(path)? {
            Some(Ok(journal)) => Ok(Some(journal)),
            Some(Err(error)) => {
                // It is written whole or not at all, so this is damage. Without it the files say what they are.
                tracing::error!(path = %path.display(), %error, "the journal is damaged: set aside");
                std::fs::rename(path, path.with_extension("unreadable"))?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        write(path, self)
    }

    pub(super) fn clear(path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) => Ok(()),
            Ok(()) => path.parent().map_or(Ok(()), baft_kit::durable::sync_dir),
        }
    }
}

/// What says that a clone is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sentinel {
    pub(super) agent: String,
    pub(super) branch: String,
    pub(super) since: String,
}

/// Reads a JSON file; nothing when there is none, an error inside when it is not what it should be.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<serde_json::Result<T>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))),
    }
}

/// Writes a JSON file whole or not at all.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    baft_kit::durable::write_file(path, &bytes)
}
