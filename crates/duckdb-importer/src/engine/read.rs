//! One file: its rows now, and since when each has been as it is.
//!
//! The result is a function of the file's versions along first parents and nothing else, so that applying what changed
//! and building from nothing agree. What the database already knows only saves reading old versions.

use std::collections::HashMap;
use std::sync::Arc;

use baft_repo::Oid;

use super::memo::Memo;
use crate::ImporterError;
use crate::source::{Origin, Version, WORKTREE};
use baft_dataset::dataset::Dataset;
use baft_dataset::extract::parse_file;
use baft_dataset::rows::{EntityRow, FileState, Issue, ParsedFile, SectionRow};
use baft_dataset::schema::Schema;

/// Gives the content of a blob.
pub type Blobs<'a> = dyn Fn(Oid) -> Result<Arc<[u8]>, ImporterError> + 'a;

/// What is to be read.
#[derive(Debug)]
pub struct Task<'a> {
    /// The file.
    pub path: &'a str,
    /// What it holds.
    pub dataset: &'a Dataset,
    /// What its entities must satisfy.
    pub schema: Option<&'a Schema>,
    /// Its content now.
    pub blob: Oid,
    /// Its versions, newest first; the first is the one with `blob`, unless the file has not changed since `end`.
    pub chain: &'a [Version],
    /// What was before the versions in `chain`.
    pub end: End<'a>,
    /// Rows that violate the schema keep their last version that did not.
    pub strict: bool,
    /// Files read lately.
    pub memo: Option<&'a Memo>,
}

impl Task<'_> {
    fn parse(&self, blob: Oid, content: &[u8], schema: Option<&Schema>) -> Arc<ParsedFile> {
        match self.memo {
            Some(memo) => memo.read(self.path, blob, content, self.dataset, schema),
            None => Arc::new(parse_file(self.path, content, self.dataset, schema)),
        }
    }
}

/// What was before the oldest version in a chain.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// Nothing: the file began there.
    Beginning,
    /// What the published database says.
    Base(&'a BaseFile),
}

/// What the published database says about a file.
#[derive(Debug, Default)]
pub struct BaseFile {
    /// `_files.since_commit`.
    pub since: String,
    /// The rows are exactly those of a committed version that could be read, and no row lost its id to another file.
    pub clean: bool,
    /// Its rows by id.
    pub rows: HashMap<String, BaseRow>,
}

/// What the published database says about a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRow {
    /// `row_hash`.
    pub hash: String,
    /// Since when it is as it is.
    pub since: Since,
    /// Not from the file's version of then.
    pub stale: bool,
}

/// Since when a row is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The commit, or `WORKTREE`.
    pub commit: String,
    /// The file's content in that commit.
    pub blob: String,
    /// The commit's day, as days since 1970.
    pub day: i32,
}

/// A row with its past.
#[derive(Debug, Clone)]
pub struct DatedRow {
    /// The row.
    pub row: EntityRow,
    /// Since when it is so.
    pub since: Since,
    /// It is from an older version of the file than the newest.
    pub stale: bool,
}

/// What a file contributes.
#[derive(Debug)]
pub struct Outcome {
    /// The file.
    pub path: String,
    /// Name of its dataset.
    pub dataset: String,
    /// Its content now.
    pub blob: Oid,
    /// Size of its content now.
    pub bytes: u64,
    /// How much of it could be used.
    pub state: FileState,
    /// The version that shown rows are from, where not all are from the newest.
    pub good_blob: Option<Oid>,
    /// The commit that introduced its content, or `WORKTREE`.
    pub since: String,
    /// Its rows.
    pub rows: Vec<DatedRow>,
    /// Its prose.
    pub sections: Vec<SectionRow>,
    /// What is wrong with it.
    pub issues: Vec<Issue>,
}

/// What reading came to.
#[derive(Debug)]
pub enum Reading {
    /// All is known.
    Done(Box<Outcome>),
    /// What the database knows is not enough: read again with all versions.
    NeedsHistory,
}

