//! Saved files, as the kernel tells of them. Only hints: what changed is found by looking, and the schedule looks at everything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use baft_kit::metrics::IntGauge;
use baft_repo::RepoPath;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::engine::{Hints, Settings, Touched, Trigger};
use crate::status::Job;

/// How often everything is looked at instead, while it cannot be watched.
const INSTEAD: Duration = Duration::from_secs(10);

/// The watched folders: those of the clone with all below, but not `.git`, of which only the refs matter.
pub(crate) struct Watch {
    jobs: Sender<Job>,
    degraded: IntGauge,
    ears: Option<Ears>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// Something that should be watched is not.
    blind: bool,
}

/// What the kernel's messages become.
#[derive(Clone)]
struct Ears {
    jobs: Sender<Job>,
    hints: Hints,
    clone: PathBuf,
    quiet: Duration,
}

impl Watch {
    pub(crate) fn new(jobs: Sender<Job>, degraded: IntGauge) -> Self {
        Self { jobs, degraded, ears: None, watcher: None, watched: BTreeSet::new(), blind: false }
    }

    /// Watches from now on.
    pub(crate) fn start(&mut self, settings: &Settings, hints: Hints) {
        let clone = settings.clone.canonicalize().unwrap_or_else(|_| settings.clone.clone());
        let ears = Ears { jobs: self.jobs.clone(), hints, clone, quiet: settings.quiet };
        self.ears = Some(ears);
        self.keep(Trigger::Timer);
    }

    /// Before a look: watches what has come since. On schedule also what could not be watched before, and everything is looked at then.
    pub(crate) fn keep(&mut self, trigger: Trigger) {
        let Some(ears) = self.ears.clone() else { return };
        if trigger == Trigger::Timer || self.blind {
            ears.hints.add(Touched::Rescan);
        }
        let was_blind = self.blind;
        if self.watcher.is_none() {
            let heard = ears.clone();
            match notify::recommended_watcher(move |event| heard.hear(event)) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => return self.give_up(&ears.clone, &error, was_blind),
            }
        }
        self.blind = false;
        // A folder that was removed and made again has lost its watch.
        self.watched.retain(|path| path.is_dir());
        for (path, mode) in wanted(&ears.clone) {
            if self.watched.contains(&path) && trigger != Trigger::Timer {
                continue;
            }
            let Some(watcher) = &mut self.watcher else { return };
            match watcher.watch(&path, mode) {
                Ok(()) => {
                    self.watched.insert(path);
                }
                Err(error) => self.give_up(&path, &error, was_blind),
            }
        }
        self.degraded.set(i64::from(self.blind));
    }

    fn give_up(&mut self, path: &Path, error: &notify::Error, known: bool) {
        if !known {
            tracing::warn!(path = %path.display(), %error, "saved files cannot be watched; looking every ten seconds instead");
        }
        self.blind = true;
        self.degraded.set(1);
    }

    /// Whether a saved file is told of.
    pub(crate) fn sees(&self) -> bool {
        self.ears.is_some() && !self.blind
    }

    /// How soon to look again because nobody tells of saved files.
    pub(crate) fn instead(&self) -> Option<Duration> {
        self.blind.then_some(INSTEAD)
    }
}

fn wanted(clone: &Path) -> Vec<(PathBuf, RecursiveMode)> {
    let mut wanted = vec![(clone.to_owned(), RecursiveMode::NonRecursive)];
    for entry in std::fs::read_dir(clone).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != ".git" {
            wanted.push((entry.path(), RecursiveMode::Recursive));
        }
    }
    let git = clone.join(".git");
    for (path, mode) in [(git.join("refs/heads"), RecursiveMode::Recursive), (git, RecursiveMode::NonRecursive)] {
        if path.is_dir() {
            wanted.push((path, mode));
        }
    }
    wanted
}

/// What a path in the clone is about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    Refs,
    File(RepoPath),
    /// Everything below the clone.
    Clone,
    Nothing,
}

fn about(clone: &Path, path: &Path) -> About {
    let Ok(relative) = path.strip_prefix(clone) else { return About::Nothing };
    if let Ok(inside) = relative.strip_prefix(".git") {
        let name = inside.to_string_lossy();
        let refs =
            !name.ends_with(".lock") && (name.starts_with("refs/heads/") || name == "HEAD" || name == "packed-refs");
        // The index's lock comes and goes with every git command; that it has gone may be what landing waits for.
        return if refs || name == "index.lock" { About::Refs } else { About::Nothing };
    }
    match relative.to_str() {
        Some("") => About::Clone,
        Some(text) => RepoPath::new(text).map_or(About::Nothing, About::File),
        // The schedule's look reports it.
        None => About::Nothing,
    }
}

impl Ears {
    fn hear(&self, event: Result<Event, notify::Error>) {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            _ => {
                self.hints.add(Touched::Rescan);
                return self.ring();
            }
        };
        // Our own reading must not ring.
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return,
            _ => {}
        }
        let (mut paths, mut refs) = (BTreeSet::new(), false);
        for path in &event.paths {
            match about(&self.clone, path) {
                About::Refs => refs = true,
                About::File(path) => {
                    paths.insert(path);
                }
                About::Clone => {
                    self.hints.add(Touched::Rescan);
                    self.ring();
                }
                About::Nothing => {}
            }
        }
        if refs {
            let _ = self.jobs.send(Job::Refs);
        }
        if !paths.is_empty() {
            self.hints.add(Touched::Some(paths));
            self.ring();
        }
    }

    fn ring(&self) {
        // An agent that is stopping looks once more anyway.
        let _ = self.jobs.send(Job::Ring(Trigger::Watch, self.quiet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_git_folder_only_refs_matter() {
        let file = |path: &str| About::File(RepoPath::new(path).unwrap());
        for (path, expected) in [
            ("/c/data/gaps.yaml", file("data/gaps.yaml")),
            ("/c/data", file("data")),
            ("/c", About::Clone),
            ("/c/.git/HEAD", About::Refs),
            ("/c/.git/refs/heads/main", About::Refs),
            ("/c/.git/refs/heads/main.lock", About::Nothing),
            ("/c/.git/index.lock", About::Refs),
            ("/c/.git/index", About::Nothing),
            ("/c/.git/objects/ab", About::Nothing),
            ("/elsewhere", About::Nothing),
        ] {
            assert_eq!(about(Path::new("/c"), Path::new(path)), expected, "{path}");
        }
    }
}
