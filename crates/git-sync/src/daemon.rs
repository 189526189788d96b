//! A git-sync put together: the git thread, the hooks, and what it has to do with NATS.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as channel};
use std::time::Duration;

pub use baft_bus::Context;
use baft_bus::payload::{Empty, GitPushed, GitStatus, GitSyncFailed, GitSyncRequest, GitSyncResponse, Trigger};
use baft_bus::{Announcer, Bus, Code, Endpoint, Heard, RequestError, Service, ServiceHandle};
use baft_kit::durable::DirLock;
use baft_kit::live::Pulse;
use baft_repo::access::LoginConfig;
use baft_repo::transport::{KnownHosts, Transport};
use baft_repo::{Checkouts, Oid};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, HOME, JOURNAL, LOCK, Runs};
use crate::error::{Failure, SyncError};
use crate::hooks::{self, Hook, Published};
use crate::journal::JournalFile;
use crate::ledger::SyncedLedger;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::status::{Bell, Handle, Order, Status, Synced};
use crate::worker::{NETWORK, Notice, State, Worker};

/// How long a `git.sync` request may take when the caller does not say.
const REQUEST: Duration = Duration::from_secs(30);
/// How long the last announcements may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);
/// Libgit2 uses little of it.
const STACK_BYTES: usize = 1024 * 1024;

/// A running git-sync.
#[derive(Debug)]
pub struct Daemon {
    handle: Handle,
    pulse: Pulse,
    metrics: Metrics,
    runs: Runs,
    context: Context,
    ended: oneshot::Receiver<Result<(), SyncError>>,
    first_hooks: Vec<oneshot::Receiver<Result<(), String>>>,
    hooks_stop: CancellationToken,
    place: Arc<AtomicU8>,
    announcing: Option<(Announcer, CancellationToken)>,
    service: Option<ServiceHandle>,
}

impl Daemon {
    /// Locks the root and starts following the remote. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// Another git-sync has the root, or it cannot be used.
    pub fn start(config: Config, context: Context) -> Result<Self, SyncError> {
        baft_repo::init(&library_settings(&config))?;
        Self::start_with(config, context, Box::new(baft_repo::transport::Libgit2::new()))
    }

