//! The thread that owns the engine: it opens the clone, looks when the [`Agenda`] says so, and does what it is asked, one thing at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use baft_bus::payload::Epoch;
use baft_bus::{Code, RequestError};
use baft_kit::backoff::Backoff;
use baft_kit::live::Pulse;
use baft_kit::ready::Condition;
use baft_kit::rest::Rest;
use baft_repo::Repo;
use baft_repo::transport::Transport;
use tokio::sync::{mpsc, watch};

use crate::agenda::Agenda;
use crate::config::{Config, Runs, Watch as WatchMode};
use crate::engine::{Agent, Cycle, Notice as EngineNotice, Order, Pause, Touched, Trigger};
use crate::epochs::Epochs;
use crate::error::{AgentError, may_pass};
use crate::metrics::{Metrics, timestamp, trigger_name};
use crate::sessions::Sessions;
use crate::status::{Job, Status};
use crate::watch::Watch;

/// What the thread tells the rest.
#[derive(Debug)]
pub(crate) enum Notice {
    /// There may be something to announce.
    Announce,
    /// The one cycle of `--one-time` is over.
    Ended,
}

/// Longest sleep without a sign of life.
const STIR: Duration = Duration::from_secs(5);
/// The same while it rests.
const STIR_AT_REST: Duration = Duration::from_secs(20);
/// How long local work (capturing a whole tree for the first time on a slow disk) may take before it counts as stuck.
const LOCAL_WORK: Duration = Duration::from_secs(1800);
/// How long commits may wait for the remote before that is worth an alarm; also three times the schedule, when that is longer.
const BACKLOG: Duration = Duration::from_secs(600);

/// The conditions of readiness.
#[derive(Debug)]
pub(crate) struct Conditions {
    /// The clone is open.
    pub(crate) clone: Condition,
    /// Cycles succeed.
    pub(crate) cycle: Condition,
    /// Commits reach the remote.
    pub(crate) push: Condition,
}

pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) metrics: Metrics,
    pub(crate) pulse: Pulse,
    pub(crate) conditions: Conditions,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    pub(crate) watch: Watch,
    pub(crate) sessions: Sessions,
    pub(crate) state: State,
}

/// What the thread remembers between cycles.
#[derive(Default)]
pub(crate) struct State {
    agent: Option<Agent>,
    epochs: Option<Epochs>,
    /// For comparing the branch with what the engine knows.
    repo: Option<Repo>,
    /// Since when there have been unpushed commits.
    backlog: Option<Instant>,
    /// The last complaint about each path and step, so that each is logged once.
    said: BTreeMap<String, String>,
    /// When the last cycle wants to be followed by another.
    again: Option<Duration>,
    /// Nothing that is shown changes by waiting, and the watch tells of everything else.
    calm: bool,
}

/// Why the engine cannot be asked.
pub(crate) fn closed(reason: Option<String>) -> RequestError {
    let reason = reason.unwrap_or_else(|| "it is not open yet".to_owned());
    RequestError::new(Code::Unavailable, format!("the clone cannot be used: {reason}"))
        .hint("docs/recovery.md says what to do")
}

