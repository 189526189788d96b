//! What to announce, derived from the manifests of published generations, and what was acknowledged.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use baft_bus::payload::{EntityChanged, EntityOp, Generation, ImportQuarantined};
use baft_bus::{Ledger, LedgerError, Outgoing};
use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use crate::db::{Access, Session};
use crate::generation::{Manifest, Workspace, forget_up_to, manifests_after};

/// Where it is remembered what was acknowledged.
const ANNOUNCED: &str = "announced.json";

/// How far the announcing has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Announced {
    lineage: String,
    /// All events of generations up to this one were acknowledged,
    number: u64,
    /// and so many of the next.
    sent: usize,
}

/// The ledger of one importer.
#[derive(Debug)]
pub(super) struct PublishedLedger {
    dir: PathBuf,
    db_name: String,
    entity_events: bool,
    metrics: Metrics,
    announced: Announced,
    /// The events of one generation that are still to be sent, and their generation.
    waiting: Option<(u64, VecDeque<Outgoing>)>,
    shared: Arc<AtomicU64>,
}

impl PublishedLedger {
    /// Reads what was acknowledged before.
    pub(super) fn open(dir: &Path, db_name: &str, entity_events: bool, metrics: Metrics) -> Self {
        let announced = std::fs::read(dir.join(ANNOUNCED)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            dir: dir.to_owned(),
            db_name: db_name.to_owned(),
            entity_events,
            metrics,
            announced: announced.unwrap_or_default(),
            waiting: None,
            shared: Arc::default(),
        }
    }

    /// Tells the worker what was acknowledged.
    pub(super) fn share(&self, number: &AtomicU64) {
        number.store(self.announced.number, Ordering::SeqCst);
    }

    /// The same, from now on whenever something is acknowledged.
    pub(super) fn into_ledger(mut self, shared: Arc<AtomicU64>) -> Self {
        self.shared = shared;
        self
    }

    fn events(&self, manifest: &Manifest) -> Result<VecDeque<Outgoing>, LedgerError> {
        let Generation { lineage, number } = &manifest.generation;
        let id = |what: &str| format!("{lineage}-{number}-{what}");
        let mut events = VecDeque::new();
        let kept = number.checked_sub(1).filter(|before| *before > 0);
        let kept = kept.map(|number| Generation { lineage: lineage.clone(), number });
        for (index, file) in manifest.quarantined.iter().filter(|file| file.new).enumerate() {
            let payload = ImportQuarantined {
                path: file.path.clone(),
                line: file.line,
                column: file.column,
                message: file.message.clone(),
                kept_generation: kept.clone(),
            };
            events.push_back(Outgoing::new(id(&format!("quarantined-{index}")), &payload).map_err(LedgerError::new)?);
        }
        if self.entity_events {
            for (seq, payload) in self.changes(&manifest.generation)? {
                events.push_back(Outgoing::new(id(&format!("entity-{seq}")), &payload).map_err(LedgerError::new)?);
            }
        }
        events.push_back(Outgoing::new(id("published"), &manifest.event()).map_err(LedgerError::new)?);
        Ok(events.into_iter().map(|event| event.happened_at(&manifest.published_at)).collect())
    }

    /// The entities that one generation changed, from the change feed of the current one.
    fn changes(&self, generation: &Generation) -> Result<Vec<(i64, EntityChanged)>, LedgerError> {
        let Some(published) = Workspace::look(&self.dir, &self.db_name) else { return Ok(Vec::new()) };
        let session = Session::open(64 << 20, 1, &self.dir.join(".spill")).map_err(LedgerError::new)?;
        session.attach(&published.db, "feed", Access::Read).map_err(LedgerError::new)?;
        session.use_file("feed").map_err(LedgerError::new)?;
        let read = || {
            let sql = "SELECT seq, type, id, op, array_to_string(fields, chr(31)) FROM _changes WHERE generation = ? ORDER BY seq";
            let mut statement = session.connection().prepare(sql)?;
            let number = i64::try_from(generation.number).unwrap_or(i64::MAX);
            let rows = statement.query_map([number], |row| {
                let fields: String = row.get::<_, Option<String>>(4)?.unwrap_or_default();
                let op = match row.get::<_, String>(3)?.as_str() {
                    "insert" => EntityOp::Inserted,
                    "update" => EntityOp::Updated,
                    _ => EntityOp::Deleted,
                };
                let change = EntityChanged {
                    entity_type: row.get(1)?,
                    id: row.get(2)?,
                    op,
                    fields: fields.split('\u{1f}').filter(|field| !field.is_empty()).map(str::to_owned).collect(),
                    generation: generation.clone(),
                };
                Ok((row.get(0)?, change))
            })?;
            rows.collect::<Result<Vec<_>, duckdb::Error>>()
        };
        read().map_err(LedgerError::new)
    }

    /// A new lineage starts with its first generation.
    fn adopt_lineage(&mut self) {
        let Some(published) = Workspace::look(&self.dir, &self.db_name) else { return };
        let lineage = published.manifest.generation.lineage;
        if self.announced.lineage != lineage {
            let first =
                manifests_after(&self.dir, 0).into_iter().find(|manifest| manifest.generation.lineage == lineage);
            let number = first.map_or(0, |manifest| manifest.generation.number.saturating_sub(1));
            self.announced = Announced { lineage, number, sent: 0 };
            self.waiting = None;
        }
    }
}

impl Ledger for PublishedLedger {
    fn pending(&mut self) -> Result<Option<Outgoing>, LedgerError> {
        self.adopt_lineage();
        if let Some((_, events)) = &self.waiting
            && let Some(event) = events.front()
        {
            return Ok(Some(event.clone()));
        }
        let mut manifests = manifests_after(&self.dir, self.announced.number);
        manifests.retain(|manifest| manifest.generation.lineage == self.announced.lineage);
        self.metrics.unannounced.set(i64::try_from(manifests.len()).unwrap_or(i64::MAX));
        let Some(manifest) = manifests.first() else { return Ok(None) };
        let mut events = self.events(manifest)?;
        events.drain(..self.announced.sent.min(events.len().saturating_sub(1)));
        let event = events.front().cloned();
        self.waiting = Some((manifest.generation.number, events));
        Ok(event)
    }

    fn acknowledged(&mut self, id: &str) -> Result<(), LedgerError> {
        let Some((number, events)) = &mut self.waiting else { return Ok(()) };
        if events.front().is_none_or(|event| event.id() != id) {
            return Ok(());
        }
        let mut next = self.announced.clone();
        let last = events.len() == 1;
        next.sent += 1;
        if last {
            next.number = *number;
            next.sent = 0;
        }
        let bytes = serde_json::to_vec(&next).map_err(LedgerError::new)?;
        baft_kit::durable::write_file(&self.dir.join(ANNOUNCED), &bytes).map_err(LedgerError::new)?;
        events.pop_front();
        if last {
            self.waiting = None;
            forget_up_to(&self.dir, next.number);
            self.shared.store(next.number, Ordering::SeqCst);
            self.metrics.unannounced.set((self.metrics.unannounced.get() - 1).max(0));
        }
        self.announced = next;
        Ok(())
    }
}
