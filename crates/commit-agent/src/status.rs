//! How a commit-agent is doing: [`Status`], and [`Handle`] to watch it, to ring and to ask.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use baft_bus::payload::{CommitCheck, CommitStatus, HeldFile, HeldReason, ParkedBranch, Standing};
use baft_repo::Oid;
use tokio::sync::{oneshot, watch};

use crate::engine::{self, Blocked, Check, Held, Parked, ParkedKind, Relation, Trigger};
use crate::error::AgentError;
use crate::gates::Reason;
use crate::worker::Worker;

/// How a commit-agent is doing.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Which agent.
    pub agent: String,
    /// The remote, without credentials.
    pub repo: String,
    /// The branch, in full.
    pub reference: String,
    /// The folder people edit in.
    pub clone: String,
    /// Why the clone cannot be used; nothing when it can.
    pub closed: Option<String>,
    /// What the engine says.
    pub engine: Option<engine::Status>,
    /// How clone and remote compared when that was last looked at.
    pub check: Option<Check>,
    /// When a cycle last succeeded.
    pub last_success: Option<SystemTime>,
    /// How many cycles have ended.
    pub cycles: u64,
    /// What did not work in the last cycle, one line each.
    pub problems: Vec<String>,
}

impl Status {
    /// What the branch is at.
    #[must_use]
    pub fn head(&self) -> Option<Oid> {
        self.engine.as_ref().and_then(|engine| engine.head)
    }

    /// As `commit.<agent>.status` answers it.
    #[must_use]
    pub fn payload(&self) -> CommitStatus {
        let engine = self.engine.as_ref();
        let mut problems = self.problems.clone();
        problems.extend(self.closed.iter().map(|reason| format!("the clone cannot be used: {reason}")));
        let blocked = engine.and_then(|engine| engine.blocked.as_ref());
        CommitStatus {
            check: self.check.as_ref().map_or_else(|| never_checked(engine), check_payload),
            agent: self.agent.clone(),
            repo: self.repo.clone(),
            reference: self.reference.clone(),
            clone: self.clone.clone(),
            head: self.head().map(|oid| oid.to_string()),
            unpushed: engine.map_or(0, |engine| engine.unpushed as u64),
            parked: engine.map(|engine| engine.parked.iter().map(parked_payload).collect()).unwrap_or_default(),
            held: engine.map(|engine| engine.held.iter().map(held_payload).collect()).unwrap_or_default(),
            repo_state: blocked.map_or("normal", Blocked::as_str).to_owned(),
            index_lock_age_s: engine.and_then(|engine| engine.index_lock_age).map(|age| age.as_secs()),
            last_success_at: self.last_success.map(rfc3339),
            last_push_at: engine.and_then(|engine| engine.last_push).map(rfc3339),
            problems,
        }
    }
}

fn never_checked(engine: Option<&engine::Status>) -> CommitCheck {
    CommitCheck {
        as_of: engine.and_then(|engine| engine.last_fetch).map(rfc3339),
        state: Standing::Unknown,
        ahead: engine.map_or(0, |engine| engine.unpushed as u64),
        behind: 0,
        dirty_files: 0,
        message: "clone and remote have not been compared yet".to_owned(),
    }
}

/// As `commit.<agent>.check` answers it.
pub(crate) fn check_payload(check: &Check) -> CommitCheck {
    let commits = |count: usize| if count == 1 { "1 commit".to_owned() } else { format!("{count} commits") };
    let state = match check.relation {
        Relation::Current => Standing::Current,
        Relation::Behind => Standing::Behind,
        Relation::Ahead => Standing::Ahead,
        Relation::Diverged => Standing::Diverged,
    };
    let mut message = match check.relation {
        Relation::Current => "clone and remote have the same".to_owned(),
        Relation::Behind => format!("{} to bring in", commits(check.behind)),
        Relation::Ahead => format!("{} to push", commits(check.ahead)),
        Relation::Diverged => format!("{} to push, {} to bring in", commits(check.ahead), commits(check.behind)),
    };
    match check.dirty_files {
        0 => {}
        1 => message.push_str(", 1 file to commit"),
        files => message.push_str(&format!(", {files} files to commit")),
    }
    CommitCheck {
        as_of: Some(rfc3339(check.as_of)),
        state,
        ahead: check.ahead as u64,
        behind: check.behind as u64,
        dirty_files: check.dirty_files as u64,
        message,
    }
}

pub(crate) fn parked_payload(parked: &Parked) -> ParkedBranch {
    let kind = match parked.kind {
        ParkedKind::Conflict => "conflict",
        ParkedKind::Refused => "refused",
        ParkedKind::Dropped => "dropped",
        ParkedKind::Rewritten => "rewritten",
    };
    ParkedBranch {
        branch: parked.branch.clone(),
        commit: parked.commit.to_string(),
        kind: kind.to_owned(),
        pushed: parked.confirmed == engine::Confirmed::Yes,
        paths: parked.paths.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn held_payload(held: &Held) -> HeldFile {
    HeldFile { path: held.path.to_string(), reason: reason(held.hold.reason), message: held.hold.detail.clone() }
}

pub(crate) fn reason(reason: Reason) -> HeldReason {
    match reason {
        Reason::Secret => HeldReason::Secret,
        Reason::Size => HeldReason::Size,
        Reason::Junk => HeldReason::Junk,
        Reason::Unparsable => HeldReason::Unparsable,
        Reason::MassDelete => HeldReason::MassDelete,
        Reason::Refused => HeldReason::Refused,
    }
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// What the thread with the engine is told.
pub(crate) enum Job {
    /// Have a look, this long from now.
    Ring(Trigger, Duration),
    /// A ref of the clone may have moved.
    Refs,
    /// Do this, now.
    Do(Box<dyn FnOnce(&mut Worker) + Send>),
    /// End.
    Stop,
}

/// Speaks to a running commit-agent. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) jobs: Sender<Job>,
    pub(crate) status: watch::Receiver<Status>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.status.borrow().agent)
    }
}

impl Handle {
    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// There may be something to do. Cheap; many rings are one look.
    pub fn ring(&self, trigger: Trigger) {
        // An agent that is stopping looks once more anyway.
        let _ = self.jobs.send(Job::Ring(trigger, Duration::ZERO));
    }

    /// Has the thread with the engine do something, and waits for what it says. What nobody waits for any more when its turn comes is not done.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, AgentError> {
        let (reply, answer) = oneshot::channel();
        let job = move |worker: &mut Worker| {
            if !reply.is_closed() {
                let _ = reply.send(work(worker));
            }
        };
        self.jobs.send(Job::Do(Box::new(job))).map_err(|_| AgentError::Stopped)?;
        answer.await.map_err(|_| AgentError::Stopped)
    }

    /// The same for threads that may block, until a deadline.
    pub(crate) fn ask_blocking<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, AgentError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let job = move |worker: &mut Worker| {
            // Nobody listens any more when the deadline has passed.
            let _ = reply.send(work(worker));
        };
        self.jobs.send(Job::Do(Box::new(job))).map_err(|_| AgentError::Stopped)?;
        answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(|_| AgentError::Stopped)
    }
}
