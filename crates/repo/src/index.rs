//! The index of a live clone: read under git's own lock, changed in a private copy, installed by rename.
//!
//! libgit2's `index.write` reads before it locks, so that whatever somebody staged in between is lost, and syncs nothing. Here the caller holds
//! `index.lock` from before the reading until after the branch has moved.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{Index, IndexEntry, IndexTime};

use crate::live::Stat;
use crate::lock::{OwnLock, sync_parent};
use crate::{FileMode, Oid, Repo, RepoError, RepoPath};

/// One path that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEdit {
    /// Where.
    pub path: RepoPath,
    /// What the commit before has; an index entry that differs was staged by a person and stays.
    pub old: Option<(Oid, FileMode)>,
    /// What the commit has.
    pub new: Option<(Oid, FileMode)>,
    /// The file as it is on disk, when that is the commit's content.
    pub stat: Option<Stat>,
}

/// What became of the edits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// Paths where a person had staged something else, which was kept.
    pub kept: Vec<RepoPath>,
    /// The index was missing or damaged and was made anew from the commit.
    pub rebuilt: Rebuilt,
}

/// Whether an index had to be made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rebuilt {
    /// No.
    #[default]
    No,
    /// There was none.
    Missing,
    /// It was damaged, and is kept under this name.
    Damaged(PathBuf),
}

/// A changed copy of the index that is not in place yet.
#[derive(Debug)]
pub struct StagedIndex {
    private: PathBuf,
    target: PathBuf,
    report: IndexReport,
}

impl Repo {
    /// Makes a changed copy of the index beside `private`. `commit` is what an index is made from when there is none.
    ///
    /// # Errors
    /// [`RepoError::Index`] when it has conflicts or a format we cannot write.
    pub fn stage_index(
        &self,
        lock: &OwnLock,
        private: &Path,
        commit: Option<Oid>,
        edits: &[IndexEdit],
    ) -> Result<StagedIndex, RepoError> {
        lock.check()?;
        let target = self.git_dir().join("index");
        let (mut index, rebuilt) = self.copy_of_index(&target, private, commit)?;
        let fail = |e| RepoError::git("changing the index", e);
        if index.has_conflicts() {
            return Err(RepoError::Index { message: "has unresolved conflicts".to_owned() });
        }
        let mut report = IndexReport { kept: Vec::new(), rebuilt };
        for edit in edits {
            let there = index.get_path(edit.path.as_path(), 0);
            let has = there.as_ref().and_then(entry_content);
            if has != edit.old && has != edit.new {
                report.kept.push(edit.path.clone());
                continue;
            }
            match edit.new {
                Some((oid, mode)) => {
                    index.add(&entry(&edit.path, oid, mode, edit.stat.as_ref(), there)).map_err(fail)?
                }
                None if there.is_some() => index.remove(edit.path.as_path(), 0).map_err(fail)?,
                None => {}
            }
        }
        index.write().map_err(|e| self.unwritten("writing the index", e))?;
        baft_kit::durable::sync_file(private).map_err(|e| RepoError::io("syncing", private, e))?;
        Ok(StagedIndex { private: private.to_owned(), target, report })
    }

