//! Building a checkout's tree: one walk over the new tree and the manifest of an old one, side by side.
//!
//! The same walk serves three bases. With [`Base::Empty`] every file is written. With [`Base::Linked`] files whose id and mode did not change
//! are linked from the old checkout, after a look at whether they still are what was written there. With [`Base::InPlace`] the folder is
//! already a copy of the old tree that nobody else knows (see `spare`), so unchanged files only need that look.

mod place;
mod sync;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::files::{self, Permissions};
use super::manifest::{Cursor, Manifest, Record, Window, Writer};
use crate::path::check_part;
use crate::{FileMode, Oid, Repo, RepoError};

/// Two descriptors per level are open during the walk.
const DEEPEST: usize = 200;

/// What there is already.
pub(super) enum Base<'m> {
    /// Nothing.
    Empty,
    /// A checkout to link from.
    Linked { manifest: &'m Manifest, root: OwnedFd },
    /// The folder being built already holds what the manifest says.
    InPlace { manifest: &'m Manifest },
}

/// What a build did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) kept: usize,
    pub(super) written: usize,
    pub(super) bytes: u64,
    /// Files of the base that were not what its manifest says.
    pub(super) altered: usize,
}

/// Why a build stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(RepoError),
    /// The caller asked.
    Interrupted,
    /// A folder of an in-place base has entries nobody wrote there: start again from something else.
    NotOurs,
}

impl From<RepoError> for Stop {
    fn from(error: RepoError) -> Self {
        Self::Failed(error)
    }
}

pub(super) struct Builder<'a> {
    repo: &'a Repo,
    odb: git2::Odb<'a>,
    commit: Oid,
    permissions: Permissions,
    interrupted: &'a dyn Fn() -> bool,
    window: Window,
    in_place: bool,
    writer: Writer,
    counts: Counts,
    /// The first [`sync::FEW`] new files, still open.
    new_files: Vec<File>,
    /// Folders with new entries, below the root.
    new_dirs: Vec<Vec<u8>>,
    path: Vec<u8>,
    depth: usize,
}

type Names<'a> = Vec<(Vec<u8>, FileKind, Oid)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Tree,
    File(FileMode),
}

/// How a checkout is made, whatever its base.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) commit: Oid,
    pub(super) permissions: Permissions,
    /// See [`Writer::new`].
    pub(super) kind: u64,
    /// Asked between folders.
    pub(super) interrupted: &'a dyn Fn() -> bool,
}

/// Builds the tree of a commit in `root`, which is empty unless the base is in place, and returns its manifest. Everything is on disk then,
/// except `root`'s own name.
pub(super) fn build(
    repo: &Repo,
    plan: Plan<'_>,
    base: Base<'_>,
    root: BorrowedFd<'_>,
) -> Result<(Manifest, Counts), Stop> {
    let Plan { commit, permissions, kind, interrupted } = plan;
    let tree = repo.tree_id(commit)?;
    let (old, source, in_place) = match base {
        Base::Empty => (None, None, false),
        Base::Linked { manifest, root } => (Some(manifest), Some(root), false),
        Base::InPlace { manifest } => (Some(manifest), None, true),
    };
    let mut builder = Builder {
        repo,
        odb: repo.git.odb().map_err(|e| RepoError::git("opening the object store", e))?,
        commit,
        permissions,
        interrupted,
        window: old.map(Manifest::window).unwrap_or_default(),
        in_place,
        writer: Writer::new(tree, kind, old.map_or(0, |old| old.as_bytes().len() + 1024)),
        counts: Counts::default(),
        new_files: Vec::new(),
        new_dirs: Vec::new(),
        path: Vec::new(),
        depth: 0,
    };
    let mtime =
        || files::stat_fd(root).map(|stat| stat.mtime).map_err(|e| RepoError::io("looking at", "a checkout", e));
    if in_place && old.map(Manifest::root_mtime) != Some(mtime()?) {
        return Err(Stop::NotOurs);
    }
    let same = old.is_some_and(|old| old.tree() == tree);
    let mut cursor = old.map(Manifest::cursor);
    let mut fresh = !in_place;
    match cursor.as_mut() {
        Some(cursor) if same => builder.same(cursor, source.as_ref().map(AsFd::as_fd), root, &mut fresh)?,
        cursor => builder.changed(tree, cursor, source.as_ref().map(AsFd::as_fd), root, &mut fresh)?,
    }
    builder.sync(root, fresh)?;
    Ok((builder.writer.finish(mtime()?), builder.counts))
}

