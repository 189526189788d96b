//! Looking for news over HTTP on a connection that is kept.
//!
//! Libgit2 opens a connection for every look: over TLS that is three or four round trips for an answer that takes one. Its remote objects keep their
//! connection when they are connected again, but cannot be: see docs/decisions/0021. So looks that follow each other closely are made here,
//! by one request for the refs.
//!
//! Only the ordinary is answered here. Proxies, redirects, logins in the URL, other authentication than `Basic`, answers in another
//! protocol and whatever breaks before there is an answer are left to libgit2, on a connection of its own.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use git2::{ErrorClass, ErrorCode};
use ureq::config::Config;
use ureq::http::{HeaderValue, Response, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Timeout};

use super::auth::Offers;
use super::classify::classify;
use super::libgit2::Call;
use super::url::Scheme;
use super::{Class, Login, RemoteRef, TransportError, advertised};

/// Looks that are further apart are left to libgit2: a connection is not kept for nothing.
const PAUSE: Duration = Duration::from_secs(60);
/// How long one connection is used, and how long a remote that is not ordinary is left to libgit2. Names are resolved and authorities, proxies and
/// git's configuration are read anew then.
const TERM: Duration = Duration::from_secs(300);
/// A longer answer is left to libgit2.
const MOST_BYTES: u64 = 64 << 20;
/// More of an answer that is not wanted is not read; its connection is closed.
const MOST_IGNORED: u64 = 64 << 10;
/// Servers look for `git/`.
const USER_AGENT: &str = concat!("git/2.0 (baft ", env!("CARGO_PKG_VERSION"), ")");

/// The connection to the remote that was looked at last.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Line>>);

#[derive(Debug)]
struct Line {
    url: String,
    last_look: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Looked at by libgit2 so far.
    New,
    /// Looked at from here.
    Open { agent: Agent, until: Instant, past: Past, asks: Asks },
    /// Left to libgit2.
    Left { until: Instant },
}

/// Whether there ever was an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    Silent,
    Answered,
}

/// Whether the server wants a login; then it is shown at once, without waiting to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Login,
}

enum Outcome {
    Refs(Vec<RemoteRef>, Asks),
    Failed(TransportError),
    /// There was no connection, or no answer on it.
    Broken,
    /// What came is for libgit2 to understand.
    Odd,
}

impl Kept {
    /// The refs, or why there are none; nothing when libgit2 has to look.
    pub(super) fn look(&self, call: &Call) -> Option<Result<Vec<RemoteRef>, TransportError>> {
        if !is_plain(&call.remote.url) {
            return None;
        }
        let (agent, asks) = self.line(call)?;
        let outcome = look(&agent, call, asks);
        self.note(&call.remote.url, &outcome);
        match outcome {
            Outcome::Refs(refs, _) => Some(Ok(refs)),
            Outcome::Failed(error) => Some(Err(error)),
            Outcome::Broken | Outcome::Odd => None,
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, call: &Call) -> Option<(Agent, Asks)> {
        let (mut slot, now) = (self.slot(), Instant::now());
        let url = &call.remote.url;
        let Some(line) = slot.as_mut().filter(|line| line.url == *url && now - line.last_look < PAUSE) else {
            *slot = Some(Line { url: url.clone(), last_look: now, state: State::New });
            return None;
        };
        line.last_look = now;
        match &line.state {
            State::Open { agent, until, asks, .. } if now < *until => return Some((agent.clone(), *asks)),
            State::Left { until } if now < *until => return None,
            _ => {}
        }
        let (opened, until) = (open(call.address.scheme), now + TERM);
        line.state = match &opened {
            Some(agent) => State::Open { agent: agent.clone(), until, past: Past::Silent, asks: Asks::Nothing },
            None => State::Left { until },
        };
        Some((opened?, Asks::Nothing))
    }

    fn note(&self, url: &str, outcome: &Outcome) {
        let mut slot = self.slot();
        let Some(line) = slot.as_mut().filter(|line| line.url == url) else { return };
        let State::Open { past, asks, .. } = &mut line.state else { return };
        match outcome {
            Outcome::Refs(_, now) => (*past, *asks) = (Past::Answered, *now),
            Outcome::Failed(_) => {}
            // The next look opens another one.
            Outcome::Broken if *past == Past::Answered => line.state = State::New,
            // A server that is away is not asked twice each time.
            Outcome::Broken => line.state = State::Left { until: Instant::now() + PAUSE },
            Outcome::Odd => line.state = State::Left { until: Instant::now() + TERM },
        }
    }
}

/// Whether a URL is nothing but scheme, host, port and path.
fn is_plain(url: &str) -> bool {
    ::url::Url::parse(url).is_ok_and(|url| {
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
    })
}

fn look(agent: &Agent, call: &Call, asks: Asks) -> Outcome {
    let failed =
        |class, why: &str| Outcome::Failed(TransportError::new(class, format!("listing {}: {why}", call.shown)));
    let mut offers = Offers::new(call.remote.credentials.clone(), call.address.clone());
    let mut login = match (asks == Asks::Login).then(|| offers.next_login(None)).flatten().transpose() {
        Ok(login) => login,
        Err(why) => return failed(Class::Auth, &why),
    };
    loop {
        let mut response = match ask(agent, call, login.as_ref()) {
            Ok(response) => response,
            Err(error) => return unanswered(call, &error),
        };
        let status = response.status().as_u16();
        if status == 200 {
            if response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != ADVERTISEMENT) {
                return Outcome::Odd;
            }
            let asks = if login.is_some() { Asks::Login } else { Asks::Nothing };
            return match response.body_mut().with_config().limit(MOST_BYTES).read_to_vec() {
                Ok(answer) => advertised::refs(&answer).map_or(Outcome::Odd, |refs| Outcome::Refs(refs, asks)),
                Err(ureq::Error::BodyExceedsLimit(_)) => Outcome::Odd,
                Err(error) => unanswered(call, &error),
            };
        }
        if matches!(status, 300..400 | 407) || status == 401 && !wants_basic(&response) {
            return Outcome::Odd;
        }
        // Read, so that the connection can be used again; what is wrong with it shows then.
        let _ = response.body_mut().with_config().limit(MOST_IGNORED).read_to_vec();
        if status != 401 {
            let text = format!("unexpected http status code: {status}");
            let error = git2::Error::new(ErrorCode::GenericError, ErrorClass::Http, text);
            return Outcome::Failed(classify(&error, "listing", &call.shown));
        }
        login = match offers.next_login(None) {
            Some(Ok(login)) => Some(login),
            Some(Err(why)) => return failed(Class::Auth, &why),
            None => return failed(Class::Auth, &offers.nothing_left()),
        };
    }
}

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";

