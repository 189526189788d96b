//! What an agent is told when it starts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use baft_repo::transport::Remote;
use globset::GlobSet;

use crate::gates;

/// The name of an agent: part of refs, branches and subjects, so a short lower-case word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentName(String);

/// A text that is not an agent's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name for an agent: use 1 to 40 of a-z, 0-9, - and _, beginning with a letter or digit")]
pub struct AgentNameError(String);

impl AgentName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, AgentNameError> {
        let name = name.into();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        match begins && name.len() <= 40 && name.chars().all(good) {
            true => Ok(Self(name)),
            false => Err(AgentNameError(name)),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AgentName {
    type Err = AgentNameError;

    fn from_str(name: &str) -> Result<Self, AgentNameError> {
        Self::new(name)
    }
}

/// A name and an address, as commits have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who.
    pub name: String,
    /// Their address.
    pub email: String,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

/// The words of commit messages. `{message}`, `{session}`, `{date}`, `{count}`, `{files}` and `{agent}` are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// For a commit that belongs to a session.
    pub session: String,
    /// For one that belongs to nobody.
    pub auto: String,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            session: "Session {session}: {message} — {date}".to_owned(),
            auto: "Auto-commit: {message} — {date}".to_owned(),
        }
    }
}

/// Whether a folder that has no sentinel of ours may become the agent's clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// No: only a folder that the agent cloned, or was given before.
    #[default]
    Refuse,
    /// Yes: somebody was shown what would be committed and pushed, and agreed.
    Allow,
}

/// Whether a clone may be made where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstClone {
    /// Yes, when nothing says that there was one before.
    #[default]
    Make,
    /// No: a clone is expected to be there.
    Refuse,
}

/// Which untracked files are captured. Tracked files always are.
#[derive(Debug, Clone)]
pub struct Scope {
    /// A new file must match one of these.
    pub include: GlobSet,
    /// And none of these.
    pub exclude: GlobSet,
}

impl Default for Scope {
    fn default() -> Self {
        let include =
            ["**/*.yaml", "**/*.yml", "**/*.json", "**/*.md", "**/*.txt", "**/*.csv", "**/*.toml", "**/.gitignore"];
        let mut set = globset::GlobSetBuilder::new();
        for pattern in include.iter().filter_map(|pattern| globset::Glob::new(pattern).ok()) {
            set.add(pattern);
        }
        Self { include: set.build().unwrap_or_default(), exclude: GlobSet::empty() }
    }
}

/// How hard a push tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    /// How often a lost race is run again in one cycle.
    pub retries: u32,
    /// Shortest and longest pause after a failure.
    pub backoff: (Duration, Duration),
}

impl Default for Push {
    fn default() -> Self {
        Self { retries: 5, backoff: (Duration::from_secs(1), Duration::from_secs(300)) }
    }
}

/// Somebody who signs commits with a mounted key.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The signature of a commit's text, in the armour git stores.
    ///
    /// # Errors
    /// One line that says what failed.
    fn sign(&self, commit: &[u8]) -> Result<String, String>;
}

/// Everything an agent is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The working clone.
    pub clone: PathBuf,
    /// Where it came from and goes to.
    pub remote: Remote,
    /// The remote's name in the clone.
    pub remote_name: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Which agent this is; one per clone.
    pub agent: AgentName,
    /// Where rescue branches go: `refs/heads/rescue`.
    pub rescue_prefix: String,
    /// Who commits.
    pub committer: Signature,
    /// Who wrote what belongs to nobody.
    pub auto_author: Signature,
    /// The words of commits.
    pub templates: Templates,
    /// How long a file must rest before it counts as finished.
    pub quiet: Duration,
    /// How long a file that never rests may put that off.
    pub max_wait: Duration,
    /// Which files are held back.
    pub gates: gates::Policy,
    /// Whether somebody's existing tree may be taken over.
    pub adopt: Adopt,
    /// Whether a missing clone may be made.
    pub first_clone: FirstClone,
    /// Which new files are captured.
    pub scope: Scope,
    /// How hard a push tries.
    pub push: Push,
    /// Who signs commits, when anybody does.
    pub signer: Option<std::sync::Arc<dyn Signer>>,
}

impl Settings {
    /// Settings for a clone and a remote, everything else as by default.
    #[must_use]
    pub fn new(clone: impl Into<PathBuf>, remote: Remote, agent: AgentName) -> Self {
        let committer =
            Signature { name: "baft commit-agent".to_owned(), email: "commit-agent@baft.invalid".to_owned() };
        Self {
            clone: clone.into(),
            remote,
            remote_name: "origin".to_owned(),
            branch: "main".to_owned(),
            agent,
            rescue_prefix: "refs/heads/rescue".to_owned(),
            auto_author: committer.clone(),
            committer,
            templates: Templates::default(),
            quiet: Duration::from_secs(2),
            max_wait: Duration::from_secs(60),
            gates: gates::Policy::default(),
            adopt: Adopt::default(),
            first_clone: FirstClone::default(),
            scope: Scope::default(),
            push: Push::default(),
            signer: None,
        }
    }
}