impl<'a> Builder<'a> {
    /// A folder whose tree is that of the manifest.
    fn same(
        &mut self,
        old: &mut Cursor<'_>,
        source: Option<BorrowedFd<'_>>,
        target: BorrowedFd<'_>,
        fresh: &mut bool,
    ) -> Result<(), Stop> {
        loop {
            match old.next() {
                None | Some(Record::Leave) => return Ok(()),
                Some(Record::File { name, mode, oid, stat }) => {
                    self.keep(name, mode, oid, stat, source, target, fresh)?
                }
                Some(Record::Dir { name, tree, mtime }) => {
                    self.folder(
                        name,
                        tree,
                        Some((old, mtime)),
                        source,
                        target,
                        fresh,
                        |this, old, source, dir, fresh| old.map_or(Ok(()), |old| this.same(old, source, dir, fresh)),
                    )?;
                }
            }
        }
    }

    /// A folder whose tree differs from the manifest's, or that is new.
    fn changed(
        &mut self,
        tree: Oid,
        mut old: Option<&mut Cursor<'_>>,
        source: Option<BorrowedFd<'_>>,
        target: BorrowedFd<'_>,
        fresh: &mut bool,
    ) -> Result<(), Stop> {
        for (name, kind, oid) in self.entries(tree)? {
            let before = old.as_deref_mut().map_or(Ok(None), |old| self.advance(old, &name, kind, target, fresh))?;
            match (kind, before) {
                (FileKind::File(mode), Some(Record::File { mode: old_mode, oid: old_oid, stat, .. }))
                    if (mode, oid) == (old_mode, old_oid) =>
                {
                    self.keep(&name, mode, oid, stat, source, target, fresh)?;
                }
                (FileKind::File(mode), before) => {
                    if before.is_some() && self.in_place {
                        self.remove(&name, mode == FileMode::Submodule, target)?;
                    }
                    self.write(&name, mode, oid, target)?;
                    *fresh = true;
                }
                (FileKind::Tree, Some(Record::Dir { tree: old_tree, mtime, .. })) => {
                    let same = old_tree == oid;
                    self.folder(&name, oid, old.as_deref_mut().map(|old| (old, mtime)), source, target, fresh, {
                        |this: &mut Self, old, source, dir, fresh| match old {
                            Some(old) if same => this.same(old, source, dir, fresh),
                            old => this.changed(oid, old, source, dir, fresh),
                        }
                    })?;
                }
                (FileKind::Tree, _) => {
                    self.folder(&name, oid, None, None, target, fresh, |this, _, _, dir, fresh| {
                        this.changed(oid, None, None, dir, fresh)
                    })?;
                }
            }
        }
        // Whatever the manifest has beyond the last name is gone.
        if let Some(old) = old {
            while let Some(record) = old.peek() {
                self.gone(old, record, target, fresh)?;
            }
            old.next();
        }
        Ok(())
    }

