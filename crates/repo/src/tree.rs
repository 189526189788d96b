//! What a commit holds: trees, the files in them and their content, and what differs between two.

use git2::{ErrorCode, ObjectType};

use crate::path::check_part;
use crate::{Change, Oid, Repo, RepoError, RepoPath};

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

impl Repo {
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