fn ask(agent: &Agent, call: &Call, login: Option<&Login>) -> Result<Response<Body>, ureq::Error> {
    let url = format!("{}/info/refs?service=git-upload-pack", call.remote.url.trim_end_matches('/'));
    let mut request = agent.get(url).config().timeout_global(Some(call.deadline.left())).build();
    if let Some(login) = login {
        let pair = STANDARD.encode(format!("{}:{}", login.username, login.password.expose()));
        let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(ureq::http::Error::from)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.call()
}

fn unanswered(call: &Call, error: &ureq::Error) -> Outcome {
    if call.deadline.passed() || matches!(error, ureq::Error::Timeout(Timeout::Global)) {
        return Outcome::Failed(call.deadline.error(&call.shown));
    }
    tracing::debug!(%error, remote = %call.shown, "no answer on the connection that is kept; libgit2 asks on another one");
    let broken = match error {
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        // What rustls and the parser do not like is `InvalidData`, and will be the next time.
        ureq::Error::Io(error) => !matches!(error.kind(), std::io::ErrorKind::InvalidData),
        _ => false,
    };
    if broken { Outcome::Broken } else { Outcome::Odd }
}

fn wants_basic(response: &Response<Body>) -> bool {
    response.headers().get_all(header::WWW_AUTHENTICATE).iter().any(|challenge| {
        let scheme = challenge.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"basic")
    })
}

/// Something to ask with; nothing when what is configured calls for libgit2.
fn open(scheme: Scheme) -> Option<Agent> {
    let settings = crate::settings::applied()?;
    if has_proxy(scheme) || git_config_matters() {
        return None;
    }
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(USER_AGENT)
        .max_idle_connections(1)
        .max_idle_age(PAUSE)
        .input_buffer_size(16 << 10)
        .output_buffer_size(4 << 10)
        .timeout_connect(Some(settings.connect_timeout))
        .timeout_per_read(Some(settings.io_timeout))
        .timeout_per_write(Some(settings.io_timeout));
    if scheme == Scheme::Https {
        let authorities = authorities(settings.ca_file.as_deref())?;
        config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&authorities)).build());
    }
    Some(Agent::with_parts(config.build(), DefaultConnector::new(), Once::default()))
}

/// Looks an address up once. There is one server, and by itself an agent would look for it before every request, on a thread of its own, also when it
/// has a connection.
#[derive(Debug, Default)]
struct Once {
    resolver: DefaultResolver,
    found: OnceLock<ResolvedSocketAddrs>,
}

impl Resolver for Once {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if let Some(found) = self.found.get() {
            return Ok(found.clone());
        }
        let found = self.resolver.resolve(uri, config, timeout)?;
        Ok(self.found.get_or_init(|| found).clone())
    }
}

fn has_proxy(scheme: Scheme) -> bool {
    let names = if scheme == Scheme::Https { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
    names.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Whether git's own configuration says something about how to get to a server.
fn git_config_matters() -> bool {
    let settings = git2::Config::open_default().and_then(|mut config| {
        let config = config.snapshot()?;
        let mut entries = config.entries(Some(r"^(http\..*proxy|url\..*\.insteadof)$"))?;
        Ok(entries.next().is_some())
    });
    settings.unwrap_or(true)
}

/// The same authorities that libgit2 trusts.
fn authorities(chosen: Option<&std::path::Path>) -> Option<Vec<Certificate<'static>>> {
    let found: Vec<_> = match chosen {
        Some(file) => ureq::tls::parse_pem(&std::fs::read(file).ok()?)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect(),
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
    };
    (!found.is_empty()).then_some(found)
}
