//! The refs and files an agent owns.

use std::path::{Path, PathBuf};

use baft_repo::Oid;

use super::Settings;

/// Names of refs, derived from the settings once.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The branch: `refs/heads/main`.
    pub(super) branch: String,
    /// For people: `refs/remotes/origin/main`.
    pub(super) tracking: String,
    /// The newest capture. Everything that was at rest is reachable from here, or from `held` and `snapshot`.
    pub(super) pending: String,
    /// Where the branch was when we last looked, to notice what a person does to it.
    pub(super) landed: String,
    /// Contents that are held back; never pushed.
    pub(super) held: String,
    /// Saves that were displaced by another save in the same moment; never pushed.
    pub(super) saved: String,
    /// What was on disk during a rebase, on another branch and the like.
    pub(super) snapshot: String,
    /// Upstream as far as it was accepted.
    pub(super) upstream: String,
    /// Upstream as it was fetched.
    pub(super) fetched: String,
    parked: String,
    rescue: String,
}

impl Names {
    pub(super) fn new(settings: &Settings) -> Self {
        let agent = &settings.agent;
        let own = |what: &str| format!("refs/baft/{what}/{agent}");
        Self {
            branch: format!("refs/heads/{}", settings.branch),
            tracking: format!("refs/remotes/{}/{}", settings.remote_name, settings.branch),
            pending: own("pending"),
            landed: own("landed"),
            held: own("held"),
            saved: own("saved"),
            snapshot: own("snapshot"),
            upstream: own("upstream"),
            fetched: own("fetched"),
            parked: own("parked"),
            rescue: format!("{}/{agent}", settings.rescue_prefix.trim_end_matches('/')),
        }
    }

    /// The local ref of something parked. Named by content, so that repeating it changes nothing.
    pub(super) fn parked(&self, commit: Oid) -> String {
        format!("{}/{}", self.parked, commit.short())
    }

    /// Where all of them are.
    pub(super) fn parked_prefix(&self) -> String {
        format!("{}/", self.parked)
    }

    /// The branch on the remote that keeps something parked.
    pub(super) fn rescue(&self, commit: Oid) -> String {
        format!("{}/{}", self.rescue, commit.short())
    }

    /// The branch on the remote that keeps what cannot land now.
    pub(super) fn rescue_pending(&self) -> String {
        format!("{}/pending", self.rescue)
    }
}

/// Files in `.git/baft/`.
#[derive(Debug, Clone)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn new(git_dir: &Path) -> Self {
        Self { dir: git_dir.join("baft") }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn sentinel(&self) -> PathBuf {
        self.dir.join("sentinel.json")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("agent.lock")
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.dir.join("journal.json")
    }

    pub(super) fn private_index(&self) -> PathBuf {
        self.dir.join("index")
    }

    pub(super) fn damaged(&self) -> PathBuf {
        self.dir.join("damaged")
    }
}
