//! Which files are held back, and why. Pure: bytes in, verdict out.
//!
//! A gate holds back a file, never the queue: what it says no to is kept locally and waits for a
//! person, everything else goes on. So a gate may err on the side of holding, but what happens every
//! day must pass, or people learn to release without looking.

mod deletions;
mod junk;
mod secrets;
mod whole;

use std::sync::Arc;

use baft_dataset::dataset::{CONFIG_FILE, Datasets};
use baft_repo::RepoPath;
use serde::{Deserialize, Serialize};

pub use deletions::check_deletions;

/// What the gates let through.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A larger file is held back. GitHub warns at 50 MiB and refuses at 100 MiB, GitLab.com refuses
    /// at 100 MiB; a file that gets in is in every clone for ever, so the default is the warning.
    pub max_file_bytes: u64,
    /// More deletions at once than this share of all files wait for a person.
    pub max_deleted_percent: u8,
    /// What the repository declares its files to be.
    pub datasets: Arc<Datasets>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_file_bytes: 50 * 1024 * 1024, max_deleted_percent: 20, datasets: Datasets::built_in() }
    }
}

impl Policy {
    /// Takes over what the repository declares: the content of `baft-import.toml`, or `None` when it
    /// has none. A declaration that cannot be used leaves the last good one in force.
    pub fn declare(&mut self, declaration: Option<&[u8]>) {
        match declaration.map(|bytes| Datasets::parse(CONFIG_FILE, &String::from_utf8_lossy(bytes))) {
            None => self.datasets = Datasets::built_in(),
            Some(Ok(datasets)) => self.datasets = Arc::new(datasets),
            Some(Err(_)) => {}
        }
    }
}

/// Why a file is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It looks like a password, token or key.
    Secret,
    /// It is too large.
    Size,
    /// It is a file that editors and tools leave behind.
    Junk,
    /// It does not parse, or has lost nearly all it held: it was probably saved half.
    Unparsable,
    /// Too much would be deleted at once.
    MassDelete,
    /// The remote refuses it.
    Refused,
}

/// A reason and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: Reason,
    /// One line for people; never the secret itself.
    pub detail: String,
}

/// What a gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Pass,
    /// Not without a person's word.
    Hold(Hold),
}

impl Verdict {
    fn hold(reason: Reason, detail: impl Into<String>) -> Self {
        Self::Hold(Hold { reason, detail: detail.into() })
    }
}

/// Forgets what was made ready for looking at files.
pub(crate) fn rest() {
    secrets::rest();
}

/// Looks at one file. `previous` is what is committed now.
#[must_use]
pub fn check_file(policy: &Policy, path: &RepoPath, bytes: &[u8], previous: Option<&[u8]>) -> Verdict {
    if previous == Some(bytes) {
        return Verdict::Pass;
    }
    // What is tracked under a name like a temporary file's is no accident any more.
    if previous.is_none()
        && let Some(what) = junk::kind_of(path.as_str())
    {
        let detail = format!("{what}; if it belongs into the repository, release it");
        return Verdict::hold(Reason::Junk, detail);
    }
    let size = check_size(policy, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    if size != Verdict::Pass {
        return size;
    }
    if let Some(detail) = secrets::find(path.as_str(), bytes, previous) {
        return Verdict::hold(Reason::Secret, detail);
    }
    match whole::damage(policy, path.as_str(), bytes, previous) {
        Some(detail) => Verdict::hold(Reason::Unparsable, detail),
        None => Verdict::Pass,
    }
}

/// Looks at the name and size of a new file only, for one that is better not read into memory.
#[must_use]
pub fn check_size(policy: &Policy, size: u64) -> Verdict {
    if size <= policy.max_file_bytes {
        return Verdict::Pass;
    }
    let megabytes = |n: u64| format!("{}.{} MiB", n >> 20, ((n & 0xF_FFFF) * 10) >> 20);
    Verdict::hold(
        Reason::Size,
        format!(
            "{} is more than the {} allowed; keep large files elsewhere, or release it",
            megabytes(size),
            megabytes(policy.max_file_bytes)
        ),
    )
}
