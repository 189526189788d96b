//! Starting a session, and taking one over.

mod check;

use std::time::Instant;

use baft_bus::payload::{
    Epoch, IfLive, Liveness, SessionRecord, SessionStartRequest, SessionStartResponse, SessionState, StepState,
    StoredSession, Task, TaskKind,
};
use baft_bus::{Code, RequestContext, RequestError};
use baft_kit::time::now_rfc3339;
use rand::Rng;

use super::sync::{Synced, too_many};
use super::{Keeper, Run, line, short};
use crate::fleet::nobody_there;
use crate::life::{self, Input, Step, moved, note};
use crate::registry::{Registry, busy, fresh, gone, holds};
use crate::store::{Change, unavailable};

use check::check;
pub(crate) use check::invalid;
pub(super) use check::plain;

/// Who begins a session anew, or goes on with it.
enum Begun {
    /// It did not exist.
    New(SessionRecord),
    /// It goes on in other hands.
    TakenOver(SessionRecord),
    /// The same request had begun it, and its start is through.
    There(SessionRecord),
}

impl Registry {
    /// `session.start`.
    pub(crate) async fn start(
        &self,
        context: &RequestContext,
        request: SessionStartRequest,
    ) -> Result<SessionStartResponse, RequestError> {
        check(&request)?;
        let _place = self.sequences.try_acquire().map_err(|_| too_many())?;
        let mut run = Run::new(self, Some(context));
        let began = Instant::now();
        let begun = self.register(&run, &request).await?;
        let (record, taken_over) = match begun {
            Begun::New(record) => (record, false),
            Begun::TakenOver(record) => (record, true),
            Begun::There(record) => (record, true),
        };
        let id = record.session_id.clone();
        run.went("register", StepState::Done, format!("session {id}"), Some(began)).await;
        let keeper = Keeper::of(self, &id);
        let outcome = self.prepare(&mut run, &record).await;
        drop(keeper);
        match outcome {
            Ok(synced) => self.open(run, &id, &record, synced).await,
            // Whoever takes over gets the session whatever the remote says.
            Err(error) if taken_over => {
                run.warnings.push(line(&error));
                self.open(run, &id, &record, Synced::default()).await
            }
            Err(error) => {
                self.give_up(&id, &format!("the start failed: {}", error.message)).await;
                Err(error)
            }
        }
    }

    /// Writes the record, or finds the one that this request wrote before.
    async fn register(&self, run: &Run<'_>, request: &SessionStartRequest) -> Result<Begun, RequestError> {
        self.store.complete().await?;
        let before = run.request_id().and_then(|request_id| {
            let of = |stored: &StoredSession| stored.record.principal.as_deref() == run.principal();
            self.store.with_book(|book| {
                let known = book.of_request(request_id).filter(|known| of(&known.stored))?;
                known.stored.record.state.is_live().then(|| known.stored.record.session_id.clone())
            })
        });
        for _ in 0..3 {
            let id = match (&request.session_id, &before) {
                (Some(id), _) | (None, Some(id)) => id.clone(),
                (None, None) => made_up(),
            };
            let begun = self.store.change(&id, |stored| self.begin(&id, stored, run, request)).await;
            match begun {
                // Somebody else made up the same id in the same second.
                Err(error) if error.code == Code::Conflict && request.session_id.is_none() && before.is_none() => {}
                begun => return begun,
            }
        }
        Err(RequestError::new(Code::Unavailable, "no id for the session was found").hint("ask again").retryable())
    }

