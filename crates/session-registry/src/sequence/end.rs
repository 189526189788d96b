//! Ending a session: commit, push, and only then over.

use std::time::{Duration, Instant};

use baft_bus::payload::{
    CommitRunRequest, CommitRunResponse, HeldFile, SessionEndRequest, SessionEndResponse, SessionRecord, SessionState,
    StepState, StoredSession, Task, TaskKind,
};
use baft_bus::{Code, RequestContext, RequestError};
use baft_kit::time::now_rfc3339;

use super::start::plain;
use super::sync::too_many;
use super::{Keeper, Run, line, short};
use crate::life::{self, Input, Step, moved};
use crate::registry::{Registry, busy, gone, holds, unknown};
use crate::store::Change;

/// Longest message.
const LONGEST_MESSAGE: usize = 10_000;

/// What a caller wants of an end.
struct Wish {
    message: Option<String>,
    force: bool,
}

impl Registry {
    /// `session.end`.
    pub(crate) async fn end(
        &self,
        context: &RequestContext,
        request: SessionEndRequest,
    ) -> Result<SessionEndResponse, RequestError> {
        plain("message", request.message.as_deref().unwrap_or_default(), LONGEST_MESSAGE)?;
        let _place = self.sequences.try_acquire().map_err(|_| too_many())?;
        let run = Run::new(self, Some(context));
        let id = request.session_id.as_str();
        let wish = Wish { message: request.message.clone(), force: request.force };
        let record = self
            .store
            .change(id, |stored| {
                let Some(stored) = stored else { return Err(unknown(id)) };
                holds(&stored.record, request.epoch.as_ref(), run.principal())?;
                match life::step(stored.record.state, Input::EndBegins) {
                    // Over, and the push is tried once more.
                    _ if stored.record.state == SessionState::EndedUnpushed => Ok(Change::Keep(stored.record.clone())),
                    Step::Go(to) => {
                        let mut next = moved(stored, to, "its end was asked for", &now_rfc3339());
                        next.task = Some(self.ending(&wish));
                        let record = next.record.clone();
                        Ok(Change::Write(Box::new(next), record))
                    }
                    Step::Gone => Err(gone(&stored.record)),
                    Step::Stay | Step::Busy => Err(busy(&stored.record)),
                }
            })
            .await?;
        let keeper = Keeper::of(self, id);
        let result = self.finish(run, &record, &wish).await;
        drop(keeper);
        result
    }

    fn ending(&self, wish: &Wish) -> Task {
        let (owner, message) = (self.me.to_string(), wish.message.clone());
        Task { kind: TaskKind::End, owner, turn: 0, message, force: wish.force }
    }

    /// Goes on with the end of a session whose registry is gone.
    pub(crate) async fn continue_end(&self, id: &str) -> Result<(), RequestError> {
        let adopted = self
            .store
            .change(id, |stored| match stored.map(|stored| (stored, stored.record.state, &stored.task)) {
                Some((stored, SessionState::Ending, task)) => {
                    let wish = Wish {
                        message: task.as_ref().and_then(|task| task.message.clone()),
                        force: task.as_ref().is_some_and(|task| task.force),
                    };
                    let next = StoredSession { task: Some(self.ending(&wish)), ..stored.clone() };
                    let record = stored.record.clone();
                    Ok(Change::Write(Box::new(next), Some((record, wish))))
                }
                _ => Ok(Change::Keep(None)),
            })
            .await?;
        if let Some((record, wish)) = adopted {
            tracing::warn!(session = id, "the end of a session is continued: the registry that worked on it is gone");
            self.metrics.adopted.with_label_values(&["end"]).inc();
            let _keeper = Keeper::of(self, id);
            self.finish(Run::new(self, None), &record, &wish).await?;
        }
        Ok(())
    }

