//! Documents made from the code: the tables of `docs/configuration.md` and `docs/metrics.md`.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

use crate::metrics::MetricDoc;

/// The section of `docs/configuration.md` for one binary and its subcommands: every flag, its variable, default and
/// meaning.
#[must_use]
pub fn configuration_markdown(name: &str, command: &Command) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    section(name, "##", command, &mut seen, &mut text);
    text
}

/// The section of `docs/metrics.md` for one binary.
#[must_use]
pub fn metrics_markdown(name: &str, inventory: &[MetricDoc]) -> String {
    let mut text = format!("## {name}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for MetricDoc { name, kind, labels, help } in inventory {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {} |", labels.join(" "), cell(help));
    }
    text
}

/// The whole of `docs/configuration.md`; a table that two programs share is printed once.
#[must_use]
pub fn configuration_document(programs: &[(&str, Command)]) -> String {
    let mut text = format!(
        "# Configuration\n\n{GENERATED}\n\nEvery flag can also be given as the variable beside it; a flag beats its \
         variable, and an empty variable counts as unset. Secrets come from files, never from flags. \
         Add `--print-config` to a daemon's command line to see what holds and where each value came from. \
         Durations are written `250ms`, `10s`, `2m` or as a number of seconds, sizes `512KiB` or `10MiB`. \
         A value that is not allowed ends the program with code 78 and one line that says what is; a command line that \
         is not understood, with code 2.\n"
    );
    let mut seen = Vec::new();
    for (name, command) in programs {
        text.push('\n');
        section(name, "##", command, &mut seen, &mut text);
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// The whole of `docs/metrics.md`; what every daemon exports is listed once.
#[must_use]
pub fn metrics_document(daemons: &[(&str, Vec<MetricDoc>)]) -> String {
    let everywhere = |doc: &&MetricDoc| daemons.iter().all(|(_, inventory)| inventory.contains(doc));
    let shared: Vec<_> = daemons.iter().take(1).flat_map(|(_, first)| first).filter(everywhere).cloned().collect();
    let mut text = format!(
        "# Metrics\n\n{GENERATED}\n\nEach daemon serves its metrics at `/metrics` of its admin server \
         (`--admin-addr`) in the Prometheus text format.\n"
    );
    let own = |inventory: &[MetricDoc]| inventory.iter().filter(|doc| !everywhere(doc)).cloned().collect::<Vec<_>>();
    let sections = daemons.iter().map(|(name, inventory)| (*name, own(inventory)));
    for (name, inventory) in std::iter::once(("Every daemon", shared)).chain(sections) {
        text.push('\n');
        text.push_str(&metrics_markdown(name, &inventory));
    }
    text
}

const GENERATED: &str = "Generated from the code by `make docs`; `make docs-check` fails when it is out of date.";

/// What to do with a generated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write it when it differs.
    Write,
    /// Only say whether it differs.
    Check,
}

/// How a generated file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As the code says.
    Current,
    /// It differed; in [`Mode::Write`] it no longer does.
    Differs,
}

/// Compares a generated file with what it should hold and, in [`Mode::Write`], brings it up to date.
///
/// # Errors
/// It cannot be read or written.
pub fn generate(path: &Path, content: &str, mode: Mode) -> std::io::Result<Outcome> {
    match std::fs::read_to_string(path) {
        Ok(found) if found == content => return Ok(Outcome::Current),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if mode == Mode::Write {
        std::fs::write(path, content)?;
    }
    Ok(Outcome::Differs)
}

/// A table already printed: where it stands, and its text.
type Seen = (String, String);

fn section(path: &str, hashes: &str, command: &Command, seen: &mut Vec<Seen>, text: &mut String) {
    let _ = writeln!(text, "{hashes} {path}\n");
    if let Some(about) = command.get_about() {
        let _ = writeln!(text, "{}\n", sentence(&about.to_string()));
    }
    for (heading, rows) in tables(command) {
        let heading = heading.unwrap_or("Options");
        match seen.iter().find(|(_, known)| *known == rows) {
            Some((place, _)) => {
                let _ = writeln!(text, "{heading}: the same as for `{place}`.\n");
            }
            None => {
                let _ =
                    writeln!(text, "{heading}:\n\n| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n{rows}");
                seen.push((path.to_owned(), rows));
            }
        }
    }
    for subcommand in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        section(&format!("{path} {}", subcommand.get_name()), "###", subcommand, seen, text);
    }
}