    /// The same with another way to talk to remotes.
    ///
    /// # Errors
    /// As for [`Daemon::start`].
    pub fn start_with(mut config: Config, context: Context, transport: Box<dyn Transport>) -> Result<Self, SyncError> {
        std::fs::create_dir_all(&config.root).map_err(|error| SyncError::io("creating", &config.root, error))?;
        let lock = DirLock::acquire(config.root.join(LOCK))?;
        let checkouts = Checkouts::open(config.checkouts(), config.mode, config.access)?;
        let link = Link::at(config.link.clone(), config.checkouts())?;
        let journal_path = config.root.join(JOURNAL);
        let journal =
            JournalFile::open(&journal_path).map_err(|error| SyncError::io("opening", &journal_path, error))?;
        let journal = Arc::new(Mutex::new(journal));
        let metrics = Metrics::new(&context.metrics);
        config.remote.credentials.login = config.login.as_ref().map(|login| {
            login.source(match login {
                LoginConfig::Askpass(_) => metrics.their_askpass.clone(),
                LoginConfig::GithubApp(_) => metrics.their_github_app.clone(),
            })
        });
        let published = context.readiness.condition("checkout");
        published.not_ready("nothing is published yet");
        let fresh = context.readiness.condition("remote");
        fresh.not_ready("the remote has not been looked at yet");

        let (orders, inbox) = channel::channel();
        let (waiting, place) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU8::new(0)));
        let reference = config.target.to_string();
        let status = watch::Sender::new(Status { repo: config.shown_repo(), reference, ..Status::default() });
        let handle = Handle { bell: Bell { orders, waiting: Arc::clone(&waiting) }, status: status.subscribe() };
        let pulse = Pulse::named("git", Duration::from_secs(60));
        let (notices, incoming) = mpsc::unbounded_channel();

        let (latest, hooks_see) = watch::channel(None);
        let hooks_stop = CancellationToken::new();
        let first_hooks = start_hooks(&config, &hooks_see, &metrics, &hooks_stop);
        let announcing = context.bus.as_ref().map(|bus| announce(bus, &config, &journal, &metrics));
        let nudge = announcing.as_ref().map(|(announcer, _)| announcer.clone());
        tokio::spawn(relay(incoming, latest, nudge, context.bus.clone(), config.clone()));
        let service = context.bus.as_ref().map(|bus| serve(bus, &config, &handle, context.shutdown.clone()));
        if let Some(bus) = &context.bus {
            tokio::spawn(listen(bus.clone(), handle.clone(), context.shutdown.clone()));
        }
        let stop = (context.shutdown.clone(), handle.bell.clone());
        tokio::spawn(async move {
            stop.0.cancelled().await;
            let _ = stop.1.send(Order::Stop);
        });

        let (runs, over) = (config.runs, oneshot::channel());
        let worker = Worker {
            config,
            transport,
            checkouts,
            link,
            journal,
            metrics: metrics.clone(),
            pulse: pulse.clone(),
            published,
            fresh,
            status,
            notices,
            place: Arc::clone(&place),
            waiting,
            state: State::default(),
        };
        let (done, ended) = over;
        let work = move || {
            // Held for as long as the thread can write.
            let _lock = lock;
            let _ = done.send(worker.run(&inbox));
        };
        std::thread::Builder::new()
            .name("git".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(work)
            .map_err(|error| SyncError::io("starting a thread for", JOURNAL, error))?;
        Ok(Self { handle, pulse, metrics, runs, context, ended, first_hooks, hooks_stop, place, announcing, service })
    }

    /// Speaks to it from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The git thread's sign of life.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Waits for the end: after the shutdown, after the one sync of `--one-time`, or when going on makes no sense.
    ///
    /// # Errors
    /// Why going on makes no sense.
    pub async fn finished(mut self) -> Result<(), SyncError> {
        let mut result = tokio::select! {
            ended = &mut self.ended => ended.unwrap_or(Ok(())),
            () = self.context.shutdown.cancelled() => self.abandon().await,
        };
        if result.is_ok() && self.runs == Runs::Once && !self.context.shutdown.is_cancelled() {
            for first in std::mem::take(&mut self.first_hooks) {
                // Gone without an answer: the program is ending anyway.
                if let Ok(Err(error)) = first.await {
                    result = Err(SyncError::Hook(error));
                }
            }
        }
        self.hooks_stop.cancel();
        if let Some(service) = self.service.take() {
            service.finished(FAREWELL).await;
        }
        if let Some((announcer, stop)) = self.announcing.take() {
            announcer.flush(FAREWELL).await;
            stop.cancel();
        }
        if let Some(bus) = &self.context.bus {
            bus.say_farewell().await;
        }
        result
    }

    /// Waits for the git thread, unless it waits for the network: that can be cut short at any point without harm.
    async fn abandon(&mut self) -> Result<(), SyncError> {
        loop {
            match tokio::time::timeout(Duration::from_millis(500), &mut self.ended).await {
                Ok(ended) => return ended.unwrap_or(Ok(())),
                Err(_) if self.place.load(Ordering::SeqCst) == NETWORK => {
                    tracing::info!("a look at the remote was cut short");
                    return Ok(());
                }
                Err(_) => {}
            }
        }
    }
}

/// Starts a git-sync and waits for its end.
///
/// # Errors
/// It cannot start, or going on makes no sense.
pub async fn run(config: Config, context: Context) -> Result<(), SyncError> {
    Daemon::start(config, context)?.finished().await
}

/// Libgit2 looks for known hosts in a home directory only, so it gets one of ours when there are any to look for.
fn library_settings(config: &Config) -> baft_repo::Settings {
    let known_hosts = match &config.remote.known_hosts {
        KnownHosts::File(file) if file.exists() => Some(file.clone()),
        _ => None,
    };
    let home = known_hosts.is_some().then(|| config.root.join(HOME));
    baft_repo::Settings { ca_file: config.ca_file.clone(), known_hosts, home, ..baft_repo::Settings::default() }
}

