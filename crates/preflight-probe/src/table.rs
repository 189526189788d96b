//! The table of checks: what each is called, what it needs, and what does the looking.
//!
//! Ids are for ever: a check that goes away leaves its number unused, and a new one takes a new number. `docs/preflight.md`
//! has a section for each.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::checks::{daemons, database, environment, git, host, model, nats};
use crate::finding::Finding;
use crate::run::Run;
use crate::scene::Profile::{self, Cluster, Local};

/// Whether a failure stops work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Blocking,
    /// It never does: the worst it comes to is a warning.
    Advisory,
}

type Text = Cow<'static, str>;

/// Does the looking.
pub type Look = Arc<dyn Fn(Arc<Run>) -> BoxFuture<'static, Finding> + Send + Sync>;

/// One check.
#[derive(Clone)]
pub struct Check {
    /// Stable: `BAFT-N001`.
    pub id: Text,
    /// What it belongs to.
    pub category: Text,
    /// What it checks, in a few words.
    pub title: Text,
    /// Whether a failure stops work.
    pub severity: Severity,
    /// Where it is run.
    pub profiles: &'static [Profile],
    /// What must be well first, where the same profile has it.
    pub needs: &'static [&'static str],
    /// The check whose line says this one's good result too.
    pub told_by: Option<&'static str>,
    /// How long it may take.
    pub deadline: Duration,
    /// Does the looking.
    pub look: Look,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("id", &self.id).field("title", &self.title).finish_non_exhaustive()
    }
}

impl Check {
    /// Where it is explained.
    #[must_use]
    pub fn doc(&self) -> String {
        let anchor = if self.category == "custom" { "checks-of-your-own".to_owned() } else { self.id.to_lowercase() };
        format!("docs/preflight.md#{anchor}")
    }

    fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    fn within(mut self, seconds: u64) -> Self {
        self.deadline = Duration::from_secs(seconds);
        self
    }

    fn advisory(mut self) -> Self {
        self.severity = Severity::Advisory;
        self
    }

    fn told_by(mut self, id: &'static str) -> Self {
        self.told_by = Some(id);
        self
    }
}

/// How long a check may take when the table does not say.
pub const DEADLINE: Duration = Duration::from_secs(5);

fn check<F, W>(
    id: &'static str,
    category: &'static str,
    title: &'static str,
    profiles: &'static [Profile],
    look: F,
) -> Check
where
    F: Fn(Arc<Run>) -> W + Send + Sync + 'static,
    W: Future<Output = Finding> + Send + 'static,
{
    Check {
        id: id.into(),
        category: category.into(),
        title: title.into(),
        severity: Severity::Blocking,
        profiles,
        needs: &[],
        told_by: None,
        deadline: DEADLINE,
        look: Arc::new(move |run| Box::pin(look(run))),
    }
}

const HERE: &[Profile] = &[Local];
const THERE: &[Profile] = &[Cluster];
const BOTH: &[Profile] = &[Local, Cluster];

/// Every built-in check, in the order of reports. Those of `local` stand in the order of the specification.
#[rustfmt::skip]
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![
        check("BAFT-E001", "environment", "Python is new enough", HERE, environment::python),
        check("BAFT-E002", "environment", "uv is installed", HERE, environment::uv),
        check("BAFT-E003", "environment", "The repositories are there", HERE, environment::repositories),
        check("BAFT-E004", "environment", "The Python packages are installed", HERE, environment::packages)
            .needs(&["BAFT-E001", "BAFT-E002"]).within(30),
        check("BAFT-E005", "environment", "The environment variables are set", HERE, environment::variables),
        check("BAFT-N002", "nats", "The name of the NATS server resolves", THERE, nats::resolves),
        check("BAFT-N001", "nats", "NATS is reachable", BOTH, nats::reachable).needs(&["BAFT-N002"]).within(12),
        check("BAFT-N003", "nats", "The NATS server's certificate is good", THERE, nats::certificate)
            .needs(&["BAFT-N001"]).within(12),
        check("BAFT-N004", "nats", "NATS accepts the user", THERE, nats::accepts).needs(&["BAFT-N001"]).within(12),
        check("BAFT-N005", "nats", "NATS is new enough and has JetStream", THERE, nats::jetstream).needs(&["BAFT-N004"]).within(12),
        check("BAFT-N006", "nats", "Streams and buckets are as they must be", THERE, nats::streams).needs(&["BAFT-N005"]).within(15),
        check("BAFT-N007", "nats", "JetStream stores what it is given", THERE, nats::canary).needs(&["BAFT-N006"]).within(12),
        check("BAFT-N008", "nats", "NATS is healthy and writes to disk at once", THERE, nats::monitor).needs(&["BAFT-N001"]),
        check("BAFT-N009", "nats", "No consumer of events lags behind", THERE, nats::consumers)
            .needs(&["BAFT-N006"]).advisory().within(12),
        check("BAFT-L001", "model", "Ollama is reachable", HERE, model::reachable).within(8),
        check("BAFT-L002", "model", "Ollama has the model", HERE, model::present).needs(&["BAFT-L001"]).within(8),
        check("BAFT-D001", "database", "The database is there", BOTH, database::exists).within(8),
        check("BAFT-D002", "database", "The database is not stale", BOTH, database::fresh)
            .needs(&["BAFT-D001"]).advisory().told_by("BAFT-D001").within(8),
        check("BAFT-G001", "git", "Nothing is uncommitted", HERE, git::clean).advisory().within(20),
        check("BAFT-G002", "git", "Nothing is missing from the remote", HERE, git::current).advisory().within(25),
        check("BAFT-S001", "daemons", "git-sync is alive", THERE, daemons::git_sync).needs(&["BAFT-N004"]),
        check("BAFT-S002", "daemons", "commit-agent is alive", THERE, daemons::commit_agent).needs(&["BAFT-N004"]),
        check("BAFT-S003", "daemons", "duckdb-importer is alive", THERE, daemons::importer).needs(&["BAFT-N004"]),
        check("BAFT-S004", "daemons", "session-registry is alive", THERE, daemons::registry).needs(&["BAFT-N004"]),
        check("BAFT-D003", "database", "The database follows the repository", THERE, database::follows)
            .needs(&["BAFT-S001", "BAFT-S003"]).within(16),
        check("BAFT-G003", "git", "git-sync reaches the remote", THERE, git::remote).needs(&["BAFT-S001"]),
        check("BAFT-H001", "host", "The disks have room", THERE, host::disk),
        check("BAFT-H002", "host", "The clock is right", THERE, host::clock).needs(&["BAFT-N007"]).advisory(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_need_comes_earlier() {
        let table = checks();
        for (place, check) in table.iter().enumerate() {
            assert!(table[..place].iter().all(|earlier| earlier.id != check.id), "{}", check.id);
            for need in check.needs.iter().chain(&check.told_by) {
                assert!(table[..place].iter().any(|earlier| earlier.id == *need), "{} needs {need}", check.id);
            }
        }
    }

    #[test]
    fn the_local_profile_is_the_twelve_checks_of_the_specification_in_its_order() {
        let local: Vec<_> = checks().into_iter().filter(|check| check.profiles.contains(&Local)).collect();
        let ids: Vec<&str> = local.iter().map(|check| &check.id["BAFT-".len()..]).collect();
        let expected = "E001 E002 E003 E004 E005 N001 L001 L002 D001 D002 G001 G002";
        assert_eq!(ids.join(" "), expected);
    }
}
