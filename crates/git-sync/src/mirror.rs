//! The mirror on disk: opened, cloned, and cloned again beside a damaged one.

use std::path::{Path, PathBuf};

use baft_repo::transport::{FetchReport, Remote, Transport};
use baft_repo::{Oid, Repo, RepoError};

use crate::config::Target;
use crate::error::{Damage, Failure};
use crate::wanted::Wanted;

/// What a sync is after: found in the remote's list, or given as a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A ref of the remote.
    Ref(Wanted),
    /// A commit, wherever it is.
    Commit(Oid),
}

impl Goal {
    pub(crate) fn commit(&self) -> Oid {
        match self {
            Self::Ref(wanted) => wanted.commit,
            Self::Commit(oid) => *oid,
        }
    }
}

/// More packs than this are made one.
const MOST_PACKS: usize = 50;
/// Longest time this may take.
const PACKING: std::time::Duration = std::time::Duration::from_secs(1800);
/// And so are more loose objects than this.
const MOST_LOOSE: usize = 6700;

/// The bare repository and where it lies.
#[derive(Debug)]
pub(crate) struct Mirror {
    path: PathBuf,
}

impl Mirror {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Removes what a killed process left behind: lock files, which would stop every later fetch, and halves of packs and objects. Only for the
    /// start, under the lock of the root: nobody else writes to the mirror.
    pub(crate) fn sweep(&self) {
        match sweep(&self.path, 0) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed what a killed process had left in the mirror"),
            Err(error) => tracing::warn!(%error, "cannot look for what a killed process may have left in the mirror"),
        }
    }

    /// Opens it. `None` when there is none yet.
    pub(crate) fn open(&self) -> Result<Option<Repo>, RepoError> {
        if !self.path.exists() {
            return Ok(None);
        }
        Repo::open(&self.path).map(Some)
    }

    /// Brings the goal into `repo`; gives the commit it leads to now, which may be newer than the one that was listed.
    pub(crate) fn fetch(
        transport: &dyn Transport,
        repo: &Repo,
        remote: &Remote,
        goal: &Goal,
    ) -> Result<(Oid, FetchReport), Failure> {
        match goal {
            Goal::Ref(wanted) => {
                let spec = wanted.refspec();
                let report = transport.fetch(repo, remote, std::slice::from_ref(&spec))?;
                let local = spec.rsplit(':').next().unwrap_or_default();
                Ok((repo.resolve(local)?, report))
            }
            Goal::Commit(oid) => {
                let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"].map(str::to_owned);
                let mut report = transport.fetch(repo, remote, &all)?;
                if !repo.contains(*oid) {
                    // On no branch and under no tag: some servers give it to those who know its name.
                    let spec = format!("+{oid}:refs/baft/commit");
                    let direct = transport.fetch(repo, remote, std::slice::from_ref(&spec)).map_err(|error| {
                        Failure::new(
                            baft_bus::payload::FailureClass::NotFound,
                            format!("commit {oid} is on no branch or tag of the remote, and asking for it by name failed: {error}"),
                        )
                    })?;
                    report.objects += direct.objects;
                    report.bytes += direct.bytes;
                }
                Ok((repo.resolve(&oid.to_string())?, report))
            }
        }
    }

    /// Clones into a folder beside, and puts it in place only when it has the goal and everything it needs; what was in place is set aside.
    /// Readers that have the old one open keep it.
    pub(crate) fn rebuild(
        &self,
        transport: &dyn Transport,
        remote: &Remote,
        goal: &Goal,
    ) -> Result<(Repo, Oid, FetchReport), Failure> {
        let fresh = self.sibling("new");
        remove(&fresh)?;
        let repo = Repo::create_bare(&fresh)?;
        let (commit, report) = Self::fetch(transport, &repo, remote, goal)?;
        // Whatever came is checked here, so that damage at the remote's end is not taken for a cure.
        let check = repo.list(commit, None);
        drop(repo);
        check.map_err(|error| Failure { damage: Damage::None, ..Failure::from(error) })?;
        let aside = self.sibling(&format!("damaged-{}", baft_kit::time::unix_seconds()));
        self.forget_set_aside()?;
        if self.replace(&fresh, &aside)? {
            tracing::warn!(aside = %aside.display(), "the damaged mirror was set aside; remove it when nobody wants to look at it");
        }
        let repo = Repo::open(&self.path)?;
        Ok((repo, commit, report))
    }

    /// Whether there are so many packs or loose objects that looking for an object has become slow: every fetch brings some, and nothing else
    /// ever takes them away.
    pub(crate) fn is_scattered(&self) -> bool {
        let count = |folder: &str, suffix: &str| {
            let entries = std::fs::read_dir(self.path.join("objects").join(folder));
            entries.map_or(0, |entries| {
                entries
                    .flatten()
                    .filter(|entry| entry.file_name().as_encoded_bytes().ends_with(suffix.as_bytes()))
                    .count()
            })
        };
        // As git does: one folder of 256 stands for all.
        count("pack", ".pack") > MOST_PACKS || count("17", "") > MOST_LOOSE / 256
    }

    /// Makes a mirror with one pack out of this one, without the network, and puts it in place. Readers that have the old one open keep it
    /// until [`Mirror::forget_old`].
    pub(crate) fn compact(&self, transport: &dyn Transport) -> Result<(), Failure> {
        let fresh = self.sibling("new");
        remove(&fresh)?;
        self.forget_old()?;
        let repo = Repo::create_bare(&fresh)?;
        let url = self.path.display().to_string();
        let from = Remote { url, deadline: Some(PACKING), ..Remote::default() };
        transport.fetch(&repo, &from, &["+refs/*:refs/*".to_owned()])?;
        drop(repo);
        self.replace(&fresh, &self.sibling("old"))?;
        Ok(())
    }

    /// Removes what [`Mirror::compact`] replaced.
    pub(crate) fn forget_old(&self) -> std::io::Result<()> {
        remove(&self.sibling("old"))
    }

    /// Puts `fresh` in place, in one step where the file system can, and what was in place aside; says whether there was something.
    fn replace(&self, fresh: &Path, aside: &Path) -> std::io::Result<bool> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let existed = self.path.exists();
        if !existed {
            std::fs::rename(fresh, &self.path)?;
        } else if renameat_with(CWD, fresh, CWD, &self.path, RenameFlags::EXCHANGE).is_ok() {
            std::fs::rename(fresh, aside)?;
        } else {
            std::fs::rename(&self.path, aside)?;
            std::fs::rename(fresh, &self.path)?;
        }
        self.path.parent().map_or(Ok(()), baft_kit::durable::sync_dir)?;
        Ok(existed)
    }

    /// Only the last damaged mirror is kept: they are caches.
    fn forget_set_aside(&self) -> std::io::Result<()> {
        let (Some(root), Some(prefix)) =
            (self.path.parent(), self.sibling("damaged-").file_name().map(ToOwned::to_owned))
        else {
            return Ok(());
        };
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn sibling(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(suffix);
        self.path.with_file_name(name)
    }
}

/// What is followed, as a goal: looks at the remote unless it is a commit. `None` when the remote does not have it.
pub(crate) fn goal(transport: &dyn Transport, remote: &Remote, target: &Target) -> Result<Option<Goal>, Failure> {
    match target {
        Target::Commit(oid) => Ok(Some(Goal::Commit(*oid))),
        Target::Ref(name) => Ok(crate::wanted::find(&transport.list(remote)?, name).map(Goal::Ref)),
    }
}

fn sweep(folder: &Path, depth: usize) -> std::io::Result<usize> {
    let mut removed = 0;
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            // Refs nest as deep as their names; objects do not.
            if depth < 64 {
                removed += sweep(&entry.path(), depth + 1)?;
            }
        } else if name.ends_with(".lock") || name.contains("_git2_") {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
