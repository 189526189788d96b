//! One open repository: commits, trees, blobs and refs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use crate::path::check_part;
use crate::{Change, Oid, RepoError, RepoPath};

/// An open repository: a bare mirror, or the git folder of a working clone. Cheap to open (about a millisecond); `Send`, not `Sync`.
pub struct Repo {
    pub(crate) git: Repository,
    path: PathBuf,
    /// Objects written through this handle that nobody has asked for yet.
    pub(crate) written: std::cell::RefCell<std::collections::VecDeque<crate::write::Written>>,
    /// What was found in the index when it was last read for conflicts.
    pub(crate) index_seen: std::cell::Cell<Option<crate::state::IndexSeen>>,
}

/// What kind of thing an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileMode {
    /// An ordinary file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; the blob is its target.
    Symlink,
    /// A submodule; the id is a commit of another repository.
    Submodule,
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: RepoPath,
    /// Its content.
    pub oid: Oid,
    /// Its kind.
    pub mode: FileMode,
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

impl FileMode {
    /// Git's number for it.
    #[must_use]
    pub fn raw(self) -> i32 {
        match self {
            Self::File => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
            Self::Submodule => 0o160_000,
        }
    }

    pub(crate) fn from_raw(mode: i32) -> Option<Self> {
        match mode & 0o170_000 {
            0o100_000 if mode & 0o111 != 0 => Some(Self::Executable),
            0o100_000 => Some(Self::File),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Submodule),
            _ => None,
        }
    }
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

    /// The tree of a commit.
    ///
    /// # Errors
    /// When the commit is missing or damaged.
    pub fn tree_id(&self, commit: Oid) -> Result<Oid, RepoError> {
        Ok(self.commit(commit)?.tree_id().into())
    }

    /// The tree at a path of a commit; nothing when there is no folder of that name.
    ///
    /// # Errors
    /// When an object is missing or damaged.
    pub fn subtree_id(&self, commit: Oid, path: &RepoPath) -> Result<Option<Oid>, RepoError> {
        Ok(self.entry(commit, path)?.filter(|(_, mode)| mode & 0o170_000 == 0o040_000).map(|(oid, _)| oid))
    }

    /// What changed from one commit to another, in path order; everything is added when there is no old one. Costs by what changed: equal
    /// folders are never opened.
    ///
    /// # Errors
    /// When an object is missing or damaged.
    pub fn diff(&self, old: Option<Oid>, new: Oid) -> Result<Vec<Change>, RepoError> {
        let old = old.map(|old| self.tree_id(old)).transpose()?;
        crate::diff::between(self, old, Some(self.tree_id(new)?))
    }

    /// The same for two trees.
    ///
    /// # Errors
    /// When an object is missing or damaged.
    pub fn diff_trees(&self, old: Option<Oid>, new: Oid) -> Result<Vec<Change>, RepoError> {
        crate::diff::between(self, old, Some(new))
    }

    /// Every file of a commit, in path order; only what is under `prefix` (a folder or one file) when given. Names that are not UTF-8, or
    /// that no [`RepoPath`] can hold, are left out and logged.
    ///
    /// # Errors
    /// When an object is missing or damaged.
    pub fn list(&self, commit: Oid, prefix: Option<&RepoPath>) -> Result<Vec<Entry>, RepoError> {
        let mut entries = Vec::new();
        let Some(prefix) = prefix else {
            self.list_tree(self.tree_id(commit)?, "", &mut entries)?;
            return Ok(entries);
        };
        match self.entry(commit, prefix)? {
            Some((oid, mode)) if mode & 0o170_000 == 0o040_000 => self.list_tree(oid, prefix.as_str(), &mut entries)?,
            Some((oid, mode)) => {
                entries.extend(FileMode::from_raw(mode).map(|mode| Entry { path: prefix.clone(), oid, mode }));
            }
            None => {}
        }
        Ok(entries)
    }

    fn list_tree(&self, tree: Oid, base: &str, entries: &mut Vec<Entry>) -> Result<(), RepoError> {
        let tree = self.git.find_tree(tree.git()).map_err(|e| RepoError::git("reading a tree", e))?;
        for entry in tree.iter() {
            let Some(path) = join(base, entry.name_bytes()) else { continue };
            if entry.kind() == Some(ObjectType::Tree) {
                self.list_tree(entry.id().into(), path.as_str(), entries)?;
            } else if let Some(mode) = FileMode::from_raw(entry.filemode()) {
                entries.push(Entry { path, oid: entry.id().into(), mode });
            }
        }
        Ok(())
    }

    /// The bytes of a blob.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn read(&self, blob: Oid) -> Result<Vec<u8>, RepoError> {
        let odb = self.git.odb().map_err(|e| RepoError::git("opening the object store", e))?;
        let object = odb.read(blob.git()).map_err(|e| RepoError::git("reading a blob", e))?;
        Ok(object.data().to_vec())
    }

    /// The size of an object in bytes, without reading it all.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn size(&self, oid: Oid) -> Result<u64, RepoError> {
        let odb = self.git.odb().map_err(|e| RepoError::git("opening the object store", e))?;
        let (size, _) = odb.read_header(oid.git()).map_err(|e| RepoError::git("reading an object's size", e))?;
        Ok(size as u64)
    }

    /// The bytes of a file of a commit; nothing when the path is not a file there.
    ///
    /// # Errors
    /// When an object is missing or damaged.
    pub fn read_path(&self, commit: Oid, path: &RepoPath) -> Result<Option<Vec<u8>>, RepoError> {
        match self.entry(commit, path)? {
            Some((oid, mode)) if mode & 0o170_000 == 0o100_000 => self.read(oid).map(Some),
            _ => Ok(None),
        }
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

    fn entry(&self, commit: Oid, path: &RepoPath) -> Result<Option<(Oid, i32)>, RepoError> {
        let tree = self.commit(commit)?.tree().map_err(|e| RepoError::git("reading a tree", e))?;
        match tree.get_path(path.as_path()) {
            Ok(entry) => Ok(Some((entry.id().into(), entry.filemode()))),
            Err(e) if e.code() == ErrorCode::NotFound => Ok(None),
            Err(e) => Err(RepoError::git("reading a tree", e)),
        }
    }
}

/// The path of an entry, or nothing (logged) when it is one we do not handle.
pub(crate) fn join(base: &str, name: &[u8]) -> Option<RepoPath> {
    let usable = check_part(name).ok().and_then(|()| std::str::from_utf8(name).ok());
    let path = usable
        .and_then(|name| RepoPath::new(if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") }).ok());
    if path.is_none() {
        tracing::warn!(folder = base, name = %name.escape_ascii(), "left out a name that is not a valid UTF-8 path");
    }
    path
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
