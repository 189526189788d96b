//! Asking session-registry: which fleet, which clone, in whose name, and what is shown while it works.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use baft_bus::payload::{SessionStep, StepState};
use baft_bus::{Bus, Code, RequestError, RequestOptions};
use baft_commit_agent::engine::AgentName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kept::{self, Kept};
use crate::ask::explain;
use crate::cli::{FleetArgs, Shape};
use crate::failure::Failure;
use crate::output::{Out, one_line};
use crate::reach;
use crate::runtime::{Runtime, Source};
use crate::workspace::{Surroundings, Workspace};

/// A connection to a fleet, for one command.
pub struct Client<'a> {
    args: &'a FleetArgs,
    /// The connection itself.
    pub bus: Bus,
    /// The commit-agent that was named or that the fleet here has.
    pub agent: Option<String>,
    /// The session of this clone.
    pub kept: Kept,
}

impl<'a> Client<'a> {
    /// Connects.
    ///
    /// # Errors
    /// There is no fleet, it cannot be reached, or the folder this is called in is another clone than the fleet's.
    pub async fn connect(args: &'a FleetArgs, workspace: &Workspace, around: &Surroundings) -> Result<Self, Failure> {
        if let Some(name) = &args.agent
            && let Err(error) = AgentName::new(name.clone())
        {
            return Err(Failure::usage(format!("--agent: {error}")));
        }
        let runtime = Runtime::of(workspace).filter(|_| !args.nats.enabled());
        let fleet_agent = runtime.as_ref().and_then(|runtime| runtime.agent.clone());
        if args.agent.is_none()
            && let Some(runtime) = &runtime
            && let Some(other) = another_clone(&around.current, runtime)
        {
            let theirs = match &fleet_agent {
                Some(agent) => format!("the fleet looks after {}", agent.clone.display()),
                None => "the fleet looks after no clone at all".to_owned(),
            };
            return Err(Failure::usage(format!("no commit-agent looks after {}: {theirs}", other.display()))
                .hint("edit there, run `baft up --clone` for this clone, or name the agent you mean with --agent"));
        }
        let bus = reach::connect(&args.nats, workspace).await?;
        let agent = args.agent.clone().or(fleet_agent.map(|agent| agent.name));
        let (state, named) = (around.state_home.clone(), agent.as_deref().unwrap_or_default());
        let kept = kept::of_clone(state, runtime.as_ref(), &args.nats, named);
        Ok(Self { args, bus, agent, kept })
    }

    /// Asks something quick.
    ///
    /// # Errors
    /// What session-registry answered.
    pub async fn ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
        &self,
        what: &str,
        request: &Req,
    ) -> Result<Resp, Failure> {
        self.try_ask(what, request).await.map_err(|error| self.refused(error))
    }

    /// The same, with the answer's code.
    ///
    /// # Errors
    /// What session-registry answered.
    pub async fn try_ask<Req: Serialize + Sync, Resp: DeserializeOwned>(
        &self,
        what: &str,
        request: &Req,
    ) -> Result<Resp, RequestError> {
        self.bus.request_with(&format!("session.{what}"), request, self.options(what)).await
    }

    /// Asks for a sequence of steps and shows each on standard error as it ends.
    ///
    /// # Errors
    /// What session-registry answered.
    pub async fn follow<Req: Serialize + Sync, Resp: DeserializeOwned>(
        &self,
        what: &str,
        request: &Req,
    ) -> Result<Resp, Failure> {
        let mut options = self.options(what);
        // Makes it safe to repeat, and names the subject of the progress.
        let id = format!("cli-{}", ulid::Ulid::new());
        options.request_id = Some(id.clone());
        let mut progress = self.bus.progress(&id).await?;
        let suffix = format!("session.{what}");
        let asked = self.bus.request_with(&suffix, request, options);
        tokio::pin!(asked);
        let mut steps = Steps::new(self.args.shape());
        let answer = loop {
            tokio::select! {
                biased;
                Some(step) = progress.next::<SessionStep>() => steps.show(&step),
                answer = &mut asked => break answer,
            }
        };
        steps.end();
        answer.map_err(|error| self.refused(error))
    }

    fn options(&self, what: &str) -> RequestOptions {
        let mut options = RequestOptions::timeout(self.args.timeout);
        let changes = matches!(what, "start" | "end" | "heartbeat" | "sync");
        options.principal = self.args.principal.clone().filter(|_| changes);
        options
    }

    /// Prints an answer.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn print<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&mut Out) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut out = Out::new();
        match self.args.shape() {
            Shape::Json => out.json(answer)?,
            Shape::Text => text(&mut out)?,
        }
        out.flush()
    }

    fn refused(&self, error: RequestError) -> Failure {
        let code = error.code;
        let failure = explain(error, "session-registry");
        match (code, &self.args.principal) {
            // Nothing is wrong with how the command was called.
            (Code::Unprocessable | Code::Conflict, _) => Failure { exit: baft_kit::Exit::Failure, ..failure },
            (Code::Forbidden, None) => failure.hint(
                "where NATS says who may do what, say who you are: --principal (BAFT_PRINCIPAL) with the name of your NATS user",
            ),
            _ => failure,
        }
    }

    /// Closes the connection.
    pub async fn done(self) {
        reach::disconnect(self.bus).await;
    }
}

