//! `commit.<agent>.apply`: edits by request.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Epoch, Person};

/// One change of `commit.<agent>.apply`: a whole file, or fields of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawEdit", into = "RawEdit")]
pub enum Edit {
    /// The whole content of a file; without content the file is removed.
    File {
        /// Path in the repository.
        file: String,
        /// The text.
        content: Option<String>,
    },
    /// Fields of one entity; every other byte of its file stays.
    Entity {
        /// The entity's type.
        kind: String,
        /// Its id.
        id: String,
        /// What to set, by field (`trend`, `source.url`).
        set: Map<String, Value>,
        /// What to remove.
        unset: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct RawEdit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Null is said, and means that the file goes.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "said")]
    content: Option<Option<String>>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    set: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unset: Vec<String>,
}

/// Tells `null` from nothing.
mod said {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::option_option, reason = "that is the point")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Option<String>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(to)
    }

    #[allow(clippy::option_option, reason = "that is the point")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(from).map(Some)
    }
}

impl TryFrom<RawEdit> for Edit {
    type Error = String;

    fn try_from(raw: RawEdit) -> Result<Self, String> {
        match raw {
            RawEdit { file: Some(file), content: Some(content), kind: None, id: None, set, unset }
                if set.is_empty() && unset.is_empty() =>
            {
                Ok(Self::File { file, content })
            }
            RawEdit { file: Some(file), content: None, kind: None, id: None, .. } => {
                Err(format!("the change of {file} says no content: give the whole text, or null to remove the file"))
            }
            RawEdit { file: None, content: None, kind: Some(kind), id: Some(id), set, unset } => {
                if set.is_empty() && unset.is_empty() {
                    return Err(format!("the change of {kind} {id} changes nothing: give set or unset"));
                }
                Ok(Self::Entity { kind, id, set, unset })
            }
            _ => Err("a change is either {file, content} or {type, id, set, unset}".to_owned()),
        }
    }
}

impl From<Edit> for RawEdit {
    fn from(edit: Edit) -> Self {
        let none = Self { file: None, content: None, kind: None, id: None, set: Map::new(), unset: Vec::new() };
        match edit {
            Edit::File { file, content } => Self { file: Some(file), content: Some(content), ..none },
            Edit::Entity { kind, id, set, unset } => Self { kind: Some(kind), id: Some(id), set, unset, ..none },
        }
    }
}

/// Request `commit.<agent>.apply`: edit files in the name of a session, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommitApplyRequest {
    /// The session it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The session's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The commit whose content the caller saw: what has changed since in the same places is a conflict. The newest without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What to change.
    #[serde(default)]
    pub changes: Vec<Edit>,
    /// What it is about, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
}

/// Answer to `commit.<agent>.apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitApplyResponse {
    /// The commit with the change; absent when the files already said so, or when landing waits (it is captured then).
    pub commit: Option<String>,
    /// The files that were changed.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Whether it is on the remote.
    #[serde(default)]
    pub pushed: bool,
    /// What did not work, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