fn start_hooks(
    config: &Config,
    latest: &watch::Receiver<Option<Published>>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Vec<oneshot::Receiver<Result<(), String>>> {
    let exec = config.exechook.clone().map(Hook::Exec);
    let call = config.webhook.clone().map(Hook::Call);
    exec.into_iter()
        .chain(call)
        .map(|hook| {
            let (first, heard) = oneshot::channel();
            tokio::spawn(hooks::serve(hook, latest.clone(), metrics.clone(), first, stop.clone()));
            heard
        })
        .collect()
}

fn announce(
    bus: &Bus,
    config: &Config,
    journal: &Arc<Mutex<JournalFile>>,
    metrics: &Metrics,
) -> (Announcer, CancellationToken) {
    let ledger = SyncedLedger {
        journal: Arc::clone(journal),
        mirror: config.mirror(),
        repo: config.shown_repo(),
        reference: config.target.to_string(),
        unannounced: metrics.unannounced.clone(),
    };
    // Not the daemon's own token: the last publication is announced during the drain.
    let stop = CancellationToken::new();
    (Announcer::spawn(bus, ledger, stop.clone()), stop)
}

/// Passes on what the git thread tells: to the hooks, to the announcer, and failures as events.
async fn relay(
    mut incoming: mpsc::UnboundedReceiver<Notice>,
    latest: watch::Sender<Option<Published>>,
    announcer: Option<Announcer>,
    bus: Option<Bus>,
    config: Config,
) {
    if let Some(bus) = &bus {
        bus.say_hello();
    }
    let mut failing = None;
    while let Some(notice) = incoming.recv().await {
        match notice {
            Notice::Shown(commit) => {
                if let Some(announcer) = &announcer {
                    announcer.nudge();
                }
                let path = config.checkouts().join(commit.to_string());
                latest.send_replace(Some(Published { commit, path }));
            }
            Notice::Succeeded => failing = None,
            Notice::Failed { failure, attempt, retry_in } => {
                if failing.replace(failure.class) == Some(failure.class) {
                    continue;
                }
                let Some(bus) = bus.clone().filter(Bus::is_up) else { continue };
                let event = failed_event(&config, failure, attempt, retry_in);
                tokio::spawn(async move { bus.emit_best_effort(&event).await });
            }
        }
    }
}

fn failed_event(config: &Config, failure: Failure, attempt: u32, retry_in: Duration) -> GitSyncFailed {
    let next = chrono::Utc::now() + chrono::TimeDelta::from_std(retry_in).unwrap_or_default();
    GitSyncFailed {
        repo: config.shown_repo(),
        reference: config.target.to_string(),
        class: failure.class,
        message: failure.message,
        attempt,
        next_retry_at: Some(next.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
    }
}

/// Answers `git.sync` and `git.status`.
fn serve(bus: &Bus, config: &Config, handle: &Handle, shutdown: CancellationToken) -> ServiceHandle {
    let version = env!("CARGO_PKG_VERSION");
    let (syncs, states) = (handle.clone(), handle.status());
    Service::new(bus, "git-sync", version, "Follows a git remote and publishes its commits")
        .require_principal(config.require_principal)
        .endpoint(Endpoint::command("sync", "git.sync"), move |context, request: GitSyncRequest| {
            let handle = syncs.clone();
            async move { sync_request(&handle, context.time_left(REQUEST), &request).await }
        })
        .endpoint(Endpoint::query("status", "git.status"), move |_, _: Empty| {
            let status: GitStatus = states.borrow().payload();
            async move { Ok(status) }
        })
        .start(shutdown)
}

async fn sync_request(
    handle: &Handle,
    time_left: Duration,
    request: &GitSyncRequest,
) -> Result<GitSyncResponse, RequestError> {
    let wait_for: Option<Oid> = match &request.wait_for {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            RequestError::new(Code::InvalidArgument, format!("wait_for: '{text}' is not a commit"))
                .hint("give the full id: forty hexadecimal digits")
        })?),
    };
    match tokio::time::timeout(time_left, handle.sync(wait_for)).await {
        Ok(Ok(Ok(synced))) => Ok(response(&synced)),
        Ok(Ok(Err(failure))) => {
            Err(RequestError::new(Code::Unavailable, format!("the sync failed ({}): {failure}", failure.label()))
                .retryable())
        }
        Ok(Err(stopped)) => Err(RequestError::new(Code::Unavailable, stopped.to_string()).retryable()),
        Err(_) => {
            let head = handle.status.borrow().head.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string());
            let waited = request.wait_for.as_deref().map_or(String::new(), |oid| format!(" while waiting for {oid}"));
            Err(RequestError::new(Code::Timeout, format!("no answer in time{waited}; published is {head}")).retryable())
        }
    }
}

fn response(synced: &Synced) -> GitSyncResponse {
    GitSyncResponse {
        old: synced.old.map(|oid| oid.to_string()),
        new: synced.new.to_string(),
        changed_files: synced.changed_files,
        duration_ms: u64::try_from(synced.duration.as_millis()).unwrap_or(u64::MAX),
    }
}

/// `git.pushed` is a doorbell: a live subscription is enough, because what is missed while nobody listens is found by the next poll.
async fn listen(bus: Bus, handle: Handle, shutdown: CancellationToken) {
    let heard = |heard| match heard {
        // Whatever was pushed before somebody listened.
        Heard::Listening => handle.ring(Trigger::Push),
        Heard::Event(event) => {
            let known = event
                .and_then(|raw| raw.decode::<GitPushed>())
                .ok()
                .and_then(|event| event.data.commit.parse::<Oid>().ok());
            if known.is_none() || handle.status.borrow().head != known {
                handle.ring(Trigger::Push);
            }
        }
    };
    bus.listen("git.pushed", shutdown, heard).await;
}
