//! Remotes that are repositories on this machine: refs read as files, objects copied by what is missing.
//!
//! libgit2's own local transport opens the remote with all its configuration for every look (half a millisecond), and marks every object the
//! two sides share before it sends one (a quarter of a second in a repository of 50,000 files). Both are fine for a clone and not for a
//! daemon that looks every few seconds. What is not an ordinary repository with refs in files is left to libgit2.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, OdbLookupFlags, Repository};

use super::deadline::Deadline;
use super::{PushSpec, PushedRef, RemoteRef};
use crate::lock::Locks;
use crate::refs::RefMove;
use crate::write::Stamp;
use crate::{Oid, Repo, RepoError};

/// Every ref of the repository at a path; nothing when libgit2 has to look.
pub(super) fn refs(url: &str) -> Option<Vec<RemoteRef>> {
    let git_dir = git_dir(url)?;
    let head = std::fs::read_to_string(git_dir.join("HEAD")).ok()?;
    // A repository with reftable has a HEAD that leads nowhere on purpose.
    if head.contains(".invalid") {
        return None;
    }
    // Loose refs before packed ones: git writes the packed file before it removes a loose one, so none is missed.
    let mut loose = BTreeMap::new();
    collect(&git_dir.join("refs"), "refs", &mut loose)?;
    if loose.keys().any(|name| name.starts_with("refs/tags/")) {
        // Loose tags must be looked up to be peeled.
        return None;
    }
    let mut refs = packed(&git_dir)?;
    for (name, oid) in loose {
        refs.insert(name, oid);
    }
    let target = head.trim().strip_prefix("ref: ").map(str::to_owned);
    let at = target.as_ref().map_or_else(|| head.trim().parse().ok(), |target| refs.get(target).copied());
    let head = at.map(|oid| RemoteRef { name: "HEAD".to_owned(), oid, target });
    let rest = refs.into_iter().map(|(name, oid)| RemoteRef { name, oid, target: None });
    Some(head.into_iter().chain(rest).collect())
}

/// The git folder of an ordinary repository.
fn git_dir(url: &str) -> Option<PathBuf> {
    let path = match url.strip_prefix("file://") {
        Some(path) if path.contains('%') => return None,
        Some(path) => Path::new(path),
        None => Path::new(url),
    };
    let inside = path.join(".git");
    let git_dir = if inside.is_dir() { inside } else { path.to_owned() };
    let ordinary =
        git_dir.join("objects").is_dir() && git_dir.join("refs").is_dir() && !git_dir.join("commondir").exists();
    ordinary.then_some(git_dir)
}

/// Loose refs; nothing when one is symbolic or cannot be read, which libgit2 then sorts out.
fn collect(folder: &Path, base: &str, refs: &mut BTreeMap<String, Oid>) -> Option<()> {
    for entry in std::fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let name = format!("{base}/{}", entry.file_name().to_str()?);
        if entry.file_type().ok()?.is_dir() {
            collect(&entry.path(), &name, refs)?;
        } else if !name.ends_with(".lock") {
            match std::fs::read_to_string(entry.path()) {
                Ok(text) => drop(refs.insert(name, text.trim().parse().ok()?)),
                // Packed or deleted between the listing and the look.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => return None,
            }
        }
    }
    Some(())
}

fn packed(git_dir: &Path) -> Option<BTreeMap<String, Oid>> {
    let text = match std::fs::read_to_string(git_dir.join("packed-refs")) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some(BTreeMap::new()),
        Err(_) => return None,
    };
    let mut refs = BTreeMap::new();
    let mut last = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(peeled) = line.strip_prefix('^') {
            refs.insert(format!("{last}^{{}}"), peeled.parse().ok()?);
        } else {
            let (oid, name) = line.split_once(' ')?;
            refs.insert(name.to_owned(), oid.parse().ok()?);
            last = name;
        }
    }
    Some(refs)
}

