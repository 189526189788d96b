//! Moving refs so that a crash at any point leaves the old value or the new one, and no lock that nobody dares to remove.
//!
//! libgit2 does the first half well. The second it does not do at all: a process that is killed while it moves `main` leaves `main.lock`, and from
//! then on nobody can move `main`. Refs of the live clone are therefore moved under [locks](crate::lock) whose owner can be told.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::lock::{Locks, sync_parent};
use crate::write::Stamp;
use crate::{Oid, Repo, RepoError};

/// One move of a ref by compare-and-swap.
#[derive(Debug, Clone, Copy)]
pub struct RefMove<'a> {
    /// Full name.
    pub name: &'a str,
    /// What it is now; nothing means that there is none.
    pub from: Option<Oid>,
    /// What it becomes; nothing removes it.
    pub to: Option<Oid>,
    /// Who and when, for the reflog.
    pub who: &'a Stamp,
    /// Why, for the reflog.
    pub why: &'a str,
}

impl Repo {
    /// Moves a ref; on disk when this returns.
    ///
    /// # Errors
    /// [`RepoError::Moved`] when it is not where it was expected, [`RepoError::Locked`] when somebody is moving it.
    pub fn move_ref(&self, locks: &Locks, change: RefMove<'_>) -> Result<(), RepoError> {
        let path = self.git_dir().join(change.name);
        let lock_path = PathBuf::from(format!("{}.lock", path.display()));
        let content = change.to.map(|oid| format!("{oid}\n")).unwrap_or_default();
        let lock = retry_without_folder(&path, || locks.take(&lock_path, content.as_bytes()))?;
        let actual = self.find_ref(change.name)?;
        if actual != change.from {
            return Err(RepoError::Moved { name: change.name.to_owned(), expected: change.from, actual });
        }
        if actual == change.to {
            return Ok(());
        }
        if change.to.is_some() {
            lock.commit(&path)?;
        } else {
            // The packed value first: the other way round, an old one would show through.
            self.unpack_ref(locks, change.name)?;
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(RepoError::io("removing", path, e)),
                Err(_) => {}
                Ok(()) => sync_parent(&path)?,
            }
        }
        self.log_ref(&change);
        Ok(())
    }

    /// Takes a ref out of `packed-refs`.
    fn unpack_ref(&self, locks: &Locks, name: &str) -> Result<(), RepoError> {
        let path = self.git_dir().join("packed-refs");
        let packed = |text: &str| text.lines().any(|line| line.split_once(' ').is_some_and(|(_, found)| found == name));
        match fs::read_to_string(&path) {
            Ok(text) if packed(&text) => {}
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(RepoError::io("reading", path, e)),
        }
        let lock_path = self.git_dir().join("packed-refs.lock");
        // Taken first to keep others out, then once more with the content that was read under it.
        let guard = locks.take(&lock_path, b"")?;
        let text = fs::read_to_string(&path).map_err(|e| RepoError::io("reading", &path, e))?;
        let mut kept = String::with_capacity(text.len());
        let mut dropping = false;
        for line in text.lines() {
            dropping = match line.split_once(' ') {
                Some((_, found)) => found == name,
                None => dropping && line.starts_with('^'),
            };
            if !dropping {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        guard.check()?;
        let fresh = fs::OpenOptions::new().write(true).truncate(true).open(&lock_path);
        fresh
            .and_then(|mut file| file.write_all(kept.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(|e| RepoError::io("writing", &lock_path, e))?;
        guard.commit(&path)
    }

    /// For people: `git reflog` tells what we did. A log that cannot be written does not undo the move.
    fn log_ref(&self, change: &RefMove<'_>) {
        let (Some(to), name) = (change.to, change.name) else {
            let _ = fs::remove_file(self.git_dir().join("logs").join(change.name));
            return;
        };
        let head = fs::read_to_string(self.git_dir().join("HEAD")).unwrap_or_default();
        let people = name.starts_with("refs/heads/") || name.starts_with("refs/remotes/");
        let logged = people && !self.git.is_bare();
        let mut logs = Vec::new();
        if logged || self.git_dir().join("logs").join(name).exists() {
            logs.push(name);
        }
        if head.trim().strip_prefix("ref: ") == Some(name) {
            logs.push("HEAD");
        }
        let from = change.from.unwrap_or(Oid::from_bytes([0; 20]));
        let who = change.who;
        let why = change.why.replace('\n', " ");
        let line = format!("{from} {to} {} <{}> {} +0000\t{why}\n", who.name, who.email, who.seconds);
        for log in logs {
            let path = self.git_dir().join("logs").join(log);
            let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
                fs::OpenOptions::new().append(true).create(true).open(&path)?.write_all(line.as_bytes())
            });
            if let Err(error) = written {
                tracing::warn!(path = %path.display(), %error, "cannot write the reflog");
            }
        }
    }
}

/// Git removes folders of refs that became empty, at any moment.
fn retry_without_folder<T>(path: &Path, take: impl Fn() -> Result<T, RepoError>) -> Result<T, RepoError> {
    let parent = path.parent().unwrap_or(path);
    let mut result = Err(RepoError::NotFound { what: path.display().to_string() });
    for _ in 0..3 {
        fs::create_dir_all(parent).map_err(|e| RepoError::io("creating", parent, e))?;
        result = take();
        match &result {
            Err(RepoError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result
}