    /// Commit, push, and the step out of `ending`.
    async fn finish(
        &self,
        mut run: Run<'_>,
        record: &SessionRecord,
        wish: &Wish,
    ) -> Result<SessionEndResponse, RequestError> {
        let committed = match &record.agent {
            None => {
                let said = "the session has no clone: there is nothing to commit".to_owned();
                run.went("commit", StepState::Skipped, said, None).await;
                None
            }
            Some(agent) => match self.commit(&mut run, agent, record, wish).await {
                Ok(answer) => Some(answer),
                Err(error) if wish.force => {
                    run.warnings.push(line(&error));
                    return self.over(run, record, None, Pushed::No).await;
                }
                Err(error) => {
                    self.go_on(record, &error.message).await;
                    return Err(error);
                }
            },
        };
        let held = committed.as_ref().map(|answer| theirs(record, &answer.held)).unwrap_or_default();
        if !held.is_empty() && !wish.force {
            let error = refuse_held(record, &held);
            self.go_on(record, "files are held back").await;
            return Err(error);
        }
        let pushed = match &committed {
            Some(answer) if !answer.pushed => Pushed::No,
            _ => Pushed::Yes,
        };
        self.over(run, record, committed, pushed).await
    }

    async fn commit(
        &self,
        run: &mut Run<'_>,
        agent: &str,
        record: &SessionRecord,
        wish: &Wish,
    ) -> Result<CommitRunResponse, RequestError> {
        let began = Instant::now();
        let request = CommitRunRequest {
            message: wish.message.clone(),
            session_id: Some(record.session_id.clone()),
            epoch: Some(record.epoch.clone()),
            paths: Some(record.claims.clone()).filter(|claims| !claims.is_empty()),
            author: record.author.clone(),
        };
        // For somebody who owns it the registry speaks in the owner's name, also when it continues another's work.
        let principal = record.principal.clone().or_else(|| run.principal().map(str::to_owned));
        let limit = run.time_left().max(Duration::from_millis(100));
        let commit = self.fleet.commit(agent, &request, principal.as_deref(), limit);
        match run.step("commit", "committing and pushing", commit).await {
            Ok(answer) => {
                let said = match &answer.commit {
                    Some(commit) => format!("commit {} with {} files", short(commit), answer.files.len()),
                    None => "nothing had changed".to_owned(),
                };
                run.went("commit", StepState::Done, said, Some(began)).await;
                run.warnings.extend(answer.problems.iter().cloned());
                if answer.pushed {
                    run.went("push", StepState::Done, "the remote has everything".to_owned(), None).await;
                } else {
                    let said = "the remote does not have everything yet; the push goes on by itself".to_owned();
                    run.went("push", StepState::Warning, said, None).await;
                }
                Ok(answer)
            }
            Err(error) => {
                run.went("commit", StepState::Failed, error.message.clone(), Some(began)).await;
                Err(error)
            }
        }
    }

    /// The end is given up: the session goes on, and loses nothing.
    async fn go_on(&self, record: &SessionRecord, why: &str) {
        let id = &record.session_id;
        let reason = format!("its end was given up: {why}");
        let result = self
            .store
            .change(id, |stored| {
                match stored.map(|stored| (stored, life::step(stored.record.state, Input::EndStops))) {
                    Some((stored, Step::Go(to))) if self.owns(stored) => {
                        let mut next = moved(stored, to, &reason, &now_rfc3339());
                        next.task = None;
                        Ok(Change::Write(Box::new(next), ()))
                    }
                    _ => Ok(Change::Keep(())),
                }
            })
            .await;
        if let Err(error) = result {
            tracing::warn!(session = %id, %error, "an end that failed is not given up yet; it is continued later");
        }
    }

    fn owns(&self, stored: &StoredSession) -> bool {
        stored.task.as_ref().is_some_and(|task| *task.owner == *self.me)
    }

