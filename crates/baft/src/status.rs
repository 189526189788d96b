//! `baft status`: how the fleet is doing, as far as it can be told from here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use baft_bus::payload::{CommitStatus, Empty, GitStatus, ImportStatus};
use baft_bus::{Bus, Code, RequestError};
use serde::Serialize;

use crate::cli::StatusArgs;
use crate::database::Database;
use crate::failure::Failure;
use crate::output::{Out, bytes, count, elapsed, one_line, short_commit};
use crate::reach;
use crate::runtime::{Runtime, Source};
use crate::workspace::Workspace;

/// How long a daemon may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    workspace: PathBuf,
    /// The running `baft up`, if one is.
    fleet: Option<Runtime>,
    nats: Link,
    git: Answer<GitStatus>,
    /// The fleet's commit-agent; nothing when it has none.
    commit: Option<Answer<CommitStatus>>,
    import: Answer<ImportStatus>,
    /// What readers see, running or not.
    database: Option<Published>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Link {
    /// Connected.
    Up { servers: String, version: Option<String> },
    /// Not connected, and why.
    Down { reason: String },
}

/// A daemon's own words, or why there are none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Status(T),
    NoAnswer { reason: String },
}

#[derive(Debug, Serialize)]
struct Published {
    path: PathBuf,
    generation: Option<u64>,
    commit: Option<String>,
    rows: BTreeMap<String, u64>,
    errors: u64,
    bytes: u64,
}

/// Asks everyone and prints what they say.
///
/// # Errors
/// The output cannot be written. A fleet that is not running is an answer, not a failure.
pub async fn run(args: &StatusArgs, workspace: &Workspace) -> Result<(), Failure> {
    let fleet = Runtime::of(workspace);
    let database = published(workspace);
    let agent =
        fleet.as_ref().and_then(|fleet| fleet.agent.as_ref()).map(|agent| format!("commit.{}.status", agent.name));
    let (nats, git, commit, import) = match reach::connect(&args.nats, workspace).await {
        Ok(bus) => {
            let commit = async {
                match &agent {
                    Some(subject) => Some(ask(&bus, subject).await),
                    None => None,
                }
            };
            let (git, commit, import) = tokio::join!(ask(&bus, "git.status"), commit, ask(&bus, "import.status"));
            let link = Link::Up { servers: bus.servers().to_owned(), version: bus.server_version() };
            reach::disconnect(bus).await;
            (link, git, commit, import)
        }
        Err(failure) => {
            let none = || "there is no connection to NATS".to_owned();
            let commit = agent.map(|_| Answer::NoAnswer { reason: none() });
            let import = Answer::NoAnswer { reason: none() };
            (Link::Down { reason: failure.message }, Answer::NoAnswer { reason: none() }, commit, import)
        }
    };
    let report = Report { workspace: workspace.root().to_owned(), fleet, nats, git, commit, import, database };
    let mut out = Out::new();
    if args.json {
        out.json(&report)?
    } else {
        show(&report, &mut out)?
    }
    out.flush()
}

async fn ask<T: serde::de::DeserializeOwned>(bus: &Bus, subject: &str) -> Answer<T> {
    match bus.request::<_, T>(subject, &Empty {}, PATIENCE).await {
        Ok(status) => Answer::Status(status),
        Err(RequestError { code: Code::Unavailable, .. }) => Answer::NoAnswer { reason: "not running".to_owned() },
        Err(error) => Answer::NoAnswer { reason: error.message },
    }
}

