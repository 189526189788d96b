//! "Nothing lost", checked by a model and not by eye.
//!
//! A test notes every content that was at rest in a file and every commit that others pushed. Afterwards each content must be reachable from a ref of the
//! clone or of the remote, each of the others' commits must be in the remote's branch, no file may have been torn, and `git fsck` must be clean.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::git::{command, git};

/// What must not be lost.
#[derive(Debug, Clone, Default)]
pub struct Model {
    contents: Vec<(String, String)>,
    upstream: Vec<String>,
    secret: Vec<(String, String)>,
}

impl Model {
    /// A model that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This content was at rest in that file.
    pub fn saw(&mut self, path: &str, content: &[u8]) {
        self.contents.push((path.to_owned(), blob_id(content)));
    }

    /// This content must never reach the remote.
    pub fn secret(&mut self, path: &str, content: &[u8]) {
        self.secret.push((path.to_owned(), blob_id(content)));
    }

    /// Somebody else pushed this commit.
    pub fn pushed(&mut self, commit: &str) {
        self.upstream.push(commit.to_owned());
    }

    /// Every ordinary file of a folder is at rest now.
    pub fn saw_folder(&mut self, folder: &Path) {
        for path in files(folder) {
            if let Ok(content) = std::fs::read(&path) {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                self.saw(&name, &content);
            }
        }
    }

    /// Takes over what another model knows.
    pub fn extend(&mut self, other: Self) {
        self.contents.extend(other.contents);
        self.upstream.extend(other.upstream);
        self.secret.extend(other.secret);
    }

    /// Looks at a clone and its remote.
    ///
    /// # Panics
    /// When something is lost; the message says what.
    pub fn check(&self, clone: &Path, remote: &Path, branch: &str) {
        self.check_all(&[clone], remote, branch);
    }

    /// The same for several clones of one remote.
    ///
    /// # Panics
    /// When something is lost; the message says what.
    pub fn check_all(&self, clones: &[&Path], remote: &Path, branch: &str) {
        for repository in clones.iter().chain([&remote]) {
            let output = command(repository)
                .args(["fsck", "--full", "--no-dangling", "--no-reflogs"])
                .output()
                .expect("git can be run");
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "git fsck in {}: {said}", repository.display());
        }
        let mut reachable = BTreeSet::new();
        for repository in clones.iter().chain([&remote]) {
            let listing = git(repository, &["rev-list", "--objects", "--all"]);
            reachable.extend(listing.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned));
        }
        for (path, blob) in &self.contents {
            assert!(reachable.contains(blob), "a content of {path} ({blob}) is lost");
        }
        for commit in &self.upstream {
            let is_in =
                command(remote).args(["merge-base", "--is-ancestor", commit, &format!("refs/heads/{branch}")]).status();
            assert!(
                is_in.expect("git can be run").success(),
                "commit {commit} of somebody else is not in {branch} any more"
            );
        }
        let there = objects(remote);
        for (path, blob) in &self.secret {
            assert!(!there.contains(blob), "the held content of {path} ({blob}) is on the remote");
        }
    }
}

/// Every object of a repository, reachable or not.
#[must_use]
pub fn objects(repository: &Path) -> BTreeSet<String> {
    let listing = git(repository, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    listing.lines().map(str::to_owned).collect()
}

/// The id git gives a file of this content.
///
/// # Panics
/// When git cannot be run.
#[must_use]
pub fn blob_id(content: &[u8]) -> String {
    use sha1::Digest;
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}

/// Every ordinary file of a working tree.
#[must_use]
pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name == ".git" || name.to_string_lossy().starts_with(".baft-") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Whether git accepts a working tree as unchanged.
///
/// # Panics
/// When git cannot be run.
#[must_use]
pub fn status(clone: &Path) -> String {
    let mut git: Command = command(clone);
    let output = git.args(["--no-optional-locks", "status", "--porcelain"]).output().expect("git can be run");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
