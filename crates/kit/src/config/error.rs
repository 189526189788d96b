//! A configuration that cannot work, in one line.

use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use crate::exit::Exit;
use crate::log::redact_url;
use crate::redact::names_a_secret;

/// A setting whose value cannot work: one line with the flag, the value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: '{value}' is not allowed; use {allowed}")]
pub struct ConfigError {
    /// The flag, with its dashes; add the variable where that helps: `--repo (BAFT_GIT_REPO)`.
    pub flag: String,
    /// What was given, without secrets.
    pub value: String,
    /// What is allowed, to follow the word "use".
    pub allowed: String,
}

impl ConfigError {
    /// A value that is not allowed; passwords in URLs are left out of it, as is the whole value of a setting that
    /// holds a secret.
    #[must_use]
    pub fn new(flag: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        let flag = flag.into();
        let value = if names_a_secret(&flag) { "***".to_owned() } else { redact_url(&value.to_string()) };
        Self { flag, value: one_line(&value), allowed: one_line(&redact_url(&allowed.into())) }
    }

    /// Writes it to standard error as one line; gives [`Exit::Config`].
    #[must_use]
    pub fn report(&self) -> Exit {
        complain(&format!("error: {self}"));
        Exit::Config
    }

    /// The same fault as found by the parser, if the parser's error is about a value.
    pub(super) fn of_parser(error: &clap::Error, command: &Command, secret: &dyn Fn(&Arg) -> bool) -> Option<Self> {
        if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidUtf8) {
            return None;
        }
        let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
        let value = match error.get(ContextKind::InvalidValue) {
            // A flag without its value is wrong usage, not a wrong value.
            Some(ContextValue::String(value)) if !value.is_empty() || error.kind() == ErrorKind::ValueValidation => {
                value
            }
            _ => return None,
        };
        let arg = find(command, shown);
        let flag = arg.map_or_else(|| shown.clone(), |arg| name(arg, value));
        let value = if arg.is_some_and(secret) { "***" } else { value };
        Some(Self::new(flag, value, allowed(error, arg)))
    }
}

/// What the parser says is allowed, to follow the word "use".
fn allowed(error: &clap::Error, arg: Option<&Arg>) -> String {
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue) {
        return format!("one of {}", values.join(", "));
    }
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    // Our own parsers say it in full; others say what is wrong and need the placeholder from the help.
    match said.strip_prefix(super::values::EXPECTED) {
        Some(allowed) => allowed.to_owned(),
        None => {
            let placeholder = arg.and_then(|arg| arg.get_value_names()?.first()).map_or("another value", |name| name);
            if said.is_empty() { placeholder.to_owned() } else { format!("{placeholder} ({said})") }
        }
    }
}

/// The flag, and first the variable if the value came from there.
fn name(arg: &Arg, value: &str) -> String {
    let flag = match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.to_string(),
    };
    let from_variable = arg.get_env().filter(|variable| std::env::var_os(variable).is_some_and(|set| set == value));
    let given = std::env::args().any(|given| given == flag || given.starts_with(&format!("{flag}=")));
    match from_variable {
        Some(variable) if !given => format!("{} ({flag})", variable.to_string_lossy()),
        _ => flag,
    }
}

fn find<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let own = command.get_arguments().find(|arg| arg.to_string() == shown);
    own.or_else(|| command.get_subcommands().find_map(|subcommand| find(subcommand, shown)))
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// One line for whoever started the program. Nobody is left to tell when standard error is closed.
pub(super) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::ConfigError;

    #[test]
    fn it_is_one_line_that_names_the_flag_the_value_and_what_is_allowed() {
        let error = ConfigError::new("--link", "a\nb", "a plain name");
        assert_eq!(error.to_string(), "--link: 'a b' is not allowed; use a plain name");
    }

    #[test]
    fn it_repeats_no_secret() {
        let error = ConfigError::new("--repo", "https://u:hunter2@h/x", "a path or URL");
        assert_eq!(error.to_string(), "--repo: 'https://***@h/x' is not allowed; use a path or URL");
        let error = ConfigError::new("--webhook-secret", "hunter2", "32 characters");
        assert_eq!(error.value, "***");
    }
}
