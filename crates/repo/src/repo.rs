//! One open repository: its commits and refs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use crate::{Oid, RepoError};

/// An open repository: a bare mirror, or the git folder of a working clone. Cheap to open (about a millisecond); `Send`, not `Sync`.
pub struct Repo {
    pub(crate) git: Repository,
    path: PathBuf,
    /// Objects written through this handle that nobody has asked for yet.
    pub(crate) written: std::cell::RefCell<std::collections::VecDeque<crate::write::Written>>,
    /// What was found in the index when it was last read for conflicts.
    pub(crate) index_seen: std::cell::Cell<Option<crate::state::IndexSeen>>,
}

/// Who wrote a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// As written in the commit.
    pub name: String,
    /// As written in the commit.
    pub email: String,
}

/// What a commit says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The commit.
    pub oid: Oid,
    /// Its parents, first parent first.
    pub parents: Vec<Oid>,
    /// Who wrote it.
    pub author: Author,
    /// When it was written, in seconds since 1970 (author time).
    pub time: i64,
    /// First line of its message.
    pub summary: String,
}

/// One ref and the commit it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefInfo {
    /// Full name: `refs/heads/main`.
    pub name: String,
    /// What it points to, tags peeled where they can be.
    pub oid: Oid,
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repo({})", self.path.display())
    }
}

