//! Logs: text on a terminal, one JSON object per line elsewhere, always on standard error.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{CommonArgs, ConfigError, LogFormat};

pub use crate::redact::redact_url;

static PROCESS: OnceLock<LogHandle> = OnceLock::new();

/// Changes what is logged while the program runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: Option<reload::Handle<Targets, Registry>>,
}

/// Why the logs could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error(
        "'{filter}' is not a log filter; use a level (error, warn, info, debug, trace) or target=level pairs, comma separated"
    )]
    Filter {
        /// What was given.
        filter: String,
    },
    /// The filter can no longer be changed.
    #[error("the log level cannot be changed: {0}")]
    Reload(String),
}

impl LogHandle {
    /// Replaces the filter: `debug`, or `info,baft_bus=debug`.
    ///
    /// # Errors
    /// The filter is not understood; the old one stays.
    pub fn set_level(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse_filter(filter)?;
        match &self.filter {
            Some(handle) => handle.reload(parsed).map_err(|error| LogError::Reload(error.to_string())),
            None => Err(LogError::Reload("this process has no log of its own".to_owned())),
        }
    }
}

/// Starts the log of this process. A second call gives the handle of the first.
///
/// # Errors
/// The filter is not understood: `--log-level` is named.
pub fn init(args: &CommonArgs) -> Result<LogHandle, ConfigError> {
    let filter = parse_filter(&args.log_level)
        .map_err(|error| ConfigError::new("--log-level", &args.log_level, error.to_string()))?;
    if let Some(handle) = PROCESS.get() {
        return Ok(handle.clone());
    }
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let json = match args.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let installed = if json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
    } else {
        let ansi = std::io::stderr().is_terminal();
        registry.with(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).try_init()
    };
    let handle = LogHandle { filter: installed.is_ok().then_some(handle) };
    Ok(PROCESS.get_or_init(|| handle).clone())
}

/// For a daemon that shares its process with others (`baft up`): the handle of the process's log, whoever started it;
/// when nobody did, nothing is logged and the level cannot be changed.
#[must_use]
pub fn for_embedded() -> LogHandle {
    PROCESS.get().cloned().unwrap_or(LogHandle { filter: None })
}

/// Levels, and levels by target. A word that is neither is refused: it would be taken for a target, and a misspelt
/// level would silence everything else.
pub(crate) fn parse_filter(filter: &str) -> Result<Targets, LogError> {
    let wrong = || LogError::Filter { filter: filter.to_owned() };
    let mut targets = Targets::new();
    for part in filter.split(',').map(str::trim) {
        let (target, level) = part.split_once('=').map_or((None, part), |(target, level)| (Some(target.trim()), level));
        let level: LevelFilter = level.trim().parse().ok().filter(|_| !level.is_empty()).ok_or_else(wrong)?;
        targets = match target {
            Some("") => return Err(wrong()),
            Some(target) => targets.with_target(target, level),
            None => targets.with_default(level),
        };
    }
    // It tells of every connection; what matters about them is told by the bus.
    let chatty = ("async_nats", LevelFilter::WARN);
    let named = filter.contains(chatty.0) || targets.default_level() != Some(LevelFilter::INFO);
    Ok(if named { targets } else { targets.with_target(chatty.0, chatty.1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels_by_target() {
        for filter in ["info", " DEBUG ", "info, baft_bus=debug", "off", "baft_repo::diff=trace"] {
            assert!(parse_filter(filter).is_ok(), "{filter}");
        }
        for filter in ["", "loud", "info,baft_bus=loud", "a=b=c", "=info", "info,", "baft_bus="] {
            let error = parse_filter(filter).unwrap_err().to_string();
            assert!(error.contains("use a level"), "{error}");
        }
    }

    #[test]
    fn a_process_without_a_log_says_that_its_level_cannot_change() {
        let handle = LogHandle { filter: None };
        assert!(handle.set_level("debug").unwrap_err().to_string().contains("no log"));
        assert!(matches!(handle.set_level("loud"), Err(LogError::Filter { .. })));
    }
}
