//! The newest events of the fleet, as they happen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use baft_bus::event::RawEvent;
use baft_bus::history::{From, History};
use baft_bus::{Bus, Heard};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What is worth showing. Not `entity.changed`, one per changed row: their import says enough.
const KINDS: &[&str] = &["git.*", "import.*", "preflight.*", "daemon.*", "session.*"];
/// How many are shown.
const KEPT: usize = 30;
/// The longest line.
const LINE: usize = 160;

/// One event in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub id: String,
    pub time: String,
    pub kind: String,
    pub said: String,
}

/// The newest events, newest first. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    lines: Arc<Mutex<VecDeque<Line>>>,
}

impl Tail {
    pub(super) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn add(&self, event: &RawEvent) {
        let line = Line {
            id: event.id.clone(),
            time: event.time.clone(),
            kind: event.kind.clone(),
            said: summary(&serde_json::from_slice(&event.data).unwrap_or_default()),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.iter().any(|known| known.id == line.id) {
            return;
        }
        let place = lines.iter().position(|known| known.time <= line.time).unwrap_or(lines.len());
        lines.insert(place, line);
        lines.truncate(KEPT);
    }

    /// Listens until `shutdown`, and rings `news` for everything new.
    pub(super) async fn listen(&self, bus: &Bus, news: &Notify, shutdown: CancellationToken) {
        let missed = Notify::new();
        let hear = |heard| match heard {
            Heard::Listening => missed.notify_one(),
            Heard::Event(Ok(event)) => {
                self.add(&event);
                news.notify_one();
            }
            Heard::Event(Err(_)) => {}
        };
        let hearing =
            futures_util::future::join_all(KINDS.iter().map(|kinds| bus.listen(kinds, shutdown.clone(), hear)));
        let reading = async {
            loop {
                missed.notified().await;
                for kinds in KINDS {
                    if let Err(error) = self.read(bus, kinds).await {
                        tracing::debug!(%error, kinds, "the newest events cannot be read");
                    }
                }
                news.notify_one();
            }
        };
        tokio::select! {
            _ = hearing => {}
            () = reading => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// What happened before anybody listened.
    async fn read(&self, bus: &Bus, kinds: &str) -> Result<(), baft_bus::BusError> {
        let mut history = History::open(bus, kinds, From::Newest(KEPT as u64)).await?;
        while let Some(event) = history.next().await? {
            if let Ok(event) = event {
                self.add(&event);
            }
        }
        Ok(())
    }
}

/// What an event says, in a few words: the fields that people look for, in the order in which they matter.
fn summary(data: &Value) -> String {
    const FIELDS: &[&str] = &[
        "message",
        "reason",
        "name",
        "check",
        "to",
        "commit",
        "new",
        "rescue_branch",
        "path",
        "paths",
        "files",
        "generation",
        "session_id",
        "record",
        "author",
    ];
    let mut said = Vec::new();
    for field in FIELDS {
        let Some(value) = data.get(field) else { continue };
        let words = match value {
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                format!("{field} {}", &text[..10])
            }
            Value::String(text) => text.clone(),
            Value::Number(number) => format!("{field} {number}"),
            Value::Array(items) => {
                let first = items.iter().find_map(Value::as_str).unwrap_or_default();
                if items.len() > 1 { format!("{first} and {} more", items.len() - 1) } else { first.to_owned() }
            }
            // A generation, a session's record.
            Value::Object(inner) => match inner.get("number").or_else(|| inner.get("session_id")) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => format!("{field} {other}"),
                None => continue,
            },
            Value::Null | Value::Bool(_) => continue,
        };
        if !words.is_empty() {
            said.push(words);
        }
    }
    let mut line = said.join(" · ").replace(['\n', '\r'], " ");
    if let Some((end, _)) = line.char_indices().nth(LINE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, time: &str, kind: &str) -> RawEvent {
        RawEvent {
            id: id.to_owned(),
            source: String::new(),
            kind: kind.to_owned(),
            version: (1, 0),
            time: time.to_owned(),
            subject: String::new(),
            data: "{}".into(),
            sequence: None,
            delivered: None,
        }
    }

    #[test]
    fn events_are_kept_once_and_newest_first_in_whatever_order_they_come() {
        let tail = Tail::default();
        for (id, time) in [("b", "2026-01-02"), ("a", "2026-01-01"), ("c", "2026-01-03"), ("b", "2026-01-02")] {
            tail.add(&event(id, time, "git.pushed"));
        }
        assert_eq!(tail.lines().iter().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
        for n in 0..100 {
            tail.add(&event(&n.to_string(), "2026-02-01", "git.synced"));
        }
        assert_eq!(tail.lines().len(), KEPT);
    }

    #[test]
    fn a_summary_is_one_short_line() {
        let data = json!({"new": "0123456789abcdef0123456789abcdef01234567", "paths": ["a.yaml", "b.yaml"],
                          "message": "line one\nline two", "generation": {"lineage": "x", "number": 7}});
        assert_eq!(summary(&data), "line one line two · new 0123456789 · a.yaml and 1 more · generation 7");
        assert!(summary(&json!({"message": "é".repeat(1000)})).chars().count() <= LINE + 1);
        assert_eq!(summary(&json!(null)), "");
    }
}
