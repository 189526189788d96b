//! What an import has to look at: the files as they are now against the files the database knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use baft_repo::{FileMode, Oid, Repo, RepoPath};

use super::rules::Rules;
use super::stored::Complaints;
use crate::ImporterError;
use crate::apply::FileRecord;
use crate::source::{History, Range, Saved, Target, WORKTREE};
use baft_dataset::dataset::Datasets;

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// Its content.
    pub blob: Oid,
    /// When it was saved, if it is not as committed: seconds since 1970, and how long ago.
    pub saved: Option<(i64, Duration)>,
    /// The commit has it too, with whatever content.
    pub committed: bool,
}

/// Every file that matters, as it is now.
pub type Files = BTreeMap<String, Now>;

/// What the published database knows about the source.
#[derive(Debug, Clone)]
pub struct Base {
    /// The commit it was built from.
    pub commit: Option<Oid>,
    /// Its `_files`.
    pub files: BTreeMap<String, FileRecord>,
    /// Its `_errors`, in short.
    pub complaints: Complaints,
}

/// What there is to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Files to read again.
    pub read: BTreeSet<String>,
    /// Files that are gone.
    pub gone: BTreeSet<String>,
    /// What lies between the database's commit and this one; nothing when history was rewritten, or there was no commit.
    pub range: Option<Range>,
}

impl Plan {
    /// All files it names.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.read.union(&self.gone).cloned().collect()
    }

    /// Whether the database shows everything already.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.gone.is_empty()
    }
}

/// The files of a commit that matter. `cached` is what is known of another commit.
pub fn committed_files(
    repo: &Repo,
    commit: Oid,
    history: &mut History,
    datasets: &Datasets,
    cached: Option<&(Oid, BTreeMap<String, Oid>)>,
) -> Result<BTreeMap<String, Oid>, ImporterError> {
    let failed = "listing a commit";
    let ordinary = |mode| matches!(mode, FileMode::File | FileMode::Executable);
    if let Some((known, files)) = cached
        && let Some(range) = history.since(repo, *known)?
    {
        let mut files = files.clone();
        for path in range.changed {
            let Ok(repo_path) = RepoPath::new(path.clone()) else { continue };
            let entries = repo.list(commit, Some(&repo_path)).map_err(ImporterError::repo(failed))?;
            match entries.iter().find(|entry| entry.path == repo_path && ordinary(entry.mode)) {
                Some(entry) => files.insert(path, entry.oid),
                None => files.remove(&path),
            };
        }
        return Ok(files);
    }
    let entries = repo.list(commit, None).map_err(ImporterError::repo(failed))?;
    let mattering = entries.into_iter().filter(|entry| ordinary(entry.mode) && datasets.concerns(entry.path.as_str()));
    Ok(mattering.map(|entry| (entry.path.as_str().to_owned(), entry.oid)).collect())
}

/// The files as they are now: those of the commit, or those saved.
#[must_use]
pub fn files_now(committed: &BTreeMap<String, Oid>, saved: Option<&BTreeMap<String, Saved>>) -> Files {
    let Some(saved) = saved else {
        return committed
            .iter()
            .map(|(path, blob)| (path.clone(), Now { blob: *blob, saved: None, committed: true }))
            .collect();
    };
    let now = |(path, file): (&String, &Saved)| {
        let there = committed.get(path);
        let differs = there != Some(&file.blob);
        let now =
            Now { blob: file.blob, saved: differs.then_some((file.modified, file.age)), committed: there.is_some() };
        (path.clone(), now)
    };
    saved.iter().map(now).collect()
}

/// Compares what is with what the database knows.
pub fn plan(
    files: &Files,
    base: &Base,
    rules: &Rules,
    target: Target,
    repo: Option<&Repo>,
    history: Option<&mut History>,
) -> Result<Plan, ImporterError> {
    let range = match (repo, history, target.commit(), base.commit) {
        (Some(repo), Some(history), Some(_), Some(old)) => history.since(repo, old)?,
        (_, _, None, None) => Some(Range::default()),
        _ => None,
    };
    let gone = base.files.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
    let mut read = BTreeSet::new();
    for (path, now) in files {
        let known = base.files.get(path);
        let same = known.is_some_and(|known| {
            let was_saved = known.since == WORKTREE;
            known.blob == now.blob.to_string() && was_saved == now.saved.is_some()
        });
        let changed = range.as_ref().is_none_or(|range| range.changed.contains(path));
        if !same || changed {
            read.insert(path.clone());
        }
    }
    // Another schema, another judgement of every row.
    for dataset in &rules.datasets.all {
        let Some(schema) = &dataset.schema else { continue };
        let before = base.files.get(schema).map(|file| file.good_blob.clone().unwrap_or_else(|| file.blob.clone()));
        let before = before.filter(|blob| !blob.is_empty());
        if before != rules.schema_blob(schema).map(|blob| blob.to_string()) {
            let of_dataset =
                files.keys().filter(|path| rules.datasets.for_path(path).is_some_and(|d| d.id == dataset.id));
            read.extend(of_dataset.cloned());
        }
    }
    Ok(Plan { read, gone, range })
}

/// Contents that are not in the repository, by id.
pub type Overlay = HashMap<Oid, Arc<[u8]>>;
