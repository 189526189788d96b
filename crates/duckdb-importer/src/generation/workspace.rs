//! The publish folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use baft_kit::durable::{self, DirLock};

use super::attempt::{Attempt, wal_of};
use super::copy::digest_file;
use super::manifest::{MANIFEST, Manifest};
use crate::ImporterError;

pub(super) const GENS: &str = "gens";
pub(super) const CURRENT: &str = "current";
const LOCK: &str = "publish.lock";
const TEMPORARY: &str = ".tmp-";
const STANDBY: &str = ".standby";
/// Manifests of removed generations that were not announced yet.
const LOG: &str = "unannounced";
const MAX_LOG: usize = 1000;

/// The publish folder, locked by this process.
#[derive(Debug)]
pub struct Workspace {
    dir: PathBuf,
    db_name: String,
    _lock: DirLock,
}

/// A generation that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its database file.
    pub db: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

impl Published {
    /// Checks that the file is byte for byte what was published, and alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        check_alone(&self.db)?;
        let digest = digest_file(&self.db).map_err(|error| format!("cannot be read: {error}"))?;
        check_digest(self, &digest)
    }
}

/// The name of a generation's folder.
pub(super) fn folder_name(number: u64) -> String {
    format!("{number:06}")
}

impl Workspace {
    /// Takes the folder, making it when it is not there, and clears away what a killed importer left.
    ///
    /// # Errors
    /// Another importer has it, or it cannot be written.
    pub fn open(dir: &Path, db_name: &str) -> Result<Self, ImporterError> {
        let gens = dir.join(GENS);
        fs::create_dir_all(&gens).map_err(ImporterError::io("create", &gens))?;
        let lock = DirLock::acquire(dir.join(LOCK))?;
        let workspace = Self { dir: dir.to_owned(), db_name: db_name.to_owned(), _lock: lock };
        workspace.clear_leftovers()?;
        let stable = dir.join(db_name);
        let target = Path::new(CURRENT).join(db_name);
        if durable::read_link(&stable).ok().flatten().as_deref() != Some(&*target) {
            durable::flip_link(&stable, &target).map_err(ImporterError::io("link", &stable))?;
        }
        Ok(workspace)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The newest published generation in a folder, by its link; needs no lock. Nothing when there is none, or when it
    /// has no readable manifest.
    #[must_use]
    pub fn look(dir: &Path, db_name: &str) -> Option<Published> {
        let home = dir.join(fs::read_link(dir.join(CURRENT)).ok()?);
        let manifest = Manifest::read(&home.join(MANIFEST))?;
        let number: u64 = home.file_name()?.to_str()?.parse().ok()?;
        (number == manifest.generation.number).then(|| Published { db: home.join(db_name), manifest })
    }

    /// The newest published generation.
    #[must_use]
    pub fn current(&self) -> Option<Published> {
        Self::look(&self.dir, &self.db_name)
    }

    /// The number of the next generation: one that no folder has had.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        let current = fs::read_link(self.dir.join(CURRENT)).ok().and_then(|target| number_of(&target));
        let highest = self.numbers().last().copied();
        highest.max(current).unwrap_or(0) + 1
    }