/// Copies everything `want` needs and `ours` lacks, as one pack; how many objects and bytes that was. An object that is here has everything
/// it needs here too: packs are only added whole.
pub(super) fn copy(
    ours: &Repository,
    theirs: &Repository,
    want: Oid,
    deadline: Deadline,
) -> Result<(usize, u64), git2::Error> {
    let odb = ours.odb()?;
    odb.refresh()?;
    let mut missing = Missing { ours: &odb, theirs, seen: HashSet::new(), list: Vec::new(), deadline };
    missing.walk(want.git())?;
    let mut builder = theirs.packbuilder()?;
    for oid in &missing.list {
        builder.insert_object(*oid, None)?;
    }
    if missing.list.is_empty() {
        return Ok((0, 0));
    }
    let mut writer = odb.packwriter()?;
    let (mut bytes, mut failed) = (0, None);
    let written = builder.foreach(|chunk| match std::io::Write::write_all(&mut writer, chunk) {
        Ok(()) if !deadline.passed() => {
            bytes += chunk.len() as u64;
            true
        }
        Ok(()) => false,
        Err(e) => {
            failed = Some(git2::Error::from_str(&e.to_string()));
            false
        }
    });
    match (failed, written) {
        (Some(error), _) | (None, Err(error)) => return Err(error),
        (None, Ok(())) => {}
    }
    writer.commit()?;
    Ok((missing.list.len(), bytes))
}

/// Why a push to a repository on this machine did not happen.
pub(super) enum PushFailure {
    /// A ref is not where it was expected.
    Moved(String),
    /// Libgit2 failed.
    Git(git2::Error),
    /// A ref could not be written.
    Repo(RepoError),
}

