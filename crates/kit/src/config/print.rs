//! `--print-config`: what holds, and where each value came from.

use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::log::redact_url;
use crate::redact::names_a_secret;
use crate::secret::Secret;

/// The id of [`CommonArgs::print_config`](super::CommonArgs).
const FLAG: &str = "print_config";

/// Whether it was asked for, on the command or on the subcommand that was chosen.
pub(super) fn asked_for(matches: &ArgMatches) -> bool {
    let here = matches.try_get_one::<bool>(FLAG).ok().flatten().copied().unwrap_or(false);
    here || matches.subcommand().is_some_and(|(_, inner)| asked_for(inner))
}

/// Every effective value: name, value, and `default`, `env NAME` or `flag`.
pub(super) fn effective(command: &Command, matches: &ArgMatches) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    collect(command, matches, &mut rows);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, values) = (width(0), width(1).min(60));
    let mut text = String::new();
    for [name, value, source] in &rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:names$}  {value:values$}  {source}");
    }
    text
}

fn collect(command: &Command, matches: &ArgMatches, rows: &mut Vec<[String; 3]>) {
    let inner = matches.subcommand();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        // A global argument is shown once, where it holds: with the subcommand.
        let again = arg.is_global_set() && inner.is_some();
        if matches!(id, FLAG | "help" | "version") || again || matches.try_contains_id(id).is_err() {
            continue;
        }
        rows.push([name(arg), value(arg, matches), source(arg, matches)]);
    }
    if let Some((name, inner)) = inner
        && let Some(subcommand) = command.find_subcommand(name)
    {
        collect(subcommand, inner, rows);
    }
}

fn name(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.get_id().as_str().to_uppercase(),
    }
}

fn value(arg: &Arg, matches: &ArgMatches) -> String {
    let id = arg.get_id().as_str();
    let Some(raw) = matches.try_get_raw(id).ok().flatten() else { return "(not set)".to_owned() };
    // Asking for the wrong type is an error: only secrets answer.
    let typed_secret = matches.try_get_many::<Secret>(id).is_ok();
    if typed_secret || names_a_secret(id) {
        return "***".to_owned();
    }
    let values: Vec<_> = raw.map(|value| redact_url(&value.to_string_lossy())).collect();
    match values.join(",") {
        empty if empty.is_empty() => "\"\"".to_owned(),
        value => value.replace('\n', "\\n"),
    }
}

fn source(arg: &Arg, matches: &ArgMatches) -> String {
    match matches.value_source(arg.get_id().as_str()) {
        Some(ValueSource::CommandLine) if arg.is_positional() => "argument".to_owned(),
        Some(ValueSource::CommandLine) => "flag".to_owned(),
        Some(ValueSource::EnvVariable) => {
            format!("env {}", arg.get_env().map(|name| name.to_string_lossy()).unwrap_or_default())
        }
        _ => "default".to_owned(),
    }
}
