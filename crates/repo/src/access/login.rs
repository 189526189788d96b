//! Logins that somebody makes when the remote asks for one: an askpass URL, a GitHub App.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use baft_kit::Secret;
use baft_kit::metrics::CounterVec;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

use crate::transport::{Login, LoginSource, Password};

/// Longest time one call may take.
const CALL: Duration = Duration::from_secs(10);
/// GitHub's tokens live an hour; a new one is asked for well before.
const TOKEN_USED: Duration = Duration::from_secs(45 * 60);

/// Who makes logins.
#[derive(Debug, Clone)]
pub enum LoginConfig {
    /// A URL that answers `username=…` and `password=…`.
    Askpass(String),
    /// A GitHub App.
    GithubApp(GithubApp),
}

impl LoginConfig {
    /// Somebody who makes such logins, counting each call by its status (success, error).
    #[must_use]
    pub fn source(&self, calls: CounterVec) -> Arc<dyn LoginSource> {
        match self {
            Self::Askpass(url) => Arc::new(Askpass { url: url.clone(), calls }),
            Self::GithubApp(app) => Arc::new(AppLogin::new(app.clone(), calls)),
        }
    }
}

/// A GitHub App and one of its installations.
#[derive(Debug, Clone)]
pub struct GithubApp {
    /// The private key (PEM).
    pub key: Password,
    /// The client id or the application id.
    pub issuer: String,
    /// Where the app is installed.
    pub installation: u64,
    /// Where GitHub's API is, without a slash at the end.
    pub base: String,
}

/// Calls the askpass URL whenever the remote asks.
#[derive(Debug)]
struct Askpass {
    url: String,
    calls: CounterVec,
}

impl LoginSource for Askpass {
    fn login(&self) -> Result<Login, String> {
        let result = ask(&self.url);
        count(&self.calls, &result);
        result.map_err(|error| format!("--askpass-url: {error}"))
    }
}

fn ask(url: &str) -> Result<Login, String> {
    let mut response = agent().get(url).call().map_err(|error| error.to_string())?;
    if response.status().as_u16() != 200 {
        return Err(format!("it answered {}, not 200", response.status().as_u16()));
    }
    let body =
        response.body_mut().with_config().limit(64 * 1024).read_to_string().map_err(|error| error.to_string())?;
    parse_answer(&body).ok_or_else(|| "the answer has no lines username=… and password=…".to_owned())
}

fn parse_answer(body: &str) -> Option<Login> {
    let value = |key: &str| body.lines().find_map(|line| line.strip_prefix(key)).map(str::trim_end);
    Some(Login { username: value("username=")?.to_owned(), password: Secret::new(value("password=")?) })
}

/// Keeps a token until it is about to expire.
#[derive(Debug)]
struct AppLogin {
    app: GithubApp,
    calls: CounterVec,
    token: Mutex<Option<(Secret, Instant)>>,
}

impl AppLogin {
    fn new(app: GithubApp, calls: CounterVec) -> Self {
        Self { app, calls, token: Mutex::default() }
    }
}

impl LoginSource for AppLogin {
    fn login(&self) -> Result<Login, String> {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let token = match kept.as_ref().filter(|(_, made)| made.elapsed() < TOKEN_USED) {
            Some((token, _)) => token.clone(),
            None => {
                let result = new_token(&self.app);
                count(&self.calls, &result);
                let token = result.map_err(|error| format!("GitHub App: {error}"))?;
                *kept = Some((token.clone(), Instant::now()));
                token
            }
        };
        Ok(Login { username: "x-access-token".to_owned(), password: token })
    }
}

fn new_token(app: &GithubApp) -> Result<Secret, String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        token: String,
    }
    let pem = match &app.key {
        Password::File(file) => file.read().map_err(|error| error.to_string())?,
        Password::Value(secret) => secret.clone(),
    };
    let jwt = jwt(pem.expose(), &app.issuer, baft_kit::time::unix_seconds())?;
    let url = format!("{}/app/installations/{}/access_tokens", app.base, app.installation);
    let mut response = agent()
        .post(&url)
        .header("Authorization", format!("Bearer {jwt}"))
        .header("Accept", "application/vnd.github+json")
        .header("X-GitHub-Api-Version", "2022-11-28")
        .send_empty()
        .map_err(|error| error.to_string())?;
    if response.status().as_u16() != 201 {
        return Err(format!("{url} answered {}, not 201", response.status().as_u16()));
    }
    let body =
        response.body_mut().with_config().limit(64 * 1024).read_to_string().map_err(|error| error.to_string())?;
    let answer: Answer =
        serde_json::from_str(&body).map_err(|_| format!("{url} answered something without a token"))?;
    Ok(Secret::new(answer.token))
}

/// The app's proof of itself, good for nine minutes from a minute ago (clocks differ).
fn jwt(pem: &str, issuer: &str, now: i64) -> Result<String, String> {
    let key = private_key(pem)?;
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = serde_json::json!({ "iat": now - 60, "exp": now + 540, "iss": issuer });
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "the private key cannot sign".to_owned())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// PKCS#1 as GitHub gives it, or PKCS#8.
fn private_key(pem: &str) -> Result<RsaKeyPair, String> {
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).map_err(|_| "the private key is no PEM file".to_owned())?;
    let key =
        if pem.contains("BEGIN RSA PRIVATE KEY") { RsaKeyPair::from_der(&der) } else { RsaKeyPair::from_pkcs8(&der) };
    key.map_err(|error| format!("the private key cannot be used: {error}"))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(CALL))
        .http_status_as_error(false)
        .user_agent(concat!("baft/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn count<T>(calls: &CounterVec, result: &Result<T, String>) {
    calls.with_label_values(&[if result.is_ok() { "success" } else { "error" }]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_askpass_answer_is_two_lines_in_any_order() {
        let login = parse_answer("password=a=b\r\nusername=me\n").unwrap();
        assert_eq!((login.username.as_str(), login.password.expose()), ("me", "a=b"));
        assert!(parse_answer("username=me").is_none());
        assert!(parse_answer("").is_none());
    }

    #[test]
    fn a_key_that_is_none_is_said_to_be_none() {
        assert!(jwt("!nonsense!", "1", 0).unwrap_err().contains("PEM"));
        assert!(jwt("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "1", 0).is_err());
    }
}
