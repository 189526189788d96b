//! What can be said about committing and about single entities.

use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::duration;
use clap::{Args, Subcommand, ValueEnum};

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// For people.
    Text,
    /// What the daemon answered.
    Json,
}

/// Which agent is asked, and how.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Which commit-agent; that of the running fleet without it
    #[arg(long, env = "BAFT_AGENT", value_name = "NAME")]
    pub agent: Option<String>,

    /// How to print the answer
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "text")]
    pub output: Shape,

    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    pub json: bool,

    /// Wait at most this long
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

impl AgentArgs {
    /// How to print the answer.
    #[must_use]
    pub fn shape(&self) -> Shape {
        if self.json { Shape::Json } else { self.output }
    }
}

/// Options of `commit`.
#[derive(Debug, Args)]
pub struct CommitArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CommitCommand,
}

/// What `commit` can do.
#[derive(Debug, Subcommand)]
pub enum CommitCommand {
    /// Commit what was saved, bring upstream in and push, without waiting for the timer
    Now(NowArgs),
    /// Show what is committed, pushed, held back and parked
    Status(CommitStatusArgs),
    /// Say that what waits was on purpose: files that were deleted, or a history that was rewritten
    Confirm(ConfirmArgs),
    /// Let files that are held back go to the remote as they are now
    Release(ReleaseArgs),
}

/// Options of `commit now`.
#[derive(Debug, Args)]
pub struct NowArgs {
    /// Only these files or folders, from the top of the repository
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,

    /// What it is about
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub message: Option<String>,

    /// The session it belongs to; the one started from here without it
    #[arg(long, env = "BAFT_SESSION", value_name = "ID")]
    pub session: Option<String>,

    /// Whom to ask.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// Options of `commit status`.
#[derive(Debug, Args)]
pub struct CommitStatusArgs {
    /// Ask the remote first
    #[arg(long)]
    pub fetch: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// Options of `commit confirm`.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Confirm only when exactly this many deletions wait
    #[arg(long, value_name = "N", conflicts_with = "rewritten")]
    pub deletions: Option<u64>,

    /// Follow the remote although its history was rewritten
    #[arg(long)]
    pub rewritten: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// Options of `commit release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The files, from the top of the repository
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,

    /// Whom to ask.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// Options of `entity`.
#[derive(Debug, Args)]
pub struct EntityArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EntityCommand,
}

/// What `entity` can do.
#[derive(Debug, Subcommand)]
pub enum EntityCommand {
    /// Change fields of one entity in its file, commit and push; every other byte of the file stays
    Set(SetArgs),
}

/// Options of `entity set`.
#[derive(Debug, Args)]
#[command(
    after_help = "A value that is JSON is taken as such (3, true, null, [\"a\"]), everything else as text; '\"3\"' is the text 3.\n\
    Examples: baft entity set variables SV-03 trend=deteriorating\n\
    \x20         baft entity set gaps G14-01 priority=2 source.year=2026 --unset note -m 'A priority the schema allows'"
)]
pub struct SetArgs {
    /// The entity's type (see `baft status`)
    #[arg(value_name = "TYPE")]
    pub kind: String,

    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,

    /// What to set; a dot goes into a nested field
    #[arg(value_name = "FIELD=VALUE", value_parser = assignment, required_unless_present = "unset")]
    pub set: Vec<(String, serde_json::Value)>,

    /// A field to remove; may be repeated
    #[arg(long, value_name = "FIELD")]
    pub unset: Vec<String>,

    /// What it is about
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub message: Option<String>,

    /// Refuse when the entity changed since this commit
    #[arg(long, value_name = "COMMIT")]
    pub base: Option<String>,

    /// The session it belongs to; the one started from here without it
    #[arg(long, env = "BAFT_SESSION", value_name = "ID")]
    pub session: Option<String>,

    /// Whom to ask.
    #[command(flatten)]
    pub agent: AgentArgs,
}

fn assignment(text: &str) -> Result<(String, serde_json::Value), String> {
    let (field, value) = text.split_once('=').ok_or("a field and its value: FIELD=VALUE")?;
    if field.is_empty() {
        return Err("a field before the =".to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
    Ok((field.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_json_when_it_can_be_and_text_otherwise() {
        for (text, field, value) in [
            ("trend=deteriorating", "trend", json!("deteriorating")),
            ("priority=3", "priority", json!(3)),
            ("title=\"3\"", "title", json!("3")),
            ("open=true", "open", json!(true)),
            ("a.b=x=y", "a.b", json!("x=y")),
            ("note=", "note", json!("")),
            ("tags=[\"a\"]", "tags", json!(["a"])),
            ("id=007", "id", json!("007")),
        ] {
            assert_eq!(assignment(text), Ok((field.to_owned(), value)), "{text}");
        }
        assert!(assignment("trend").is_err() && assignment("=x").is_err());
    }
}
