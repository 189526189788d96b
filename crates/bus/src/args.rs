//! How a process reaches NATS: flags and variables.

use std::path::PathBuf;

use async_nats::ServerAddr;
use baft_kit::Secret;
use baft_kit::config::ConfigError;
use clap::builder::BoolishValueParser;

use crate::auth::Source;
use crate::error::BusError;
use crate::subject::Prefix;
use crate::tls::Tls;

/// Connection settings, to be flattened into a daemon's arguments.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// NATS servers, separated by commas; empty = work alone, without events and requests
    #[arg(long, env = "NATS_URL", value_name = "URL")]
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
    /// Certificate authority that signed the NATS server's certificate (PEM); also makes TLS obligatory
    #[arg(long, env = "BAFT_NATS_CA_FILE", value_name = "FILE")]
    pub nats_ca_file: Option<PathBuf>,
    /// Certificate shown to a NATS server that asks for one (PEM), together with --nats-key-file; also makes TLS obligatory
    #[arg(long, env = "BAFT_NATS_CERT_FILE", value_name = "FILE")]
    pub nats_cert_file: Option<PathBuf>,
    /// Private key of --nats-cert-file (PEM)
    #[arg(long, env = "BAFT_NATS_KEY_FILE", value_name = "FILE")]
    pub nats_key_file: Option<PathBuf>,
    /// Where replies come to; default: _INBOX_<program>.<host>. Where NATS permissions are used, people say _INBOX_<user> here
    #[arg(long, env = "BAFT_NATS_INBOX_PREFIX", value_name = "SUBJECT")]
    pub nats_inbox_prefix: Option<String>,
    /// First token of every subject; also names the streams
    #[arg(long, env = "BAFT_SUBJECT_PREFIX", value_name = "TOKEN", default_value = "baft")]
    pub nats_subject_prefix: Prefix,
    /// Accept changing requests only on subjects that name the principal (`….as.<principal>`)
    #[arg(long, env = "BAFT_REQUIRE_PRINCIPAL", action = clap::ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub require_principal: bool,
}

/// Where and as whom to connect, checked.
pub(crate) struct Target {
    pub(crate) servers: Vec<ServerAddr>,
    /// For messages: without credentials.
    pub(crate) shown: String,
    pub(crate) source: Source,
    pub(crate) tls: Tls,
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

    /// Checks what can be checked without a server: the URLs, the credentials and their files.
    ///
    /// # Errors
    /// [`BusError::Config`] or [`BusError::Credentials`], naming the flag or file.
    pub fn check(&self) -> Result<(), BusError> {
        if self.enabled() { self.target().map(drop) } else { Ok(()) }
    }

    /// [`Self::check`] for a program that is starting.
    ///
    /// # Errors
    /// The same, as an error of `--nats-url`.
    pub fn checked(&self) -> Result<(), ConfigError> {
        let url = self.nats_url.as_deref().unwrap_or_default();
        self.check().map_err(|error| ConfigError::new("--nats-url", url, error.to_string()))
    }

    /// Host and port of every server, without connecting.
    ///
    /// # Errors
    /// As for [`Self::check`].
    pub fn addresses(&self) -> Result<Vec<(String, u16)>, BusError> {
        let target = self.target()?;
        Ok(target.servers.iter().map(|server| (server.host().to_owned(), server.port())).collect())
    }

    /// Whether TLS is obligatory, by the URL or by a certificate that was named.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        let by_url = || self.target().is_ok_and(|target| target.servers.iter().any(ServerAddr::tls_required));
        self.tls().is_obligatory() || by_url()
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls {
            ca_file: self.nats_ca_file.clone(),
            cert_file: self.nats_cert_file.clone(),
            key_file: self.nats_key_file.clone(),
        }
    }

    pub(crate) fn target(&self) -> Result<Target, BusError> {
        let list = self.nats_url.as_deref().unwrap_or_default();
        let mut servers = Vec::new();
        let mut shown = Vec::new();
        let mut url_user = None;
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let visible = baft_kit::log::redact_url(text);
            let server: ServerAddr = text.parse().map_err(|error| {
                BusError::Config(format!("--nats-url (NATS_URL) has `{visible}`, which is no NATS URL: {error}"))
            })?;
            if server.is_websocket() {
                return Err(BusError::Config(format!(
                    "--nats-url (NATS_URL) has `{visible}`: use nats:// or tls://, websockets are not supported"
                )));
            }
            if let (None, Some(user)) = (&url_user, server.username()) {
                url_user = Some((Secret::new(unescape(user)), server.password().map(unescape).map(Secret::new)));
            }
            if server.host().is_empty() {
                return Err(BusError::Config(format!("--nats-url (NATS_URL) has `{visible}`, which names no host")));
            }
            shown.push(format!("{}:{}", server.host(), server.port()));
            servers.push(without_user(server));
        }
        if servers.is_empty() {
            return Err(BusError::Config("--nats-url (NATS_URL) names no server".to_owned()));
        }
        let tls = self.tls();
        tls.check().map_err(BusError::Config)?;
        if let Some(inbox) = &self.nats_inbox_prefix
            && !inbox.split('.').all(crate::subject::is_token)
        {
            return Err(BusError::Config(format!(
                "--nats-inbox-prefix has `{}`: words of A-Z a-z 0-9 _ -, with dots between",
                inbox.escape_default()
            )));
        }
        let source = Source::from_args(self, url_user)?;
        source.check()?;
        Ok(Target { servers, shown: shown.join(","), source, tls })
    }
}

/// The library ignores the user of a URL (see [`Source::Url`]) but prints it in its debug log.
fn without_user(server: ServerAddr) -> ServerAddr {
    let mut url = server.clone().into_inner();
    // Both fail only for URLs that cannot have a user.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    ServerAddr::from_url(url).unwrap_or(server)
}

/// Undoes the percent encoding of a URL's user and password.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_url_means_working_alone() {
        assert!(!NatsArgs::default().enabled());
        assert!(!NatsArgs::for_url(" ").enabled());
        assert!(NatsArgs::for_url(" ").check().is_ok());
    }

    #[test]
    fn several_servers_are_shown_without_their_credentials() {
        let target = NatsArgs::for_url("nats://u:s%40crt@a:4222, tls://b").target().unwrap();
        assert_eq!(target.shown, "a:4222,b:4222");
        let auth = target.source.answer(b"").unwrap();
        assert_eq!((auth.username.as_deref(), auth.password.as_deref()), (Some("u"), Some("s@crt")));
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_its_password() {
        for url in ["http://u:hunter2@a", "ws://u:hunter2@a", "nats://u:hunter2@:x"] {
            let message = NatsArgs::for_url(url).check().unwrap_err().to_string();
            assert!(message.contains("NATS_URL") && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn a_ca_file_that_is_not_there_is_named() {
        let args = NatsArgs { nats_ca_file: Some("/nowhere/ca.pem".into()), ..NatsArgs::for_url("nats://a") };
        assert!(args.check().unwrap_err().to_string().contains("/nowhere/ca.pem"));
    }
}
