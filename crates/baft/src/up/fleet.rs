//! The running fleet: nats-server, git-sync, commit-agent, importer and session-registry in one supervised process.

mod sessions;

mod probe;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use baft_bus::payload::Trigger as SyncTrigger;
use baft_bus::{Bus, Context, Identity, NatsArgs, topology};
use baft_commit_agent as commit_agent;
use baft_duckdb_importer as importer;
use baft_git_sync as git_sync;
use baft_kit::admin::{Admin, AdminHandle};
use baft_kit::live::Pulse;
use baft_kit::metrics::Metrics;
use baft_kit::ready::Readiness;
use baft_kit::shutdown::Shutdown;
use baft_kit::{BuildInfo, Exit, log, time};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Broker, Part};
use super::keep::{Turn, keep};
use super::plan::Plan;
use super::server::Server;
use crate::failure::Failure;
use crate::runtime::{AgentInfo, Nats, Runtime, VERSION};
use crate::workspace::{Surroundings, Workspace};

/// How long the daemons' connections may take to close.
const DRAIN: Duration = Duration::from_secs(2);

/// What every part of the fleet shares.
pub struct Fleet {
    plan: Plan,
    workspace: Workspace,
    around: Surroundings,
    started_at: String,
    nats: Option<Nats>,
    board: watch::Sender<Board>,
    admin: Mutex<BTreeMap<String, SocketAddr>>,
    importer: Mutex<Option<importer::Handle>>,
    sync: Mutex<Option<git_sync::Handle>>,
    agent: Mutex<Option<commit_agent::Handle>>,
}

