//! Live sessions as files, the way Python programs of the fleet read them: `{session_id}.json` in one folder.
//!
//! A mirror and nothing else: nobody reads it back here, and files of sessions that are over are removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baft_bus::payload::SessionRecord;
use baft_bus::subject::is_session_id;
use chrono::DateTime;
use serde_json::json;

use crate::registry::Registry;

/// How often the folder is compared with the sessions.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps the folder in step.
pub(crate) async fn mirror(registry: Registry, folder: PathBuf) {
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    let mut first = true;
    loop {
        tokio::time::sleep(EVERY).await;
        if registry.store.current().await.is_err() {
            continue;
        }
        let wanted: BTreeMap<String, String> = registry.store.with_book(|book| {
            let live = book.all().filter(|known| known.stored.record.state.is_live());
            live.map(|known| {
                let mut stored = (*known.stored).clone();
                if let Some(beat) = &known.beat {
                    beat.write(&mut stored);
                }
                (stored.record.session_id.clone(), marker(&stored.record))
            })
            .collect()
        });
        if wanted == written && !first {
            continue;
        }
        let (folder, before) = (folder.clone(), std::mem::take(&mut written));
        let result = tokio::task::spawn_blocking(move || (update(&folder, &wanted, &before), wanted)).await;
        if let Ok((failures, now)) = result {
            registry.metrics.marker_failures.inc_by(failures.len() as u64);
            for failure in &failures {
                tracing::warn!("{failure}");
            }
            // What failed is tried again.
            if failures.is_empty() {
                (written, first) = (now, false);
            }
        }
    }
}

/// Writes what is new or changed, removes what is over; gives what did not work.
fn update(folder: &Path, wanted: &BTreeMap<String, String>, before: &BTreeMap<String, String>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut note = |what: &str, path: &Path, result: std::io::Result<()>| {
        if let Err(error) = result {
            failures.push(format!("the marker {} cannot be {what}: {error}", path.display()));
        }
    };
    note("kept", folder, std::fs::create_dir_all(folder));
    for (id, content) in wanted.iter().filter(|(id, content)| before.get(*id) != Some(content)) {
        let path = folder.join(format!("{id}.json"));
        note("written", &path, baft_kit::durable::write_file(&path, content.as_bytes()));
    }
    // Also what another life of this registry left.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|id| is_session_id(id));
        if id.is_some_and(|id| !wanted.contains_key(id)) {
            note("removed", &entry.path(), std::fs::remove_file(entry.path()));
        }
    }
    failures
}

/// The fields of `baft.sessions` and `heddle.mcp.session_registry`.
fn marker(record: &SessionRecord) -> String {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
    let last_active =
        DateTime::parse_from_rfc3339(&record.last_active_at).map_or(0.0, |at| at.timestamp_millis() as f64 / 1000.0);
    let marker = json!({
        "session_id": record.session_id,
        "last_active": last_active,
        "transcript": record.transcript.as_ref().map(|transcript| transcript.uri.as_str()).unwrap_or_default(),
        "session_start": record.started_at,
        "session_objective": record.objective,
        "current_tier": record.tier,
        "operation_count": record.operations,
        "analyst": record.analyst,
    });
    marker.to_string()
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::SessionState;
    use serde_json::Value;

    use super::*;
    use crate::life::tests::stored;

    #[test]
    fn the_folder_has_exactly_the_live_sessions_and_leaves_other_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions");
        let record = stored("session-1", SessionState::Active).record;
        let one = BTreeMap::from([("session-1".to_owned(), marker(&record))]);
        assert_eq!(update(&path, &one, &BTreeMap::new()), Vec::<String>::new());
        let read: Value = serde_json::from_slice(&std::fs::read(path.join("session-1.json")).unwrap()).unwrap();
        assert_eq!((&read["session_id"], &read["last_active"]), (&json!("session-1"), &json!(1_772_357_400.0)));
        std::fs::write(path.join("readme.txt"), "").unwrap();
        std::fs::write(path.join("left-over.json"), "{}").unwrap();
        assert!(update(&path, &BTreeMap::new(), &one).is_empty());
        let names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["readme.txt"]);
    }
}
