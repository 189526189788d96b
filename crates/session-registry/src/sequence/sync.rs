//! Bringing everybody to the remote's newest commit, and looking whether that is needed.

use std::sync::PoisonError;
use std::time::Instant;

use baft_bus::payload::{
    CommitCheck, CommitPullResponse, ImportRunResponse, SessionSyncCheckRequest, SessionSyncCheckResponse,
    SessionSyncChecked, SessionSyncRequest, SessionSyncResponse, Standing, StepState,
};
use baft_bus::{Code, RequestContext, RequestError};
use baft_kit::time::now_rfc3339;

use super::{Run, line, short};
use crate::book::Beat;
use crate::fleet::nobody_there;
use crate::registry::{Registry, holds, unknown};

/// What bringing the newest commit to everybody came to.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    pub(crate) commit: Option<String>,
    pub(crate) pull: Option<CommitPullResponse>,
    pub(crate) import: Option<ImportRunResponse>,
    /// The repository and the branch, when a commit-agent said.
    pub(crate) place: Option<(String, String)>,
}

impl Registry {
    /// `session.sync`.
    pub(crate) async fn sync(
        &self,
        context: &RequestContext,
        request: SessionSyncRequest,
    ) -> Result<SessionSyncResponse, RequestError> {
        let principal = context.principal.as_deref();
        let mut agent = request.agent.clone();
        if let Some(id) = &request.session_id {
            let Some(known) = self.store.session(id).await? else { return Err(unknown(id)) };
            holds(&known.stored.record, request.epoch.as_ref(), principal)?;
            agent = agent.or_else(|| known.stored.record.agent.clone());
            let beat = Beat { at: now_rfc3339(), ..Beat::default() };
            self.beat(id, request.epoch.as_ref(), principal, beat).await?;
        }
        let agent = agent.or_else(|| self.settings.agent.clone());
        let _place = self.sequences.try_acquire().map_err(|_| too_many())?;
        let mut run = Run::new(self, Some(context));
        let synced = self.bring(&mut run, agent.as_deref()).await?;
        if let Some(agent) = &agent
            && synced.pull.is_some()
        {
            self.remember_check(agent, Standing::Current);
        }
        let message = match (&synced.commit, &synced.import) {
            (Some(commit), Some(_)) => format!("Synced to {}. DuckDB updated.", short(commit)),
            (Some(commit), None) => format!("Synced to {}. DuckDB is not updated.", short(commit)),
            (None, Some(_)) => "DuckDB updated.".to_owned(),
            (None, None) => "Nothing could be synchronised.".to_owned(),
        };
        let (steps, warnings) = (run.steps, run.warnings);
        Ok(SessionSyncResponse {
            commit: synced.commit,
            pull: synced.pull,
            import: synced.import,
            warnings,
            steps,
            message,
        })
    }

    /// Pull, publish, import. Only a real conflict, and an agent that is not there, end it.
    pub(crate) async fn bring(&self, run: &mut Run<'_>, agent: Option<&str>) -> Result<Synced, RequestError> {
        let principal = run.principal().map(str::to_owned);
        let principal = principal.as_deref();
        let mut synced = Synced::default();
        match agent {
            None => run.went("pull", StepState::Skipped, "there is no clone to pull into".to_owned(), None).await,
            Some(agent) => {
                let began = Instant::now();
                match run.step("pull", "bringing in what others pushed", self.fleet.pull(agent, principal)).await {
                    Ok(pull) => {
                        synced.commit.clone_from(&pull.new);
                        let at = pull.new.as_deref().map_or("nothing", short);
                        let files = match pull.changed_files {
                            0 => "nothing new".to_owned(),
                            1 => "1 file changed".to_owned(),
                            n => format!("{n} files changed"),
                        };
                        run.went("pull", StepState::Done, format!("at commit {at}, {files}"), Some(began)).await;
                        run.warnings.extend(pull.problems.iter().cloned());
                        synced.pull = Some(pull);
                    }
                    Err(error) if error.code == Code::Conflict && !error.retryable => {
                        run.went("pull", StepState::Failed, error.message.clone(), Some(began)).await;
                        return Err(error);
                    }
                    Err(error) => {
                        let said = format!("nothing was pulled: {}", line(&error));
                        run.went("pull", StepState::Warning, said, Some(began)).await;
                    }
                }
            }
        }
        let published = self.publish(run, agent, &synced, principal).await;
        self.import(run, published, principal, &mut synced).await;
        Ok(synced)
    }

    /// Has git-sync publish what was pulled; gives the commit that is published.
    async fn publish(
        &self,
        run: &mut Run<'_>,
        agent: Option<&str>,
        synced: &Synced,
        principal: Option<&str>,
    ) -> Option<String> {
        let began = Instant::now();
        let publish = async {
            // Commits of the clone that are not pushed yet never arrive at git-sync: they are not waited for.
            let wait_for = match (agent, &synced.commit) {
                (Some(agent), Some(commit)) => {
                    let status = self.fleet.clone_status(agent).await;
                    status.is_ok_and(|status| status.unpushed == 0 && status.check.ahead == 0).then(|| commit.clone())
                }
                _ => None,
            };
            self.fleet.publish(wait_for, principal).await
        };
        match run.step("publish", "publishing the commit for readers", publish).await {
            Ok(answer) => {
                let said = format!("readers see commit {}", short(&answer.new));
                run.went("publish", StepState::Done, said, Some(began)).await;
                Some(answer.new)
            }
            Err(error) => {
                let said = format!("the commit is not published: {}", line(&error));
                run.went("publish", StepState::Warning, said, Some(began)).await;
                None
            }
        }
    }

