//! Checks of one's own, from a TOML file: what a team needs beside what everybody needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::checks::http_get;
use crate::finding::Finding;
use crate::run::{Ran, Run};
use crate::scene::Profile;
use crate::table::{Check, DEADLINE, Severity};
use crate::words::{age, first_line};

/// One check of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Custom {
    /// What every check of a file says.
    pub about: About,
    /// What is looked at.
    pub kind: Kind,
}

/// What every check of a file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Lower-case letters, digits and dashes; the id is `BAFT-C-<name>`.
    pub name: String,
    /// What it checks, in a few words.
    pub title: String,
    /// How to put it right.
    pub hint: String,
    /// A failure is only a warning.
    #[serde(default)]
    pub advisory: bool,
    /// How long it may take; 5 s when not said.
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
}

impl TryFrom<toml::Table> for Custom {
    type Error = toml::de::Error;

    /// Told apart by hand, so that a misspelt word is an error wherever it stands.
    fn try_from(mut table: toml::Table) -> Result<Self, Self::Error> {
        let about = ["name", "title", "hint", "advisory", "timeout"];
        let about: toml::Table =
            about.iter().filter_map(|key| Some(((*key).to_owned(), table.remove(*key)?))).collect();
        Ok(Self { about: about.try_into()?, kind: table.try_into()? })
    }
}

/// What a check of a file looks at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// Something listens there.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A page is served.
    Http {
        /// Where.
        url: String,
        /// The status that is expected; 200 when not said.
        #[serde(default = "ok")]
        status: u16,
    },
    /// A file was written not long ago.
    FileAge {
        /// Which.
        path: PathBuf,
        /// Older is a failure.
        #[serde(deserialize_with = "some_duration")]
        max_age: Duration,
    },
    /// A program ends well.
    Command {
        /// The program and its arguments; no shell.
        command: Vec<String>,
    },
    /// Variables are set.
    Env {
        /// Their names.
        variables: Vec<String>,
    },
    /// A query on the published database gives a value.
    Sql {
        /// The query; read-only.
        query: String,
        /// The first column of the first row, as text.
        expect: String,
    },
}

fn ok() -> u16 {
    200
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    some_duration(from).map(Some)
}

fn some_duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    baft_kit::config::duration(&text).map_err(serde::de::Error::custom)
}

/// A file of checks cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct BadFile {
    path: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "check")]
    checks: Vec<Custom>,
}

/// Reads a file of checks.
///
/// # Errors
/// It cannot be read, or says something that is not understood.
pub fn read(path: &Path) -> Result<Vec<Custom>, BadFile> {
    let bad = |reason: String| BadFile { path: path.display().to_string(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| bad(error.to_string().trim_end().to_owned()))?;
    for (place, Custom { about: check, .. }) in file.checks.iter().enumerate() {
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if check.name.is_empty() || check.name.len() > 40 || !check.name.chars().all(named) {
            return Err(bad(format!("`{}` is no name: use 1 to 40 of a-z, 0-9 and -", check.name)));
        }
        if file.checks[..place].iter().any(|earlier| earlier.about.name == check.name) {
            return Err(bad(format!("there are two checks called `{}`", check.name)));
        }
        if check.hint.trim().is_empty() {
            return Err(bad(format!("`{}` has no hint: say how to put it right", check.name)));
        }
    }
    Ok(file.checks)
}

/// A row of the table for it.
#[must_use]
pub fn check(custom: &Custom) -> Check {
    let Custom { about, kind } = custom;
    let (kind, hint, title) = (kind.clone(), about.hint.clone(), about.title.clone());
    Check {
        id: format!("BAFT-C-{}", about.name).into(),
        category: "custom".into(),
        title: about.title.clone().into(),
        severity: if about.advisory { Severity::Advisory } else { Severity::Blocking },
        profiles: &[Profile::Local, Profile::Cluster],
        needs: &[],
        told_by: None,
        deadline: about.timeout.unwrap_or(DEADLINE),
        look: Arc::new(move |run| {
            let (kind, hint, title) = (kind.clone(), hint.clone(), title.clone());
            Box::pin(async move {
                match look(&run, &kind).await {
                    Ok(()) => Finding::pass(title),
                    Err(Problem::Wrong(why)) => Finding::fail(format!("{title}: {why}"), hint),
                    Err(Problem::Unknown(why)) => Finding::unknown(format!("{title}: {why}"), hint),
                }
            })
        }),
    }
}

enum Problem {
    Wrong(String),
    Unknown(String),
}

async fn look(run: &Run, kind: &Kind) -> Result<(), Problem> {
    let wrong = |why: String| Err(Problem::Wrong(why));
    match kind {
        Kind::Tcp { address } => match tokio::net::TcpStream::connect(address.as_str()).await {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!("{address}: {error}")),
        },
        Kind::Http { url, status } => match http_get(url, DEADLINE).await {
            Ok((found, _)) if found == *status => Ok(()),
            Ok((found, _)) => wrong(format!("answers {found}, not {status}")),
            Err(why) => wrong(why),
        },
        Kind::FileAge { path, max_age } => {
            let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
            match modified.map(|time| SystemTime::now().duration_since(time).unwrap_or_default()) {
                Ok(old) if old <= *max_age => Ok(()),
                Ok(old) => wrong(format!("{} was written {} ago", path.display(), age(old))),
                Err(error) => wrong(format!("{}: {error}", path.display())),
            }
        }
        Kind::Command { command } => {
            let Some((program, arguments)) = command.split_first() else { return wrong("no command".to_owned()) };
            match run.output(program, |command| _ = command.args(arguments)).await {
                Ok(_) => Ok(()),
                Err(Ran::Missing) => wrong(format!("{program} is not installed")),
                Err(Ran::Failed(why)) => wrong(format!("{program}: {why}")),
            }
        }
        Kind::Env { variables } => {
            let set = |name: &String| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let missing: Vec<&str> = variables.iter().filter(|name| !set(name)).map(String::as_str).collect();
            if missing.is_empty() { Ok(()) } else { wrong(format!("not set: {}", missing.join(", "))) }
        }
        Kind::Sql { query, expect } => {
            let (Some(sql), Some(database)) = (run.scene.sql.clone(), run.scene.database.clone()) else {
                return Err(Problem::Unknown("this program reads no database; `baft preflight` does".to_owned()));
            };
            let query = query.clone();
            match tokio::task::spawn_blocking(move || sql(&database, &query)).await {
                Ok(Ok(found)) if found == *expect => Ok(()),
                Ok(Ok(found)) => wrong(format!("the query gives `{}`, not `{expect}`", first_line(&found))),
                Ok(Err(why)) => Err(Problem::Unknown(first_line(&why))),
                Err(error) => Err(Problem::Unknown(error.to_string())),
            }
        }
    }
}
