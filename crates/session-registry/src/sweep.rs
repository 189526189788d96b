//! What is done without being asked: finding the silent, continuing what others left, announcing what others owe,
//! forgetting what is long over.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use baft_bus::kv::WriteError;
use baft_bus::payload::{SessionState, SessionTransition, TaskKind};
use baft_bus::{Link, RequestError};
use baft_kit::time::{now_rfc3339, unix_seconds};
use chrono::{DateTime, Utc};

use crate::life::{self, Input, Quiet, Step, event_id, moved};
use crate::outbox::announced;
use crate::registry::Registry;
use crate::store::Change;

/// Steps that nobody has announced for so long are looked after by everybody.
const OWED: Duration = Duration::from_secs(5);
/// What was announced is taken out of records that nobody writes otherwise.
const TIDY: Duration = Duration::from_secs(10);
/// A server that takes longer to answer is one that cannot be heard through.
const PROMPT: Duration = Duration::from_secs(1);
/// How often clones with unpushed ends are asked whether they are through.
const UNPUSHED: Duration = Duration::from_secs(20);

/// What a sweep remembers of the one before.
#[derive(Debug)]
pub(crate) struct Sweeper {
    registry: Registry,
    last: Instant,
    unpushed_at: Option<Instant>,
}

impl Sweeper {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, last: Instant::now(), unpushed_at: None }
    }

    /// One look at everything.
    pub(crate) async fn sweep(&mut self) {
        let now = Instant::now();
        let paused =
            now.duration_since(self.last) > self.registry.settings.patience.sweep_every() * 4 + Duration::from_secs(2);
        self.last = now;
        if *self.registry.bus.connected().borrow() != Link::Up {
            return;
        }
        if paused {
            // This process stood still, or the sweep before had to wait for NATS: what came meanwhile may still lie unread.
            self.grace();
        }
        if let Err(error) = self.registry.store.current().await {
            tracing::debug!(%error, "nobody is judged while the bucket cannot be read");
            return;
        }
        self.demote().await;
        self.write_beats().await;
        self.adopt().await;
        self.announce_owed().await;
        self.tidy().await;
        self.forget().await;
        if self.unpushed_at.is_none_or(|at| at.elapsed() >= UNPUSHED) {
            self.unpushed_at = Some(Instant::now());
            self.registry.look_for_pushes().await;
        }
        self.show();
    }

    fn grace(&self) {
        tracing::info!("a pause: everybody gets the whole time to be heard again");
        self.registry.metrics.graces.inc();
        self.registry.store.grace();
    }

    /// The silent.
    async fn demote(&self) {
        let patience = self.registry.settings.patience;
        let silent = self.registry.store.which(|known, now| {
            known
                .quiet(&patience, now)
                .is_some_and(|quiet| matches!(life::step(known.stored.record.state, Input::Quiet(quiet)), Step::Go(_)))
        });
        // Who could not be heard is not silent: a server that stands still looks connected for a while.
        if silent.is_empty() || !self.registry.store.prompt(PROMPT).await {
            if !silent.is_empty() {
                self.grace();
            }
            return;
        }
        for id in silent {
            let began = Instant::now();
            // Up to date, and judged by the clock of this moment.
            let Ok(Some(known)) = self.registry.store.session(&id).await else { continue };
            let Some(quiet) = known.quiet(&patience, Instant::now()) else { continue };
            let idle = known.idle(Instant::now()).as_secs();
            let seen = known.revision;
            let result = self
                .registry
                .store
                .change(&id, |stored| {
                    let still = self.registry.store.with_book(|book| {
                        book.get(&id).is_some_and(|known| {
                            known.revision == seen && known.quiet(&patience, Instant::now()).is_some()
                        })
                    });
                    // Whatever somebody wrote since is a sign of life.
                    let Some(stored) = stored.filter(|_| still) else { return Ok(Change::Keep(None)) };
                    match life::step(stored.record.state, Input::Quiet(quiet)) {
                        Step::Go(to) => {
                            let reason = match quiet {
                                Quiet::Reap => format!("lost for too long, nothing heard for {idle} s"),
                                _ => format!("nothing heard for {idle} s"),
                            };
                            Ok(Change::Write(Box::new(moved(stored, to, &reason, &now_rfc3339())), Some(to)))
                        }
                        _ => Ok(Change::Keep(None)),
                    }
                })
                .await;
            match result {
                Ok(Some(to)) => tracing::info!(session = %id, state = to.name(), idle_s = idle, "session is silent"),
                Ok(None) => {}
                Err(error) => tracing::debug!(session = %id, %error, "a silent session is not demoted yet"),
            }
            if began.elapsed() > PROMPT {
                self.grace();
                return;
            }
        }
    }

    /// Beats that were held back long enough.
    async fn write_beats(&self) {
        let patience = self.registry.settings.patience;
        for id in self.registry.store.which(|known, now| known.beat_due(&patience, now)) {
            if self.registry.store.take_due(&id) {
                self.registry.write_beat(&id).await;
            }
        }
    }

    /// Sequences whose registry is gone.
    async fn adopt(&self) {
        let limit = self.registry.settings.adopt_after;
        let running = self.registry.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Also one's own, written by a request that never learnt that it was.
        let orphans = self.registry.store.which(|known, now| {
            let here = running.contains(&known.stored.record.session_id);
            !here && known.task_idle(now).is_some_and(|idle| idle >= limit)
        });
        for id in orphans {
            let Ok(Some(known)) = self.registry.store.session(&id).await else { continue };
            match (known.stored.record.state, known.stored.task.as_ref().map(|task| task.kind)) {
                (SessionState::Starting, _) => {
                    self.registry.metrics.adopted.with_label_values(&["start"]).inc();
                    tracing::warn!(session = %id, "a start is closed: the registry that worked on it is gone");
                    self.registry.give_up(&id, "its start was interrupted").await;
                }
                (SessionState::Ending, _) => {
                    let (registry, id) = (self.registry.clone(), id.clone());
                    tokio::spawn(async move {
                        if let Err(error) = registry.continue_end(&id).await {
                            tracing::warn!(session = %id, %error, "the end of a session could not be continued");
                        }
                    });
                }
                // A takeover whose registry died after the session was in new hands: nothing is left to do.
                (_, Some(TaskKind::Start | TaskKind::End)) => self.drop_task(&id).await,
                (_, None) => {}
            }
        }
    }

    async fn drop_task(&self, id: &str) {
        let dropped = self
            .registry
            .store
            .change(id, |stored| match stored {
                Some(stored) if stored.task.is_some() => {
                    let mut next = stored.clone();
                    next.task = None;
                    next.opened = true;
                    Ok(Change::Write(Box::new(next), ()))
                }
                _ => Ok(Change::Keep(())),
            })
            .await;
        if let Err(error) = dropped {
            tracing::debug!(session = id, %error, "a sequence that is over stays in its record for now");
        }
    }

    /// Steps that a registry wrote and did not live to announce.
    async fn announce_owed(&self) {
        let outbox = &self.registry.outbox;
        let now = Instant::now();
        let owed: Vec<SessionTransition> = self.registry.store.with_book(|book| {
            let stale = book
                .all()
                .filter(|known| !known.stored.pending.is_empty() && now.duration_since(known.pending_since) >= OWED);
            stale.flat_map(|known| known.stored.pending.iter()).filter(|step| !outbox.knows(step)).cloned().collect()
        });
        if owed.is_empty() {
            return;
        }
        let told = match announced(&self.registry.bus, &owed).await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(%error, "cannot look what was announced");
                return;
            }
        };
        for step in owed {
            if told.contains(&event_id(&step)) {
                outbox.was_told(&step);
            } else {
                outbox.add(step);
            }
        }
    }

    /// Takes announced steps out of records.
    async fn tidy(&self) {
        let outbox = &self.registry.outbox;
        let told = self
            .registry
            .store
            .which(|known, now| now.duration_since(known.pending_since) >= TIDY && outbox.all_told(&known.stored));
        for id in told {
            let written = self.registry.store.change(&id, |stored| match stored {
                Some(stored) if outbox.all_told(stored) => Ok(Change::Write(Box::new(stored.clone()), ())),
                _ => Ok(Change::Keep(())),
            });
            if let Err(error) = written.await {
                tracing::debug!(session = %id, %error, "announced steps stay in the record for now");
            }
        }
    }

    /// Sessions that are long over.
    async fn forget(&self) {
        let keep = chrono::TimeDelta::from_std(self.registry.settings.keep_ended).unwrap_or(chrono::TimeDelta::MAX);
        let over = self.registry.store.with_book(|book| {
            let long_over = book.all().filter(|known| {
                let record = &known.stored.record;
                let over = matches!(record.state, SessionState::Ended | SessionState::Reaped);
                // What is not announced yet is not forgotten.
                over && known.stored.pending.is_empty() && record.ended_at.as_deref().is_some_and(|at| older(at, keep))
            });
            long_over.map(|known| (known.stored.record.session_id.clone(), known.revision)).collect::<Vec<_>>()
        });
        for (id, revision) in over {
            match self.registry.store.remove(&id, revision).await {
                Ok(()) => self.registry.outbox.forget(&id),
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => {
                    tracing::debug!(session = %id, %error, "a session that is over stays in the bucket for now")
                }
            }
        }
    }

    fn show(&self) {
        let metrics = &self.registry.metrics;
        self.registry.store.with_book(|book| {
            for state in SessionState::ALL {
                metrics
                    .sessions
                    .with_label_values(&[state.name()])
                    .set(i64::try_from(book.count(state)).unwrap_or(i64::MAX));
            }
        });
        metrics.unannounced.set(i64::try_from(self.registry.outbox.len()).unwrap_or(i64::MAX));
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        metrics.last_sweep.set(unix_seconds() as f64);
    }
}

