//! The names of everything on the bus, all derived from one prefix so that several fleets can share a server.

use std::fmt;
use std::str::FromStr;

/// The first token of every subject; its upper-case form starts every stream and bucket name.
///
/// One token of lower-case letters, digits and dashes, so that stream names derived from two prefixes never collide.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

/// The prefix is not one lower-case token.
#[derive(Debug, thiserror::Error)]
#[error("subject prefix `{0}` is not usable: use 1 to 32 lower-case letters, digits or dashes, starting with a letter")]
pub struct BadPrefix(String);

impl Prefix {
    /// `baft.event.git.synced` for `git.synced`.
    #[must_use]
    pub fn event(&self, kind: &str) -> String {
        format!("{}.event.{kind}", self.0)
    }

    /// `baft.git.sync` for `git.sync`.
    #[must_use]
    pub fn request(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.0)
    }

    /// `baft.git.sync.as.<principal>`; pass `*` to subscribe to every principal.
    #[must_use]
    pub fn request_as(&self, suffix: &str, principal: &str) -> String {
        format!("{}.{suffix}.as.{principal}", self.0)
    }

    /// Where the events a consumer could not handle are parked.
    #[must_use]
    pub fn dead_letter(&self, consumer: &str) -> String {
        format!("{}.dlq.{consumer}", self.0)
    }

    /// Where the progress of one long request is reported (core NATS, best effort).
    #[must_use]
    pub fn progress(&self, request_id: &str) -> String {
        format!("{}.progress.{request_id}", self.0)
    }

    /// `BAFT_EVENTS` for `EVENTS`: the name of a stream or bucket.
    #[must_use]
    pub fn upper(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.0.to_ascii_uppercase())
    }

    /// The prefix itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("baft".to_owned())
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let usable = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if usable { Ok(Self(text.to_owned())) } else { Err(BadPrefix(text.to_owned())) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Is `text` usable as one token of a subject and as part of a key: 1 to 128 of `A-Z a-z 0-9 _ -`?
///
/// Ids and principals are checked with this before they get anywhere near a subject.
#[must_use]
pub fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Is `text` usable as the id of a session: a letter or digit, then up to 63 of `A-Z a-z 0-9 _ -`?
///
/// It becomes part of keys, trailers and file names.
#[must_use]
pub fn is_session_id(text: &str) -> bool {
    text.len() <= 64 && is_token(text) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_prefix() {
        let prefix: Prefix = "team-a".parse().unwrap();
        assert_eq!(prefix.event("git.synced"), "team-a.event.git.synced");
        assert_eq!(prefix.request("git.sync"), "team-a.git.sync");
        assert_eq!(prefix.request_as("git.sync", "*"), "team-a.git.sync.as.*");
        assert_eq!(prefix.dead_letter("importer"), "team-a.dlq.importer");
        assert_eq!(prefix.upper("EVENTS"), "TEAM-A_EVENTS");
    }

    #[test]
    fn a_prefix_that_could_widen_a_subject_is_refused() {
        for bad in ["", "a.b", "*", ">", "Baft", "a b", "$SYS", "-x", "a_b"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_id_of_a_session_can_be_a_file_name() {
        assert!(is_session_id("session-20260301-093000-x7f2") && is_session_id(&"a".repeat(64)));
        for bad in ["", "-x", "_x", "../evil", "a/b", "a.json", "a b", &"a".repeat(65)] {
            assert!(!is_session_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_token_never_contains_what_a_subject_gives_meaning_to() {
        assert!(is_token("01J-abc_Z"));
        for bad in ["", "a.b", "*", "a b", "a\r\nb", "é"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
