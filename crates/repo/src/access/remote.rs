//! From flags to what is shown to the remote. Files are named here and read on every use.

use std::path::PathBuf;

use baft_kit::config::ConfigError;
use baft_kit::{Secret, SecretFile};
use serde::Deserialize;

use super::args::{AccessArgs, Cookies, Variables};
use super::login::{GithubApp, LoginConfig};
use crate::transport::{Credentials, KnownHosts, Password, Remote, SshAgent};

/// One `--credential`, as kubernetes/git-sync writes it. Not printable: it may hold a password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    url: String,
    #[serde(default)]
    username: String,
    password: Option<String>,
    #[serde(rename = "password-file")]
    password_file: Option<PathBuf>,
}

/// The remote as the flags describe it, and who makes logins for it.
///
/// # Errors
/// Flags that contradict each other or cannot be honoured.
pub fn remote(
    url: &str,
    args: &AccessArgs,
    variables: Variables,
) -> Result<(Remote, Option<LoginConfig>), ConfigError> {
    let variable = |name: &str| {
        let name = format!("{}{name}", variables.prefix());
        std::env::var(name).ok().filter(|value| !value.is_empty())
    };
    let password_variable = format!("{}PASSWORD", variables.prefix());
    let from_environment = variable("PASSWORD");
    let password = match (from_environment, &args.password_file) {
        (Some(_), Some(file)) => {
            let allowed = format!("either it or the variable {password_variable}, not both");
            return Err(ConfigError::new("--password-file", file.display(), allowed));
        }
        (Some(password), None) => Some(Password::Value(Secret::new(password))),
        (None, file) => file.clone().map(|file| Password::File(SecretFile::new(file))),
    };
    if let (Some(name), None) = (&args.username, &password) {
        let allowed = format!("it together with --password-file or the variable {password_variable}");
        return Err(ConfigError::new("--username", name, allowed));
    }
    let mut credentials = Credentials {
        username: args.username.clone(),
        password,
        login: None,
        ssh_keys: args.ssh_key_file.clone(),
        ssh_agent: SshAgent::Ignore,
        cookie_file: match &args.cookie_file {
            Cookies::None => None,
            Cookies::File(file) => Some(file.clone()),
        },
    };
    for json in &args.credential {
        let credential = parse_credential(json)?;
        if credentials.password.is_none() && url.starts_with(&credential.url) {
            credentials.username = Some(credential.username).filter(|name| !name.is_empty());
            credentials.password = match (credential.password, credential.password_file) {
                (Some(value), _) => Some(Password::Value(Secret::new(value))),
                (None, file) => file.map(|file| Password::File(SecretFile::new(file))),
            };
        }
    }
    let login = login(args, variable("GITHUB_APP_PRIVATE_KEY"))?;
    let known_hosts =
        if args.ssh_known_hosts { KnownHosts::File(args.ssh_known_hosts_file.clone()) } else { KnownHosts::Any };
    Ok((Remote { url: url.to_owned(), credentials, known_hosts, deadline: None }, login))
}

fn parse_credential(json: &str) -> Result<Credential, ConfigError> {
    let allowed = "JSON such as {\"url\":\"https://host/\",\"username\":\"me\",\"password-file\":\"/secrets/token\"}";
    let credential: Credential =
        serde_json::from_str(json).map_err(|_| ConfigError::new("--credential", "***", allowed))?;
    if credential.password.is_some() == credential.password_file.is_some() {
        let allowed = "one of password and password-file for each URL";
        return Err(ConfigError::new("--credential", credential.url, allowed));
    }
    Ok(credential)
}

fn login(args: &AccessArgs, key_in_variable: Option<String>) -> Result<Option<LoginConfig>, ConfigError> {
    let key = args.github_app_private_key_file.clone().map(SecretFile::new);
    let app_key = match (key, key_in_variable) {
        (Some(file), _) => Some(Password::File(file)),
        (None, value) => value.map(|value| Password::Value(Secret::new(value))),
    };
    if let Some(url) = &args.askpass_url {
        if app_key.is_some() || args.password_file.is_some() {
            return Err(ConfigError::new("--askpass-url", url, "it without --password-file and without a GitHub App"));
        }
        return Ok(Some(LoginConfig::Askpass(url.clone())));
    }
    let Some(key) = app_key else { return Ok(None) };
    let issuer = match (&args.github_app_client_id, args.github_app_application_id) {
        (Some(id), None) => id.clone(),
        (None, Some(id)) => id.to_string(),
        _ => {
            let allowed = "exactly one of --github-app-client-id and --github-app-application-id with it";
            return Err(ConfigError::new("--github-app-private-key-file", "given", allowed));
        }
    };
    let Some(installation) = args.github_app_installation_id else {
        return Err(ConfigError::new("--github-app-installation-id", "", "the id of the app's installation"));
    };
    let base = args.github_base_url.trim_end_matches('/').to_owned();
    Ok(Some(LoginConfig::GithubApp(GithubApp { key, issuer, installation, base })))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        auth: AccessArgs,
    }

    fn credentials(args: &[&str]) -> Result<(Credentials, Option<LoginConfig>), String> {
        let cli = Cli::try_parse_from([&["daemon"], args].concat()).unwrap();
        match remote("https://host/o/docs.git", &cli.auth, Variables::Own) {
            Ok((remote, login)) => Ok((remote.credentials, login)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_credential_is_used_for_its_url_only() {
        let json = r#"{"url":"https://host/","username":"me","password-file":"/secret"}"#;
        let other = r#"{"url":"https://elsewhere/","username":"you","password":"x"}"#;
        let (found, _) = credentials(&["--credential", other, "--credential", json]).unwrap();
        assert_eq!(found.username.as_deref(), Some("me"));
        let (found, _) = credentials(&["--credential", other]).unwrap();
        assert!(found.password.is_none() && found.username.is_none());
    }

    #[test]
    fn contradictions_are_refused_and_secrets_not_repeated() {
        for args in [
            &["--username=me"][..],
            &["--credential={\"url\":\"https://host/\",\"password\":\"hunter2\",\"password-file\":\"/x\"}"],
            &["--credential={hunter2"],
            &["--askpass-url=http://x", "--password-file=/x"],
            &["--github-app-private-key-file=/x"],
            &["--github-app-private-key-file=/x", "--github-app-client-id=i"],
        ] {
            let error = credentials(args).unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
        let app = ["--github-app-private-key-file=/x", "--github-app-client-id=i", "--github-app-installation-id=7"];
        assert!(matches!(credentials(&app).unwrap().1, Some(LoginConfig::GithubApp(_))));
    }
}
