//! A registry at work: what every request and every timer uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use baft_bus::payload::{
    Epoch, SessionHeartbeatRequest, SessionHeartbeatResponse, SessionOrder, SessionRecord, SessionState,
    SessionSyncCheckResponse, Standing, StoredSession,
};
use baft_bus::{Bus, Code, RequestError};
use baft_kit::time::now_rfc3339;
use tokio::sync::Semaphore;

use crate::book::Beat;
use crate::fleet::Fleet;
use crate::life::{self, Input, Step, moved};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::store::{Change, Store};

/// As many sequences are under way at once; each holds little more than its place in the queues of other daemons.
const SEQUENCES: usize = 256;
/// As many beats are written down at once.
const WRITERS: usize = 32;

/// A registry. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) outbox: Outbox,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metrics: Metrics,
    /// This process, different after every start.
    pub(crate) me: Arc<str>,
    pub(crate) sequences: Arc<Semaphore>,
    /// As many beats are written down at once.
    pub(crate) writers: Arc<Semaphore>,
    /// Sessions whose sequence is worked on here right now.
    pub(crate) running: Arc<Mutex<BTreeSet<String>>>,
    /// How clones compared with their remote when last looked at, by agent.
    pub(crate) checked: Arc<Mutex<BTreeMap<String, SessionSyncCheckResponse>>>,
}

impl Registry {
    pub(crate) fn new(bus: &Bus, settings: Settings, metrics: Metrics) -> Self {
        let outbox = Outbox::default();
        Self {
            bus: bus.clone(),
            store: Store::new(bus, settings.patience, metrics.clone(), outbox.clone()),
            fleet: Fleet::new(bus),
            outbox,
            settings: Arc::new(settings),
            metrics,
            me: ulid::Ulid::new().to_string().into(),
            sequences: Arc::new(Semaphore::new(SEQUENCES)),
            writers: Arc::new(Semaphore::new(WRITERS)),
            running: Arc::default(),
            checked: Arc::default(),
        }
    }

    /// A beat: in memory when it may be, written down when it must.
    pub(crate) async fn heartbeat(
        &self,
        request: SessionHeartbeatRequest,
        principal: Option<&str>,
    ) -> Result<SessionHeartbeatResponse, RequestError> {
        let id = request.session_id.as_str();
        let beat = Beat {
            at: now_rfc3339(),
            operations: request.operations,
            transcript: request.transcript,
            head_commit: None,
        };
        let result = self.beat(id, Some(&request.epoch), principal, beat).await;
        let label = match &result {
            Ok(_) => "acknowledged",
            Err(error) if error.retryable => "unavailable",
            Err(_) => "refused",
        };
        self.metrics.beats.with_label_values(&[label]).inc();
        let record = result?;
        Ok(SessionHeartbeatResponse { state: record.state, orders: self.orders(&record) })
    }

    /// A sign of life of a session, by its holder or on its behalf.
    pub(crate) async fn beat(
        &self,
        id: &str,
        epoch: Option<&Epoch>,
        principal: Option<&str>,
        beat: Beat,
    ) -> Result<SessionRecord, RequestError> {
        let Some(known) = self.store.session(id).await? else { return Err(unknown(id)) };
        let record = &known.stored.record;
        holds(record, epoch, principal)?;
        match life::step(record.state, Input::SignOfLife) {
            Step::Gone => Err(gone(record)),
            Step::Busy => Err(busy(record)),
            Step::Stay => {
                self.store.hear(id, beat);
                if self.store.take_due(id) {
                    // Written by a task of its own: the beat counts already, and its writing is tried again if it fails.
                    let (registry, id) = (self.clone(), id.to_owned());
                    tokio::spawn(async move {
                        // Never closed.
                        let _place = registry.writers.acquire().await;
                        registry.write_beat(&id).await;
                    });
                }
                Ok(record.clone())
            }
            Step::Go(_) => {
                self.store.hear(id, beat);
                self.revive(id, epoch, principal).await
            }
        }
    }