/// The push to a repository on this machine. libgit2's own sets the refs without a look at what they are by then, so of two pushers that race, one
/// loses everything; and when it is killed, it leaves a lock that nobody dares to remove. It runs no hooks, and neither does this: who needs them
/// reaches the repository over SSH or HTTP.
pub(super) fn push(
    ours: &Repository,
    there: &Repo,
    specs: &[PushSpec],
    deadline: Deadline,
) -> Result<Vec<PushedRef>, PushFailure> {
    let theirs = &there.git;
    let locks = Locking::begin(ours, there).map_err(PushFailure::Repo)?;
    let who = Stamp { name: "baft".to_owned(), email: String::new(), seconds: baft_kit::time::unix_seconds() };
    let at = |name: &str| match theirs.refname_to_id(name) {
        Ok(oid) => Ok(Some(Oid::from(oid))),
        Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(e) => Err(PushFailure::Git(e)),
    };
    let moved = |name: &str| PushFailure::Moved(format!("{name} is not where it was expected on the server"));
    for spec in specs {
        if at(&spec.name)? != spec.expected {
            return Err(moved(&spec.name));
        }
    }
    let checked_out = theirs.find_reference("HEAD").ok().filter(|_| !theirs.is_bare());
    let checked_out = checked_out.and_then(|head| head.symbolic_target().ok().flatten().map(str::to_owned));
    let mut answers: Vec<PushedRef> = Vec::new();
    for spec in specs {
        let mut answer = PushedRef { name: spec.name.clone(), rejected: None, said: String::new() };
        if checked_out.as_deref() == Some(&*spec.name) {
            answer.rejected = Some("branch is currently checked out in that working tree".to_owned());
            answers.push(answer);
            continue;
        }
        if let Some(new) = spec.new {
            copy(theirs, ours, new, deadline).map_err(PushFailure::Git)?;
        }
        let change = RefMove { name: &spec.name, from: spec.expected, to: spec.new, who: &who, why: "push" };
        match there.move_ref(&locks.locks, change) {
            Ok(()) => {}
            Err(RepoError::Moved { .. }) => {
                if answers.iter().all(|answer| answer.rejected.is_some()) {
                    return Err(moved(&spec.name));
                }
                answer.rejected = Some("it moved while others were pushed".to_owned());
            }
            // Somebody moves it this moment.
            Err(RepoError::Locked { .. }) => return Err(moved(&spec.name)),
            Err(e) => return Err(PushFailure::Repo(e)),
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Our locks in a repository that is not ours: in a folder `baft/<us>` there, because a lock and its twin lie on one file system. Only one process
/// at a time has our repository, so what is found at the beginning was left by one that was killed.
struct Locking {
    folder: PathBuf,
    locks: Locks,
}

impl Locking {
    fn begin(ours: &Repository, there: &Repo) -> Result<Self, RepoError> {
        let us = Oid::of_blob(ours.path().as_os_str().as_encoded_bytes()).short();
        let folder = there.git_dir().join("baft").join(us);
        let locks = Locks::new(&folder)?;
        locks.sweep()?;
        Ok(Self { folder, locks })
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        // Another pusher may be at work beside.
        let _ = std::fs::remove_dir(&self.folder);
        let _ = self.folder.parent().map(std::fs::remove_dir);
    }
}

struct Missing<'a> {
    ours: &'a Odb<'a>,
    theirs: &'a Repository,
    seen: HashSet<git2::Oid>,
    list: Vec<git2::Oid>,
    deadline: Deadline,
}

impl Missing<'_> {
    /// Notes an object unless it is here or was noted already.
    fn note(&mut self, oid: git2::Oid) -> bool {
        let new = !self.seen.contains(&oid) && !self.ours.exists_ext(oid, OdbLookupFlags::NO_REFRESH);
        if new {
            self.seen.insert(oid);
            self.list.push(oid);
        }
        new
    }

    fn walk(&mut self, start: git2::Oid) -> Result<(), git2::Error> {
        let mut next = vec![start];
        while let Some(oid) = next.pop() {
            if self.deadline.passed() {
                return Err(git2::Error::from_str("the deadline passed"));
            }
            if !self.note(oid) {
                continue;
            }
            let object = self.theirs.find_object(oid, None)?;
            if let Some(tag) = object.as_tag() {
                next.push(tag.target_id());
            } else if let Some(commit) = object.as_commit() {
                self.tree(commit.tree_id())?;
                next.extend(commit.parent_ids());
            } else if object.as_tree().is_some() {
                self.seen.remove(&oid);
                self.list.pop();
                self.tree(oid)?;
            }
        }
        Ok(())
    }

    fn tree(&mut self, start: git2::Oid) -> Result<(), git2::Error> {
        let mut next = vec![start];
        while let Some(oid) = next.pop() {
            if !self.note(oid) {
                continue;
            }
            for entry in self.theirs.find_tree(oid)?.iter() {
                match entry.kind() {
                    Some(ObjectType::Tree) => next.push(entry.id()),
                    Some(ObjectType::Blob) => drop(self.note(entry.id())),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_loose_refs_are_read_as_git_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("objects")).unwrap();
        std::fs::create_dir_all(root.join("refs/heads/team")).unwrap();
        let id = |digit: &str| digit.repeat(40);
        std::fs::write(root.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(root.join("refs/heads/main"), format!("{}\n", id("1"))).unwrap();
        std::fs::write(root.join("refs/heads/team/x.lock"), "").unwrap();
        std::fs::write(
            root.join("packed-refs"),
            format!("# pack-refs with: peeled\n{} refs/heads/main\n{} refs/tags/v1\n^{}\n", id("2"), id("3"), id("4")),
        )
        .unwrap();
        let url = root.to_str().unwrap();
        let read: Vec<(String, String)> =
            refs(url).unwrap().into_iter().map(|r| (r.name, r.oid.to_string()[..1].to_owned())).collect();
        let expected = [("HEAD", "1"), ("refs/heads/main", "1"), ("refs/tags/v1", "3"), ("refs/tags/v1^{}", "4")];
        assert_eq!(read, expected.map(|(name, oid)| (name.to_owned(), oid.to_owned())));
        std::fs::write(root.join("HEAD"), "ref: refs/heads/.invalid\n").unwrap();
        assert_eq!(refs(url), None, "reftable");
    }

    #[test]
    fn a_lock_that_a_killed_push_left_is_given_back_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let ours = Repository::init_bare(folder.path().join("ours")).unwrap();
        let there = Repo::create_bare(folder.path().join("theirs")).unwrap();
        let tree = ours.treebuilder(None).unwrap().write().unwrap();
        let who = git2::Signature::now("a", "a@example.org").unwrap();
        let commit = ours.commit(None, &who, &who, "first", &ours.find_tree(tree).unwrap(), &[]).unwrap();
        let killed = Locking::begin(&ours, &there).unwrap();
        let main = there.git_dir().join("refs/heads/main.lock");
        std::mem::forget(killed.locks.take(&main, b"").unwrap());
        std::mem::forget(killed);

        let spec = PushSpec { new: Some(commit.into()), name: "refs/heads/main".to_owned(), expected: None };
        let others = Repository::init_bare(folder.path().join("others")).unwrap();
        let refused = push(&others, &there, &[PushSpec { new: None, ..spec.clone() }], Deadline::after(None));
        assert!(matches!(refused, Err(PushFailure::Moved(_))), "a lock of somebody else stays");
        assert!(main.exists());
        assert!(push(&ours, &there, &[spec], Deadline::after(None)).is_ok());
        assert_eq!(there.find_ref("refs/heads/main").unwrap(), Some(commit.into()));
        assert!(!main.exists() && !there.git_dir().join("baft").exists(), "nothing of ours is left");
    }
}
