//! Watching the connection: is it up, is the server good enough, what did the server refuse.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{PoisonError, Weak};
use std::time::{Duration, Instant};

use async_nats::{ClientError, ConnectErrorKind, Event, ServerError};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::auth;
use crate::connection::{Bus, DEADLINE, Inner, Link, Stay};
use crate::error::BusError;
use crate::tls::Tls;

/// After this many refusals in a row trying on makes no sense; with the delays between them about ten seconds.
const MAX_AUTH_FAILURES: u32 = 8;
/// How long to wait before a server that could not be checked is checked again.
const RECHECK: Duration = Duration::from_secs(5);
/// How long one look at a server that cannot be connected to may take, for each exchange.
const LOOK: Duration = Duration::from_secs(3);
/// And after which time it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long a refusal of the server explains a missing answer.
const VIOLATION_AGE: Duration = Duration::from_secs(60);

/// The server's latest refusals. They come unasked and name only the subject.
#[derive(Debug, Default)]
pub(crate) struct Violations(VecDeque<(Instant, String)>);

impl Violations {
    fn push(&mut self, text: String) {
        self.0.push_back((Instant::now(), text));
        if self.0.len() > 32 {
            self.0.pop_front();
        }
    }

    /// A refusal since `since` that concerns the subject, or a reply subject of this connection.
    pub(crate) fn about(&self, subject: &str, since: Instant) -> Option<String> {
        let quoted = format!("\"{subject}\"");
        self.0
            .iter()
            .rev()
            .find(|(at, text)| {
                let own = *at >= since && text.contains(&quoted);
                // Replies are subscribed to once per connection, so that refusal is an older one.
                let inbox = at.elapsed() < VIOLATION_AGE && text.contains("Subscription") && text.contains("\"_INBOX");
                own || inbox
            })
            .map(|(_, text)| text.clone())
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Looks at the servers when they cannot be connected to, and finds out why: the library says only which kind of failure
/// it was.
#[derive(Debug)]
pub(crate) struct Doctor {
    servers: Vec<(String, u16)>,
    tls: Tls,
    last: Option<Instant>,
    looking: Option<oneshot::Receiver<Option<String>>>,
    found: Option<String>,
}

impl Doctor {
    pub(crate) fn new(servers: Vec<(String, u16)>, tls: Tls) -> Self {
        Self { servers, tls, last: None, looking: None, found: None }
    }

    fn look(&mut self) {
        if self.looking.is_some() || self.last.is_some_and(|last| last.elapsed() < LOOK_AGAIN) {
            return;
        }
        self.last = Some(Instant::now());
        let (sender, looking) = oneshot::channel();
        let (servers, tls) = (self.servers.clone(), self.tls.clone());
        // A thread of its own: it may block for seconds, which nobody waits for at the end.
        let spawned = std::thread::Builder::new().name("nats-doctor".to_owned()).spawn(move || {
            let mut reasons = servers.iter().map(|(host, port)| {
                let reason = tls.diagnose(host, *port, LOOK)?;
                let hint = tls.hint(&reason).map(|hint| format!("; {hint}")).unwrap_or_default();
                Some(format!("{host}:{port}: {reason}{hint}"))
            });
            // One server that is well is enough.
            let all: Option<Vec<String>> = reasons.by_ref().collect();
            let _ = sender.send(all.map(|all| all.join(", ")));
        });
        self.looking = spawned.is_ok().then_some(looking);
    }

    async fn looked(&mut self) -> Option<String> {
        match &mut self.looking {
            Some(looking) => {
                let found = looking.await.ok().flatten();
                self.looking = None;
                self.found.clone_from(&found);
                found
            }
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self) {
        (self.last, self.looking, self.found) = (None, None, None);
    }
}

/// Turns what the library reports into the state of the [`Bus`].
pub(crate) struct Supervisor {
    // Weak: the connection must close when the last `Bus` is gone.
    bus: Weak<Inner>,
    events: mpsc::UnboundedReceiver<Event>,
    doctor: Doctor,
    auth_failures: u32,
    /// The check of the current connection, while it goes on. Polled beside the events, which it depends on.
    checking: Option<Checking>,
}

type Checking = Pin<Box<dyn Future<Output = Option<Check>> + Send>>;

/// What checking a server gave.
enum Check {
    Good,
    /// Not usable now, may be later.
    NotYet(BusError),
    /// Will not be usable without somebody's help.
    Never(BusError),
}

impl Supervisor {
    pub(crate) fn new(bus: Weak<Inner>, events: mpsc::UnboundedReceiver<Event>, doctor: Doctor) -> Self {
        Self { bus, events, doctor, auth_failures: 0, checking: None }
    }

    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                event = self.events.recv() => {
                    let (Some(event), Some(inner)) = (event, self.bus.upgrade()) else {
                        return;
                    };
                    self.event(&Bus { inner }, event);
                }
                found = self.doctor.looked() => {
                    let (Some(reason), Some(inner)) = (found, self.bus.upgrade()) else {
                        continue;
                    };
                    self.explained(&Bus { inner }, &reason);
                }
                result = poll(&mut self.checking) => {
                    self.checking = None;
                    let (Some(result), Some(inner)) = (result, self.bus.upgrade()) else {
                        return;
                    };
                    self.checked(&Bus { inner }, result);
                }
            }
        }
    }

