//! Paths inside a repository.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A path inside a repository: relative, UTF-8, `/` between its parts, no empty part, no `.` or `..`, no part that is `.git` in any case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RepoPath(String);

/// A text that is not a path inside a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path inside a repository: {reason}")]
pub struct PathError {
    path: String,
    reason: &'static str,
}

impl RepoPath {
    /// Checks a path.
    ///
    /// # Errors
    /// When it is empty, absolute, not normalised, or names `.git`.
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        match check(&path) {
            Ok(()) => Ok(Self(path)),
            Err(reason) => Err(PathError { path, reason }),
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for the file system (relative).
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last part; nothing for a file at the top.
    pub fn parent(&self) -> Option<RepoPath> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// What comes after the last dot of the file name, if anything.
    pub fn extension(&self) -> Option<&str> {
        self.as_path().extension().and_then(|e| e.to_str())
    }

    /// The path below this one.
    ///
    /// # Errors
    /// When `name` is not a path itself.
    pub fn join(&self, name: &str) -> Result<RepoPath, PathError> {
        Self::new(format!("{}/{name}", self.0))
    }

    /// Whether this is `prefix` or below it.
    pub fn starts_with(&self, prefix: &RepoPath) -> bool {
        self.0.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Why one part of a path cannot be accepted, from git's own rules for names in a tree.
pub(crate) fn check_part(part: &[u8]) -> Result<(), &'static str> {
    match part {
        b"" => Err("it has an empty part"),
        b"." | b".." => Err("it has a `.` or `..`"),
        _ if part.eq_ignore_ascii_case(b".git") => Err("it goes through `.git`"),
        _ if part.contains(&0) || part.contains(&b'/') => Err("a part has a NUL or a slash in it"),
        _ => Ok(()),
    }
}

fn check(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    path.split('/').try_for_each(|part| check_part(part.as_bytes()))
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RepoPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for RepoPath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl Borrow<str> for RepoPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoPath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::new(path)
    }
}

impl TryFrom<String> for RepoPath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        Self::new(path)
    }
}

impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_accepted() {
        for path in ["a", "data/gaps.yaml", ".gitignore", ".github/x", "a b/ü/گ.yaml", "...", "x.git"] {
            assert_eq!(RepoPath::new(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn paths_that_leave_the_repository_are_refused() {
        for path in ["", "/a", "a//b", "a/", "../a", "a/../b", "./a", ".git", "a/.GIT/config", "a\0b"] {
            assert!(RepoPath::new(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn parts_of_a_path() {
        let path = RepoPath::new("data/gaps/G28.yaml").unwrap();
        assert_eq!(path.file_name(), "G28.yaml");
        assert_eq!(path.extension(), Some("yaml"));
        assert_eq!(path.parent().unwrap().as_str(), "data/gaps");
        assert!(path.starts_with(&RepoPath::new("data").unwrap()));
        assert!(!path.starts_with(&RepoPath::new("dat").unwrap()));
        assert_eq!(path.parent().unwrap().join("x.yaml").unwrap().as_str(), "data/gaps/x.yaml");
    }
}
