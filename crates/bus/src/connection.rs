//! The one connection of a process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event as ClientEvent};
use baft_kit::metrics::Metrics;
use rand::Rng;
use tokio::sync::{mpsc, watch};

use crate::announce::Outgoing;
use crate::args::{NatsArgs, Target};
use crate::auth::{self, LastFailure};
use crate::error::BusError;
use crate::event::{self, Payload};
use crate::link;
use crate::metrics::BusMetrics;
use crate::subject::Prefix;

/// How long one exchange with the server may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// A half-open connection is noticed after two to three of these (the library's default would take three minutes).
const PING_INTERVAL: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(10);

/// [`Bus::failed`] of a daemon that may work without a broker; then it never resolves.
pub async fn unusable(bus: Option<&Bus>) -> BusError {
    match bus {
        Some(bus) => bus.failed().await,
        None => std::future::pending().await,
    }
}

/// Who is connected: used for the connection's name, the inbox prefix and the source of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The daemon, for example `git-sync`.
    pub name: String,
    /// Which one, when several run; the host or pod name.
    pub instance: String,
    /// Its version.
    pub version: String,
}

impl Identity {
    /// The program of this name and version, as it runs on this host or in this pod (`HOSTNAME`).
    #[must_use]
    pub fn of_this_host(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), instance: baft_kit::runtime::host_name(), version: version.to_owned() }
    }

    /// `_INBOX_git-sync.<instance>`: replies come on subjects nobody else may read, and one rule `_INBOX_git-sync.>`
    /// covers every instance.
    fn inbox_prefix(&self) -> String {
        format!("_INBOX_{}.{}", token(&self.name), token(&self.instance))
    }

    pub(crate) fn source(&self) -> String {
        format!("/baft/{}/{}", self.name, self.instance)
    }
}

fn token(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    if clean.is_empty() { "_".to_owned() } else { clean }
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Connected to a server that was checked.
    Up,
    /// Not connected; it keeps trying.
    Down {
        /// Why, for people.
        reason: String,
    },
}

/// The connection to NATS. Cheap to clone; all clones share one connection, which closes with the last of them.
#[derive(Clone)]
pub struct Bus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) prefix: Prefix,
    pub(crate) identity: Identity,
    pub(crate) shown: String,
    pub(crate) link: watch::Sender<Link>,
    pub(crate) failure: watch::Sender<Option<BusError>>,
    /// Counts the server's refusals; the texts are in `recent_violations`.
    pub(crate) violations: watch::Sender<u64>,
    pub(crate) recent_violations: Mutex<link::Violations>,
    pub(crate) auth_failure: LastFailure,
    pub(crate) metrics: BusMetrics,
    pub(crate) stay: Stay,
}