    /// Brings a silent session back.
    async fn revive(
        &self,
        id: &str,
        epoch: Option<&Epoch>,
        principal: Option<&str>,
    ) -> Result<SessionRecord, RequestError> {
        self.store
            .change(id, |stored| {
                let Some(stored) = stored else { return Err(unknown(id)) };
                holds(&stored.record, epoch, principal)?;
                match life::step(stored.record.state, Input::SignOfLife) {
                    Step::Gone => Err(gone(&stored.record)),
                    Step::Busy => Err(busy(&stored.record)),
                    Step::Stay => Ok(Change::Keep(stored.record.clone())),
                    Step::Go(to) => {
                        let next = moved(stored, to, "a sign of life came", &now_rfc3339());
                        let record = next.record.clone();
                        Ok(Change::Write(Box::new(next), record))
                    }
                }
            })
            .await
    }

    /// Writes down what the beats of a session have told.
    pub(crate) async fn write_beat(&self, id: &str) {
        let written = self
            .store
            .change(id, |stored| match stored {
                Some(stored) if stored.record.state.is_live() => Ok(Change::Write(Box::new(stored.clone()), true)),
                _ => Ok(Change::Keep(false)),
            })
            .await;
        match written {
            Ok(true) => self.metrics.beats_written.inc(),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(session = id, %error, "a beat is not written down yet");
                self.store.not_written(id);
            }
        }
    }

    /// What the holder of a session should do.
    fn orders(&self, record: &SessionRecord) -> Vec<SessionOrder> {
        let mut orders = Vec::new();
        if record.state == SessionState::Ending {
            orders.push(SessionOrder::Stop);
        }
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        match record.agent.as_ref().and_then(|agent| checked.get(agent)).map(|check| check.state) {
            Some(Standing::Behind) => orders.push(SessionOrder::Sync),
            Some(Standing::Diverged) => orders.push(SessionOrder::Diverged),
            _ => {}
        }
        orders
    }
}

/// May whoever asks speak for this session?
///
/// # Errors
/// `forbidden` for another principal, `conflict` for another epoch.
pub(crate) fn holds(
    record: &SessionRecord,
    epoch: Option<&Epoch>,
    principal: Option<&str>,
) -> Result<(), RequestError> {
    let id = &record.session_id;
    if let Some(owner) = &record.principal
        && principal != Some(owner.as_str())
    {
        return Err(RequestError::new(Code::Forbidden, format!("session {id} belongs to {owner}"))
            .hint("ask as its owner, on the subject that ends in `.as.<principal>`"));
    }
    match epoch {
        None => Ok(()),
        Some(epoch) if *epoch == record.epoch => Ok(()),
        Some(epoch) => {
            let holder = Some(record.client.host.as_str()).filter(|host| !host.is_empty());
            let by = holder.map(|host| format!(" by {} on {host}", record.analyst)).unwrap_or_default();
            let message = format!(
                "session {id} is at epoch {}, the request has {}: it was taken over{by}",
                record.epoch.revision, epoch.revision
            );
            Err(RequestError::new(Code::Conflict, message).hint(
                "what was saved is captured all the same; start it again with if_live `take_over` to go on with it here",
            ))
        }
    }
}

pub(crate) fn unknown(id: &str) -> RequestError {
    RequestError::new(Code::NotFound, format!("there is no session {id}"))
        .hint("`baft session list` shows those there are")
}

pub(crate) fn gone(record: &SessionRecord) -> RequestError {
    let why = if record.reason.is_empty() { String::new() } else { format!(" ({})", record.reason) };
    RequestError::new(Code::Gone, format!("session {} is over{why}", record.session_id)).hint("start a new one")
}

pub(crate) fn busy(record: &SessionRecord) -> RequestError {
    let what = match record.state {
        SessionState::Starting => "is just being started",
        SessionState::Ending => "is just being ended",
        _ => "is in a state that does not allow this",
    };
    RequestError::new(Code::Conflict, format!("session {} {what}", record.session_id))
        .hint("ask again in a moment")
        .retryable()
}

/// A session that does not exist yet.
pub(crate) fn fresh(record: SessionRecord, request_id: Option<String>) -> StoredSession {
    StoredSession { record, steps: 0, opened: false, request_id, task: None, pending: Vec::new() }
}