impl Worker {
    /// Works until told to stop, or until going on makes no sense.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) -> Result<(), AgentError> {
        if !self.open(jobs)? {
            return Ok(());
        }
        if self.config.runs == Runs::Once {
            return self.once(jobs);
        }
        let mut agenda = Agenda::new(Instant::now());
        let mut rest = Rest::new(Instant::now());
        loop {
            self.pulse.tick();
            let due = agenda.due().unwrap_or_else(Instant::now);
            let pause = due.saturating_duration_since(Instant::now());
            match jobs.recv_timeout(pause.min(if rest.lasts() { STIR_AT_REST } else { STIR })) {
                Ok(Job::Stop) => return Ok(()),
                Ok(Job::Ring(trigger, wait)) => agenda.ring(trigger, Instant::now() + wait),
                Ok(Job::Refs) if self.branch_moved() => agenda.ring(Trigger::Watch, Instant::now()),
                // Somebody else's lock may have come: soon shown.
                Ok(Job::Refs) => rest.worked(Instant::now()),
                Ok(Job::Do(work)) => {
                    work(&mut self);
                    rest.worked(Instant::now());
                    // What it left unfinished: a file that has not rested, a pause that will be over.
                    if let Some(again) = self.state.again.take() {
                        agenda.ring(Trigger::Request, Instant::now() + again);
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= due => {
                    let trigger = agenda.begin(Instant::now());
                    self.watch.keep(trigger);
                    let cycle = self.cycle(&Order { trigger, ..Order::default() });
                    self.state.again = None;
                    let schedule = &self.config.schedule;
                    let pause = || schedule.pause(chrono::Utc::now(), rand::random());
                    let again = [cycle.next_due, self.watch.instead()].into_iter().flatten().min();
                    agenda.ended(Instant::now(), trigger, pause, again);
                    rest.worked(Instant::now());
                }
                Err(RecvTimeoutError::Timeout) => {
                    if !rest.lasts() || !self.state.calm {
                        self.show();
                    }
                    if rest.begins(Instant::now()) {
                        self.rest();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Gives back what only work needs.
    fn rest(&mut self) {
        if let Some(agent) = &mut self.state.agent {
            agent.rest();
        }
        if let Some(Err(error)) = self.state.repo.as_mut().map(Repo::reopen) {
            tracing::debug!(%error, "the repository cannot be opened anew; the old handle stays");
        }
        baft_repo::rest();
    }

    /// Opens the clone, for as long as it takes; answers meanwhile that it is not open. Says whether to go on.
    fn open(&mut self, jobs: &Receiver<Job>) -> Result<bool, AgentError> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            self.pulse.busy_until(LOCAL_WORK);
            match Agent::open(self.config.settings.clone(), Arc::clone(&self.transport)) {
                Ok((agent, report)) => {
                    if let Some(commit) = report.cloned {
                        tracing::info!(%commit, clone = %self.config.settings.clone.display(), "made the clone");
                    }
                    for repair in &report.repairs {
                        tracing::warn!(%repair, "put right what a crash had left");
                    }
                    self.opened(agent);
                    return Ok(true);
                }
                Err(error) if may_pass(&error) && self.config.runs == Runs::Forever => {
                    let pause = backoff.next_delay();
                    tracing::error!(%error, ?pause, "the clone cannot be used; trying again");
                    self.conditions.clone.not_ready(error.to_string());
                    self.status.send_modify(|status| status.closed = Some(error.to_string()));
                    if !self.wait_closed(jobs, pause) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn opened(&mut self, mut agent: Agent) {
        agent.follow_sessions(self.sessions.owners());
        let git = self.config.settings.clone.join(".git");
        self.state.repo = Repo::open(&self.config.settings.clone)
            .inspect_err(|error| tracing::warn!(%error, "commits made by others are found on schedule only"))
            .ok();
        let ours = self.state.repo.as_ref().map_or(git, |repo| repo.git_dir().to_owned()).join("baft");
        self.state.epochs = Some(Epochs::open(ours.join("epochs.json")));
        if self.config.watch == WatchMode::On {
            self.watch.start(&self.config.settings, agent.hints());
        }
        self.state.agent = Some(agent);
        self.conditions.clone.ready();
        self.status.send_modify(|status| status.closed = None);
        self.show();
        let _ = self.notices.send(Notice::Announce);
    }

    /// Says to everybody that the clone is not open, until the pause is over. Says whether to go on.
    fn wait_closed(&mut self, jobs: &Receiver<Job>, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            self.pulse.tick();
            match jobs.recv_timeout(until.saturating_duration_since(Instant::now()).min(STIR)) {
                Ok(Job::Do(work)) => work(self),
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Job::Ring(..) | Job::Refs) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => return true,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The one cycle of `--one-time`, again while files have not rested; then answers the announcer until told to stop.
    fn once(&mut self, jobs: &Receiver<Job>) -> Result<(), AgentError> {
        let until = Instant::now() + self.config.settings.max_wait;
        let result = loop {
            let cycle = self.cycle(&Order { pause: Pause::Ignore, ..Order::default() });
            let problems = crate::answers::problems(&cycle);
            let left = cycle.next_due.filter(|_| cycle.errors.is_empty() && Instant::now() < until);
            match left {
                Some(pause) => std::thread::sleep(pause.min(Duration::from_secs(1))),
                None if cycle.errors.is_empty() && cycle.unpushed == 0 && cycle.blocked.is_none() => break Ok(()),
                None => break Err(AgentError::Unfinished(problems.join("; "))),
            }
        };
        let _ = self.notices.send(Notice::Ended);
        loop {
            match jobs.recv() {
                Ok(Job::Do(work)) => work(self),
                Ok(Job::Ring(..) | Job::Refs) => {}
                Ok(Job::Stop) | Err(_) => return result,
            }
        }
    }

    /// The engine, when the clone is open.
    pub(crate) fn agent(&mut self) -> Result<&mut Agent, RequestError> {
        let reason = self.status.borrow().closed.clone();
        self.state.agent.as_mut().ok_or_else(|| closed(reason))
    }

    /// Whether somebody else moved the branch, or HEAD.
    fn branch_moved(&self) -> bool {
        let Some(repo) = &self.state.repo else { return true };
        let known = self.status.borrow().head();
        repo.find_ref(&self.config.reference()).map_or(true, |tip| tip != known)
            || self.status.borrow().engine.as_ref().is_some_and(|engine| engine.blocked.is_some())
    }

    fn patience(&self) -> Duration {
        LOCAL_WORK + 4 * self.config.git_timeout
    }

    /// One cycle, with everything that is to be told about it.
    pub(crate) fn cycle(&mut self, order: &Order) -> Cycle {
        self.pulse.busy_until(self.patience());
        // Somebody who waits for an answer saved a moment ago, maybe before the kernel told of it; and without a watch nobody tells at all.
        if order.trigger == Trigger::Request || order.trigger == Trigger::Shutdown || !self.watch.sees() {
            self.look_at_everything();
        }
        let Some(agent) = self.state.agent.as_mut() else { return Cycle::default() };
        let began = Instant::now();
        let cycle = agent.cycle(order);
        self.metrics.count(order.trigger, began.elapsed().as_secs_f64(), &cycle);
        self.tell(order, &cycle);
        self.state.again = cycle.next_due;
        if cycle.errors.is_empty() {
            self.note_success();
        } else {
            let reason = crate::answers::problems(&cycle).join("; ");
            self.conditions.cycle.not_ready(reason);
        }
        let problems = crate::answers::problems(&cycle);
        self.status.send_modify(|status| {
            status.cycles += 1;
            status.problems = problems;
        });
        self.compare();
        self.show();
        let _ = self.notices.send(Notice::Announce);
        if !cycle.landed.is_empty() || cycle.brought_in.is_some() {
            baft_repo::release_memory();
        }
        cycle
    }

    /// The next look is at every file.
    pub(crate) fn look_at_everything(&mut self) {
        if let Some(agent) = &mut self.state.agent {
            agent.touched(Touched::Rescan);
        }
    }

    fn note_success(&self) {
        let now = SystemTime::now();
        self.metrics.last_success.set(timestamp(Some(now)));
        self.status.send_modify(|status| status.last_success = Some(now));
        let good = 3 * self.config.schedule.usual() + self.patience();
        self.conditions.cycle.ready_until(Instant::now() + good, "no cycle has succeeded for three times the schedule");
    }

    /// Shows in status, metrics and readiness how the engine is doing.
    pub(crate) fn show(&mut self) {
        let Some(agent) = self.state.agent.as_ref() else { return };
        let engine = agent.status();
        self.state.backlog = (engine.unpushed > 0).then(|| self.state.backlog.unwrap_or_else(Instant::now));
        match self.state.backlog {
            None => self.conditions.push.ready(),
            Some(since) => {
                let reason = format!("{} commits wait for the remote", engine.unpushed);
                self.conditions.push.ready_until(since + BACKLOG.max(3 * self.config.schedule.usual()), reason);
            }
        }
        let waits = engine.index_lock_age.is_some() || engine.oldest_uncaptured.is_some() || engine.blocked.is_some();
        self.state.calm = self.watch.sees() && engine.unpushed == 0 && !waits;
        self.metrics.show(&engine, self.state.backlog.map(|since| since.elapsed()));
        self.metrics.unannounced.set(i64::try_from(agent.unannounced()).unwrap_or(i64::MAX));
        self.status.send_modify(|status| status.engine = Some(engine));
    }

    /// Shows how clone and remote compare, as far as that is known here.
    fn compare(&self) {
        if let Some(Ok(check)) = self.state.agent.as_ref().map(Agent::compare) {
            self.status.send_modify(|status| status.check = Some(check));
        }
    }

    /// Lets a session's newest holder pass.
    pub(crate) fn admit(&mut self, session: Option<&str>, epoch: Option<&Epoch>) -> Result<(), RequestError> {
        self.sessions.still(session, epoch)?;
        let (Some(session), Some(epoch)) = (session, epoch) else { return Ok(()) };
        let closed = closed(self.status.borrow().closed.clone());
        self.state.epochs.as_mut().ok_or(closed)?.admit(session, epoch)
    }

    /// Logs what happened, each trouble once until it changes.
    fn tell(&mut self, order: &Order, cycle: &Cycle) {
        let trigger = trigger_name(order.trigger);
        for commit in &cycle.landed {
            tracing::info!(commit = %commit.oid, files = commit.paths.len(), session = commit.session, trigger, "committed");
        }
        if let Some(commit) = cycle.pushed {
            tracing::info!(%commit, trigger, "pushed");
        }
        if let Some(brought) = &cycle.brought_in {
            tracing::info!(new = %brought.new, files = brought.changes.len(), trigger, "brought in");
        }
        for parked in &cycle.parked {
            let paths: Vec<String> = parked.paths.iter().map(ToString::to_string).collect();
            tracing::warn!(branch = parked.branch, ?paths, kind = ?parked.kind, "parked; docs/recovery.md says how it comes back");
        }
        for notice in &cycle.notices {
            match notice {
                EngineNotice::StaleSave { path } => {
                    tracing::warn!(%path, "saved with the content it had before upstream changed it; upstream's version is in the history");
                }
                EngineNotice::Returned { branch } => tracing::info!(branch, "came back and was closed"),
                EngineNotice::UpstreamRewritten { old, new } => {
                    tracing::error!(%old, %new, "the remote's history was rewritten; nothing is followed until somebody confirms it");
                }
            }
        }
        let mut said = BTreeMap::new();
        let errors = cycle.errors.iter().map(|error| (error.step.as_str().to_owned(), error.message.clone()));
        let troubles = cycle.troubles.iter().map(|trouble| (trouble.path.clone(), trouble.message.clone()));
        let held = cycle.held.iter().map(|held| (held.path.to_string(), format!("held back: {}", held.hold.detail)));
        let blocked =
            cycle.blocked.iter().map(|blocked| ("landing".to_owned(), format!("waits: {}", blocked.as_str())));
        for (what, message) in errors.chain(troubles).chain(held).chain(blocked) {
            if self.state.said.get(&what) != Some(&message) {
                tracing::warn!(what, message, trigger, "needs attention");
            }
            said.insert(what, message);
        }
        self.state.said = said;
    }
}
