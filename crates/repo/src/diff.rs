//! What changed between two trees.

use git2::{ObjectType, Tree, TreeEntry};
use serde::{Deserialize, Serialize};

use crate::tree::join;
use crate::{FileMode, Oid, Repo, RepoError, RepoPath};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is new.
    Added,
    /// Its content or its executable bit is different.
    Modified,
    /// It is gone.
    Deleted,
    /// It was a file and is a symlink now, or the like.
    TypeChanged,
}

/// One path that differs. A rename is a deletion and an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: RepoPath,
    /// What happened.
    pub status: Status,
    /// Content before; nothing when it did not exist.
    pub old: Option<Oid>,
    /// Content after; nothing when it does not exist any more.
    pub new: Option<Oid>,
}

impl Status {
    /// The word used in events: `added`, `modified`, `deleted`, `type_changed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::TypeChanged => "type_changed",
        }
    }
}

/// The kind and id of one side of a name; trees and files of one name are two different things.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Side {
    oid: Oid,
    mode: i32,
}

impl Side {
    fn of(entry: &TreeEntry<'_>) -> Self {
        Self { oid: entry.id().into(), mode: entry.filemode() }
    }
}

/// Walks both trees side by side and opens only folders whose ids differ.
pub(crate) fn between(repo: &Repo, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<Change>, RepoError> {
    let mut changes = Vec::new();
    walk(repo, "", old, new, &mut changes)?;
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

fn walk(
    repo: &Repo,
    base: &str,
    old: Option<Oid>,
    new: Option<Oid>,
    changes: &mut Vec<Change>,
) -> Result<(), RepoError> {
    if old == new {
        return Ok(());
    }
    let open = |oid: Oid| repo.git.find_tree(oid.git()).map_err(|e| RepoError::git("reading a tree", e));
    let old = old.map(open).transpose()?;
    let new = new.map(open).transpose()?;
    let mut left = entries(old.as_ref());
    let mut right = entries(new.as_ref());
    loop {
        // Both trees have git's order, in which `a` as a file and `a` as a folder sort differently; each is then a one-sided entry.
        let (l, r) = match (left.peek(), right.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => (left.next(), None),
            (None, Some(_)) => (None, right.next()),
            (Some(l), Some(r)) => match sort_key(l).cmp(&sort_key(r)) {
                std::cmp::Ordering::Less => (left.next(), None),
                std::cmp::Ordering::Greater => (None, right.next()),
                std::cmp::Ordering::Equal => (left.next(), right.next()),
            },
        };
        let Some(name) = l.as_ref().or(r.as_ref()).map(|entry| entry.name_bytes().to_vec()) else { return Ok(()) };
        let (l, r) = (l.as_ref().map(Side::of), r.as_ref().map(Side::of));
        if l == r {
            continue;
        }
        let Some(path) = join(base, &name) else { continue };
        let is_tree = |side: &Option<Side>| side.is_some_and(|s| s.mode & 0o170_000 == 0o040_000);
        if is_tree(&l) || is_tree(&r) {
            walk(repo, path.as_str(), l.map(|s| s.oid), r.map(|s| s.oid), changes)?;
        } else {
            push(path, l, r, changes);
        }
    }
}

fn entries<'a>(tree: Option<&'a Tree<'a>>) -> std::iter::Peekable<impl Iterator<Item = TreeEntry<'a>>> {
    tree.into_iter().flat_map(|tree| tree.iter()).peekable()
}

/// Git sorts a folder as if its name ended in a slash.
fn sort_key(entry: &TreeEntry<'_>) -> Vec<u8> {
    let mut key = entry.name_bytes().to_vec();
    if entry.kind() == Some(ObjectType::Tree) {
        key.push(b'/');
    }
    key
}

fn push(path: RepoPath, old: Option<Side>, new: Option<Side>, changes: &mut Vec<Change>) {
    let kind = |side: Side| match FileMode::from_raw(side.mode) {
        Some(FileMode::Executable) => Some(FileMode::File),
        other => other,
    };
    // A file that became a folder leaves two one-sided changes of different paths, so the pair below is always of one path.
    let status = match (old, new) {
        (None, _) => Status::Added,
        (_, None) => Status::Deleted,
        (Some(old), Some(new)) if kind(old) != kind(new) => Status::TypeChanged,
        _ => Status::Modified,
    };
    changes.push(Change { path, status, old: old.map(|s| s.oid), new: new.map(|s| s.oid) });
}
