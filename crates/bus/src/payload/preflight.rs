//! `preflight.*`: what was checked, and what came out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::Payload;

/// What a check came to. What could not be checked is never a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Pass,
    /// Work can go on, but somebody should look.
    Warn,
    /// Not as it must be.
    Fail,
    /// Does not apply here, or what it needs failed already.
    Skip,
    /// The check itself broke.
    Error,
    /// It could not be found out; also whatever a newer probe says that is not known here.
    #[serde(other)]
    Unknown,
}

impl CheckStatus {
    /// The word in reports, metrics and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Request `preflight.run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightRunRequest {
    /// `local` or `cluster`; the probe's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Only these checks, by id, and those they need; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

/// One check of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Stable: `BAFT-N001`.
    pub id: String,
    /// What it belongs to: `environment`, `nats`, `git`, …
    pub category: String,
    /// What it checks.
    pub title: String,
    /// What it came to.
    pub status: CheckStatus,
    /// Whether a failure stops work; the others only ever warn.
    pub blocking: bool,
    /// One line for people.
    pub message: String,
    /// The check whose result made this one be skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How to put it right; there is one unless it passed or does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where it is explained.
    pub doc: String,
    /// What was found, for programs.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub evidence: Map<String, Value>,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long it took.
    pub duration_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
}

/// How many checks came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightSummary {
    /// All.
    pub total: u32,
    /// As they should be.
    pub passed: u32,
    /// Warnings.
    pub warnings: u32,
    /// Not as they must be.
    pub failed: u32,
    /// Do not apply, or need one that did not pass.
    pub skipped: u32,
    /// Could not be found out, or broke.
    pub undecided: u32,
}

/// Which program checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightTool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub revision: String,
}

/// The answer to `preflight.run` and `preflight.status`: everything that was checked, in the order of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreflightReport {
    /// `baft.preflight/1`.
    pub schema: String,
    /// Tells one run from another.
    pub run_id: String,
    /// Which checks were meant.
    pub profile: String,
    /// Which program checked.
    pub tool: PreflightTool,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long all of it took.
    pub duration_ms: u64,
    /// The counts.
    pub summary: PreflightSummary,
    /// The checks.
    pub checks: Vec<CheckReport>,
}

/// `preflight.changed`: a check has come to something else for good, not just once. Best effort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightChanged {
    /// The check's id.
    pub check: String,
    /// What it checks.
    pub title: String,
    /// What it was.
    pub from: CheckStatus,
    /// What it is.
    pub to: CheckStatus,
    /// One line for people.
    pub message: String,
    /// How to put it right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Payload for PreflightChanged {
    const TYPE: &'static str = "preflight.changed";
    const VERSION: (u16, u16) = (1, 0);
}