    /// Moves the manifest to this name: what lies before it is gone, and the record is taken when it is of the same kind.
    fn advance<'m>(
        &mut self,
        old: &mut Cursor<'m>,
        name: &[u8],
        kind: FileKind,
        target: BorrowedFd<'_>,
        fresh: &mut bool,
    ) -> Result<Option<Record<'m>>, Stop> {
        while let Some(record) = old.peek() {
            let (old_name, is_dir) = match record {
                Record::Dir { name, .. } => (name, true),
                Record::File { name, .. } => (name, false),
                Record::Leave => return Ok(None),
            };
            match order(old_name, is_dir).cmp(order(name, kind == FileKind::Tree)) {
                std::cmp::Ordering::Less => self.gone(old, record, target, fresh)?,
                std::cmp::Ordering::Equal => return Ok(old.next()),
                std::cmp::Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A name that the new tree does not have.
    fn gone(
        &mut self,
        old: &mut Cursor<'_>,
        record: Record<'_>,
        target: BorrowedFd<'_>,
        fresh: &mut bool,
    ) -> Result<(), Stop> {
        old.next();
        let (name, is_dir) = match record {
            Record::Dir { name, .. } => {
                old.skip_dir();
                (name, true)
            }
            Record::File { name, mode, .. } => (name, mode == FileMode::Submodule),
            Record::Leave => return Ok(()),
        };
        if self.in_place {
            self.remove(name, is_dir, target)?;
            *fresh = true;
        }
        Ok(())
    }

    /// One folder: made or entered, filled by `fill`, synced when its entries are new.
    #[allow(clippy::too_many_arguments, reason = "the walk's state, passed down one level")]
    fn folder<'m>(
        &mut self,
        name: &[u8],
        tree: Oid,
        old: Option<(&mut Cursor<'m>, i64)>,
        source: Option<BorrowedFd<'_>>,
        target: BorrowedFd<'_>,
        fresh: &mut bool,
        fill: impl FnOnce(
            &mut Self,
            Option<&mut Cursor<'m>>,
            Option<BorrowedFd<'_>>,
            BorrowedFd<'_>,
            &mut bool,
        ) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if (self.interrupted)() {
            return Err(Stop::Interrupted);
        }
        if self.depth >= DEEPEST {
            return Err(self.hostile("more than 200 folders deep").into());
        }
        let length = self.path.len();
        self.path.extend_from_slice(name);
        self.path.push(b'/');
        self.depth += 1;
        let existing = self.in_place && old.is_some();
        let (dir, mut inner) = if existing {
            let dir = files::open_dir(target, name).map_err(|_| Stop::NotOurs)?;
            let now = files::stat_fd(&dir).map_err(|e| self.io("looking at", e))?;
            if old.as_ref().is_some_and(|(_, mtime)| now.mtime != *mtime) {
                return Err(Stop::NotOurs);
            }
            (dir, false)
        } else {
            *fresh = true;
            (files::make_dir(target, name, self.permissions).map_err(|e| self.create_error(e))?, true)
        };
        // A source folder that somebody removed is no source; its files are written afresh.
        let source = source.filter(|_| old.is_some()).and_then(|source| files::open_dir(source, name).ok());
        let mark = self.writer.enter(name, tree);
        fill(self, old.map(|(old, _)| old), source.as_ref().map(AsFd::as_fd), dir.as_fd(), &mut inner)?;
        if inner {
            self.new_dirs.push(self.path.clone());
        }
        let mtime = files::stat_fd(&dir).map_err(|e| self.io("looking at", e))?.mtime;
        self.writer.leave(mark, mtime);
        self.path.truncate(length);
        self.depth -= 1;
        Ok(())
    }

    fn entries(&self, tree: Oid) -> Result<Names<'a>, RepoError> {
        let tree = self.repo.git.find_tree(tree.git()).map_err(|e| RepoError::git("reading a tree", e))?;
        let mut names = Vec::with_capacity(tree.len());
        for entry in tree.iter() {
            let name = entry.name_bytes();
            check_part(name).map_err(|reason| self.hostile_name(name, reason))?;
            let kind = if entry.filemode() & 0o170_000 == 0o040_000 {
                FileKind::Tree
            } else {
                let mode = FileMode::from_raw(entry.filemode());
                FileKind::File(mode.ok_or_else(|| self.hostile_name(name, "it has an unknown mode"))?)
            };
            names.push((name.to_vec(), kind, entry.id().into()));
        }
        Ok(names)
    }

    fn shown(&self, name: &[u8]) -> String {
        format!("{}{}", self.path.escape_ascii(), name.escape_ascii())
    }

    fn io(&self, doing: &'static str, source: io::Error) -> RepoError {
        RepoError::io(doing, self.shown(b""), source)
    }

    fn file_io(&self, doing: &'static str, name: &[u8], source: io::Error) -> RepoError {
        RepoError::io(doing, self.shown(name), source)
    }

    fn create_error(&self, source: io::Error) -> RepoError {
        if source.kind() == io::ErrorKind::AlreadyExists {
            return self.hostile("the name is there twice");
        }
        self.io("creating", source)
    }

    fn hostile(&self, reason: &str) -> RepoError {
        RepoError::HostilePath { commit: self.commit, path: self.shown(b""), reason: reason.to_owned() }
    }

    fn hostile_name(&self, name: &[u8], reason: &str) -> RepoError {
        RepoError::HostilePath { commit: self.commit, path: self.shown(name), reason: reason.to_owned() }
    }
}

/// Git sorts a folder as if its name ended in a slash.
fn order(name: &[u8], is_dir: bool) -> impl Iterator<Item = u8> + '_ {
    name.iter().copied().chain(is_dir.then_some(b'/'))
}
