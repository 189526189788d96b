//! What every test of goldens needs.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use baft_bus::{Outgoing, Payload, RawEvent, Reject, event::DecodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens")
}

fn golden(name: &str, current: &Value) -> Value {
    let path = folder().join(name);
    if std::env::var_os("BAFT_UPDATE_GOLDENS").is_some() && !path.exists() {
        std::fs::write(&path, format!("{current:#}\n")).unwrap();
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; BAFT_UPDATE_GOLDENS=1 writes it", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// With a field nobody knows, at the top and in every object below.
fn with_unknown_fields(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: serde_json::Map<String, Value> = fields
                .iter()
                .map(|(name, value)| match name.as_str() {
                    // What an entity is set to, and what a check found, is anything.
                    "set" | "evidence" => (name.clone(), value.clone()),
                    _ => (name.clone(), with_unknown_fields(value)),
                })
                .collect();
            // Maps of counts hold numbers only.
            if fields.is_empty() || !fields.values().all(Value::is_number) {
                fields.insert("a_field_of_tomorrow".into(), json!({ "x": [1] }));
            }
            Value::Object(fields)
        }
        Value::Array(items) => items.iter().map(with_unknown_fields).collect(),
        other => other.clone(),
    }
}

pub fn raw(kind: &str, version: (u16, u16), body: &Value) -> RawEvent {
    RawEvent {
        id: "1".into(),
        source: "/baft/x/y".into(),
        kind: kind.into(),
        version,
        time: String::new(),
        subject: format!("baft.event.{kind}"),
        data: body.to_string().into(),
        sequence: None,
        delivered: None,
    }
}

pub fn event<P: Payload + PartialEq + Debug>(example: P) {
    let (major, minor) = P::VERSION;
    let encoded: Value = serde_json::from_slice(Outgoing::new("1", &example).unwrap().body()).unwrap();
    let stored = golden(&format!("{}-{major}.{minor}.json", P::TYPE), &encoded);
    assert_eq!(encoded, stored, "{} is encoded differently than before: raise its version", P::TYPE);
    // Every file of this major version, also the old ones.
    let prefix = format!("{}-{major}.", P::TYPE);
    for file in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(old_minor) = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".json")) else {
            continue;
        };
        let body: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let version = (major, old_minor.parse().unwrap());
        let decoded = raw(P::TYPE, version, &body).decode::<P>().unwrap_or_else(|error| panic!("{name}: {error}"));
        if version == P::VERSION {
            assert_eq!(decoded.data, example);
        }
    }
    let tomorrow = with_unknown_fields(&stored);
    assert_ne!(tomorrow, stored);
    assert_eq!(raw(P::TYPE, (major, minor + 7), &tomorrow).decode::<P>().unwrap().data, example);
    let error = raw(P::TYPE, (major + 1, 0), &stored).decode::<P>().unwrap_err();
    assert!(matches!(error, DecodeError::UnknownMajor { .. }), "{error}");
    assert!(matches!(Reject::from(error), Reject::Poison(reason) if reason.contains("upgrade")));
}

pub fn message<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, example: T) {
    let encoded = serde_json::to_value(&example).unwrap();
    let stored = golden(&format!("{name}.json"), &encoded);
    assert_eq!(encoded, stored, "{name} is encoded differently than before");
    assert_eq!(serde_json::from_value::<T>(with_unknown_fields(&stored)).unwrap(), example);
}