    /// For [`Bus::connect_now`]: the first check, whose result the caller waits for.
    pub(crate) async fn first_check(&mut self, bus: &Bus) -> Result<(), BusError> {
        let mut checking = check_after(self.bus.clone(), Duration::ZERO);
        loop {
            // The check needs the events: a refusal is one.
            tokio::select! {
                event = self.events.recv() => match event {
                    // This connection is the one being checked.
                    Some(Event::Connected) => bus.inner.metrics.connects.inc(),
                    Some(event) => self.event(bus, event),
                    None => return Err(BusError::Closed),
                },
                result = &mut checking => return match result {
                    Some(Check::Good) => {
                        self.set(bus, Link::Up);
                        Ok(())
                    }
                    Some(Check::NotYet(error) | Check::Never(error)) => Err(error),
                    None => Err(BusError::Closed),
                },
            }
        }
    }

    fn event(&mut self, bus: &Bus, event: Event) {
        match event {
            Event::Connected => {
                self.auth_failures = 0;
                self.doctor.forget();
                bus.inner.metrics.connects.inc();
                bus.inner.recent_violations.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.checking = Some(check_after(self.bus.clone(), Duration::ZERO));
            }
            Event::Disconnected | Event::Closed => {
                self.checking = None;
                self.other(bus, event);
            }
            event => self.other(bus, event),
        }
    }

    fn checked(&mut self, bus: &Bus, result: Check) {
        match result {
            Check::Good => self.set(bus, Link::Up),
            Check::NotYet(error) => {
                self.down(bus, &error.to_string());
                self.checking = Some(check_after(self.bus.clone(), RECHECK));
            }
            Check::Never(error) => {
                self.down(bus, &error.to_string());
                tracing::error!(%error, "NATS cannot be used");
                bus.inner.failure.send_replace(Some(error));
            }
        }
    }

    fn other(&mut self, bus: &Bus, event: Event) {
        match event {
            Event::Disconnected => self.down(bus, "the connection was lost"),
            Event::Closed => self.down(bus, "the connection is closed"),
            Event::LameDuckMode => tracing::info!("the NATS server is about to shut down"),
            Event::SlowConsumer(_) => {
                bus.inner.metrics.slow_consumers.inc();
                tracing::warn!("messages were dropped: a subscription was not read fast enough");
            }
            Event::ServerError(ServerError::AuthorizationViolation) => {
                self.down(bus, "the server ended the connection: authorization violation");
            }
            Event::ServerError(ServerError::Other(text)) if text.to_lowercase().contains("permissions violation") => {
                bus.inner.metrics.violations.inc();
                tracing::warn!(violation = %text, "NATS refused an operation");
                bus.inner.recent_violations.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                bus.inner.violations.send_modify(|count| *count += 1);
            }
            Event::ServerError(error) => tracing::warn!(%error, "the NATS server reported an error"),
            Event::ClientError(ClientError::Other(text)) => self.failed_attempt(bus, &text),
            Event::ClientError(error) => self.down(bus, &error.to_string()),
            Event::Connected | Event::Draining => {}
        }
    }

    /// The library tries for ever, also with credentials that will never be right.
    fn failed_attempt(&mut self, bus: &Bus, text: &str) {
        let unreadable = auth::take(&bus.inner.auth_failure);
        let refused = text == ConnectErrorKind::AuthorizationViolation.to_string()
            || text == ConnectErrorKind::Authentication.to_string();
        let reason = unreadable.clone().or_else(|| self.doctor.found.clone()).unwrap_or_else(|| text.to_owned());
        self.down(bus, &reason);
        if !refused {
            if bus.inner.stay == Stay::Long {
                self.doctor.look();
            }
            return;
        }
        self.auth_failures += 1;
        if self.auth_failures == MAX_AUTH_FAILURES {
            let error = unreadable.map_or_else(
                || BusError::Unauthorized { url: bus.inner.shown.clone(), attempts: self.auth_failures },
                BusError::Config,
            );
            tracing::error!(%error, "giving up on NATS");
            bus.inner.failure.send_replace(Some(error));
        }
    }

