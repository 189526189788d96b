//! Real git remotes: a bare repository reached as a path, over HTTP (`git http-backend` behind a small server with faults on demand), with TLS in
//! front of that, or over SSH (a real SSH server running `git-upload-pack` and `git-receive-pack`).

mod http;
mod ssh;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub use http::{Fault, GitHttp};
pub use ssh::{GitSsh, HostKey};
pub use tls::GitTls;

/// A remote: a bare repository, and a working clone from which commits are pushed to it. Everything is gone when dropped.
#[derive(Debug)]
pub struct GitRemote {
    folder: TempDir,
}

impl Default for GitRemote {
    fn default() -> Self {
        Self::new()
    }
}

impl GitRemote {
    /// An empty remote whose default branch is `main`.
    ///
    /// # Panics
    /// When git cannot be run.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("baft-test-git-").tempdir().expect("a temporary folder");
        let remote = Self { folder };
        git(remote.folder.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
        git(&remote.bare(), &["config", "http.receivepack", "true"]);
        git(&remote.bare(), &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        git(remote.folder.path(), &["init", "-q", "-b", "main", "work"]);
        remote.git(&["remote", "add", "origin", remote.bare().to_str().expect("a UTF-8 path")]);
        remote
    }

    /// A remote with one commit holding these files.
    #[must_use]
    pub fn with_files(files: &[(&str, &str)]) -> (Self, String) {
        let remote = Self::new();
        let oid = remote.commit(files);
        (remote, oid)
    }

    /// The bare repository.
    #[must_use]
    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("remote.git")
    }

    /// The working clone.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The remote as a path, which is also a URL.
    ///
    /// # Panics
    /// Never on a path we made.
    #[must_use]
    pub fn url(&self) -> String {
        self.bare().to_str().expect("a UTF-8 path").to_owned()
    }

    /// The remote as a `file://` URL.
    #[must_use]
    pub fn file_url(&self) -> String {
        format!("file://{}", self.url())
    }

    /// Writes files, commits and pushes to `main`; the new commit's id.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        let files: Vec<(&str, Option<&[u8]>)> =
            files.iter().map(|(path, text)| (*path, Some(text.as_bytes()))).collect();
        self.commit_bytes(&files)
    }

    /// Writes files (nothing deletes one), commits and pushes the current branch; the new commit's id.
    ///
    /// # Panics
    /// When git refuses.
    pub fn commit_bytes(&self, files: &[(&str, Option<&[u8]>)]) -> String {
        let oid = self.commit_only(files);
        self.git(&["push", "-q", "origin", "HEAD"]);
        oid
    }

    /// Commits without pushing.
    ///
    /// # Panics
    /// When git refuses.
    pub fn commit_only(&self, files: &[(&str, Option<&[u8]>)]) -> String {
        for (path, content) in files {
            let path = self.work().join(path);
            match content {
                Some(content) => {
                    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
                    std::fs::write(&path, content).expect("a file");
                }
                None => std::fs::remove_file(&path).expect("a file to delete"),
            }
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "edit"]);
        self.head()
    }

    /// Throws away the newest `back` commits, makes another one and pushes it by force; its id.
    pub fn force_push(&self, back: usize, files: &[(&str, &str)]) -> String {
        self.git(&["reset", "-q", "--hard", &format!("HEAD~{back}")]);
        let files: Vec<(&str, Option<&[u8]>)> =
            files.iter().map(|(path, text)| (*path, Some(text.as_bytes()))).collect();
        let oid = self.commit_only(&files);
        self.git(&["push", "-q", "--force", "origin", "HEAD"]);
        oid
    }

    /// The commit the working clone is at.
    #[must_use]
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the working clone and returns what it printed, trimmed.
    ///
    /// # Panics
    /// When git refuses.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.work(), args)
    }

    /// Every file of a commit as `git ls-tree` has it: path → (mode, blob).
    #[must_use]
    pub fn tree(&self, commit: &str) -> BTreeMap<String, (String, String)> {
        ls_tree(&self.work(), commit)
    }

    /// Serves this remote over HTTP.
    #[must_use]
    pub fn serve_http(&self) -> GitHttp {
        GitHttp::start(self.folder.path())
    }

    /// Serves this remote over SSH; nothing (with a printed reason) when there is no SSH server to run.
    #[must_use]
    pub fn serve_ssh(&self, host_key: HostKey) -> Option<GitSsh> {
        GitSsh::start(self.folder.path(), host_key)
    }
}

/// Runs git in a folder, without the user's configuration, and returns what it printed, trimmed.
///
/// # Panics
/// When git refuses; the message shows what it said.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = command(folder).args(args).output().expect("git can be run");
    assert!(
        output.status.success(),
        "git {args:?} in {}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Every file of a commit as `git ls-tree` has it: path → (mode, blob).
///
/// # Panics
/// When git refuses.
#[must_use]
pub fn ls_tree(repository: &Path, commit: &str) -> BTreeMap<String, (String, String)> {
    let listing = git(repository, &["-c", "core.quotePath=off", "ls-tree", "-r", "-z", commit]);
    listing
        .split('\0')
        .filter_map(|line| {
            let (entry, path) = line.split_once('\t')?;
            let mut words = entry.split(' ');
            let (mode, _, oid) = (words.next()?, words.next()?, words.next()?);
            Some((path.to_owned(), (mode.to_owned(), oid.to_owned())))
        })
        .collect()
}

/// A git command that knows nothing of the person running the tests.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Test").env(format!("GIT_{role}_EMAIL"), "test@example.org");
    }
    command
}
