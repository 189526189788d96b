//! What can be said about checking beforehand.

use std::time::Duration;

use baft_bus::NatsArgs;
use baft_kit::config::duration;
use baft_preflight_probe::args::SceneArgs;
use baft_preflight_probe::{Output, Profile};
use clap::Args;

/// Options of `preflight`.
#[derive(Debug, Args)]
#[command(after_help = "What each check means and how to fix it: docs/preflight.md\n\
    Exit codes: 0 all is well, warnings included; 1 something failed; 2 wrong usage; 3 something could not be found out;\n\
    4 warnings with --strict.\n\
    Examples: baft preflight    baft preflight --wait 1m --output short    baft preflight --only BAFT-N001,BAFT-D001")]
pub struct PreflightArgs {
    /// Which checks: those of one person's machine, or those of a cluster
    #[arg(long, env = "BAFT_PREFLIGHT_PROFILE", value_name = "PROFILE", default_value = "local")]
    pub profile: Profile,

    /// Only these checks, by id, and what they need
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub only: Vec<String>,

    /// How to print the report
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table")]
    pub output: Output,

    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    pub json: bool,

    /// Try again what is not well, for at most this long
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub wait: Duration,

    /// Count warnings too
    #[arg(long)]
    pub strict: bool,

    /// Give up on what is not found out after this long
    #[arg(long, value_name = "DURATION", default_value = "40s", value_parser = duration)]
    pub timeout: Duration,

    /// Ask the fleet's preflight-probe instead of checking from here
    #[arg(long)]
    pub remote: bool,

    /// What is checked.
    #[command(flatten)]
    pub scene: SceneArgs,

    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}
