//! The streams and buckets Baft needs, as data; creating them and noticing when they differ.
//!
//! Daemons never create streams: `baft admin init` and `baft up` do, with a user that may. Settings of which more is
//! not worse (age, size, replicas, duplicate window) may be larger than the table says: that is the operator's choice.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::connection::Bus;
use crate::error::BusError;
use crate::jetstream::{STREAM_NOT_FOUND, is_code};
use crate::subject::Prefix;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MIB: u64 = 1 << 20;

/// How long the server remembers the ids of events. The announcer repeats an event within seconds of losing its
/// acknowledgement, and looks at the stream itself when it has been longer.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// What [`ensure`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The stream was created.
    Created {
        /// Its name.
        stream: String,
    },
    /// Settings that differed were put right.
    Updated {
        /// Its name.
        stream: String,
        /// What differed.
        fields: Vec<Drift>,
    },
}

/// One thing that is not as Baft needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The stream.
    pub stream: String,
    /// The setting; `exists` when the whole stream is missing.
    pub field: String,
    /// What Baft needs.
    pub wanted: String,
    /// What is there.
    pub found: String,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field == "exists" {
            write!(f, "{} does not exist", self.stream)
        } else {
            write!(f, "{}: {} is {}, Baft needs {}", self.stream, self.field, self.found, self.wanted)
        }
    }
}

/// How a setting is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Equal,
    AtLeast,
    /// For limits, where the server writes "none" as zero or less.
    AtLeastOrUnlimited,
    /// Contains these, may contain more.
    Contains,
}

/// One stream as the server's API names its settings.
struct Spec {
    name: String,
    description: &'static str,
    settings: Vec<(&'static str, Rule, Value)>,
}

impl Spec {
    fn events(
        prefix: &Prefix,
        name: &str,
        description: &'static str,
        kinds: &[&str],
        keep: Duration,
        bytes: u64,
    ) -> Self {
        let subjects = kinds.iter().map(|kind| prefix.event(kind)).collect();
        Self::stream(prefix.upper(name), description, subjects, keep, bytes)
    }

    fn stream(name: String, description: &'static str, subjects: Vec<String>, keep: Duration, bytes: u64) -> Self {
        Self {
            name,
            description,
            settings: vec![
                ("subjects", Rule::Contains, json!(subjects)),
                ("storage", Rule::Equal, json!("file")),
                ("retention", Rule::Equal, json!("limits")),
                ("discard", Rule::Equal, json!("old")),
                ("max_age", Rule::AtLeastOrUnlimited, nanoseconds(keep)),
                ("max_bytes", Rule::AtLeastOrUnlimited, json!(bytes)),
                ("duplicate_window", Rule::AtLeast, nanoseconds(DUPLICATE_WINDOW)),
                // The announcer looks at the last event of a subject this way.
                ("allow_direct", Rule::Equal, json!(true)),
            ],
        }
    }

    fn bucket(name: &str, description: &'static str, keep: Option<Duration>) -> Self {
        let mut settings = vec![
            ("subjects", Rule::Contains, json!([format!("$KV.{name}.>")])),
            ("storage", Rule::Equal, json!("file")),
            ("retention", Rule::Equal, json!("limits")),
            ("discard", Rule::Equal, json!("new")),
            ("max_msgs_per_subject", Rule::Equal, json!(1)),
            ("allow_rollup_hdrs", Rule::Equal, json!(true)),
            ("deny_delete", Rule::Equal, json!(true)),
            ("allow_direct", Rule::Equal, json!(true)),
            ("allow_msg_ttl", Rule::Equal, json!(true)),
            // Leaves a marker for watchers when a key expires.
            ("subject_delete_marker_ttl", Rule::AtLeast, nanoseconds(HOUR)),
        ];
        if let Some(keep) = keep {
            settings.push(("max_age", Rule::Equal, nanoseconds(keep)));
        }
        Self { name: format!("KV_{name}"), description, settings }
    }

    fn object_store(name: &str, description: &'static str) -> Self {
        Self {
            name: format!("OBJ_{name}"),
            description,
            settings: vec![
                ("subjects", Rule::Contains, json!([format!("$O.{name}.C.>"), format!("$O.{name}.M.>")])),
                ("storage", Rule::Equal, json!("file")),
                ("retention", Rule::Equal, json!("limits")),
                ("discard", Rule::Equal, json!("new")),
                ("allow_rollup_hdrs", Rule::Equal, json!(true)),
                ("allow_direct", Rule::Equal, json!(true)),
            ],
        }
    }

