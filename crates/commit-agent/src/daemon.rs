//! A commit-agent put together: the thread with the engine, and what it has to do with NATS.

use std::sync::Arc;
use std::sync::mpsc as channel;
use std::time::{Duration, Instant};

pub use baft_bus::Context;
use baft_bus::payload::GitSynced;
use baft_bus::{Announcer, Bus, Heard, ServiceHandle};
use baft_kit::live::Pulse;
use baft_repo::transport::{KnownHosts, Libgit2, Transport};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{Extent, Flush, Order, Pause, Trigger};
use crate::error::AgentError;
use crate::ledger::AgentLedger;
use crate::metrics::Metrics;
use crate::requests;
use crate::sessions::Sessions;
use crate::status::{Handle, Job, Status};
use crate::transport::{Cuttable, Scissors};
use crate::watch::Watch;
use crate::worker::{Conditions, Notice, State, Worker};

/// How long the last announcements may take at the end.
const FAREWELL: Duration = Duration::from_secs(3);
/// Merging, hashing and libgit2 use little of it.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// A running commit-agent.
#[derive(Debug)]
pub struct Daemon {
    handle: Handle,
    pulse: Pulse,
    context: Context,
    grace: Duration,
    scissors: Scissors,
    ended: oneshot::Receiver<Result<(), AgentError>>,
    /// The one cycle of `--one-time` is over.
    over: oneshot::Receiver<()>,
    announcing: Option<(Announcer, CancellationToken)>,
    service: Option<ServiceHandle>,
}

impl Daemon {
    /// Starts looking after the clone. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// The library or a thread cannot be set up. A clone that cannot be used shows in readiness, or ends the daemon (see [`Daemon::finished`]).
    pub fn start(config: Config, context: Context) -> Result<Self, AgentError> {
        baft_repo::init(&library_settings(&config))?;
        Self::start_with(config, context, Arc::new(Libgit2::new()))
    }

    /// The same with another way to talk to remotes.
    ///
    /// # Errors
    /// As for [`Daemon::start`].
    pub fn start_with(mut config: Config, context: Context, transport: Arc<dyn Transport>) -> Result<Self, AgentError> {
        let metrics = Metrics::new(&context.metrics);
        config.settings.remote.credentials.login =
            config.login.as_ref().map(|login| login.source(metrics.logins.clone()));
        let conditions = Conditions {
            clone: context.readiness.condition("clone"),
            cycle: context.readiness.condition("cycle"),
            push: context.readiness.condition("push"),
        };
        conditions.clone.not_ready("the clone is not open yet");
        conditions.cycle.not_ready("no cycle has ended yet");
        conditions.push.ready();

        let (jobs, inbox) = channel::channel();
        let status = watch::Sender::new(Status {
            agent: config.settings.agent.to_string(),
            repo: config.shown_repo(),
            reference: config.reference(),
            clone: config.settings.clone.display().to_string(),
            ..Status::default()
        });
        let handle = Handle { jobs: jobs.clone(), status: status.subscribe() };
        let (pulse, scissors, grace) =
            (Pulse::named("engine", Duration::from_secs(60)), Scissors::default(), config.grace);
        let (notices, incoming) = mpsc::unbounded_channel();
        let (over_tell, over) = oneshot::channel();
        let announcing = context.bus.as_ref().map(|bus| announce(bus, &config, &handle));
        let nudge = announcing.as_ref().map(|(announcer, _)| announcer.clone());
        tokio::spawn(relay(incoming, nudge, over_tell));
        let sessions =
            Sessions::new(config.settings.agent.as_str(), context.bus.as_ref(), metrics.live_sessions.clone());
        tokio::spawn(sessions.clone().follow(context.shutdown.clone()));
        let service =
            context.bus.as_ref().map(|bus| requests::serve(bus, &config, &handle, &sessions, context.shutdown.clone()));
        if let Some(bus) = &context.bus {
            bus.say_hello();
            for kind in ["git.synced", "session.ended"] {
                tokio::spawn(listen(bus.clone(), kind, handle.clone(), context.shutdown.clone()));
            }
        }
        let worker = Worker {
            transport: Arc::new(Cuttable::new(transport, scissors.clone(), config.git_timeout)),
            watch: Watch::new(jobs, metrics.watch_degraded.clone()),
            config,
            metrics,
            pulse: pulse.clone(),
            conditions,
            status,
            notices,
            sessions,
            state: State::default(),
        };
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("engine".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || drop(done.send(worker.run(&inbox))))
            .map_err(|error| AgentError::io("starting a thread for", "the engine", error))?;
        Ok(Self { handle, pulse, context, grace, scissors, ended, over, announcing, service })
    }

    /// Speaks to it from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The engine thread's sign of life.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Waits for the end: after the shutdown, after the one cycle of `--one-time`, or when going on makes no sense. Captures once more before.
    ///
    /// # Errors
    /// Why going on makes no sense.
    pub async fn finished(mut self) -> Result<(), AgentError> {
        let ended = tokio::select! {
            ended = &mut self.ended => Some(ended.unwrap_or(Ok(()))),
            _ = &mut self.over => None,
            () = self.context.shutdown.cancelled() => None,
        };
        if let Some(result) = ended {
            // Nobody is left who could say what to announce.
            if let Some((_, stop)) = self.announcing.take() {
                stop.cancel();
            }
            return result;
        }
        let began = Instant::now();
        if self.context.shutdown.is_cancelled() {
            self.capture_once_more(began).await;
        }
        if let Some(service) = self.service.take().filter(|_| self.context.shutdown.is_cancelled()) {
            service.finished(FAREWELL).await;
        }
        if let Some((announcer, stop)) = self.announcing.take() {
            announcer.flush(FAREWELL).await;
            stop.cancel();
        }
        let _ = self.handle.jobs.send(Job::Stop);
        let result = self.stopped(began).await;
        if let Some(bus) = &self.context.bus {
            bus.say_farewell().await;
        }
        result
    }

