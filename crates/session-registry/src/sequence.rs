//! Sequences: what starting, ending and synchronising mean, step by step, the same for every client.

mod end;
mod start;
mod sync;

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use baft_bus::payload::{SessionStep, StepState, StoredSession, Task};
use baft_bus::{Code, RequestContext, RequestError};
use tokio::task::JoinHandle;

use crate::registry::Registry;
use crate::store::Change;

pub(crate) use start::invalid;

/// How long a sequence may take when the caller does not say.
const SEQUENCE: Duration = Duration::from_secs(120);
/// Kept back of the caller's time, to write down how it went and to answer.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// A sequence under way: its steps, its time, and who is told.
pub(crate) struct Run<'a> {
    registry: &'a Registry,
    /// Who asked, if somebody waits.
    context: Option<&'a RequestContext>,
    until: Instant,
    pub(crate) steps: Vec<SessionStep>,
    pub(crate) warnings: Vec<String>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(registry: &'a Registry, context: Option<&'a RequestContext>) -> Self {
        let time = context.map_or(SEQUENCE, |context| context.time_left(SEQUENCE));
        // Of little time little is kept back.
        let until = Instant::now() + time.saturating_sub(LAST_WORDS.min(time / 4));
        Self { registry, context, until, steps: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn principal(&self) -> Option<&str> {
        self.context.and_then(|context| context.principal.as_deref())
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.context.and_then(|context| context.request_id.as_deref())
    }

    pub(crate) fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Does one step within what is left of the time.
    pub(crate) async fn step<T>(
        &mut self,
        name: &str,
        doing: &str,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        self.tell(name, StepState::Running, doing, None).await;
        let (began, time) = (Instant::now(), self.time_left());
        let result = tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
            Err(RequestError::new(
                Code::Timeout,
                format!("{name}: not done within the {:.1} s that were left", time.as_secs_f64()),
            ))
        });
        self.registry.metrics.step_seconds.with_label_values(&[name]).observe(began.elapsed().as_secs_f64());
        result
    }

    /// A step went like this; also told to whoever watches.
    pub(crate) async fn went(&mut self, name: &str, state: StepState, message: String, began: Option<Instant>) {
        let duration_ms = began.map(|began| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        if state == StepState::Warning {
            self.warnings.push(message.clone());
        }
        let label = match state {
            StepState::Done => "done",
            StepState::Skipped => "skipped",
            StepState::Warning => "warning",
            StepState::Failed => "failed",
            StepState::Running | StepState::Unknown => "other",
        };
        self.registry.metrics.steps.with_label_values(&[name, label]).inc();
        self.tell(name, state, &message, duration_ms).await;
        self.steps.push(SessionStep { step: name.to_owned(), state, message, duration_ms });
    }

    async fn tell(&self, name: &str, state: StepState, message: &str, duration_ms: Option<u64>) {
        if let Some(context) = self.context {
            let step = SessionStep { step: name.to_owned(), state, message: message.to_owned(), duration_ms };
            context.progress(&step).await;
        }
    }
}

/// Shows that the owner of a sequence is alive, for as long as it exists.
pub(crate) struct Keeper {
    registry: Registry,
    id: String,
    beating: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn of(registry: &Registry, id: &str) -> Self {
        let keeper = (registry.clone(), id.to_owned());
        registry.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        let (registry, id) = keeper.clone();
        let every = registry.settings.adopt_after / 4;
        let beating = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let turned = registry
                    .store
                    .change(&id, |stored| match stored.and_then(|stored| Some((stored, stored.task.as_ref()?))) {
                        Some((stored, task)) if *task.owner == *registry.me => {
                            let task = Some(Task { turn: task.turn + 1, ..task.clone() });
                            Ok(Change::Write(Box::new(StoredSession { task, ..stored.clone() }), ()))
                        }
                        _ => Ok(Change::Keep(())),
                    })
                    .await;
                if let Err(error) = turned {
                    tracing::debug!(session = id, %error, "the sign of life of a sequence is not written");
                }
            }
        });
        Self { registry: keeper.0, id: keeper.1, beating }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.beating.abort();
        self.registry.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The seven digits people know a commit by.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// A failure and what to do about it, in one line.
pub(crate) fn line(error: &RequestError) -> String {
    match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    }
}