/// A row whose past is being looked for: unchanged back to version `from` so far.
struct Pending {
    row: EntityRow,
    stale: bool,
    from: usize,
    open: bool,
}

/// Reads one file.
///
/// # Errors
/// When a blob cannot be read.
pub fn read(task: &Task<'_>, blobs: &Blobs<'_>) -> Result<Reading, ImporterError> {
    let bytes = blobs(task.blob)?;
    let mut newest = Arc::unwrap_or_clone(task.parse(task.blob, &bytes, task.schema));
    let mut versions = Versions { task, blobs, parsed: HashMap::new(), shows_old: newest.state.is_quarantined() };
    let Some(good) = versions.last_good(newest.state)? else { return Ok(Reading::NeedsHistory) };
    let Some(mut rows) = versions.effective_rows(&mut newest, good)? else { return Ok(Reading::NeedsHistory) };
    versions.date(&mut rows)?;
    let mut dated = Vec::with_capacity(rows.len());
    for pending in rows {
        match versions.since(&pending) {
            Some(since) => dated.push(DatedRow { row: pending.row, since, stale: pending.stale }),
            None => return Ok(Reading::NeedsHistory),
        }
    }
    let sections = match (newest.state, good) {
        (FileState::Unparsable, Some(good)) => versions.parsed(good)?.sections.clone(),
        _ => newest.sections,
    };
    let since = match (task.chain.first(), task.end) {
        (Some(version), _) => version.origin.label(),
        (None, End::Base(base)) => base.since.clone(),
        (None, End::Beginning) => String::new(),
    };
    Ok(Reading::Done(Box::new(Outcome {
        path: task.path.to_owned(),
        dataset: task.dataset.id.as_str().to_owned(),
        blob: task.blob,
        bytes: bytes.len() as u64,
        state: newest.state,
        good_blob: good.and_then(|good| task.chain[good].blob),
        since,
        rows: dated,
        sections,
        issues: newest.issues,
    })))
}

struct Versions<'a> {
    task: &'a Task<'a>,
    blobs: &'a Blobs<'a>,
    parsed: HashMap<usize, Arc<ParsedFile>>,
    shows_old: bool,
}