    /// The final cycle: capture and land always, push if time allows. A conversation with a remote that hangs gets a quarter of the grace period
    /// to end by itself; the final push gets half of it.
    async fn capture_once_more(&self, began: Instant) {
        let (grace, scissors) = (self.grace, self.scissors.clone());
        let last = self.handle.ask(move |worker| {
            scissors.allow();
            worker.cycle(&Order {
                trigger: Trigger::Shutdown,
                flush: Flush::Now,
                extent: Extent::Push,
                pause: Pause::Ignore,
                deadline: Some(began + grace.mul_f64(0.7)),
                ..Order::default()
            })
        });
        tokio::pin!(last);
        let done = tokio::time::timeout(grace.mul_f64(0.25), &mut last).await;
        let done = match done {
            Ok(done) => Ok(done),
            Err(_) => {
                // Whatever is under way began before the shutdown, unless the final cycle is itself talking: then its deadline counts.
                self.scissors.cut_unless_allowed();
                tokio::time::timeout_at((began + grace.mul_f64(0.75)).into(), &mut last).await
            }
        };
        match done {
            Ok(Ok(cycle)) if cycle.unpushed == 0 && cycle.errors.is_empty() => {
                tracing::info!("everything is on the remote")
            }
            Ok(Ok(cycle)) => {
                let problems = crate::answers::problems(&cycle).join("; ");
                tracing::warn!(
                    unpushed = cycle.unpushed,
                    problems,
                    "everything is captured; what is not on the remote is pushed at the next start"
                );
            }
            Ok(Err(_)) => {}
            Err(_) => {
                // The conversation is left alone, so that the thread can end.
                self.scissors.cut();
                tracing::warn!("the final push was cut short; what was captured is pushed at the next start");
            }
        }
    }

    /// Waits for the thread within the grace period.
    async fn stopped(&mut self, began: Instant) -> Result<(), AgentError> {
        let until = began + self.grace.mul_f64(0.95);
        match tokio::time::timeout_at(until.into(), &mut self.ended).await {
            Ok(ended) => ended.unwrap_or(Ok(())),
            Err(_) => {
                self.scissors.cut();
                tokio::time::timeout(Duration::from_millis(500), &mut self.ended)
                    .await
                    .map_or(Ok(()), |ended| ended.unwrap_or(Ok(())))
            }
        }
    }
}

/// Starts a commit-agent and waits for its end.
///
/// # Errors
/// It cannot start, or going on makes no sense.
pub async fn run(config: Config, context: Context) -> Result<(), AgentError> {
    Daemon::start(config, context)?.finished().await
}

/// Libgit2 looks for known hosts in a home directory only, so it gets one of ours when there are any to look for.
fn library_settings(config: &Config) -> baft_repo::Settings {
    let known_hosts = match &config.settings.remote.known_hosts {
        KnownHosts::File(file) if file.exists() => Some(file.clone()),
        _ => None,
    };
    let home = known_hosts.is_some().then(|| {
        // Nothing is written into a clone that is not ours, or not there yet.
        let ours = config.settings.clone.join(".git/baft");
        if ours.is_dir() {
            ours.join("home")
        } else {
            std::env::temp_dir().join(format!("baft-home-{}", std::process::id()))
        }
    });
    baft_repo::Settings { ca_file: config.ca_file.clone(), known_hosts, home, ..baft_repo::Settings::default() }
}

fn announce(bus: &Bus, config: &Config, handle: &Handle) -> (Announcer, CancellationToken) {
    let ledger = AgentLedger {
        handle: handle.clone(),
        repo: config.shown_repo(),
        reference: config.reference(),
        agent: config.settings.agent.to_string(),
    };
    // Not the daemon's own token: the last push is announced during the drain.
    let stop = CancellationToken::new();
    (Announcer::spawn(bus, ledger, stop.clone()), stop)
}

/// Passes on what the engine thread tells.
async fn relay(mut incoming: mpsc::UnboundedReceiver<Notice>, announcer: Option<Announcer>, over: oneshot::Sender<()>) {
    let mut over = Some(over);
    while let Some(notice) = incoming.recv().await {
        match notice {
            Notice::Announce => {
                if let Some(announcer) = &announcer {
                    announcer.nudge();
                }
            }
            Notice::Ended => drop(over.take().map(|over| over.send(()))),
        }
    }
    // Not dropped before the end: only being told means that the cycle is over.
    if over.is_some() {
        std::future::pending::<()>().await;
    }
}

/// Events are doorbells: a live subscription is enough, because what is missed while nobody listens is found on schedule.
async fn listen(bus: Bus, kind: &'static str, handle: Handle, shutdown: CancellationToken) {
    let heard = |heard| {
        let Heard::Event(event) = heard else { return };
        if kind == "session.ended" {
            handle.ring(Trigger::SessionEnded);
            return;
        }
        let new = event.and_then(|raw| raw.decode::<GitSynced>()).map(|event| event.data.new);
        // Our own push comes back this way.
        let known = handle.status.borrow().head().map(|head| head.to_string());
        if new.ok() != known || known.is_none() {
            handle.ring(Trigger::Upstream);
        }
    };
    bus.listen(kind, shutdown, heard).await;
}