    /// Begins the next generation.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(&self) -> Result<Attempt, ImporterError> {
        let name = format!("{TEMPORARY}{}", ulid::Ulid::new());
        Attempt::new(self.dir.join(GENS).join(name), &self.db_name)
    }

    /// Where a copy of the current generation waits to become the next.
    #[must_use]
    pub fn standby_dir(&self) -> PathBuf {
        self.dir.join(GENS).join(STANDBY)
    }

    /// Makes the waiting copy an attempt, where it is.
    #[must_use]
    pub fn begin_from_standby(&self) -> Attempt {
        Attempt::adopt(self.standby_dir(), &self.db_name)
    }

    /// Removes generations that are neither among the newest `keep` nor replaced less than `keep_for` ago. Manifests of
    /// generations after `announced` are kept for the announcer. Gives how many were removed.
    pub fn sweep(&self, keep: usize, keep_for: Duration, announced: Option<u64>) -> usize {
        let numbers = self.numbers();
        let Some(current) = fs::read_link(self.dir.join(CURRENT)).ok().and_then(|target| number_of(&target)) else {
            return 0;
        };
        let mut removed = 0;
        for (index, &number) in numbers.iter().enumerate() {
            let newer = numbers.len() - 1 - index;
            if newer < keep.max(3) || number >= current {
                continue;
            }
            // It was replaced when its successor was published.
            let successor = self.gen_dir(numbers[index + 1]).join(MANIFEST);
            let replaced = fs::metadata(successor).and_then(|meta| meta.modified());
            let young = replaced.is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() < keep_for);
            if young {
                continue;
            }
            removed += usize::from(self.remove(number, announced.is_none_or(|announced| number > announced)));
        }
        removed
    }

    fn remove(&self, number: u64, keep_manifest: bool) -> bool {
        let dir = self.gen_dir(number);
        if keep_manifest {
            let log = self.dir.join(LOG);
            let kept = fs::create_dir_all(&log)
                .and_then(|()| fs::rename(dir.join(MANIFEST), log.join(format!("{}.json", folder_name(number)))));
            if let Err(error) = kept {
                tracing::warn!(generation = number, %error, "cannot keep the manifest of an unannounced generation");
            }
            self.trim_log();
        }
        match fs::remove_dir_all(&dir) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(generation = number, %error, "cannot remove an old generation; will try again");
                false
            }
        }
    }

    fn trim_log(&self) {
        let kept = logged(&self.dir);
        for (_, path) in kept.iter().rev().skip(MAX_LOG) {
            let _ = fs::remove_file(path);
        }
    }

    /// Numbers of all generations that are there, ascending.
    fn numbers(&self) -> Vec<u64> {
        numbers(&self.dir)
    }

    fn gen_dir(&self, number: u64) -> PathBuf {
        self.dir.join(GENS).join(folder_name(number))
    }

    /// Attempts and standbys of a killed importer, and a generation that got its number but never the link.
    fn clear_leftovers(&self) -> Result<(), ImporterError> {
        let gens = self.dir.join(GENS);
        let current = fs::read_link(self.dir.join(CURRENT)).ok().and_then(|target| number_of(&target));
        for entry in fs::read_dir(&gens).map_err(ImporterError::io("list", &gens))?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let unpublished = name.parse::<u64>().is_ok_and(|number| current.is_none_or(|current| number > current));
            if name.starts_with(TEMPORARY) || name == STANDBY || unpublished {
                tracing::info!(folder = %name, "removing what an interrupted import left");
                fs::remove_dir_all(entry.path()).map_err(ImporterError::io("remove", &entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Manifests of published generations after `number`, oldest first: for announcing. Needs no lock.
#[must_use]
pub fn manifests_after(dir: &Path, number: u64) -> Vec<Manifest> {
    let current = fs::read_link(dir.join(CURRENT)).ok().and_then(|target| number_of(&target)).unwrap_or(0);
    let kept = logged(dir).into_iter();
    let there = numbers(dir).into_iter().map(|n| (n, dir.join(GENS).join(folder_name(n)).join(MANIFEST)));
    let mut paths: Vec<_> = kept.chain(there).filter(|(n, _)| *n > number && *n <= current).collect();
    paths.sort();
    paths.into_iter().filter_map(|(_, path)| Manifest::read(&path)).collect()
}

/// Forgets manifests kept for announcing up to `number`.
pub fn forget_up_to(dir: &Path, number: u64) {
    for (n, path) in logged(dir) {
        if n <= number {
            // Only a few bytes; it is tried again with the next announcement.
            let _ = fs::remove_file(path);
        }
    }
}

fn logged(dir: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(dir.join(LOG)).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter_map(|entry| Some((entry.path().file_stem()?.to_str()?.parse().ok()?, entry.path()))).collect();
    found.sort();
    found
}

fn numbers(dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(dir.join(GENS)).into_iter().flatten().flatten();
    let mut numbers: Vec<_> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn number_of(target: &Path) -> Option<u64> {
    target.file_name()?.to_str()?.parse().ok()
}

/// No log may lie beside a published file: readers would replay it.
pub(crate) fn check_alone(db: &Path) -> Result<(), String> {
    if wal_of(db).exists() {
        return Err("somebody opened it for writing and left a write-ahead log".to_owned());
    }
    Ok(())
}

/// Whether the digest is the published one.
pub(crate) fn check_digest(published: &Published, digest: &str) -> Result<(), String> {
    if digest == published.manifest.file_digest {
        return Ok(());
    }
    Err("its content is not what was published".to_owned())
}
