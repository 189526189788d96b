//! What a person's git is doing in a working clone.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use git2::RepositoryState;

use crate::{Oid, Repo, RepoError};

/// Where HEAD is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// On a branch (full name), whether or not it has a commit yet.
    Branch(String),
    /// On a commit.
    Detached(Oid),
}

/// Whether the index had conflicts, and what tells that it is still the same index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexSeen {
    size: u64,
    modified: (i64, i64),
    inode: u64,
    conflicts: bool,
}

impl Repo {
    /// Whether the index has unresolved conflicts, as after a merge or a `git stash pop`. An index that did not change since is not read again;
    /// one that cannot be read has none here, and is reported by whoever wants to change it.
    #[must_use]
    pub fn has_index_conflicts(&self) -> bool {
        let path = self.git_dir().join("index");
        let Ok(found) = std::fs::metadata(&path) else { return false };
        let (size, modified, inode) = (found.len(), (found.mtime(), found.mtime_nsec()), found.ino());
        if let Some(seen) = self.index_seen.get()
            && (seen.size, seen.modified, seen.inode) == (size, modified, inode)
        {
            return seen.conflicts;
        }
        let conflicts = git2::Index::open(&path).is_ok_and(|index| index.has_conflicts());
        self.index_seen.set(Some(IndexSeen { size, modified, inode, conflicts }));
        conflicts
    }

    /// The operation that is under way (`rebase`, `merge`, …); such a one holds no lock between its commands.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        match self.git.state() {
            RepositoryState::Clean => None,
            RepositoryState::Merge => Some("merge"),
            RepositoryState::Revert | RepositoryState::RevertSequence => Some("revert"),
            RepositoryState::CherryPick | RepositoryState::CherryPickSequence => Some("cherry_pick"),
            RepositoryState::Bisect => Some("bisect"),
            RepositoryState::Rebase | RepositoryState::RebaseInteractive | RepositoryState::RebaseMerge => {
                Some("rebase")
            }
            RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase => Some("am"),
        }
    }

    /// Where HEAD is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head_place(&self) -> Result<Head, RepoError> {
        let fail = |e| RepoError::git("reading HEAD", e);
        let head = self.git.find_reference("HEAD").map_err(fail)?;
        match (head.symbolic_target().map_err(fail)?, head.target()) {
            (Some(name), _) => Ok(Head::Branch(name.to_owned())),
            (None, Some(oid)) => Ok(Head::Detached(oid.into())),
            (None, None) => Err(RepoError::NotFound { what: "what HEAD points to".to_owned() }),
        }
    }

    /// Git's lock of the index.
    #[must_use]
    pub fn index_lock_path(&self) -> PathBuf {
        self.git_dir().join("index.lock")
    }

    /// Why an agent cannot work in this clone, with what to do.
    ///
    /// # Errors
    /// [`RepoError::Unsupported`] for what is refused.
    pub fn check_workable(&self) -> Result<(), RepoError> {
        let refuse = |what: &str, hint| {
            Err(RepoError::Unsupported { path: self.path().to_owned(), what: what.to_owned(), hint })
        };
        if self.git.is_bare() {
            return refuse("a bare repository", "give the working clone");
        }
        if self.git.is_worktree() || self.git_dir() != self.path().join(".git/") && self.path().join(".git").is_file() {
            return refuse("a linked working tree", "give a clone of its own");
        }
        if self.git.is_shallow() {
            return refuse("a shallow clone", "complete it with `git fetch --unshallow`");
        }
        let config = self.git.config().map_err(|e| RepoError::git("reading the configuration", e))?;
        let on = |key| config.get_bool(key).unwrap_or(false);
        if on("core.sparseCheckout") {
            return refuse("a sparse checkout", "end it with `git sparse-checkout disable`");
        }
        if on("core.splitIndex")
            || std::fs::read_dir(self.git_dir()).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("sharedindex."))
                })
            })
        {
            return refuse("a split index", "end it with `git update-index --no-split-index`");
        }
        Ok(())
    }

    /// Sets configuration of the clone that keeps a person's git from throwing away what an agent needs.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn configure_clone(&self) -> Result<(), RepoError> {
        let fail = |e| RepoError::git("configuring the clone", e);
        let mut config =
            self.git.config().and_then(|config| config.open_level(git2::ConfigLevel::Local)).map_err(fail)?;
        for (key, value) in
            [("gc.auto", "0"), ("maintenance.auto", "false"), ("core.fsync", "all"), ("core.splitIndex", "false")]
        {
            if config.get_string(key).is_ok_and(|there| there == value) {
                continue;
            }
            config.set_str(key, value).map_err(fail)?;
        }
        Ok(())
    }

    /// A configuration value.
    #[must_use]
    pub fn config_string(&self, key: &str) -> Option<String> {
        self.git.config().ok()?.get_string(key).ok()
    }

    /// Creates a working clone's repository without a commit, on this branch, with a remote.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create_working(
        path: &std::path::Path,
        branch: &str,
        remote_name: &str,
        url: &str,
    ) -> Result<Self, RepoError> {
        let mut options = git2::RepositoryInitOptions::new();
        options.external_template(false).initial_head(branch).no_reinit(true);
        let git =
            git2::Repository::init_opts(path, &options).map_err(|e| RepoError::git("creating a repository", e))?;
        git.remote(remote_name, url).map_err(|e| RepoError::git("adding the remote", e))?;
        drop(git);
        let repo = Self::open(path)?;
        repo.configure_clone()?;
        Ok(repo)
    }

    /// Whether a path that git does not track is ignored.
    #[must_use]
    pub fn is_ignored(&self, path: &crate::RepoPath) -> bool {
        self.git.is_path_ignored(path.as_path()).unwrap_or(false)
    }

    /// Why the bytes in the file are not the bytes git would store, if they are not: a filter (LFS), line endings, an encoding.
    #[must_use]
    pub fn conversion(&self, path: &crate::RepoPath, content: &[u8]) -> Option<&'static str> {
        let attribute = |name| {
            let value = self.git.get_attr(path.as_path(), name, git2::AttrCheckFlags::FILE_THEN_INDEX).ok().flatten();
            value.map(str::to_owned)
        };
        let set = |value: &Option<String>| value.as_deref().is_some_and(|value| value != "false" && !value.is_empty());
        if set(&attribute("filter")) {
            return Some("it goes through a filter (LFS)");
        }
        if set(&attribute("working-tree-encoding")) {
            return Some("it is converted from another encoding");
        }
        if set(&attribute("ident")) {
            return Some("it has keywords that git expands");
        }
        let (text, eol) = (attribute("text"), attribute("eol"));
        if text.as_deref() == Some("false") || content.iter().take(8000).any(|byte| *byte == 0) {
            return None;
        }
        let auto = self.config_string("core.autocrlf");
        let converts_out = eol.as_deref() == Some("crlf") || eol.is_none() && auto.as_deref() == Some("true");
        if converts_out {
            return Some("its line endings are converted (autocrlf, eol=crlf)");
        }
        let normalises = set(&text) || eol.is_some() || auto.as_deref() == Some("input");
        if normalises && content.windows(2).any(|pair| pair == b"\r\n") {
            return Some("its line endings would be converted");
        }
        None
    }
}