    fn copy_of_index(&self, target: &Path, private: &Path, commit: Option<Oid>) -> Result<(Index, Rebuilt), RepoError> {
        let fail = |e| RepoError::git("reading the index", e);
        for leftover in [private.to_owned(), PathBuf::from(format!("{}.lock", private.display()))] {
            match fs::remove_file(&leftover) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RepoError::io("removing", leftover, e));
                }
                _ => {}
            }
        }
        let rebuilt = match fs::copy(target, private) {
            Ok(_) => match Index::open(private) {
                Ok(index) => return Ok((index, Rebuilt::No)),
                Err(e) if e.message().contains("extension") => {
                    return Err(RepoError::Index {
                        message: format!("has a format that is not supported ({})", e.message()),
                    });
                }
                Err(e) => {
                    tracing::error!(error = %e, "the index is damaged: making it anew from the commit");
                    let aside = self.git_dir().join(format!("index.damaged-{}", baft_kit::time::unix_seconds()));
                    fs::copy(target, &aside).map_err(|e| RepoError::io("copying to", &aside, e))?;
                    fs::remove_file(private).map_err(|e| RepoError::io("removing", private, e))?;
                    Rebuilt::Damaged(aside)
                }
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Rebuilt::Missing,
            Err(e) => return Err(RepoError::io("copying", target, e)),
        };
        let mut index = Index::open(private).map_err(fail)?;
        if let Some(commit) = commit {
            let tree = self.commit(commit)?.tree().map_err(|e| RepoError::git("reading a tree", e))?;
            index.read_tree(&tree).map_err(fail)?;
        }
        Ok((index, rebuilt))
    }

    /// Every entry of the index that has a file's stat, for a first look at a tree without reading it.
    #[must_use]
    pub fn index_stats(&self) -> Vec<(RepoPath, Oid, FileMode, IndexStat)> {
        let Ok(index) = Index::open(&self.git_dir().join("index")) else { return Vec::new() };
        let usable = |entry: IndexEntry| {
            let path = RepoPath::new(String::from_utf8(entry.path.clone()).ok()?).ok()?;
            let (oid, mode) = entry_content(&entry)?;
            let stat = IndexStat {
                size: entry.file_size,
                mtime: (entry.mtime.seconds(), entry.mtime.nanoseconds()),
                ctime: (entry.ctime.seconds(), entry.ctime.nanoseconds()),
                ino: entry.ino,
            };
            Some((path, oid, mode, stat))
        };
        index.iter().filter_map(usable).collect()
    }
}

/// What the index remembers of a file, cut to 32 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexStat {
    /// Size.
    pub size: u32,
    /// Modification time: seconds, nanoseconds.
    pub mtime: (i32, u32),
    /// Change time.
    pub ctime: (i32, u32),
    /// Inode.
    pub ino: u32,
}

impl StagedIndex {
    /// Puts it in place; on disk when this returns. The lock stays with the caller, for the branch.
    ///
    /// # Errors
    /// When the lock is not ours any more, or the rename fails.
    pub fn install(self, lock: &OwnLock) -> Result<IndexReport, RepoError> {
        lock.check()?;
        fs::rename(&self.private, &self.target).map_err(|e| RepoError::io("replacing", &self.target, e))?;
        sync_parent(&self.target)?;
        Ok(self.report)
    }

    /// What became of the edits.
    #[must_use]
    pub fn report(&self) -> &IndexReport {
        &self.report
    }
}

/// "Will be added" is nothing staged yet.
const INTENT_TO_ADD: u16 = 1 << 13;

fn entry_content(entry: &IndexEntry) -> Option<(Oid, FileMode)> {
    if entry.flags_extended & INTENT_TO_ADD != 0 {
        return None;
    }
    FileMode::from_raw(i32::try_from(entry.mode).ok()?).map(|mode| (entry.id.into(), mode))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The index keeps the low 32 bits of everything.
fn entry(path: &RepoPath, oid: Oid, mode: FileMode, stat: Option<&Stat>, there: Option<IndexEntry>) -> IndexEntry {
    // Without a stat, git looks at the content when it next asks.
    let time = |nanos: Option<i64>| {
        let nanos = nanos.unwrap_or(0);
        IndexTime::new(nanos.div_euclid(1_000_000_000) as i32, nanos.rem_euclid(1_000_000_000) as u32)
    };
    IndexEntry {
        ctime: time(stat.map(|stat| stat.ctime)),
        mtime: time(stat.map(|stat| stat.mtime)),
        dev: stat.map_or(0, |stat| stat.dev as u32),
        ino: stat.map_or(0, |stat| stat.ino as u32),
        mode: mode.raw() as u32,
        uid: stat.map_or(0, |stat| stat.uid),
        gid: stat.map_or(0, |stat| stat.gid),
        file_size: stat.map_or(0, |stat| stat.size as u32),
        id: oid.git(),
        flags: there.as_ref().map_or(0, |there| there.flags & !0x0fff) | path.as_str().len().min(0x0fff) as u16,
        flags_extended: there.map_or(0, |there| there.flags_extended & !INTENT_TO_ADD),
        path: path.as_str().as_bytes().to_vec(),
    }
}