impl Repo {
    /// Opens the repository at exactly this path: a bare repository, a working tree, or its `.git`. Parent folders are not searched.
    ///
    /// # Errors
    /// When there is none, its format is not supported, or everybody may write to it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RepoError> {
        let path = path.as_ref();
        let none: [&std::ffi::OsStr; 0] = [];
        let git = Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, none).map_err(|e| open_error(path, e))?;
        check_owner(git.path())?;
        Ok(Self { git, path: path.to_owned(), written: Default::default(), index_seen: Default::default() })
    }

    /// Opens it anew, which lets go of mapped packs and cached objects. What was written through this handle stays remembered.
    ///
    /// # Errors
    /// As for [`Repo::open`]; then the old handle stays.
    pub fn reopen(&mut self) -> Result<(), RepoError> {
        self.git = Self::open(&self.path)?.git;
        Ok(())
    }

    /// Creates an empty bare repository. What is there already is opened.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn create_bare(path: impl AsRef<Path>) -> Result<Self, RepoError> {
        let path = path.as_ref();
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head("main");
        let git = Repository::init_opts(path, &options).map_err(|e| RepoError::git("creating a repository", e))?;
        let mut config = git.config().map_err(|e| RepoError::git("opening the repository's configuration", e))?;
        // Nobody else may throw objects away here, and a person's git must be as careful with the disk as we are.
        for (key, value) in [("gc.auto", "0"), ("maintenance.auto", "false"), ("core.fsync", "all")] {
            config.set_str(key, value).map_err(|e| RepoError::git("configuring the repository", e))?;
        }
        drop(config);
        Ok(Self { git, path: path.to_owned(), written: Default::default(), index_seen: Default::default() })
    }

    /// Where the repository is, as given to [`Repo::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder with the objects and refs.
    pub fn git_dir(&self) -> &Path {
        self.git.path()
    }

    /// The commit a revision names (`main`, `refs/tags/v1`, `HEAD~2`, an id), tags peeled.
    ///
    /// # Errors
    /// [`RepoError::NotFound`] when there is no such commit.
    pub fn resolve(&self, rev: &str) -> Result<Oid, RepoError> {
        let not_found = |_| RepoError::NotFound { what: rev.to_owned() };
        let object = self.git.revparse_single(rev).map_err(|e| match e.code() {
            ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Ambiguous => not_found(e),
            _ => RepoError::git("resolving a revision", e),
        })?;
        Ok(object.peel(ObjectType::Commit).map_err(not_found)?.id().into())
    }

    /// The commit HEAD leads to; nothing in an empty repository.
    ///
    /// # Errors
    /// When HEAD cannot be read.
    pub fn head(&self) -> Result<Option<Oid>, RepoError> {
        match self.git.head() {
            Ok(head) => Ok(Some(head.peel_to_commit().map_err(|e| RepoError::git("reading HEAD", e))?.id().into())),
            Err(e) if matches!(e.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => Ok(None),
            Err(e) => Err(RepoError::git("reading HEAD", e)),
        }
    }

    /// Whether an object is in the repository.
    pub fn contains(&self, oid: Oid) -> bool {
        self.git.odb().is_ok_and(|odb| odb.exists(oid.git()))
    }

    /// What a commit says about itself.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn commit_info(&self, commit: Oid) -> Result<CommitInfo, RepoError> {
        let commit = self.commit(commit)?;
        let author = commit.author();
        Ok(CommitInfo {
            oid: commit.id().into(),
            parents: commit.parent_ids().map(Oid::from).collect(),
            author: Author {
                name: String::from_utf8_lossy(author.name_bytes()).into_owned(),
                email: String::from_utf8_lossy(author.email_bytes()).into_owned(),
            },
            time: author.when().seconds(),
            summary: String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned(),
        })
    }

    /// Whether `ancestor` is `descendant` or one of its ancestors. False when either is not here.
    ///
    /// # Errors
    /// When the history is damaged.
    pub fn is_ancestor(&self, ancestor: Oid, descendant: Oid) -> Result<bool, RepoError> {
        if ancestor == descendant {
            return Ok(true);
        }
        if !self.contains(ancestor) || !self.contains(descendant) {
            return Ok(false);
        }
        self.git
            .graph_descendant_of(descendant.git(), ancestor.git())
            .map_err(|e| RepoError::git("walking the history", e))
    }

    /// A commit and its first parents, newest first.
    pub fn first_parents(&self, from: Oid) -> impl Iterator<Item = Result<CommitInfo, RepoError>> + '_ {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let info = self.commit_info(next.take()?);
            if let Ok(info) = &info {
                next = info.parents.first().copied();
            }
            Some(info)
        })
    }

    /// Every ref that leads to an object, by name.
    ///
    /// # Errors
    /// When the refs cannot be read.
    pub fn refs(&self) -> Result<Vec<RefInfo>, RepoError> {
        let references = self.git.references().map_err(|e| RepoError::git("listing refs", e))?;
        let mut refs = Vec::new();
        for reference in references {
            let reference = reference.map_err(|e| RepoError::git("listing refs", e))?;
            let Ok(resolved) = reference.resolve() else { continue };
            let oid = resolved.peel_to_commit().map(|commit| commit.id()).ok().or_else(|| resolved.target());
            if let (Ok(name), Some(oid)) = (reference.name(), oid) {
                refs.push(RefInfo { name: name.to_owned(), oid: oid.into() });
            }
        }
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(refs)
    }

    /// What one ref points to, nothing when it does not exist.
    ///
    /// # Errors
    /// When the ref cannot be read.
    pub fn find_ref(&self, name: &str) -> Result<Option<Oid>, RepoError> {
        match self.git.refname_to_id(name) {
            Ok(oid) => Ok(Some(oid.into())),
            Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
            Err(e) => Err(RepoError::git("reading a ref", e)),
        }
    }

    /// The URL a remote has in this repository's configuration, if there is such a remote.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn remote_url(&self, name: &str) -> Result<Option<String>, RepoError> {
        let config = self.git.config().map_err(|e| RepoError::git("reading the configuration", e))?;
        match config.get_string(&format!("remote.{name}.url")) {
            Ok(url) => Ok(Some(url)),
            Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
            Err(e) => Err(RepoError::git("reading the configuration", e)),
        }
    }

    /// Moves a ref by compare-and-swap: only from `expected` (nothing means: only when it does not exist). `message` goes to the reflog
    /// where there is one.
    ///
    /// # Errors
    /// [`RepoError::Moved`] when the ref is somewhere else.
    pub fn set_ref(&self, name: &str, new: Oid, expected: Option<Oid>, message: &str) -> Result<(), RepoError> {
        let result = match expected {
            Some(expected) => self.git.reference_matching(name, new.git(), true, expected.git(), message),
            None => self.git.reference(name, new.git(), false, message),
        };
        match result {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.code(), ErrorCode::Modified | ErrorCode::Exists | ErrorCode::NotFound) => {
                Err(RepoError::Moved { name: name.to_owned(), expected, actual: self.find_ref(name)? })
            }
            Err(e) => Err(RepoError::git("moving a ref", e)),
        }
    }

    pub(crate) fn commit(&self, commit: Oid) -> Result<git2::Commit<'_>, RepoError> {
        self.git.find_commit(commit.git()).map_err(|e| match e.code() {
            ErrorCode::NotFound => RepoError::NotFound { what: format!("commit {commit}") },
            _ => RepoError::git("reading a commit", e),
        })
    }
}

fn open_error(path: &Path, error: git2::Error) -> RepoError {
    let message = error.message();
    let unsupported = |what: &str, hint| RepoError::Unsupported { path: path.to_owned(), what: what.to_owned(), hint };
    if error.code() == ErrorCode::NotFound {
        return RepoError::NotARepository { path: path.to_owned() };
    }
    if message.contains("reftable") || message.contains("refstorage") {
        return unsupported("reftable", "convert it with `git refs migrate --ref-format=files`");
    }
    if message.contains("extension") {
        return unsupported(message, "clone it again without this extension");
    }
    RepoError::git("opening the repository", error)
}

/// libgit2's own owner check is off (it only reads global configuration). Ours asks what matters: can a stranger have planted something?
fn check_owner(git_dir: &Path) -> Result<(), RepoError> {
    let metadata = std::fs::metadata(git_dir).map_err(|e| RepoError::io("looking at", git_dir, e))?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours && metadata.mode() & 0o002 != 0 {
        return Err(RepoError::Untrusted { path: git_dir.to_owned() });
    }
    Ok(())
}
