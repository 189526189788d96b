//! How a process reaches NATS: flags and variables.

use std::path::PathBuf;

use crate::error::BusError;
use crate::subject::Prefix;

/// Connection settings, to be flattened into a daemon's arguments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NatsArgs {
    /// NATS servers, separated by commas; empty = work alone, without events and requests
    #[arg(long, env = "NATS_URL", value_name = "URL", hide_env_values = true)]
    pub nats_url: Option<String>,
    /// Credentials file (JWT and seed) of the NATS user
    #[arg(long, env = "BAFT_NATS_CREDS_FILE", value_name = "FILE")]
    pub nats_creds_file: Option<PathBuf>,
    /// File with the NATS user's nkey seed
    #[arg(long, env = "BAFT_NATS_NKEY_FILE", value_name = "FILE")]
    pub nats_nkey_file: Option<PathBuf>,
    /// NATS user name, together with --nats-password-file
    #[arg(long, env = "BAFT_NATS_USER", value_name = "NAME")]
    pub nats_user: Option<String>,
    /// File with the NATS user's password
    #[arg(long, env = "BAFT_NATS_PASSWORD_FILE", value_name = "FILE")]
    pub nats_password_file: Option<PathBuf>,
    /// File with a NATS token
    #[arg(long, env = "BAFT_NATS_TOKEN_FILE", value_name = "FILE")]
    pub nats_token_file: Option<PathBuf>,
    /// Certificate authority that signed the NATS server's certificate (PEM)
    #[arg(long, env = "BAFT_NATS_CA_FILE", value_name = "FILE")]
    pub nats_ca_file: Option<PathBuf>,
    /// First token of every subject; also names the streams
    #[arg(long, env = "BAFT_SUBJECT_PREFIX", value_name = "TOKEN", default_value = "baft")]
    pub nats_subject_prefix: Prefix,
    /// Accept changing requests only on subjects that name the principal (`….as.<principal>`)
    #[arg(long, env = "BAFT_REQUIRE_PRINCIPAL")]
    pub require_principal: bool,
}

impl NatsArgs {
    /// Is there a server to talk to?
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.nats_url.as_deref().is_some_and(|url| !url.trim().is_empty())
    }

    /// Settings for one URL and nothing else.
    #[must_use]
    pub fn for_url(url: &str) -> Self {
        Self { nats_url: Some(url.to_owned()), ..Self::default() }
    }

    /// Checks what can be checked without a server.
    ///
    /// # Errors
    /// [`BusError::Config`] naming the flags that contradict each other.
    pub fn check(&self) -> Result<(), BusError> {
        todo!()
    }
}