/// The rows of each table, by heading, in the order of the help.
fn tables(command: &Command) -> Vec<(Option<&str>, String)> {
    let mut tables: Vec<(Option<&str>, String)> = Vec::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        if matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version)
        {
            continue;
        }
        let heading = arg.get_help_heading();
        let index = tables.iter().position(|(known, _)| *known == heading).unwrap_or_else(|| {
            tables.push((heading, String::new()));
            tables.len() - 1
        });
        let rows = &mut tables[index].1;
        let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let _ = writeln!(rows, "| {} | {variable} | {} | {} |", flag(arg), default(arg), meaning(arg));
    }
    tables
}

fn flag(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map(|name| format!("<{name}>"));
    let takes_value = arg.get_action().takes_values();
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => return format!("`{}`", value.unwrap_or_else(|| format!("<{}>", arg.get_id()).to_uppercase())),
    };
    match value.filter(|_| takes_value) {
        Some(value) => format!("`{name} {}`", value.replace('|', "\\|")),
        None => format!("`{name}`"),
    }
}

fn default(arg: &Arg) -> String {
    if arg.is_required_set() {
        return "required".to_owned();
    }
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count => "off".to_owned(),
        _ if values.is_empty() => String::new(),
        _ => format!("`{}`", values.join(",").replace('|', "\\|")),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let values = if arg.get_action().takes_values() { arg.get_possible_values() } else { Vec::new() };
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name()).collect();
    if values.is_empty() { cell(&help) } else { format!("{} (`{}`)", cell(&help), values.join("`, `")) }
}

/// Text that stays in its table cell.
fn cell(text: &str) -> String {
    text.trim().trim_end_matches('.').replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sentence(text: &str) -> String {
    format!("{}.", text.trim().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CommonArgs;
    use clap::{CommandFactory, Parser};

    /// Follows a remote
    #[derive(Debug, Parser)]
    struct Daemon {
        /// Where from: a path | a URL
        #[arg(long, env = "BAFT_GIT_REPO", value_name = "URL", required = true)]
        repo: String,
        /// Where to
        #[arg(long, value_name = "DIR", default_value = ".")]
        root: String,
        #[command(subcommand)]
        command: Option<Sub>,
        #[command(flatten)]
        common: CommonArgs,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Sub {
        /// Looks once
        Check {
            #[command(flatten)]
            common: Box<CommonArgs>,
        },
    }

    #[test]
    fn every_flag_is_listed_with_its_variable_default_and_meaning() {
        let text = configuration_markdown("git-sync", &Daemon::command());
        for line in [
            "## git-sync\n\nFollows a remote.\n",
            "| `--repo <URL>` | `BAFT_GIT_REPO` | required | Where from: a path \\| a URL |",
            "| `--log-format <FORMAT>` | `BAFT_LOG_FORMAT` | `auto` | How to log; auto is text on a terminal and JSON \
             elsewhere (`auto`, `text`, `json`) |",
            "| `--root <DIR>` |  | `.` | Where to |",
            "| `--print-config` |  | off |",
            "### git-sync check\n\nLooks once.\n",
            "Common options: the same as for `git-sync`.",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("--help"), "{text}");
    }

    #[test]
    fn every_metric_is_listed() {
        let metrics = crate::metrics::Metrics::new("git_sync", crate::build_info!("git-sync"));
        let _syncs = metrics.counter_vec("syncs_total", "Syncs by | outcome", &["outcome"]);
        let text = metrics_markdown("git-sync", &metrics.inventory());
        assert!(
            text.contains("| `baft_git_sync_syncs_total` | counter | `outcome` | Syncs by \\| outcome |"),
            "{text}"
        );
    }

    #[test]
    fn what_two_programs_share_is_listed_once() {
        let text = configuration_document(&[("one", Daemon::command()), ("two", Daemon::command())]);
        assert!(text.contains("## two\n\nFollows a remote.\n\nOptions: the same as for `one`."), "{text}");
        let inventory = |name| crate::metrics::Metrics::new(name, crate::build_info!()).inventory();
        let text = metrics_document(&[("one", inventory("one")), ("two", inventory("two"))]);
        assert_eq!(text.matches("baft_build_info").count(), 1, "{text}");
    }

    #[test]
    fn a_check_changes_nothing_and_a_write_makes_it_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.md");
        assert_eq!(generate(&path, "text", Mode::Check).unwrap(), Outcome::Differs);
        assert!(!path.exists());
        assert_eq!(generate(&path, "text", Mode::Write).unwrap(), Outcome::Differs);
        assert_eq!(generate(&path, "text", Mode::Check).unwrap(), Outcome::Current);
    }
}
