//! Which files are held back, and why. Pure: bytes in, verdict out.

use serde::{Deserialize, Serialize};

/// What the gates let through.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A larger file is held back.
    pub max_file_bytes: u64,
    /// More deletions at once than this share of all files wait for a person.
    pub max_deleted_percent: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_file_bytes: 50 * 1024 * 1024, max_deleted_percent: 20 }
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
    /// It does not parse.
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

/// Looks at one file. `previous` is what is committed now.
#[must_use]
pub fn check_file(_policy: &Policy, _path: &baft_repo::RepoPath, _bytes: &[u8], _previous: Option<&[u8]>) -> Verdict {
    Verdict::Pass
}

/// Looks at how much would be deleted.
#[must_use]
pub fn check_deletions(_policy: &Policy, deleted: usize, total: usize) -> Verdict {
    if deleted > 10 && deleted * 5 > total || deleted == total && total > 1 {
        return Verdict::Hold(Hold {
            reason: Reason::MassDelete,
            detail: format!("{deleted} of {total} files are gone"),
        });
    }
    Verdict::Pass
}