/// How long a connection is meant to last, which decides whether its coming and going is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// As long as the daemon.
    Long,
    /// One command, or one look.
    Short,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus")
            .field("servers", &self.inner.shown)
            .field("identity", &self.inner.identity)
            .field("link", &*self.inner.link.borrow())
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Starts connecting in the background and returns at once, whether or not a server answers. For daemons.
    ///
    /// # Errors
    /// Only for a configuration that cannot be used; belongs to exit code 78.
    pub async fn connect(args: &NatsArgs, identity: Identity, metrics: Option<&Metrics>) -> Result<Self, BusError> {
        let target = args.target()?;
        let (options, events, auth_failure) = options(args, &target, &identity);
        let client = options
            .retry_on_initial_connect()
            .connect(&target.servers[..])
            .await
            .map_err(|error| BusError::Config(format!("cannot use NATS at {}: {error}", target.shown)))?;
        let (bus, supervisor) =
            Self::assemble(args, identity, metrics, target, client, events, auth_failure, Stay::Long);
        tokio::spawn(supervisor.run());
        Ok(bus)
    }

    /// Connects now or fails within a few seconds with a hint. For the command line.
    ///
    /// # Errors
    /// When there is no connection, the credentials are refused or the server is too old.
    pub async fn connect_now(args: &NatsArgs, identity: Identity) -> Result<Self, BusError> {
        let target = args.target()?;
        let (shown, tls) = (target.shown.clone(), target.tls.clone());
        let (options, events, auth_failure) = options(args, &target, &identity);
        let client = options.connect(&target.servers[..]).await.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation => BusError::Unauthorized { url: shown.clone(), attempts: 1 },
            ConnectErrorKind::Authentication => {
                BusError::Config(auth::take(&auth_failure).unwrap_or_else(|| error.to_string()))
            }
            _ => {
                let reason = with_causes(&error);
                tls.error(&shown, &reason).unwrap_or_else(|| BusError::Disconnected {
                    url: shown.clone(),
                    reason: format!("{reason}; is nats-server running there?"),
                })
            }
        })?;
        let (bus, mut supervisor) =
            Self::assemble(args, identity, None, target, client, events, auth_failure, Stay::Short);
        supervisor.first_check(&bus).await?;
        tokio::spawn(supervisor.run());
        Ok(bus)
    }

    #[allow(clippy::too_many_arguments, reason = "everything a connection is made of")]
    fn assemble(
        args: &NatsArgs,
        identity: Identity,
        metrics: Option<&Metrics>,
        target: Target,
        client: Client,
        events: mpsc::UnboundedReceiver<ClientEvent>,
        auth_failure: LastFailure,
        stay: Stay,
    ) -> (Self, link::Supervisor) {
        let addresses = target.servers.iter().map(|server| (server.host().to_owned(), server.port())).collect();
        let doctor = link::Doctor::new(addresses, target.tls);
        let inner = Arc::new(Inner {
            client,
            prefix: args.nats_subject_prefix.clone(),
            identity,
            shown: target.shown,
            link: watch::Sender::new(Link::Down { reason: "not connected yet".to_owned() }),
            failure: watch::Sender::new(None),
            violations: watch::Sender::new(0),
            recent_violations: Mutex::default(),
            auth_failure,
            metrics: BusMetrics::new(metrics),
            stay,
        });
        // From here on a wall clock that is set is noticed.
        let _ = baft_kit::time::unix_millis_of_both();
        let supervisor = link::Supervisor::new(Arc::downgrade(&inner), events, doctor);
        (Self { inner }, supervisor)
    }

    /// Registers the metrics of the bus, so that they are listed and exported (as zero) also without a connection.
    pub fn register_metrics(metrics: &Metrics) {
        let _ = BusMetrics::new(Some(metrics));
    }

    /// The state of the connection, and a way to wait for changes.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<Link> {
        self.inner.link.subscribe()
    }

    /// Is the connection up right now?
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.inner.link.borrow() == Link::Up
    }

    /// Waits until the connection is up.
    ///
    /// # Errors
    /// [`BusError::Disconnected`] when it is not by then, or what [`Self::failed`] gives.
    pub async fn wait_connected(&self, deadline: Duration) -> Result<(), BusError> {
        let mut link = self.connected();
        let up = async { link.wait_for(|link| *link == Link::Up).await.map(drop).map_err(|_| BusError::Closed) };
        tokio::select! {
            result = up => result,
            error = self.failed() => Err(error),
            () = tokio::time::sleep(deadline) => Err(self.disconnected()),
        }
    }

    /// Resolves when trying on makes no sense: the credentials were refused again and again, or the server is too old.
    /// A daemon selects on this and ends with the error, so that its supervisor shows it as failing.
    pub async fn failed(&self) -> BusError {
        let mut failure = self.inner.failure.subscribe();
        // The sender lives in `self`, so waiting cannot fail before the value is there.
        match failure.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(BusError::Closed),
            Err(_) => BusError::Closed,
        }
    }

    /// The prefix of all subjects.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.inner.prefix
    }

    /// Who this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The servers, without credentials: for messages.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.inner.shown
    }

    /// Version of the server of the current connection.
    #[must_use]
    pub fn server_version(&self) -> Option<String> {
        self.inner.client.try_server_info().map(|info| info.version)
    }

    /// Publishes an event without insisting: for `daemon.*` and `preflight.changed`. Failure is counted and logged.
    pub async fn emit_best_effort<P: Payload>(&self, payload: &P) {
        let result = match Outgoing::new(ulid::Ulid::new().to_string(), payload) {
            Ok(event) => self.publish_event(&event).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(kind = P::TYPE, %error, "event not published (best effort)");
        }
    }

    /// Publishes one event and waits until it is stored.
    pub(crate) async fn publish_event(&self, event: &Outgoing) -> Result<(), BusError> {
        let subject = self.inner.prefix.event(event.kind);
        let headers = event::envelope(event, &self.inner.identity.source());
        let result = self.publish_stored(&subject, headers, event.body.clone()).await;
        let counter = match &result {
            Ok(_) => &self.inner.metrics.published,
            Err(_) => &self.inner.metrics.publish_failures,
        };
        counter.with_label_values(&[event.kind]).inc();
        result.map(drop)
    }

    /// Sends what is buffered, unsubscribes and closes the connection, within the deadline.
    pub async fn drain(&self, deadline: Duration) {
        let closed = async {
            if self.is_up() {
                // `flush` has no time limit of its own, and `drain` only queues a command.
                let _ = self.inner.client.flush().await;
                if self.inner.client.drain().await.is_ok() {
                    let _ = self.connected().wait_for(|link| *link != Link::Up).await;
                }
            }
        };
        if tokio::time::timeout(deadline, closed).await.is_err() {
            tracing::warn!(?deadline, "the connection to NATS did not close in time");
        }
    }

    pub(crate) fn disconnected(&self) -> BusError {
        let reason = match &*self.inner.link.borrow() {
            Link::Up => "the connection was lost".to_owned(),
            Link::Down { reason } => reason.clone(),
        };
        BusError::Disconnected { url: self.inner.shown.clone(), reason }
    }
}