impl Versions<'_> {
    fn parsed(&mut self, index: usize) -> Result<Arc<ParsedFile>, ImporterError> {
        if let Some(parsed) = self.parsed.get(&index) {
            return Ok(parsed.clone());
        }
        let parsed = match self.task.chain[index].blob {
            Some(blob) => {
                let bytes = (self.blobs)(blob)?;
                // Whether an old version satisfied the schema only matters when rows of it may be shown.
                let schema = self.task.schema.filter(|_| self.task.strict || self.shows_old);
                self.task.parse(blob, &bytes, schema)
            }
            None => Arc::new(parse_file(self.task.path, &[], self.task.dataset, None)),
        };
        self.parsed.insert(index, parsed.clone());
        Ok(parsed)
    }

    /// The newest version before the first that can be read whole, when the first cannot: `Some(None)` when none is
    /// needed or there is none, `None` when it is not known.
    fn last_good(&mut self, state: FileState) -> Result<Option<Option<usize>>, ImporterError> {
        if !state.is_quarantined() {
            return Ok(Some(None));
        }
        for index in 1..self.task.chain.len() {
            if self.parsed(index)?.state == FileState::Good {
                return Ok(Some(Some(index)));
            }
        }
        Ok(matches!(self.task.end, End::Beginning).then_some(None))
    }

    /// The rows to show; `None` when that is not known.
    fn effective_rows(
        &mut self,
        newest: &mut ParsedFile,
        good: Option<usize>,
    ) -> Result<Option<Vec<Pending>>, ImporterError> {
        let mut rows = Vec::with_capacity(newest.entities.len());
        for row in std::mem::take(&mut newest.entities) {
            if self.task.strict && !row.schema_valid {
                match self.last_valid(&row.id)? {
                    Found::Row(from, old) => rows.push(Pending { row: *old, stale: true, from, open: true }),
                    Found::Never => rows.push(Pending { row, stale: false, from: 0, open: true }),
                    Found::Unknown => return Ok(None),
                }
            } else {
                rows.push(Pending { row, stale: false, from: 0, open: true });
            }
        }
        if let Some(good) = good {
            let here: std::collections::HashSet<_> = rows.iter().map(|pending| pending.row.id.clone()).collect();
            let kept: Vec<_> =
                self.parsed(good)?.entities.iter().filter(|row| !here.contains(&row.id)).cloned().collect();
            rows.extend(kept.into_iter().map(|row| Pending { row, stale: true, from: good, open: true }));
        }
        Ok(Some(rows))
    }

    fn last_valid(&mut self, id: &str) -> Result<Found, ImporterError> {
        for index in 1..self.task.chain.len() {
            let parsed = self.parsed(index)?;
            if let Some(row) = parsed.entities.iter().find(|row| row.id == id && row.schema_valid) {
                return Ok(Found::Row(index, Box::new(row.clone())));
            }
        }
        Ok(if matches!(self.task.end, End::Beginning) { Found::Never } else { Found::Unknown })
    }

    /// Follows every row back through the versions for as long as it stays the same. A version that does not tell (it
    /// could not be read, or the row may be among its nameless entities) changes nothing.
    fn date(&mut self, rows: &mut [Pending]) -> Result<(), ImporterError> {
        for index in 1..self.task.chain.len() {
            if !rows.iter().any(|pending| pending.open && pending.from < index) {
                if rows.iter().any(|pending| pending.open) {
                    continue;
                }
                return Ok(());
            }
            let parsed = self.parsed(index)?;
            let state = parsed.state;
            if state == FileState::Unparsable {
                continue;
            }
            let hashes: HashMap<_, _> =
                parsed.entities.iter().map(|row| (row.id.as_str(), row.row_hash.as_str())).collect();
            for pending in rows.iter_mut().filter(|pending| pending.open && pending.from < index) {
                match hashes.get(pending.row.id.as_str()) {
                    Some(hash) if *hash == pending.row.row_hash => pending.from = index,
                    None if state != FileState::Good => {}
                    _ => pending.open = false,
                }
            }
        }
        Ok(())
    }

    fn since(&self, pending: &Pending) -> Option<Since> {
        let in_chain = || {
            let version = self.task.chain.get(pending.from)?;
            let blob = version.blob.map(|blob| blob.to_string()).unwrap_or_default();
            Some(Since { commit: version.origin.label(), blob, day: version.origin.day() })
        };
        match self.task.end {
            End::Base(base) if pending.open => match base.rows.get(&pending.row.id) {
                Some(row) if row.stale => None,
                Some(row) if row.hash == pending.row.row_hash && row.since.commit != WORKTREE => {
                    Some(row.since.clone())
                }
                _ if base.clean => in_chain(),
                _ => None,
            },
            _ => in_chain(),
        }
    }
}

enum Found {
    Row(usize, Box<EntityRow>),
    Never,
    Unknown,
}

/// The versions of a file as it is now, newest first, as far as `known` goes, and whether that is all of them. `saved` is
/// the version on top that is not committed: its content and time.
#[must_use]
pub fn chain(saved: Option<(Oid, i64)>, known: &[Version], committed: bool) -> (Vec<Version>, bool) {
    let mut chain = Vec::new();
    if let Some((blob, time)) = saved {
        chain.push(Version { origin: Origin::Saved(time), blob: Some(blob), first: !committed });
        if !committed {
            return (chain, true);
        }
    }
    for version in known {
        if version.blob.is_none() {
            return (chain, true);
        }
        chain.push(*version);
        if version.first {
            return (chain, true);
        }
    }
    (chain, false)
}
