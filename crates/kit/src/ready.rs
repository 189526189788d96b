//! Readiness: named conditions that all must hold before work may be sent here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;

/// The conditions of one daemon. Clones share them. Without any condition it is ready.
#[derive(Debug, Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    shutting_down: bool,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Ready,
    NotReady(String),
    ReadyUntil(Instant, String),
}

impl Status {
    fn problem(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::NotReady(reason) => Some(reason),
            Self::ReadyUntil(until, reason) => (Instant::now() >= *until).then_some(reason),
        }
    }
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// All conditions hold and the daemon is not shutting down.
    pub ready: bool,
    /// Every condition, in the order they were made.
    pub conditions: Vec<ConditionReport>,
}

/// One condition as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConditionReport {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub ready: bool,
    /// Why not; empty when it does.
    pub message: String,
}

impl Report {
    /// The conditions that do not hold, as `name: reason`, separated by `; `.
    #[must_use]
    pub fn missing(&self) -> String {
        let missing = self.conditions.iter().filter(|condition| !condition.ready);
        missing.map(|condition| format!("{}: {}", condition.name, condition.message)).collect::<Vec<_>>().join("; ")
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// No conditions yet.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), changed: watch::Sender::new(()) }) }
    }

    /// Adds a condition, not ready until it says so. The same name again gives the same condition.
    #[must_use]
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let name = name.into();
        let mut state = self.state();
        let known = state.slots.iter().position(|slot| slot.name == name);
        let index = known.unwrap_or_else(|| {
            state.slots.push(Slot { name, status: Status::NotReady("not yet".to_owned()) });
            state.slots.len() - 1
        });
        drop(state);
        self.shared.changed.send_replace(());
        Condition { readiness: self.clone(), index }
    }

    /// From now on not ready, whatever the conditions say.
    pub fn shutting_down(&self) {
        self.state().shutting_down = true;
        self.shared.changed.send_replace(());
    }

    /// How things stand now.
    #[must_use]
    pub fn report(&self) -> Report {
        let state = self.state();
        let mut conditions: Vec<_> = state
            .slots
            .iter()
            .map(|slot| {
                let problem = slot.status.problem();
                ConditionReport {
                    name: slot.name.clone(),
                    ready: problem.is_none(),
                    message: problem.unwrap_or_default().to_owned(),
                }
            })
            .collect();
        if state.shutting_down {
            let message = "shutting down".to_owned();
            conditions.push(ConditionReport { name: "running".to_owned(), ready: false, message });
        }
        Report { ready: conditions.iter().all(|condition| condition.ready), conditions }
    }

    /// Waits until every condition holds.
    pub async fn wait_until_ready(&self) {
        let mut changed = self.shared.changed.subscribe();
        // Fails only when the sender is gone, and this readiness holds it.
        let _ = changed.wait_for(|()| self.report().ready).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it, and each field is valid on its own.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, index: usize, status: Status) {
        let changed = {
            let mut state = self.state();
            let Some(slot) = state.slots.get_mut(index) else { return };
            let before = slot.status.problem().map(str::to_owned);
            let after = status.problem().map(str::to_owned);
            slot.status = status;
            (before != after).then(|| (slot.name.clone(), after))
        };
        let Some((name, problem)) = changed else { return };
        match problem {
            None => tracing::info!(condition = %name, "ready"),
            Some(reason) => tracing::warn!(condition = %name, reason = %reason, "not ready"),
        }
        self.shared.changed.send_replace(());
    }
}

/// One thing that must hold. Clones are the same condition.
#[derive(Debug, Clone)]
pub struct Condition {
    readiness: Readiness,
    index: usize,
}

impl Condition {
    /// It holds.
    pub fn ready(&self) {
        self.readiness.set(self.index, Status::Ready);
    }

    /// It does not, and why; name what is missing.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.set(self.index, Status::NotReady(reason.into()));
    }

    /// It holds until `until`, unless said again: for things that go stale.
    pub fn ready_until(&self, until: Instant, reason_when_expired: impl Into<String>) {
        self.readiness.set(self.index, Status::ReadyUntil(until, reason_when_expired.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_condition_must_hold_and_the_report_names_what_is_missing() {
        let readiness = Readiness::new();
        assert!(readiness.report().ready);
        let (first, second) = (readiness.condition("repo"), readiness.condition("database"));
        first.ready();
        second.not_ready("no generation published");
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.missing(), "database: no generation published");
        second.clone().ready();
        assert!(readiness.report().ready);
    }

    #[test]
    fn a_condition_can_go_stale() {
        let readiness = Readiness::new();
        let fresh = readiness.condition("fresh");
        fresh.ready_until(Instant::now() + Duration::from_secs(60), "too old");
        assert!(readiness.report().ready);
        fresh.ready_until(Instant::now(), "too old");
        assert_eq!(readiness.report().missing(), "fresh: too old");
    }

    #[test]
    fn the_same_name_is_the_same_condition() {
        let readiness = Readiness::new();
        readiness.condition("nats").ready();
        readiness.condition("nats").not_ready("link down");
        assert_eq!(readiness.report().conditions.len(), 1);
    }

    #[test]
    fn shutting_down_outweighs_every_condition() {
        let readiness = Readiness::new();
        readiness.condition("repo").ready();
        readiness.shutting_down();
        assert_eq!(readiness.report().missing(), "running: shutting down");
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_condition_holds() {
        let readiness = Readiness::new();
        let condition = readiness.condition("repo");
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait_until_ready().await }
        });
        condition.ready();
        waiter.await.unwrap();
    }
}