/// Runs the fleet until the shutdown, showing on the board how it is doing.
///
/// # Errors
/// It cannot start.
pub async fn run(
    plan: Plan,
    workspace: Workspace,
    around: Surroundings,
    board: watch::Sender<Board>,
    server: Option<Server>,
    shutdown: Shutdown,
) -> Result<Exit, Failure> {
    board.send_modify(|board| {
        board.sync = plan.sync.as_ref().map(|_| Part::default());
        board.agent = plan.agent.as_ref().map(|_| Part::default());
        board.nats = server
            .as_ref()
            .map(|server| Broker { address: server.address().to_string(), state: server.state().borrow().clone() });
    });
    let fleet = Arc::new(Fleet {
        plan,
        workspace,
        around,
        started_at: time::now_rfc3339(),
        nats: server.as_ref().map(|server| server.endpoint().clone()),
        board,
        admin: Mutex::default(),
        importer: Mutex::default(),
        sync: Mutex::default(),
        agent: Mutex::default(),
    });
    let result = tokio::select! {
        started = fleet.clone().start(server.as_ref(), shutdown.token()) => started,
        () = shutdown.begun() => Ok(Vec::new()),
    };
    let (daemons, failure) = match result {
        Ok(daemons) => (daemons, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    if failure.is_none() {
        shutdown.begun().await;
    }
    fleet.board.send_modify(|board| board.stopping = true);
    let drained = shutdown.finish(async {
        for daemon in daemons {
            // It neither panics nor is it aborted.
            let _ = daemon.await;
        }
        if let Some(server) = server {
            server.stop().await;
        }
    });
    let exit = drained.await;
    Runtime::retract(&fleet.workspace, fleet.around.registry.as_ref());
    failure.map_or(Ok(exit), Err)
}

type Daemons = Vec<tokio::task::JoinHandle<()>>;

impl Fleet {
    async fn start(self: Arc<Self>, server: Option<&Server>, shutdown: CancellationToken) -> Result<Daemons, Failure> {
        if let Some(server) = server {
            tokio::spawn(follow(server.state(), {
                let fleet = self.clone();
                move |state| {
                    let state = state.clone();
                    fleet.board.send_modify(|board| {
                        if let Some(nats) = &mut board.nats {
                            nats.state = state;
                        }
                    });
                }
            }));
            server.answers().await?;
            self.prepare_streams(server.endpoint().args()).await?;
        }
        self.publish_runtime()?;
        let mut daemons = Vec::new();
        if self.plan.sync.is_some() {
            let (fleet, told) = (self.clone(), self.clone());
            let start = move |token| fleet.clone().run_sync(token);
            daemons.push(tokio::spawn(keep(shutdown.clone(), start, move |turn| {
                told.note("git-sync", turn, |board| board.sync.get_or_insert_default().turn());
            })));
        }
        if self.plan.agent.is_some() {
            let (fleet, told) = (self.clone(), self.clone());
            let start = move |token| fleet.clone().run_agent(token);
            daemons.push(tokio::spawn(keep(shutdown.clone(), start, move |turn| {
                told.note("commit-agent", turn, |board| board.agent.get_or_insert_default().turn());
            })));
        }
        if self.nats.is_some() {
            let (fleet, told) = (self.clone(), self.clone());
            let start = move |token| fleet.clone().run_registry(token);
            daemons.push(tokio::spawn(keep(shutdown.clone(), start, move |turn| {
                told.note("session-registry", turn, |board| board.sessions.get_or_insert_default().turn());
            })));
        }
        let (fleet, told) = (self.clone(), self.clone());
        let start = move |token| fleet.clone().run_importer(token);
        daemons.push(tokio::spawn(keep(shutdown.clone(), start, move |turn| {
            told.note("duckdb-importer", turn, |board| board.import.turn());
        })));
        let (fleet, told) = (self.clone(), self.clone());
        let start = move |token| fleet.clone().run_probe(token);
        daemons.push(tokio::spawn(keep(shutdown, start, move |turn| {
            told.note("preflight-probe", turn, |board| board.probe.turn());
        })));
        Ok(daemons)
    }

    async fn prepare_streams(&self, args: NatsArgs) -> Result<(), Failure> {
        let bus = Bus::connect_now(&args, identity("baft")).await?;
        let changes = topology::ensure(&bus).await?;
        for change in changes {
            tracing::info!(?change, "streams and buckets");
        }
        bus.drain(DRAIN).await;
        Ok(())
    }

    /// Tells the other commands how to reach this fleet.
    fn publish_runtime(&self) -> Result<(), Failure> {
        let runtime = Runtime {
            version: VERSION,
            pid: std::process::id(),
            started_at: self.started_at.clone(),
            workspace: self.workspace.root().to_owned(),
            source: self.plan.source.clone(),
            nats: self.nats.clone(),
            agent: self
                .plan
                .agent
                .as_ref()
                .map(|agent| AgentInfo { name: agent.name().to_owned(), clone: agent.clone_folder().to_owned() }),
            admin: self.admin.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            database: self.workspace.database(),
        };
        runtime
            .publish(&self.workspace, self.around.registry.as_ref())
            .map_err(|error| Failure::new(format!("cannot tell other commands about this fleet: {error}")))
    }

    /// One life of git-sync.
    async fn run_sync(self: Arc<Self>, token: CancellationToken) -> Result<(), String> {
        let Some(config) = self.plan.sync.clone() else { return Ok(()) };
        let build = baft_kit::build_info!("git-sync");
        let surroundings = self.daemon(build, "git_sync").await?;
        let daemon =
            git_sync::Daemon::start(config, surroundings.context(token.clone())).map_err(|error| error.to_string())?;
        *self.sync.lock().unwrap_or_else(PoisonError::into_inner) = Some(daemon.handle());
        let fleet = self.clone();
        let watcher = tokio::spawn(follow(daemon.handle().status(), move |status: &git_sync::Status| {
            let before = fleet.board.borrow().sync.as_ref().and_then(|sync| sync.status.head);
            fleet.board.send_modify(|board| board.sync.get_or_insert_default().status = status.clone());
            if status.head != before {
                fleet.ring_importer();
                fleet.ring_agent(status);
            }
        }));
        let _admin = self.serve(build, &surroundings, daemon.pulse(), token).await?;
        let result = surroundings.until_end(daemon.finished()).await;
        watcher.abort();
        result
    }

    /// One life of commit-agent.
    async fn run_agent(self: Arc<Self>, token: CancellationToken) -> Result<(), String> {
        let Some(plan) = self.plan.agent.clone() else { return Ok(()) };
        let settled = tokio::task::spawn_blocking(move || plan.settle());
        let config = settled.await.map_err(|error| error.to_string())??;
        let build = baft_kit::build_info!("commit-agent");
        let surroundings = self.daemon(build, "commit_agent").await?;
        let daemon = commit_agent::Daemon::start(config, surroundings.context(token.clone()))
            .map_err(|error| error.to_string())?;
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = Some(daemon.handle());
        let fleet = self.clone();
        let pushed = Mutex::new(None);
        let watcher = tokio::spawn(follow(daemon.handle().status(), move |status: &commit_agent::Status| {
            fleet.board.send_modify(|board| board.agent.get_or_insert_default().status = status.clone());
            let now = status.engine.as_ref().and_then(|engine| engine.last_push);
            let before = std::mem::replace(&mut *pushed.lock().unwrap_or_else(PoisonError::into_inner), now);
            if now != before && now.is_some() {
                fleet.ring_sync();
            }
        }));
        let _admin = self.serve(build, &surroundings, daemon.pulse(), token).await?;
        let result = surroundings.until_end(daemon.finished()).await;
        watcher.abort();
        result
    }

    /// One life of the importer.
    async fn run_importer(self: Arc<Self>, token: CancellationToken) -> Result<(), String> {
        let build = baft_kit::build_info!("duckdb-importer");
        let surroundings = self.daemon(build, "duckdb_importer").await?;
        let daemon = importer::Daemon::start(self.plan.import.clone(), surroundings.context(token.clone()))
            .map_err(|error| error.to_string())?;
        *self.importer.lock().unwrap_or_else(PoisonError::into_inner) = Some(daemon.handle());
        let fleet = self.clone();
        let watcher = tokio::spawn(follow(daemon.handle().status(), move |status: &importer::Status| {
            fleet.board.send_modify(|board| board.import.status = status.clone());
        }));
        let _admin = self.serve(build, &surroundings, daemon.pulse(), token).await?;
        let result = surroundings.until_end(daemon.finished()).await;
        watcher.abort();
        result
    }

    /// The same process needs no event to know of a new commit: it is imported at once, with NATS or without.
    fn ring_importer(&self) {
        if let Some(importer) = self.importer.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            importer.nudge();
        }
    }

    /// What was pushed is fetched at once, with NATS or without.
    fn ring_sync(&self) {
        if let Some(sync) = self.sync.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            sync.ring(SyncTrigger::Push);
        }
    }

    /// What others pushed is brought into the working clone at once.
    fn ring_agent(&self, sync: &git_sync::Status) {
        if let Some(agent) = self.agent.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && agent.status().borrow().head() != sync.head
        {
            agent.ring(commit_agent::engine::Trigger::Upstream);
        }
    }

    async fn daemon(&self, build: BuildInfo, metrics: &str) -> Result<Surrounding, String> {
        let metrics = Metrics::new(metrics, build);
        let bus = match &self.nats {
            None => None,
            Some(nats) => {
                let connected = Bus::connect(&nats.args(), identity(build.name), Some(&metrics)).await;
                Some(connected.map_err(|error| error.to_string())?)
            }
        };
        Ok(Surrounding { metrics, readiness: Readiness::new(), bus })
    }

    /// Starts the daemon's admin server, on the port it had before if it had one.
    async fn serve(
        &self,
        build: BuildInfo,
        surrounding: &Surrounding,
        pulse: Pulse,
        token: CancellationToken,
    ) -> Result<AdminHandle, String> {
        let known = self.admin.lock().unwrap_or_else(PoisonError::into_inner).get(build.name).copied();
        let admin = Admin {
            metrics: surrounding.metrics.clone(),
            readiness: surrounding.readiness.clone(),
            pulses: vec![pulse],
            build,
            log: log::for_embedded(),
        };
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let served = match admin.clone().serve(known.unwrap_or(free), None, token.clone()).await {
            Err(_) if known.is_some() => admin.serve(free, None, token).await,
            served => served,
        };
        let handle = served.map_err(|error| error.to_string())?;
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).insert(build.name.to_owned(), handle.local_addr);
        self.publish_runtime().map_err(|failure| failure.message)?;
        Ok(handle)
    }

    /// Reports that a daemon ended or was started.
    fn note(&self, name: &str, turn: Turn, part: impl FnOnce(&mut Board) -> (&mut Option<String>, &mut u32)) {
        self.board.send_modify(|board| {
            let (down, restarts) = part(board);
            match turn {
                Turn::Started => *down = None,
                Turn::Ended(reason) => {
                    tracing::error!(daemon = name, %reason, "ended; it is started again");
                    *restarts += 1;
                    *down = Some(reason);
                }
            }
        });
    }
}

