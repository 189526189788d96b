//! Which commit is to be imported now.

use std::path::Path;

use baft_repo::{Oid, Repo};

use crate::ImporterError;
use crate::config::{Follow, Source};

/// What is to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A commit.
    Commit(Oid),
    /// The saved files, on top of this commit; on nothing when the folder is no repository or has no commit yet.
    Saved(Option<Oid>),
}

impl Target {
    /// The commit, whatever lies on top.
    #[must_use]
    pub fn commit(self) -> Option<Oid> {
        match self {
            Self::Commit(commit) => Some(commit),
            Self::Saved(commit) => commit,
        }
    }
}

/// Asks the source what is to be imported now; `at` asks for one commit instead.
///
/// # Errors
/// When there is nothing to import yet, or the commit is not there.
pub fn follow(source: &Source, repo: Option<&Repo>, at: Option<&str>) -> Result<Target, ImporterError> {
    let wanted = |repo: &Repo, rev: &str| {
        repo.resolve(rev).map(Target::Commit).map_err(ImporterError::repo("looking for the commit to import"))
    };
    match (source, repo, at) {
        (_, Some(repo), Some(at)) => wanted(repo, at),
        (Source::Git { follow: Follow::Ref(reference), .. }, Some(repo), None) => wanted(repo, reference),
        (Source::Git { follow: Follow::Link(link), .. }, Some(_), None) => linked(link).map(Target::Commit),
        (Source::Worktree { .. }, Some(repo), None) => {
            repo.head().map(Target::Saved).map_err(ImporterError::repo("reading HEAD"))
        }
        (Source::Worktree { .. }, None, None) => Ok(Target::Saved(None)),
        (_, None, _) => Err(ImporterError::NoSource("there is no repository to take a commit from".to_owned())),
    }
}

/// git-sync's link points to a folder named after the commit.
fn linked(link: &Path) -> Result<Oid, ImporterError> {
    let waiting = |why: String| {
        ImporterError::NoSource(format!("git-sync has published nothing at {} yet: {why}", link.display()))
    };
    let target = std::fs::read_link(link).map_err(|error| waiting(error.to_string()))?;
    let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.parse().map_err(|_| waiting(format!("its target {} is not named after a commit", target.display())))
}
