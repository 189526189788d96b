//! The flags.

use std::path::PathBuf;

use baft_kit::config::switch;

/// Whose variables the flags are read from. The flags are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variables {
    /// `GITSYNC_…`, as kubernetes/git-sync calls them.
    GitSync,
    /// `BAFT_GIT_…`, for daemons that have nothing to do with it.
    Own,
}

impl Variables {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::GitSync => THEIRS,
            Self::Own => OURS,
        }
    }
}

const THEIRS: &str = "GITSYNC_";
const OURS: &str = "BAFT_GIT_";

/// Gives an argument of [`AccessArgs`] its `BAFT_GIT_…` variable instead of `GITSYNC_…`; others stay as they are. For `#[command(mut_args(…))]`.
#[must_use]
pub fn with_own_variables(arg: clap::Arg) -> clap::Arg {
    let renamed = arg.get_env().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(THEIRS));
    let Some(renamed) = renamed.map(|rest| format!("{OURS}{rest}")) else { return arg };
    let help = arg.get_help().map(|help| help.to_string().replace(THEIRS, OURS));
    let arg = arg.env(renamed);
    match help {
        Some(help) => arg.help(help),
        None => arg,
    }
}

/// Where cookies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cookies {
    /// None are sent.
    None,
    /// In this file.
    File(PathBuf),
}

/// Where kubernetes/git-sync looks for cookies; its flag only says whether.
const COOKIES: &str = "/etc/git-secret/cookie_file";

fn cookies(text: &str) -> Result<Cookies, String> {
    match switch(text) {
        Ok(false) => Ok(Cookies::None),
        Ok(true) => Ok(Cookies::File(COOKIES.into())),
        Err(_) if text.contains('/') => Ok(Cookies::File(text.into())),
        Err(_) => Err("true, false or the path of a file".to_owned()),
    }
}

/// What is shown to the remote. Files are read on every use.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Credentials")]
pub struct AccessArgs {
    /// User name for the password
    #[arg(long, env = "GITSYNC_USERNAME", value_name = "NAME")]
    pub username: Option<String>,

    /// File with the password or token, read again for every sync (or GITSYNC_PASSWORD)
    #[arg(long, env = "GITSYNC_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// URL that answers username=… and password=…, asked for every sync
    #[arg(long, env = "GITSYNC_ASKPASS_URL", value_name = "URL")]
    pub askpass_url: Option<String>,

    /// Credentials as JSON: {"url","username","password-file"} or "password"; may be repeated
    #[arg(long, env = "GITSYNC_CREDENTIAL", value_name = "JSON")]
    pub credential: Vec<String>,

    /// Send the cookies of this file (Netscape's format); true stands for /etc/git-secret/cookie_file
    #[arg(long, env = "GITSYNC_COOKIE_FILE", value_name = "BOOL|FILE", value_parser = cookies, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub cookie_file: Cookies,

    /// Private SSH key; may be repeated
    #[arg(
        long,
        env = "GITSYNC_SSH_KEY_FILE",
        value_name = "FILE",
        value_delimiter = ',',
        default_value = "/etc/git-secret/ssh"
    )]
    pub ssh_key_file: Vec<PathBuf>,

    /// Check the SSH host's key
    #[arg(long, env = "GITSYNC_SSH_KNOWN_HOSTS", value_name = "BOOL", value_parser = switch, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub ssh_known_hosts: bool,

    /// The SSH hosts' keys, in OpenSSH's format
    #[arg(
        long,
        env = "GITSYNC_SSH_KNOWN_HOSTS_FILE",
        value_name = "FILE",
        default_value = "/etc/git-secret/known_hosts"
    )]
    pub ssh_known_hosts_file: PathBuf,

    /// Private key of a GitHub App
    #[arg(long, env = "GITSYNC_GITHUB_APP_PRIVATE_KEY_FILE", value_name = "FILE")]
    pub github_app_private_key_file: Option<PathBuf>,

    /// Client id of the GitHub App
    #[arg(long, env = "GITSYNC_GITHUB_APP_CLIENT_ID", value_name = "ID")]
    pub github_app_client_id: Option<String>,

    /// Application id of the GitHub App
    #[arg(long, env = "GITSYNC_GITHUB_APP_APPLICATION_ID", value_name = "ID")]
    pub github_app_application_id: Option<u64>,

    /// Installation id of the GitHub App
    #[arg(long, env = "GITSYNC_GITHUB_APP_INSTALLATION_ID", value_name = "ID")]
    pub github_app_installation_id: Option<u64>,

    /// Where GitHub's API is
    #[arg(long, env = "GITSYNC_GITHUB_BASE_URL", value_name = "URL", default_value = "https://api.github.com/")]
    pub github_base_url: String,

    /// Certificate authorities (PEM) to trust for https remotes instead of the system's
    #[arg(long, env = "BAFT_GIT_CA_FILE", value_name = "FILE")]
    pub git_ca_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(mut_args(with_own_variables))]
    struct Daemon {
        #[command(flatten)]
        access: AccessArgs,
    }

    #[test]
    fn a_daemon_of_ours_reads_its_own_variables_only() {
        let command = Daemon::command();
        for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
            let name = arg.get_env().unwrap().to_str().unwrap();
            assert!(name.starts_with("BAFT_GIT_"), "{name}");
            assert!(!arg.get_help().unwrap().to_string().contains("GITSYNC"), "{name}");
        }
    }

    #[test]
    fn cookies_are_a_switch_or_a_file() {
        assert_eq!(cookies("true"), Ok(Cookies::File(COOKIES.into())));
        assert_eq!(cookies("0"), Ok(Cookies::None));
        assert_eq!(cookies("./jar"), Ok(Cookies::File("./jar".into())));
        assert!(cookies("maybe").is_err());
        let access = Daemon::try_parse_from(["x", "--cookie-file"]).unwrap().access;
        assert_eq!(access.cookie_file, Cookies::File(COOKIES.into()));
    }
}