    /// Says, once for each outage, why there is no connection.
    fn explained(&self, bus: &Bus, reason: &str) {
        if !bus.is_up() {
            tracing::warn!(servers = %bus.inner.shown, %reason, "cannot connect to NATS, trying on");
            self.down(bus, reason);
        }
    }

    fn down(&self, bus: &Bus, reason: &str) {
        self.set(bus, Link::Down { reason: reason.to_owned() });
    }

    fn set(&self, bus: &Bus, link: Link) {
        bus.inner.metrics.connected.set(i64::from(link == Link::Up));
        bus.inner.link.send_if_modified(|current| {
            if *current == link {
                return false;
            }
            match &link {
                _ if bus.inner.stay == Stay::Short => tracing::debug!(servers = %bus.inner.shown, ?link, "NATS"),
                Link::Up => tracing::info!(servers = %bus.inner.shown, "connected to NATS"),
                Link::Down { reason } if *current == Link::Up => {
                    tracing::warn!(servers = %bus.inner.shown, %reason, "NATS is away");
                }
                Link::Down { reason } => tracing::debug!(servers = %bus.inner.shown, %reason, "NATS is still away"),
            }
            *current = link;
            true
        });
    }
}

async fn poll(checking: &mut Option<Checking>) -> Option<Check> {
    match checking {
        Some(checking) => checking.await,
        None => std::future::pending().await,
    }
}

/// `None` when the last `Bus` is gone.
fn check_after(bus: Weak<Inner>, delay: Duration) -> Checking {
    Box::pin(async move {
        tokio::time::sleep(delay).await;
        let inner = bus.upgrade()?;
        Some(check(&Bus { inner }).await)
    })
}

/// Is the server new enough, and does it have JetStream for this account?
///
/// An old server accepts what it does not know and silently drops it (measured: 2.9 with per-message TTL), so the
/// check comes before anything else.
async fn check(bus: &Bus) -> Check {
    let url = bus.inner.shown.clone();
    // Goes through the connection's queue, so the server information below belongs to this connection.
    let answer = bus.api_unchecked("INFO", &Value::Null, DEADLINE).await;
    let Some(info) = bus.inner.client.try_server_info() else {
        return Check::NotYet(bus.disconnected());
    };
    if !new_enough(&info.version) {
        return Check::Never(BusError::ServerTooOld { url, found: info.version });
    }
    match answer {
        Ok(account) => match account.pointer("/api/level").and_then(Value::as_u64) {
            Some(1..) => Check::Good,
            // The field exists since 2.11: a server behind this one (a leaf node's hub) is older.
            _ => Check::Never(BusError::ServerTooOld {
                url,
                found: format!("{} with JetStream API level 0", info.version),
            }),
        },
        Err(BusError::NoStream { .. } | BusError::JetStream { code: 10039 | 10076, .. }) => {
            Check::NotYet(BusError::NoJetStream { url })
        }
        // A user that may not ask; the version has to do.
        Err(BusError::NotPermitted { .. }) => Check::Good,
        Err(error) => Check::NotYet(error),
    }
}

/// 2.11 or later. A version that cannot be read is taken as old.
fn new_enough(version: &str) -> bool {
    semver::Version::parse(version.trim_start_matches('v'))
        .is_ok_and(|version| (version.major, version.minor) >= (2, 11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_from_2_11_on_are_new_enough() {
        for good in ["2.11.0", "2.15.1", "v2.14.2", "2.12.0-preview.1", "3.0.0"] {
            assert!(new_enough(good), "{good}");
        }
        for bad in ["2.10.26", "2.9.10", "1.4.1", "", "new"] {
            assert!(!new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn a_refusal_explains_only_its_own_subject_and_the_replies() {
        let before = Instant::now();
        let mut violations = Violations::default();
        violations.push("Permissions Violation for Publish to \"baft.git.sync\"".into());
        assert!(violations.about("baft.git.sync", before).is_some());
        assert!(violations.about("baft.git.sync", Instant::now()).is_none());
        assert!(violations.about("baft.git", before).is_none());
        violations.push("Permissions Violation for Subscription to \"_INBOX_a.b.*\"".into());
        assert!(violations.about("baft.git", Instant::now()).is_some());
    }
}