    fn begin(
        &self,
        id: &str,
        stored: Option<&StoredSession>,
        run: &Run<'_>,
        request: &SessionStartRequest,
    ) -> Result<Change<Begun>, RequestError> {
        let Some(incarnation) = self.store.incarnation() else {
            return Err(unavailable(&"its incarnation is not known"));
        };
        // The revision of this very write.
        let epoch = Epoch { incarnation, revision: 0 };
        let now = now_rfc3339();
        let task =
            Some(Task { kind: TaskKind::Start, owner: self.me.to_string(), turn: 0, message: None, force: false });
        let same_request =
            |stored: &StoredSession| stored.request_id.is_some() && stored.request_id.as_deref() == run.request_id();
        match stored {
            // Never opened and closed again: the id was not used up.
            Some(stored) if !stored.record.state.is_live() && stored.opened => Err(gone(&stored.record)),
            None | Some(StoredSession { record: SessionRecord { state: SessionState::Ended, .. }, .. }) => {
                let record = self.record(id, epoch, request, run, &now);
                let mut next = fresh(record.clone(), run.request_id().map(str::to_owned));
                next.steps = stored.map_or(0, |stored| stored.steps);
                next.pending = stored.map(|stored| stored.pending.clone()).unwrap_or_default();
                next.task = task;
                note(&mut next, stored.map(|stored| stored.record.state), &now);
                Ok(Change::Write(Box::new(next), Begun::New(record)))
            }
            Some(stored) if stored.record.state == SessionState::Ending => Err(busy(&stored.record)),
            Some(stored) if same_request(stored) => {
                // The registry that worked on it is gone: the caller would wait for its answer otherwise.
                let next = StoredSession { task, ..stored.clone() };
                let record = stored.record.clone();
                let begun = match record.state {
                    SessionState::Starting => Begun::New(record),
                    _ => Begun::There(record),
                };
                Ok(Change::Write(Box::new(next), begun))
            }
            Some(stored) => {
                holds(&stored.record, None, run.principal())?;
                if request.if_live == IfLive::Refuse {
                    let record = &stored.record;
                    let message =
                        format!("session {id} is {} already, held by {}", record.state.name(), record.analyst);
                    return Err(RequestError::new(Code::Conflict, message)
                        .hint("choose another id, or take it over with if_live `take_over`"));
                }
                match life::step(stored.record.state, Input::TakenOver) {
                    Step::Go(to) => {
                        let mut record = self.record(id, epoch, request, run, &now);
                        inherit(&mut record, &stored.record);
                        let host = if record.client.host.is_empty() { "elsewhere" } else { &record.client.host };
                        let reason = format!("taken over by {} on {host}", record.analyst);
                        let taken = StoredSession {
                            record: SessionRecord { state: stored.record.state, ..record },
                            request_id: run.request_id().map(str::to_owned),
                            task,
                            ..stored.clone()
                        };
                        let next = moved(&taken, to, &reason, &now);
                        let record = next.record.clone();
                        Ok(Change::Write(Box::new(next), Begun::TakenOver(record)))
                    }
                    Step::Gone => Err(gone(&stored.record)),
                    Step::Stay | Step::Busy => Err(busy(&stored.record)),
                }
            }
        }
    }

    fn record(&self, id: &str, epoch: Epoch, request: &SessionStartRequest, run: &Run<'_>, now: &str) -> SessionRecord {
        let text =
            |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let principal = run.principal().map(str::to_owned);
        SessionRecord {
            session_id: id.to_owned(),
            epoch,
            state: SessionState::Starting,
            analyst: text(&request.analyst).or_else(|| principal.clone()).unwrap_or_else(|| "unknown".to_owned()),
            principal,
            author: request.author.clone(),
            client: request.client.clone(),
            objective: text(&request.objective).unwrap_or_default(),
            tier: request.tier.unwrap_or(2),
            liveness: match request.liveness {
                Liveness::Unknown => Liveness::Activity,
                known => known,
            },
            agent: request.agent.clone().or_else(|| self.settings.agent.clone()),
            claims: request.claims.clone(),
            repo: None,
            branch: None,
            base_commit: None,
            head_commit: None,
            operations: 0,
            started_at: now.to_owned(),
            last_active_at: now.to_owned(),
            ended_at: None,
            reason: String::new(),
            transcript: request.transcript.clone(),
            parent: request.parent.clone(),
        }
    }