impl<T> Part<T> {
    fn turn(&mut self) -> (&mut Option<String>, &mut u32) {
        (&mut self.down, &mut self.restarts)
    }
}

/// What a daemon is given for one life.
struct Surrounding {
    metrics: Metrics,
    readiness: Readiness,
    bus: Option<Bus>,
}

impl Surrounding {
    fn context(&self, shutdown: CancellationToken) -> Context {
        let (metrics, readiness, bus) = (self.metrics.clone(), self.readiness.clone(), self.bus.clone());
        Context { metrics, readiness, bus, shutdown }
    }

    /// Waits for the daemon's end, or for NATS to become useless for good; then closes the connection.
    async fn until_end<E: std::fmt::Display>(&self, daemon: impl Future<Output = Result<(), E>>) -> Result<(), String> {
        let result = match &self.bus {
            None => daemon.await.map_err(|error| error.to_string()),
            Some(bus) => tokio::select! {
                result = daemon => result.map_err(|error| error.to_string()),
                error = bus.failed() => Err(error.to_string()),
            },
        };
        if let Some(bus) = &self.bus {
            bus.drain(DRAIN).await;
        }
        result
    }
}

fn identity(name: &str) -> Identity {
    let instance = format!("up-{}", std::process::id());
    Identity { name: name.to_owned(), instance, version: crate::BUILD.version.to_owned() }
}

/// Calls `tell` with the value now and after every change.
async fn follow<T>(mut values: watch::Receiver<T>, tell: impl Fn(&T)) {
    loop {
        tell(&values.borrow_and_update());
        if values.changed().await.is_err() {
            return;
        }
    }
}