    async fn over(
        &self,
        mut run: Run<'_>,
        record: &SessionRecord,
        committed: Option<CommitRunResponse>,
        pushed: Pushed,
    ) -> Result<SessionEndResponse, RequestError> {
        let id = &record.session_id;
        let (input, reason) = match pushed {
            Pushed::Yes => (Input::EndedPushed, "ended by its holder"),
            Pushed::No => (Input::EndedUnpushed, "ended by its holder; the push goes on"),
        };
        let commit = committed.as_ref().and_then(|answer| answer.commit.clone());
        let state = self
            .store
            .change(id, |stored| {
                let Some(stored) = stored else { return Err(unknown(id)) };
                if stored.record.state == SessionState::EndedUnpushed {
                    return Ok(match pushed {
                        Pushed::Yes => {
                            let next = moved(stored, SessionState::Ended, "pushed", &now_rfc3339());
                            Change::Write(Box::new(next), SessionState::Ended)
                        }
                        Pushed::No => Change::Keep(SessionState::EndedUnpushed),
                    });
                }
                match life::step(stored.record.state, input) {
                    Step::Go(to) if self.owns(stored) => {
                        let mut stored = stored.clone();
                        if commit.is_some() {
                            stored.record.head_commit.clone_from(&commit);
                        }
                        let mut next = moved(&stored, to, reason, &now_rfc3339());
                        next.task = None;
                        Ok(Change::Write(Box::new(next), to))
                    }
                    Step::Gone => Ok(Change::Keep(stored.record.state)),
                    _ => Err(busy(&stored.record)),
                }
            })
            .await?;
        run.went("unregister", StepState::Done, format!("session {id} is {}", state.name()), None).await;
        tracing::info!(session = %id, state = state.name(), commit, "session ended");
        let answer = committed.unwrap_or(CommitRunResponse {
            commit: None,
            files: Vec::new(),
            held: Vec::new(),
            pushed: pushed == Pushed::Yes,
            parked: None,
            problems: Vec::new(),
        });
        let message = match (&answer.commit, pushed) {
            (Some(_), Pushed::Yes) => "Framework changes committed and pushed.".to_owned(),
            (None, Pushed::Yes) => "No framework changes to commit.".to_owned(),
            (Some(commit), Pushed::No) => {
                format!("Framework changes committed ({}), but not pushed. The push goes on by itself.", short(commit))
            }
            (None, Pushed::No) => "What was committed is not pushed. The push goes on by itself.".to_owned(),
        };
        if let Some(parked) = &answer.parked {
            run.warnings.push(format!("what upstream overtook is in {parked}"));
        }
        Ok(SessionEndResponse {
            session_id: id.clone(),
            state,
            commit: answer.commit,
            files: answer.files,
            pushed: pushed == Pushed::Yes,
            held: answer.held,
            warnings: run.warnings,
            steps: run.steps,
            message,
        })
    }
}

/// Whether the remote has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushed {
    Yes,
    No,
}

/// The held files that are this session's business.
fn theirs(record: &SessionRecord, held: &[HeldFile]) -> Vec<HeldFile> {
    let claimed = |path: &str| {
        record.claims.iter().any(|claim| {
            let claim = claim.trim_end_matches('/');
            path == claim || path.strip_prefix(claim).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    held.iter().filter(|file| record.claims.is_empty() || claimed(&file.path)).cloned().collect()
}

fn refuse_held(record: &SessionRecord, held: &[HeldFile]) -> RequestError {
    let shown: Vec<String> =
        held.iter().take(20).map(|file| format!("{} ({})", file.path, file.reason.name())).collect();
    let more = held.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let files = if held.len() == 1 { "1 file is".to_owned() } else { format!("{} files are", held.len()) };
    let message = format!("{files} held back and in no commit: {}{more}", shown.join(", "));
    RequestError::new(Code::Unprocessable, message).hint(format!(
        "put them right or release them (`baft commit status` says why), or end session {} all the same with --force",
        record.session_id
    ))
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::HeldReason;

    use super::*;
    use crate::life::tests::stored;

    #[test]
    fn only_the_held_files_of_what_is_claimed_stop_an_end() {
        let file =
            |path: &str| HeldFile { path: path.to_owned(), reason: HeldReason::Unparsable, message: String::new() };
        let held = [file("data/a.yaml"), file("database/b.yaml"), file("notes.md")];
        let mut record = stored("s", SessionState::Ending).record;
        assert_eq!(theirs(&record, &held).len(), 3);
        record.claims = vec!["data/".to_owned(), "notes.md".to_owned()];
        let found = theirs(&record, &held);
        assert_eq!(found.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["data/a.yaml", "notes.md"]);
        let error = refuse_held(&record, &held);
        assert!(error.message.contains("data/a.yaml (unparsable)") && error.hint.unwrap().contains("--force"));
    }
}
