//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use baft_bus::NatsArgs;
use baft_bus::subject::is_token;
use baft_kit::SecretFile;
use baft_kit::config::{CommonArgs, ConfigError, DaemonCommand, duration};

use crate::page::PageSettings;
use crate::settings::{Limits, Patience, Settings};

/// Registers, tracks, fences and ends the sessions of analysts, and runs what starting and ending them means
///
/// Sessions live in NATS; several registries share the work. docs/sessions.md says how to use it with `nats req`.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "session-registry",
    version,
    mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9104"))
)]
pub struct Cli {
    /// How sessions are treated.
    #[command(flatten)]
    pub sessions: SessionArgs,
    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Options every Baft daemon has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do instead of working.
    #[command(subcommand)]
    pub command: Option<DaemonCommand>,
}

/// How sessions are treated.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionArgs {
    /// The commit-agent of sessions that name none; without it they have no clone
    #[arg(long, env = "BAFT_DEFAULT_AGENT", value_name = "NAME")]
    pub default_agent: Option<String>,

    /// A session of a person or chat model is suspect when nothing was heard of it for this long
    #[arg(long, env = "BAFT_SUSPECT_AFTER", value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub suspect_after: Duration,

    /// And lost after this long; a sign of life brings it back
    #[arg(long, env = "BAFT_LOST_AFTER", value_name = "DURATION", default_value = "8h", value_parser = duration)]
    pub lost_after: Duration,

    /// A session of a program that beats is suspect when no beat came for this long
    #[arg(long, env = "BAFT_HEARTBEAT_SUSPECT_AFTER", value_name = "DURATION", default_value = "90s", value_parser = duration)]
    pub heartbeat_suspect_after: Duration,

    /// And lost after this long
    #[arg(long, env = "BAFT_HEARTBEAT_LOST_AFTER", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub heartbeat_lost_after: Duration,

    /// A session that is lost is over after this long; what was edited is committed all the same
    #[arg(long, env = "BAFT_REAP_AFTER", value_name = "DURATION", default_value = "7d", value_parser = duration)]
    pub reap_after: Duration,

    /// How long sessions that are over can still be looked at; their history stays in the events
    #[arg(long, env = "BAFT_KEEP_ENDED", value_name = "DURATION", default_value = "24h", value_parser = duration)]
    pub keep_ended: Duration,

    /// How often clones with live sessions are compared with their remote; 0 = only when asked
    #[arg(long, env = "BAFT_SYNC_CHECK", value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub sync_check: Duration,

    /// A start or end whose registry shows no sign of life for this long is continued by another
    #[arg(long, env = "BAFT_ADOPT_AFTER", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub adopt_after: Duration,

    /// Serve the status page here; without a token only on loopback
    #[arg(long, env = "BAFT_PAGE_ADDR", value_name = "ADDR")]
    pub page_addr: Option<SocketAddr>,

    /// What people must show to see the page: the file holds it and nothing else, and may change while it runs
    #[arg(long, env = "BAFT_PAGE_TOKEN_FILE", value_name = "FILE", requires = "page_addr")]
    pub page_token_file: Option<PathBuf>,

    /// Mirror live sessions as files in this folder, for Python programs that read them there
    #[arg(long, env = "BAFT_MARKERS", value_name = "DIR")]
    pub markers: Option<PathBuf>,
}

impl SessionArgs {
    /// Where the page is served, if anywhere.
    ///
    /// # Errors
    /// Others could reach it without a token.
    pub fn page(&self) -> Result<Option<PageSettings>, ConfigError> {
        let token = self.page_token_file.clone().map(SecretFile::new);
        self.page_addr.map(|addr| PageSettings::new(addr, token)).transpose()
    }
}

impl Cli {
    /// The settings, checked.
    ///
    /// # Errors
    /// A value that is not allowed, named.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let args = &self.sessions;
        if let Some(agent) = args.default_agent.as_deref().filter(|agent| !is_token(agent)) {
            return Err(ConfigError::new("--default-agent", agent, "letters, digits, - and _"));
        }
        let shown = baft_kit::config::show_duration;
        for (flag, value, at_least) in [
            ("--suspect-after", args.suspect_after, Duration::from_millis(100)),
            ("--lost-after", args.lost_after, args.suspect_after),
            ("--heartbeat-suspect-after", args.heartbeat_suspect_after, Duration::from_millis(100)),
            ("--heartbeat-lost-after", args.heartbeat_lost_after, args.heartbeat_suspect_after),
            ("--adopt-after", args.adopt_after, Duration::from_millis(100)),
        ] {
            if value < at_least {
                let allowed = format!("a duration of at least {}", shown(at_least));
                return Err(ConfigError::new(flag, shown(value), allowed));
            }
        }
        Ok(Settings {
            patience: Patience {
                activity: Limits { suspect: args.suspect_after, lost: args.lost_after },
                heartbeat: Limits { suspect: args.heartbeat_suspect_after, lost: args.heartbeat_lost_after },
                reap: args.reap_after,
            },
            agent: args.default_agent.clone(),
            keep_ended: args.keep_ended,
            sync_check: args.sync_check,
            adopt_after: args.adopt_after,
            markers: args.markers.clone(),
            require_principal: self.nats.require_principal,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_settings() {
        Cli::command().debug_assert();
        let settings = Cli::try_parse_from(["session-registry"]).unwrap().settings().unwrap();
        let usual = Settings::default();
        assert_eq!(settings.patience, usual.patience);
        assert_eq!(
            (settings.keep_ended, settings.sync_check, settings.adopt_after),
            (usual.keep_ended, usual.sync_check, usual.adopt_after)
        );
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused_by_name() {
        let refused = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["session-registry"], args].concat()).unwrap();
            cli.settings().unwrap_err().to_string()
        };
        assert!(refused(&["--lost-after=1m"]).contains("--lost-after"));
        assert!(refused(&["--suspect-after=0"]).contains("--suspect-after"));
        assert!(refused(&["--default-agent=a.b"]).contains("--default-agent"));
        let page = |args: &[&str]| Cli::try_parse_from([&["session-registry"], args].concat()).unwrap().sessions.page();
        assert!(page(&["--page-addr=0.0.0.0:0"]).unwrap_err().to_string().contains("--page-token-file"));
        assert!(page(&["--page-addr=0.0.0.0:0", "--page-token-file=/t"]).unwrap().is_some());
        assert!(page(&["--page-addr=[::1]:0"]).unwrap().is_some() && page(&[]).unwrap().is_none());
    }
}