type Prepared = (ConnectOptions, mpsc::UnboundedReceiver<ClientEvent>, LastFailure);

fn options(args: &NatsArgs, target: &Target, identity: &Identity) -> Prepared {
    let (sender, events) = mpsc::unbounded_channel();
    let auth_failure = LastFailure::default();
    let source = target.source.clone();
    let failure = auth_failure.clone();
    let mut options = ConnectOptions::with_auth_callback(move |nonce| {
        let (source, failure) = (source.clone(), failure.clone());
        async move {
            // A few small files; reading them inline is simpler than a blocking task and as fast.
            source.answer(&nonce).map_err(|error| {
                auth::remember(&failure, Some(error.to_string()));
                async_nats::AuthError::new(error)
            })
        }
    })
    .name(format!("{} {}", identity.name, identity.instance))
    .custom_inbox_prefix(args.nats_inbox_prefix.clone().unwrap_or_else(|| identity.inbox_prefix()))
    .connection_timeout(CONNECT_TIMEOUT)
    .ping_interval(PING_INTERVAL)
    .request_timeout(None)
    .reconnect_delay_callback(reconnect_delay)
    // Awaited in line by the library, with room for 128 events: so this only passes them on.
    .event_callback(move |event| {
        let _ = sender.send(event);
        std::future::ready(())
    });
    if let Some(path) = &target.tls.ca_file {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((cert, key)) = target.tls.identity() {
        options = options.add_client_certificate(cert.to_owned(), key.to_owned());
    }
    if target.tls.is_obligatory() {
        options = options.require_tls(true);
    }
    (options, events, auth_failure)
}

/// Full jitter, so that a restarted server is not met by all clients at once; the library's own delay has none.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        // The first attempt after a loss is the one that most often succeeds: soon, but not in step.
        return rand::rng().random_range(Duration::ZERO..Duration::from_millis(50));
    }
    let exponent = u32::try_from(attempts - 1).unwrap_or(u32::MAX).min(16);
    let ceiling = (Duration::from_millis(50) * 2_u32.pow(exponent)).min(MAX_RECONNECT_DELAY);
    rand::rng().random_range(Duration::ZERO..=ceiling)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_of_an_instance_cannot_reach_beyond_its_daemon() {
        let identity = Identity { name: "git-sync".into(), instance: "host.local >*".into(), version: "1".into() };
        assert_eq!(identity.inbox_prefix(), "_INBOX_git-sync.host_local___");
    }

    #[test]
    fn reconnect_delays_are_spread_and_capped() {
        for attempts in [0, 1, 2, 5, 10, 100, usize::MAX] {
            assert!(reconnect_delay(attempts) <= MAX_RECONNECT_DELAY);
        }
        let delays: std::collections::HashSet<Duration> = (0..20).map(|_| reconnect_delay(8)).collect();
        assert!(delays.len() > 1);
    }
}