/// A clone of what the fleet follows, but not the one it looks after: success there would say nothing about it.
fn another_clone(current: &Path, runtime: &Runtime) -> Option<PathBuf> {
    let top = current.ancestors().find(|folder| folder.join(".git").exists())?;
    let looked_after = runtime.agent.as_ref().map(|agent| agent.clone.as_path());
    if looked_after.is_some_and(|clone| same_folder(clone, top)) {
        return None;
    }
    let origin = crate::up::origin_of(top)?;
    let followed = match &runtime.source {
        Source::Remote { repo, .. } => repo.clone(),
        Source::Clone { path } => crate::up::origin_of(path)?,
    };
    same_remote(&origin, &followed).then(|| top.to_owned())
}

fn same_folder(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// The same repository, however its URL is written.
fn same_remote(one: &str, other: &str) -> bool {
    fn bare(url: &str) -> String {
        let redacted = baft_kit::log::redact_url(url);
        let text = redacted.strip_prefix("file://").unwrap_or(&redacted).trim_end_matches('/');
        text.strip_suffix(".git").unwrap_or(text).to_owned()
    }
    bare(one) == bare(other)
}

/// Shows the steps of a sequence.
struct Steps {
    shape: Shape,
    waiting: bool,
}

impl Steps {
    fn new(shape: Shape) -> Self {
        Self { shape, waiting: false }
    }

    fn show(&mut self, step: &SessionStep) {
        let mut stderr = std::io::stderr();
        let terminal = stderr.is_terminal();
        let name = one_line(&step.step);
        // A program that reads the answer has no use for it, nor has a log for what has only begun.
        let line = match (self.shape, step.state) {
            (Shape::Json, _) | (_, StepState::Skipped | StepState::Unknown) => return,
            (Shape::Text, StepState::Running) => {
                if terminal {
                    self.waiting = true;
                    // Nobody is left to tell when standard error is closed.
                    let _ = write!(stderr, "\r\x1b[K  {name} …");
                    let _ = stderr.flush();
                }
                return;
            }
            (_, StepState::Done) => format!("  {name}: {}", one_line(&step.message)),
            (_, StepState::Warning) => format!("  {name}: warning: {}", one_line(&step.message)),
            (_, StepState::Failed) => format!("  {name}: failed: {}", one_line(&step.message)),
        };
        self.end();
        let _ = writeln!(stderr, "{line}");
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.waiting) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_many_spellings() {
        assert!(same_remote("https://user:secret@host/a/b.git", "https://user:other@host/a/b"));
        assert!(same_remote("file:///srv/b.git/", "/srv/b.git"));
        assert!(!same_remote("https://host/a/b.git", "https://host/a/c.git"));
    }
}
