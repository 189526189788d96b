//! File notifications. They only ring; what changed is found by looking.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use baft_kit::metrics::IntGauge;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::Ring;
use super::orders::Bell;
use crate::config::{Follow, Source};

/// The watched folders. Folders are watched, never files: an editor that saves by renaming replaces the file.
#[derive(Debug)]
pub(super) struct Watch {
    bell: Bell,
    degraded: IntGauge,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<(PathBuf, bool)>,
    failed: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn new(bell: Bell, degraded: IntGauge) -> Self {
        Self { bell, degraded, watcher: None, watched: BTreeSet::new(), failed: BTreeSet::new() }
    }

    /// Whether something should be watched and cannot be.
    pub(super) fn degraded(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Watches what the source depends on; what is watched already stays so.
    pub(super) fn follow(&mut self, source: &Source, roots: &[String]) {
        let wanted = wanted(source, roots);
        if wanted == self.watched && self.failed.is_empty() {
            return;
        }
        let before = self.failed.clone();
        self.failed.clear();
        if self.watcher.is_none() {
            let bell = self.bell.clone();
            match notify::recommended_watcher(move |event| heard(&bell, event)) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => self.give_up(Path::new("anything"), &error, &before),
            }
        }
        if let Some(mut watcher) = self.watcher.take() {
            for (path, _) in self.watched.difference(&wanted) {
                // It may be gone, and its watch with it.
                let _ = watcher.unwatch(path);
            }
            let mut watched: BTreeSet<_> = self.watched.intersection(&wanted).cloned().collect();
            for (path, deep) in &wanted {
                if watched.contains(&(path.clone(), *deep)) {
                    continue;
                }
                let mode = if *deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
                match watcher.watch(path, mode) {
                    Ok(()) => {
                        watched.insert((path.clone(), *deep));
                    }
                    Err(error) => self.give_up(path, &error, &before),
                }
            }
            self.watched = watched;
            self.watcher = Some(watcher);
        }
        self.degraded.set(i64::from(self.degraded()));
    }

    fn give_up(&mut self, path: &Path, error: &notify::Error, before: &BTreeSet<PathBuf>) {
        if !before.contains(path) {
            tracing::warn!(path = %path.display(), %error, "cannot be notified of changes; looking every two seconds instead");
        }
        self.failed.insert(path.to_owned());
    }
}

/// Folders to watch, and whether with all below.
fn wanted(source: &Source, roots: &[String]) -> BTreeSet<(PathBuf, bool)> {
    let mut wanted = BTreeSet::new();
    let mut add = |path: PathBuf, deep: bool| {
        if path.is_dir() {
            wanted.insert((path, deep));
        }
    };
    match source {
        Source::Git { follow: Follow::Link(link), .. } => {
            add(link.parent().map_or_else(|| ".".into(), Path::to_owned), false);
        }
        Source::Git { repo, follow: Follow::Ref(_) } => git_folders(repo, &mut add),
        Source::Worktree { clone } => {
            git_folders(clone, &mut add);
            for root in roots {
                let path = clone.join(root);
                if path.is_dir() {
                    add(path, true);
                } else {
                    // Not there yet, or a file: the folder it is in, or will be.
                    let parent = path.ancestors().skip(1).find(|above| above.is_dir());
                    add(parent.unwrap_or(clone).to_owned(), false);
                }
            }
        }
    }
    // A folder that is watched with all below need not be watched by itself.
    let deep: Vec<_> = wanted.iter().filter(|(_, deep)| *deep).map(|(path, _)| path.clone()).collect();
    wanted.retain(|(path, is_deep)| *is_deep || !deep.contains(path));
    wanted
}

fn git_folders(repo: &Path, add: &mut dyn FnMut(PathBuf, bool)) {
    let git = Some(repo.join(".git")).filter(|git| git.is_dir()).unwrap_or_else(|| repo.to_owned());
    if git.join("HEAD").exists() {
        add(git.join("refs"), true);
        add(git.join("logs"), false);
        add(git, false);
    }
}

fn heard(bell: &Bell, event: Result<Event, notify::Error>) {
    let Ok(event) = event else {
        return bell.ring(Ring::Rescan);
    };
    if event.need_rescan() {
        return bell.ring(Ring::Rescan);
    }
    // Our own reading must not ring.
    let matters = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    if matters && event.paths.iter().any(|path| concerns(path)) {
        bell.ring(Ring::Watch);
    }
}

/// In the git folder only what moves a ref; locks and the index come and go with every `git status`.
fn concerns(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".lock") || name.ends_with('~') || name.ends_with(".swp") {
        return false;
    }
    let mut parts = path.components().map(|part| part.as_os_str());
    match parts.any(|part| part == ".git") {
        true => ["HEAD", "packed-refs"].contains(&name) || path.components().any(|part| part.as_os_str() == "refs"),
        false => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_git_folder_only_refs_matter() {
        for (path, matters) in [
            ("/c/data/gaps.yaml", true),
            ("/c/data/.gaps.yaml.swp", false),
            ("/c/.git/HEAD", true),
            ("/c/.git/logs/HEAD", true),
            ("/c/.git/refs/heads/main", true),
            ("/c/.git/refs/heads/main.lock", false),
            ("/c/.git/index", false),
            ("/c/.git/objects/ab", false),
        ] {
            assert_eq!(concerns(Path::new(path)), matters, "{path}");
        }
    }
}