impl Registry {
    /// Sessions that ended before everything was pushed: is it now?
    pub(crate) async fn look_for_pushes(&self) {
        let waiting = self.store.with_book(|book| {
            let mut by_agent: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
            for known in book.all().filter(|known| known.stored.record.state == SessionState::EndedUnpushed) {
                let record = &known.stored.record;
                by_agent.entry(record.agent.clone()).or_default().push(record.session_id.clone());
            }
            by_agent
        });
        for (agent, sessions) in waiting {
            let through = match agent {
                None => true,
                Some(agent) => match self.fleet.clone_status(&agent).await {
                    Ok(status) => status.unpushed == 0 && status.check.ahead == 0,
                    Err(error) => {
                        tracing::debug!(agent, %error, "it is not known whether everything is pushed");
                        false
                    }
                },
            };
            for id in sessions.into_iter().filter(|_| through) {
                if let Err(error) = self.arrived(&id).await {
                    tracing::debug!(session = %id, %error, "a session is not closed yet");
                }
            }
        }
    }

    async fn arrived(&self, id: &str) -> Result<(), RequestError> {
        self.store
            .change(id, |stored| {
                match stored.map(|stored| (stored, life::step(stored.record.state, Input::PushArrived))) {
                    Some((stored, Step::Go(to))) => {
                        let next = moved(stored, to, "what it committed is on the remote", &now_rfc3339());
                        Ok(Change::Write(Box::new(next), ()))
                    }
                    _ => Ok(Change::Keep(())),
                }
            })
            .await
    }
}

/// By the wall clock, which is good enough to tidy up by.
fn older(at: &str, keep: chrono::TimeDelta) -> bool {
    DateTime::parse_from_rfc3339(at).is_ok_and(|at| Utc::now().signed_duration_since(at) > keep)
}