    async fn import(&self, run: &mut Run<'_>, published: Option<String>, principal: Option<&str>, synced: &mut Synced) {
        let began = Instant::now();
        match run.step("import", "updating the database", self.fleet.import(published.clone(), principal)).await {
            Ok(answer) => {
                let counts = &answer.counts;
                let said = format!(
                    "generation {}: {} new, {} changed, {} gone",
                    answer.generation.number, counts.inserted, counts.updated, counts.deleted
                );
                run.went("import", StepState::Done, said, Some(began)).await;
                synced.commit = synced.commit.take().or_else(|| answer.commit.clone()).or(published);
                synced.import = Some(answer);
            }
            Err(error) => {
                let said = format!("the database is not updated: {}", line(&error));
                run.went("import", StepState::Warning, said, Some(began)).await;
                synced.commit = synced.commit.take().or(published);
            }
        }
    }

    /// `session.sync_check`.
    pub(crate) async fn sync_check(
        &self,
        request: SessionSyncCheckRequest,
    ) -> Result<SessionSyncCheckResponse, RequestError> {
        let of_session = match &request.session_id {
            None => None,
            Some(id) => {
                let Some(known) = self.store.session(id).await? else { return Err(unknown(id)) };
                known.stored.record.agent.clone()
            }
        };
        let Some(agent) = request.agent.or(of_session).or_else(|| self.settings.agent.clone()) else {
            return Err(RequestError::new(Code::InvalidArgument, "there is no clone to compare with its remote")
                .hint("name a commit-agent with `agent`, or give the registry one with --default-agent"));
        };
        self.check_now(&agent).await
    }

    /// Compares a clone with its remote, remembers how that went, and tells when it is not what it was: whoever asked,
    /// everybody who works there should know.
    pub(crate) async fn check_now(&self, agent: &str) -> Result<SessionSyncCheckResponse, RequestError> {
        let check = match self.fleet.check(agent).await {
            Ok(check) => check,
            Err(error) if nobody_there(&error) => {
                return Err(RequestError {
                    message: format!("cannot compare with the remote: {}", error.message),
                    ..error
                });
            }
            Err(error) => return Err(error),
        };
        let answer = said(agent, &check);
        let before =
            self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(agent.to_owned(), answer.clone());
        let compared = |check: &SessionSyncCheckResponse| (check.state, check.ahead, check.behind);
        if before.as_ref().map(compared) != Some(compared(&answer)) {
            self.tell_standing(answer.clone());
        }
        Ok(answer)
    }

    fn tell_standing(&self, check: SessionSyncCheckResponse) {
        let sessions: Vec<String> = self.store.with_book(|book| {
            let here = book.working().filter(|record| record.agent.as_ref() == Some(&check.agent));
            here.map(|record| record.session_id.clone()).collect()
        });
        if !sessions.is_empty() {
            let bus = self.bus.clone();
            // Nobody's answer waits for it.
            tokio::spawn(async move { bus.emit_best_effort(&SessionSyncChecked { check, sessions }).await });
        }
    }

    fn remember_check(&self, agent: &str, state: Standing) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checked.get_mut(agent) {
            check.state = state;
            check.behind = 0;
        }
    }
}

pub(crate) fn too_many() -> RequestError {
    RequestError::new(Code::Overloaded, "too many sessions are being started, ended or synchronised")
        .hint("ask again in a moment")
}

/// The comparison, in the words people know.
fn said(agent: &str, check: &CommitCheck) -> SessionSyncCheckResponse {
    let commits = |n: u64, what: &str| if n == 1 { format!("1 {what}commit") } else { format!("{n} {what}commits") };
    let message = match check.state {
        Standing::Current => "Framework is current.".to_owned(),
        Standing::Behind => format!(
            "Framework has {} from remote. Run `baft session sync` to pull and re-import.",
            commits(check.behind, "new ")
        ),
        Standing::Ahead => format!("You have {} not yet pushed.", commits(check.ahead, "local ")),
        Standing::Diverged => format!(
            "Framework has diverged from remote ({} ahead, {} behind). Manual resolution needed.",
            check.ahead, check.behind
        ),
        Standing::Unknown => check.message.clone(),
    };
    SessionSyncCheckResponse {
        agent: agent.to_owned(),
        state: check.state,
        ahead: check.ahead,
        behind: check.behind,
        dirty_files: check.dirty_files,
        as_of: check.as_of.clone(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_told_in_the_words_of_the_specification() {
        let tell = |state, ahead, behind| {
            let check =
                CommitCheck { as_of: None, state, ahead, behind, dirty_files: 0, message: "not known".to_owned() };
            said("main", &check).message
        };
        assert_eq!(tell(Standing::Current, 0, 0), "Framework is current.");
        assert_eq!(
            tell(Standing::Behind, 0, 3),
            "Framework has 3 new commits from remote. Run `baft session sync` to pull and re-import."
        );
        assert_eq!(tell(Standing::Ahead, 2, 0), "You have 2 local commits not yet pushed.");
        assert_eq!(tell(Standing::Ahead, 1, 0), "You have 1 local commit not yet pushed.");
        let diverged = tell(Standing::Diverged, 1, 2);
        assert!(diverged.starts_with("Framework has diverged from remote"), "{diverged}");
        assert_eq!(tell(Standing::Unknown, 0, 0), "not known");
    }
}