    fn drift(&self, config: &Map<String, Value>) -> Vec<Drift> {
        let differs = |(field, rule, wanted): &(&'static str, Rule, Value)| {
            let found = config.get(*field).unwrap_or(&Value::Null);
            (!satisfies(*rule, wanted, found)).then(|| Drift {
                stream: self.name.clone(),
                field: (*field).to_owned(),
                wanted: wanted.to_string(),
                found: found.to_string(),
            })
        };
        self.settings.iter().filter_map(differs).collect()
    }

    /// The settings over what is there, so that a newer server's own fields and the operator's choices stay.
    fn merged(&self, mut config: Map<String, Value>, drift: &[Drift]) -> Map<String, Value> {
        for (field, rule, wanted) in &self.settings {
            if !drift.iter().any(|drift| drift.field == *field) {
                continue;
            }
            let mut value = wanted.clone();
            if let (Rule::Contains, Some(Value::Array(found)), Value::Array(all)) =
                (rule, config.get(*field), &mut value)
            {
                let missing: Vec<Value> = found.iter().filter(|item| !all.contains(item)).cloned().collect();
                all.extend(missing);
            }
            config.insert((*field).to_owned(), value);
        }
        config
    }
}

fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn satisfies(rule: Rule, wanted: &Value, found: &Value) -> bool {
    match rule {
        Rule::Equal => wanted == found || (*wanted == json!(false) && found.is_null()),
        Rule::AtLeast | Rule::AtLeastOrUnlimited => match (wanted.as_i64(), found.as_i64()) {
            (Some(wanted), Some(found)) => found >= wanted || (rule == Rule::AtLeastOrUnlimited && found <= 0),
            _ => false,
        },
        Rule::Contains => match (wanted, found) {
            (Value::Array(wanted), Value::Array(found)) => wanted.iter().all(|item| found.contains(item)),
            _ => false,
        },
    }
}

/// The table of what Baft needs.
fn specs(prefix: &Prefix) -> Vec<Spec> {
    vec![
        Spec::events(
            prefix,
            "EVENTS",
            "What the daemons did",
            &["git.>", "import.>", "preflight.>", "daemon.>"],
            30 * DAY,
            1024 * MIB,
        ),
        Spec::events(prefix, "ENTITY_EVENTS", "Changed rows, when switched on", &["entity.>"], 7 * DAY, 256 * MIB),
        Spec::events(prefix, "SESSION_EVENTS", "The history of sessions", &["session.>"], 400 * DAY, 1024 * MIB),
        Spec::stream(
            prefix.upper("DLQ"),
            "Events a consumer could not handle",
            vec![prefix.dead_letter(">")],
            90 * DAY,
            256 * MIB,
        ),
        Spec::bucket(&prefix.upper("SESSIONS"), "Session records", None),
        Spec::bucket(&prefix.upper("REQUESTS"), "Results of requests by request id", Some(HOUR)),
        Spec::object_store(&prefix.upper("SNAPSHOTS"), "Database files and checkouts by digest"),
    ]
}

/// The stream that holds events of a type.
pub(crate) fn stream_of(prefix: &Prefix, kind: &str) -> Option<String> {
    match kind.split('.').next()? {
        "git" | "import" | "preflight" | "daemon" => Some(prefix.upper("EVENTS")),
        "entity" => Some(prefix.upper("ENTITY_EVENTS")),
        "session" => Some(prefix.upper("SESSION_EVENTS")),
        _ => None,
    }
}

/// Creates what is missing and puts right what differs, with one replica.
///
/// # Errors
/// See [`ensure_with`].
pub async fn ensure(bus: &Bus) -> Result<Vec<Change>, BusError> {
    ensure_with(bus, 1).await
}

/// [`ensure`] with a number of replicas (1, 3 or 5) for what is created; what exists keeps its own.
///
/// # Errors
/// [`BusError::JetStream`] when the server refuses, for example because the disk is too small or a setting cannot be
/// changed on an existing stream; [`BusError::ServerTooOld`] when it silently drops a setting.
pub async fn ensure_with(bus: &Bus, replicas: u8) -> Result<Vec<Change>, BusError> {
    let mut changes = Vec::new();
    for spec in specs(bus.prefix()) {
        match config_of(bus, &spec.name).await? {
            None => {
                create(bus, &spec, replicas).await?;
                tracing::info!(stream = %spec.name, "stream created");
                changes.push(Change::Created { stream: spec.name });
            }
            Some(config) => {
                let fields = spec.drift(&config);
                if fields.is_empty() {
                    continue;
                }
                let config = spec.merged(config, &fields);
                apply(bus, "UPDATE", &spec, config).await?;
                tracing::info!(stream = %spec.name, ?fields, "stream put right");
                changes.push(Change::Updated { stream: spec.name, fields });
            }
        }
    }
    Ok(changes)
}

async fn create(bus: &Bus, spec: &Spec, replicas: u8) -> Result<(), BusError> {
    let mut config = Map::new();
    config.insert("name".to_owned(), json!(spec.name));
    config.insert("description".to_owned(), json!(spec.description));
    config.insert("num_replicas".to_owned(), json!(replicas.max(1)));
    for (field, _, wanted) in &spec.settings {
        config.insert((*field).to_owned(), wanted.clone());
    }
    apply(bus, "CREATE", spec, config).await
}

async fn apply(bus: &Bus, verb: &str, spec: &Spec, config: Map<String, Value>) -> Result<(), BusError> {
    let answer = bus.api(&format!("STREAM.{verb}.{}", spec.name), &Value::Object(config)).await?;
    let applied = answer.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    // Old servers drop settings they do not know without a word.
    match spec.drift(&applied).first() {
        None => Ok(()),
        Some(drift) => {
            Err(BusError::Protocol { operation: format!("STREAM.{verb}.{}", spec.name), reason: drift.to_string() })
        }
    }
}

/// Compares without changing anything.
///
/// # Errors
/// When the server does not answer.
pub async fn verify(bus: &Bus) -> Result<Vec<Drift>, BusError> {
    let mut all = Vec::new();
    for spec in specs(bus.prefix()) {
        match config_of(bus, &spec.name).await? {
            Some(config) => all.extend(spec.drift(&config)),
            None => all.push(Drift {
                stream: spec.name,
                field: "exists".to_owned(),
                wanted: "yes".to_owned(),
                found: "no".to_owned(),
            }),
        }
    }
    Ok(all)
}

async fn config_of(bus: &Bus, stream: &str) -> Result<Option<Map<String, Value>>, BusError> {
    match bus.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await {
        Ok(answer) => Ok(answer.get("config").and_then(Value::as_object).cloned()),
        Err(error) if is_code(&error, STREAM_NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(spec: &Spec) -> Map<String, Value> {
        spec.settings.iter().map(|(field, _, wanted)| ((*field).to_owned(), wanted.clone())).collect()
    }

    #[test]
    fn a_stream_as_the_table_says_does_not_drift() {
        for spec in specs(&Prefix::default()) {
            assert_eq!(spec.drift(&config(&spec)), [], "{}", spec.name);
        }
    }

    #[test]
    fn more_than_needed_is_the_operators_choice_and_less_is_drift() {
        let specs = specs(&Prefix::default());
        let spec = &specs[0];
        let fields = |change: &[(&str, Value)]| {
            let mut config = config(spec);
            for (field, value) in change {
                config.insert((*field).to_owned(), value.clone());
            }
            spec.drift(&config).into_iter().map(|drift| drift.field).collect::<Vec<_>>()
        };
        assert!(fields(&[("max_age", json!(0)), ("max_bytes", json!(-1))]).is_empty());
        assert!(fields(&[("max_bytes", json!(1_u64 << 40)), ("num_replicas", json!(3))]).is_empty());
        assert!(
            fields(&[(
                "subjects",
                json!([
                    "x.>",
                    "baft.event.git.>",
                    "baft.event.import.>",
                    "baft.event.preflight.>",
                    "baft.event.daemon.>"
                ])
            )])
            .is_empty()
        );
        assert_eq!(fields(&[("duplicate_window", json!(120_000_000_000_u64))]), ["duplicate_window"]);
        assert_eq!(fields(&[("subjects", json!(["baft.event.git.>"]))]), ["subjects"]);
        assert_eq!(fields(&[("allow_direct", Value::Null)]), ["allow_direct"]);
    }

    #[test]
    fn putting_right_keeps_what_others_added() {
        let specs = specs(&Prefix::default());
        let spec = &specs[0];
        let mut found = config(spec);
        found.insert("subjects".into(), json!(["mine.>", "baft.event.git.>"]));
        found.insert("a_newer_servers_setting".into(), json!(7));
        let merged = spec.merged(found.clone(), &spec.drift(&found));
        assert_eq!(spec.drift(&merged), []);
        assert_eq!(merged["a_newer_servers_setting"], 7);
        assert!(merged["subjects"].as_array().unwrap().contains(&json!("mine.>")));
    }

    #[test]
    fn every_event_type_has_a_stream_that_covers_it() {
        let prefix = Prefix::default();
        let specs = specs(&prefix);
        for kind in
            ["git.synced", "import.published", "preflight.changed", "daemon.started", "entity.changed", "session.ended"]
        {
            let stream = stream_of(&prefix, kind).unwrap();
            let spec = specs.iter().find(|spec| spec.name == stream).unwrap();
            let family = prefix.event(&format!("{}.>", kind.split('.').next().unwrap()));
            assert!(spec.settings[0].2.as_array().unwrap().contains(&json!(family)), "{kind}");
        }
    }
}
