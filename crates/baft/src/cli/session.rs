//! What can be said about sessions.

use std::time::Duration;

use baft_bus::NatsArgs;
use baft_bus::payload::{Liveness, SessionState};
use baft_kit::config::duration;
use clap::{Args, Subcommand, ValueEnum};

use super::Shape;

/// Options of `session`.
#[derive(Debug, Args)]
#[command(
    after_help = "A day: baft session start; edit; baft session sync-check; baft session sync; baft session end -m '…'\n\
    The id of your session is kept for each clone, so the other commands need none. docs/tutorial.md walks through it."
)]
pub struct SessionArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SessionCommand,
}

/// What `session` can do.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Pull, import, check that everything is there, and begin
    Start(StartArgs),
    /// Commit what you edited, push it, and end
    End(EndArgs),
    /// Show who is working, how the clone compares with the remote, and which services answer
    Status(SessionStatusArgs),
    /// List sessions
    List(ListArgs),
    /// Ask the remote whether others pushed something
    SyncCheck(SyncCheckArgs),
    /// Bring in what others pushed, and import it
    Sync(SyncNowArgs),
    /// Show what became of sessions
    History(HistoryArgs),
    /// Keep the session alive and say when others push, until Ctrl-C
    Watch(WatchArgs),
}

/// Which fleet is asked, and how.
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// The commit-agent whose clone it is about; that of the running fleet without it
    #[arg(long, env = "BAFT_AGENT", value_name = "NAME")]
    pub agent: Option<String>,

    /// Ask in this principal's name (`….as.<principal>`), where NATS says who may
    #[arg(long, env = "BAFT_PRINCIPAL", value_name = "NAME")]
    pub principal: Option<String>,

    /// How to print the answer
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "text")]
    pub output: Shape,

    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    pub json: bool,

    /// Wait at most this long
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

impl FleetArgs {
    /// How to print the answer.
    #[must_use]
    pub fn shape(&self) -> Shape {
        if self.json { Shape::Json } else { self.output }
    }
}

/// How a session shows that somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shows {
    /// By its requests and edits; hours of silence are normal.
    Activity,
    /// By `baft session watch`, which beats as long as it runs.
    Heartbeat,
    /// Not at all: it lasts until it is ended.
    Manual,
}

impl From<Shows> for Liveness {
    fn from(shows: Shows) -> Self {
        match shows {
            Shows::Activity => Self::Activity,
            Shows::Heartbeat => Self::Heartbeat,
            Shows::Manual => Self::Manual,
        }
    }
}

/// Options of `session start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Its id: letters, digits, _ and -; made up without it
    #[arg(long, env = "BAFT_SESSION", value_name = "ID")]
    pub session_id: Option<String>,

    /// Who works in it; git's user.name, else the login name
    #[arg(long, env = "BAFT_ANALYST", value_name = "NAME")]
    pub analyst: Option<String>,

    /// What it is about
    #[arg(long, value_name = "TEXT")]
    pub objective: Option<String>,

    /// The analyst's tier
    #[arg(long, value_name = "N")]
    pub tier: Option<u32>,

    /// A file or folder that is this session's alone; may be repeated
    #[arg(long = "claim", value_name = "PATH")]
    pub claims: Vec<String>,

    /// How it shows that somebody is there
    #[arg(long, value_name = "HOW", default_value = "activity")]
    pub liveness: Shows,

    /// Go on with a session of this id that is live elsewhere; whoever holds it is refused from then on
    #[arg(long, requires = "session_id")]
    pub take_over: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session end`.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// Which session; the one started from here without it
    #[arg(long, env = "BAFT_SESSION", value_name = "ID")]
    pub session_id: Option<String>,

    /// What was done in it, for the commit
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub message: Option<String>,

    /// End although files are held back: they stay in the clone and in no commit
    #[arg(long)]
    pub force: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session status`.
#[derive(Debug, Args)]
pub struct SessionStatusArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also those that ended
    #[arg(long, short = 'a')]
    pub all: bool,

    /// Only in these states: starting, active, suspect, lost, ending, ended_unpushed, ended, reaped
    #[arg(long, value_name = "STATES", value_delimiter = ',', value_parser = state, conflicts_with = "all")]
    pub state: Vec<SessionState>,

    /// Only this analyst's
    #[arg(long, value_name = "NAME")]
    pub analyst: Option<String>,

    /// Show at most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub limit: u64,

    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session sync-check`.
#[derive(Debug, Args)]
pub struct SyncCheckArgs {
    /// Exit with 1 when the remote has something new, for scripts
    #[arg(long)]
    pub exit_code: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session sync`.
#[derive(Debug, Args)]
pub struct SyncNowArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only this session
    #[arg(value_name = "ID")]
    pub session_id: Option<String>,

    /// Show at most this many steps
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, conflicts_with = "export")]
    pub limit: u64,

    /// Print every step that is kept (400 days of them), one JSON object per line, oldest first
    #[arg(long, conflicts_with_all = ["output", "json"])]
    pub export: bool,

    /// With --export: only what happened since then: a duration (30d, 2h) or a time (2026-11-21T10:00:00Z)
    #[arg(long, value_name = "WHEN", requires = "export")]
    pub since: Option<String>,

    /// With --export: only what happened before then
    #[arg(long, value_name = "WHEN", requires = "export")]
    pub until: Option<String>,

    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Options of `session watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Which session; the one started from here without it
    #[arg(long, env = "BAFT_SESSION", value_name = "ID")]
    pub session_id: Option<String>,

    /// Beat this often; as often as the session needs without it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub every: Option<Duration>,

    /// Whom to ask.
    #[command(flatten)]
    pub fleet: FleetArgs,
}

fn state(name: &str) -> Result<SessionState, String> {
    let known = SessionState::ALL;
    known.into_iter().find(|state| state.name() == name).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|state| state.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}