    /// Pull, publish, import, check.
    async fn prepare(&self, run: &mut Run<'_>, record: &SessionRecord) -> Result<Synced, RequestError> {
        let mut at = None;
        if let Some(agent) = &record.agent {
            let status = match self.fleet.clone_status(agent).await {
                Ok(status) => status,
                Err(error) if nobody_there(&error) => {
                    let message = format!("commit-agent `{agent}` is not there: nobody would commit what is edited");
                    let error = RequestError { message, ..error }
                        .hint("start it, or start the session on the clone of another one with `agent`");
                    run.went("pull", StepState::Failed, error.message.clone(), None).await;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            at = Some((status.repo, status.reference, status.head));
        }
        let mut synced = self.bring(run, record.agent.as_deref()).await?;
        if let Some((_, _, head)) = &at {
            synced.commit = synced.commit.or_else(|| head.clone());
        }
        if let Some((repo, branch, _)) = at {
            // Written with the step that opens it.
            synced.place = Some((repo, branch));
        }
        Ok(synced)
    }

    /// The last checks, and the step to `active`.
    async fn open(
        &self,
        mut run: Run<'_>,
        id: &str,
        record: &SessionRecord,
        synced: Synced,
    ) -> Result<SessionStartResponse, RequestError> {
        let began = Instant::now();
        let preflight = match run.step("preflight", "checking the environment", self.fleet.preflight()).await {
            Ok(checks) => {
                let said = format!("{}/{} checks passed", checks.passed, checks.total);
                let state = if checks.problems.is_empty() { StepState::Done } else { StepState::Warning };
                run.went("preflight", state, said, Some(began)).await;
                run.warnings.extend(checks.problems.iter().cloned());
                Some(checks)
            }
            Err(error) => {
                let said = format!("the environment is not checked: {}", line(&error));
                run.went("preflight", StepState::Warning, said, Some(began)).await;
                None
            }
        };
        let opened = self
            .store
            .change(id, |stored| {
                let Some(stored) = stored else { return Err(lost(id)) };
                let ours =
                    stored.task.as_ref().is_some_and(|task| *task.owner == *self.me && task.kind == TaskKind::Start);
                if !ours {
                    return Err(lost(id));
                }
                let mut next = match life::step(stored.record.state, Input::Opened) {
                    Step::Go(to) => moved(stored, to, "", &now_rfc3339()),
                    _ => stored.clone(),
                };
                next.task = None;
                next.opened = true;
                let commit = synced.commit.clone();
                for record in next.pending.last_mut().map(|step| &mut step.record).into_iter().chain([&mut next.record])
                {
                    record.base_commit = record.base_commit.take().or_else(|| commit.clone());
                    if let Some((repo, branch)) = &synced.place {
                        (record.repo, record.branch) = (Some(repo.clone()), Some(branch.clone()));
                    }
                }
                let record = next.record.clone();
                Ok(Change::Write(Box::new(next), record))
            })
            .await?;
        // The epoch that this write did not know is known now.
        let epoch = self.store.session(id).await?.map_or(opened.epoch, |known| known.stored.record.epoch.clone());
        let message = summary(&synced, preflight.as_ref().map(|checks| checks.problems.is_empty()));
        tracing::info!(session = id, analyst = record.analyst, epoch = epoch.revision, "session started");
        Ok(SessionStartResponse {
            session_id: id.to_owned(),
            epoch,
            state: opened.state,
            commit: synced.commit,
            import: synced.import,
            preflight,
            warnings: run.warnings,
            steps: run.steps,
            heartbeat_every_s: self.settings.patience.beat_every(record.liveness).as_secs().max(1),
            message,
        })
    }

    /// Closes a session whose start did not come through.
    pub(crate) async fn give_up(&self, id: &str, reason: &str) {
        let closed = self
            .store
            .change(id, |stored| {
                let Some(stored) = stored else { return Ok(Change::Keep(())) };
                match life::step(stored.record.state, Input::StartFailed) {
                    Step::Go(to) => {
                        let mut next = moved(stored, to, reason, &now_rfc3339());
                        next.task = None;
                        Ok(Change::Write(Box::new(next), ()))
                    }
                    _ => Ok(Change::Keep(())),
                }
            })
            .await;
        if let Err(error) = closed {
            tracing::warn!(session = id, %error, "a start that failed is not closed yet; it is closed later");
        }
    }
}

/// What stays when a session goes on in other hands.
fn inherit(record: &mut SessionRecord, before: &SessionRecord) {
    record.started_at.clone_from(&before.started_at);
    record.operations = before.operations;
    record.base_commit.clone_from(&before.base_commit);
    record.head_commit.clone_from(&before.head_commit);
    (record.repo, record.branch) = (before.repo.clone(), before.branch.clone());
    record.principal = before.principal.clone().or(record.principal.take());
    if record.objective.is_empty() {
        record.objective.clone_from(&before.objective);
    }
    if record.claims.is_empty() {
        record.claims.clone_from(&before.claims);
    }
    if record.analyst == "unknown" {
        record.analyst.clone_from(&before.analyst);
    }
    record.author = record.author.take().or_else(|| before.author.clone());
    record.transcript = record.transcript.take().or_else(|| before.transcript.clone());
    record.parent = record.parent.take().or_else(|| before.parent.clone());
}

fn lost(id: &str) -> RequestError {
    RequestError::new(Code::Conflict, format!("the start of session {id} was taken out of this registry's hands"))
        .hint("look with `baft session list`, then start again")
        .retryable()
}

/// The one line people read.
fn summary(synced: &Synced, clean: Option<bool>) -> String {
    let at =
        synced.commit.as_deref().map_or_else(String::new, |commit| format!(" Framework at commit {}.", short(commit)));
    let database = if synced.import.is_some() { " DuckDB updated." } else { " DuckDB is not updated." };
    let services = match clean {
        Some(true) => " All services reachable.",
        Some(false) => " Some checks did not pass.",
        None => " The services were not checked.",
    };
    format!("Session started.{at}{database}{services}")
}

/// `session-20260301-093000-x7f2`.
fn made_up() -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut luck = rand::rng();
    let tail: String = (0..4).map(|_| char::from(LETTERS[luck.random_range(0..LETTERS.len())])).collect();
    format!("session-{}-{tail}", chrono::Utc::now().format("%Y%m%d-%H%M%S"))
}

#[cfg(test)]
mod tests {
    use baft_bus::subject::is_session_id;

    use super::*;

    #[test]
    fn ids_that_are_made_up_are_ids() {
        let id = made_up();
        assert!(is_session_id(&id) && id.starts_with("session-2") && id.len() == 28, "{id}");
        assert_ne!(made_up(), made_up());
    }

    #[test]
    fn the_summary_says_what_did_not_work() {
        let all = Synced { commit: Some("a".repeat(40)), import: None, ..Synced::default() };
        assert_eq!(
            summary(&all, None),
            "Session started. Framework at commit aaaaaaa. DuckDB is not updated. The services were not checked."
        );
    }
}