fn published(workspace: &Workspace) -> Option<Published> {
    let database = Database::open(workspace).ok()?;
    let rows = || -> duckdb::Result<BTreeMap<String, u64>> {
        let mut statement = database.connection().prepare("SELECT type, count(*) FROM entities GROUP BY type")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let errors = "SELECT count(*) FROM _errors WHERE severity = 'error'";
    Some(Published {
        path: workspace.database(),
        generation: database.meta("generation").and_then(|number| number.parse().ok()),
        commit: database.meta("commit").filter(|commit| !commit.is_empty()),
        rows: rows().unwrap_or_default(),
        errors: database.connection().query_row(errors, [], |row| row.get(0)).unwrap_or_default(),
        bytes: database.path().metadata().map_or(0, |meta| meta.len()),
    })
}

fn show(report: &Report, out: &mut Out) -> Result<(), Failure> {
    let style = out.style();
    let line =
        |out: &mut Out, name: &str, text: &str| out.line(format!("{}{text}", style.bold(&format!("{name:<10}"))));
    let now = SystemTime::now();
    match &report.fleet {
        Some(fleet) => {
            let since = age(&fleet.started_at, now).map(|age| format!(" for {}", elapsed(age))).unwrap_or_default();
            line(out, "fleet", &format!("{} (process {}){since}", style.green("running"), fleet.pid))?;
            let source = match &fleet.source {
                Source::Remote { repo, reference } => format!("{repo} ({reference})"),
                Source::Clone { path } => format!("the files of {}", path.display()),
            };
            line(out, "source", &source)?;
        }
        None => line(out, "fleet", &format!("{} in {}", style.yellow("not running"), report.workspace.display()))?,
    }
    let followed = report.fleet.as_ref().is_none_or(|fleet| matches!(fleet.source, Source::Remote { .. }));
    if let Link::Up { servers, version } = &report.nats {
        let version = version.as_deref().map(|version| format!(" ({version})")).unwrap_or_default();
        line(out, "nats", &format!("{servers}{version}"))?;
        if followed {
            line(out, "git-sync", &git(&report.git, now))?;
        }
        if let Some(answer) = &report.commit {
            line(out, "commit", &commit(answer))?;
        }
        line(out, "importer", &import(&report.import))?;
    } else if let (Link::Down { reason }, Some(_)) = (&report.nats, &report.fleet) {
        line(out, "nats", &one_line(reason))?;
    }
    for (name, address) in report.fleet.iter().flat_map(|fleet| &fleet.admin) {
        line(out, "admin", &format!("http://{address} ({name})"))?;
    }
    match &report.database {
        Some(database) => {
            line(out, "database", &database.path.display().to_string())?;
            let commit =
                database.commit.as_deref().map(|commit| format!(" of {}", short_commit(commit))).unwrap_or_default();
            let generation =
                database.generation.map(|number| format!("generation {number}{commit}, ")).unwrap_or_default();
            let total = count(database.rows.values().sum(), "row");
            line(out, "", &format!("{generation}{total}, {}", bytes(database.bytes)))?;
            let rows: Vec<String> = database.rows.iter().map(|(kind, rows)| format!("{kind} {rows}")).collect();
            line(out, "", &style.dim(&rows.join(" · ")))?;
            if database.errors > 0 {
                let text = format!(
                    "{}: baft query 'SELECT path, line, message FROM _errors'",
                    count(database.errors, "error")
                );
                line(out, "", &style.yellow(&text))?;
            }
        }
        None => line(out, "database", &format!("none yet; `baft up` makes one in {}", report.workspace.display()))?,
    }
    Ok(())
}

fn git(answer: &Answer<GitStatus>, now: SystemTime) -> String {
    let status = match answer {
        Answer::Status(status) => status,
        Answer::NoAnswer { reason } => return one_line(reason),
    };
    let head = status.head.as_deref().map_or("nothing yet", short_commit);
    let behind = match status.behind {
        Some(0) => ", in step".to_owned(),
        Some(commits) => format!(", {} behind", count(commits, "commit")),
        None => String::new(),
    };
    let seen = status.last_success_at.as_deref().and_then(|time| age(time, now));
    let seen = seen.map(|age| format!(", looked {} ago", elapsed(age))).unwrap_or_default();
    let failures = if status.failures == 0 {
        String::new()
    } else {
        format!(", {} since", count(status.failures.into(), "failure"))
    };
    format!("{head} of {}{behind}{seen}{failures}", status.reference)
}

fn commit(answer: &Answer<CommitStatus>) -> String {
    let status = match answer {
        Answer::Status(status) => status,
        Answer::NoAnswer { reason } => return one_line(reason),
    };
    let head = status.head.as_deref().map_or("nothing yet", short_commit);
    let unpushed = match status.unpushed {
        0 => ", everything is pushed".to_owned(),
        commits => format!(", {} to push", count(commits, "commit")),
    };
    let held = match status.held.len() as u64 {
        0 => String::new(),
        files => format!(", {} held back", count(files, "file")),
    };
    let waits = if status.repo_state == "normal" { "" } else { ", waits (`baft commit status`)" };
    format!("{head} in {}{unpushed}{held}{waits}", status.clone)
}

fn import(answer: &Answer<ImportStatus>) -> String {
    let status = match answer {
        Answer::Status(status) => status,
        Answer::NoAnswer { reason } => return one_line(reason),
    };
    let Some(generation) = &status.generation else { return "nothing published yet".to_owned() };
    let commit = status.commit.as_deref().map(|commit| format!(" of {}", short_commit(commit))).unwrap_or_default();
    let quarantined = match status.quarantined.len() as u64 {
        0 => String::new(),
        files => format!(", {} quarantined", count(files, "file")),
    };
    format!("generation {}{commit}, {}{quarantined}", generation.number, count(status.rows.values().sum(), "row"))
}

fn age(time: &str, now: SystemTime) -> Option<Duration> {
    let time: SystemTime = chrono::DateTime::parse_from_rfc3339(time).ok()?.into();
    Some(now.duration_since(time).unwrap_or_default())
}
