//! What was published and what of it was announced: the source of `git.synced` events.
//!
//! Git alone cannot tell which commits *we* published, in which order, nor what a lost acknowledgement was about, so one small file beside the
//! mirror (not in it: a damaged mirror is replaced) holds it. Every publication is a numbered step from one commit to the next, and the order of
//! writes makes each step survive a crash anywhere:
//!
//! 1. the checkout is whole and on disk;
//! 2. the step is written here as `next`, durably;
//! 3. the link flips;
//! 4. the step moves from `next` to `unannounced`, durably, and may be announced;
//! 5. the server has acknowledged: the step leaves `unannounced`, durably.
//!
//! A crash after 2 is rolled forward at the next start: the link flips again to `next` (its checkout is there since 1), so the step keeps its
//! number. A crash before 5 announces the same step again under the same id, which the server drops. Nothing is announced before the link
//! shows it, the old commit of each step is the new one of the step before, and a number is never used twice: the file's `lineage` changes when
//! the file had to be made anew.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use baft_bus::payload::Trigger;
use baft_repo::Oid;
use serde::{Deserialize, Serialize};

/// One publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Counts up from 1.
    pub number: u64,
    /// What was published before.
    pub old: Option<Oid>,
    /// What is published.
    pub new: Oid,
    /// `new` does not contain `old`.
    pub forced: bool,
    /// Why the remote was looked at.
    pub trigger: Trigger,
    /// When, RFC 3339.
    pub at: String,
}

/// How many unannounced steps are kept apart. While the broker is away for long, later steps are joined: ranges get longer, never lost.
const KEPT_APART: usize = 64;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Tells this file from one that was lost.
    pub lineage: String,
    /// The commit that the last finished step published.
    pub head: Option<Oid>,
    /// The highest number used.
    pub last_number: u64,
    /// A step whose link may not have been flipped yet.
    pub next: Option<Step>,
    /// Finished steps that the server has not acknowledged, oldest first.
    pub unannounced: VecDeque<Step>,
}

/// What the journal and the link together say at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The link shows the last step, or there is neither.
    Agreement,
    /// A step was cut short: flip the link to this commit if its checkout is whole.
    Unfinished(Oid),
    /// The link is gone or shows something else (somebody moved it): flip it back to this commit.
    Astray(Oid),
}

impl Journal {
    /// An empty one.
    #[must_use]
    pub fn new(lineage: String) -> Self {
        Self { lineage, head: None, last_number: 0, next: None, unannounced: VecDeque::new() }
    }

    /// Compares with the commit the link shows.
    #[must_use]
    pub fn compare(&self, link: Option<Oid>) -> Found {
        match (&self.next, self.head) {
            (Some(next), _) => Found::Unfinished(next.new),
            (None, Some(head)) if link != Some(head) => Found::Astray(head),
            (None, _) => Found::Agreement,
        }
    }

    /// Begins a step; a step that was begun and not finished is forgotten (nobody has seen it).
    pub fn begin(&mut self, new: Oid, forced: bool, trigger: Trigger) {
        self.last_number += 1;
        let at = baft_kit::time::now_rfc3339();
        self.next = Some(Step { number: self.last_number, old: self.head, new, forced, trigger, at });
    }

    /// The link shows the step that was begun.
    pub fn finish(&mut self) {
        let Some(step) = self.next.take() else { return };
        self.head = Some(step.new);
        self.unannounced.push_back(step);
        if self.unannounced.len() > KEPT_APART
            && let (Some(later), Some(earlier)) = (self.unannounced.pop_back(), self.unannounced.pop_back())
        {
            // Neither was ever offered: only the first in line is.
            self.unannounced.push_back(Step {
                number: later.number,
                old: earlier.old,
                new: later.new,
                forced: earlier.forced || later.forced,
                trigger: later.trigger,
                at: later.at,
            });
        }
    }

    /// Gives up the step that was begun.
    pub fn abandon(&mut self) {
        self.next = None;
    }

    /// The event id of a step: the same whenever the step is looked at, and another for every other step, also for a later equal range.
    #[must_use]
    pub fn event_id(&self, step: &Step) -> String {
        let old = step.old.map_or_else(|| "none".to_owned(), |old| old.short());
        format!("git.synced-{}-{}-{old}-{}", self.lineage, step.number, step.new.short())
    }

    /// The server has acknowledged the event with this id; says whether that changed anything.
    pub fn acknowledged(&mut self, id: &str) -> bool {
        let first = self.unannounced.front().is_some_and(|step| self.event_id(step) == id);
        if first {
            self.unannounced.pop_front();
        }
        first
    }
}

/// The journal on disk. Every change is durable when the call returns, or did not happen.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    journal: Journal,
}

impl JournalFile {
    /// Reads it, or starts a new lineage when there is none. Then what is published now is announced once more, as a first step: whether it
    /// ever was is not known.
    ///
    /// # Errors
    /// It cannot be read or written. One that is not ours is set aside.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let read = match std::fs::read(path) {
            Ok(bytes) => Some(serde_json::from_slice::<Journal>(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(about(path, &error)),
        };
        let journal = match read {
            Some(Ok(journal)) => return Ok(Self { path: path.to_owned(), journal }),
            Some(Err(error)) => {
                let aside = path.with_extension("unreadable");
                tracing::error!(path = %path.display(), %error, aside = %aside.display(), "the journal is damaged: set aside");
                std::fs::rename(path, &aside)?;
                Journal::new(ulid::Ulid::new().to_string())
            }
            None => Journal::new(ulid::Ulid::new().to_string()),
        };
        let mut file = Self { path: path.to_owned(), journal };
        // So that the lineage is on disk before its first number is used.
        file.change(|_| ())?;
        Ok(file)
    }

    /// What it says.
    #[must_use]
    pub fn get(&self) -> &Journal {
        &self.journal
    }

    /// Changes it: durable when this returns, unchanged when it fails.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Journal) -> T) -> std::io::Result<T> {
        let mut changed = self.journal.clone();
        let result = change(&mut changed);
        let bytes = serde_json::to_vec(&changed).map_err(std::io::Error::other)?;
        baft_kit::durable::write_file(&self.path, &bytes)?;
        self.journal = changed;
        Ok(result)
    }
}

fn about(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(n: u8) -> Oid {
        Oid::from_bytes([n; 20])
    }

    fn published(journal: &mut Journal, n: u8) {
        journal.begin(oid(n), false, Trigger::Poll);
        journal.finish();
    }

    #[test]
    fn ranges_join_up_and_ids_never_repeat() {
        let mut journal = Journal::new("L".to_owned());
        for n in [1, 2, 1, 2] {
            published(&mut journal, n);
        }
        let steps: Vec<_> = journal.unannounced.iter().cloned().collect();
        assert_eq!(steps[0].old, None);
        for pair in steps.windows(2) {
            assert_eq!(pair[1].old, Some(pair[0].new));
        }
        let mut ids: Vec<_> = steps.iter().map(|step| journal.event_id(step)).collect();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        assert_ne!(ids[1], ids[3], "an equal range later is another event");
    }

    #[test]
    fn only_the_first_in_line_can_be_acknowledged_and_only_once() {
        let mut journal = Journal::new("L".to_owned());
        published(&mut journal, 1);
        published(&mut journal, 2);
        let ids: Vec<_> = journal.unannounced.iter().map(|step| journal.event_id(step)).collect();
        assert!(!journal.acknowledged(&ids[1]));
        assert!(journal.acknowledged(&ids[0]));
        assert!(!journal.acknowledged(&ids[0]));
        assert!(journal.acknowledged(&ids[1]));
    }

    #[test]
    fn a_broker_that_is_away_for_long_gets_longer_ranges_and_no_gap() {
        let mut journal = Journal::new("L".to_owned());
        published(&mut journal, 0);
        let first = journal.event_id(&journal.unannounced[0]);
        for n in 1..=200 {
            published(&mut journal, n);
        }
        assert_eq!(journal.unannounced.len(), KEPT_APART);
        assert_eq!(journal.event_id(&journal.unannounced[0]), first, "what may be under way stays as it is");
        let steps: Vec<_> = journal.unannounced.iter().collect();
        for pair in steps.windows(2) {
            assert_eq!(pair[1].old, Some(pair[0].new));
            assert!(pair[0].number < pair[1].number);
        }
        assert_eq!(steps[KEPT_APART - 1].new, oid(200));
    }

    #[test]
    fn a_step_that_was_cut_short_is_rolled_forward_under_its_number() {
        let mut journal = Journal::new("L".to_owned());
        published(&mut journal, 1);
        journal.begin(oid(2), true, Trigger::Push);
        let number = journal.last_number;
        assert_eq!(journal.compare(Some(oid(1))), Found::Unfinished(oid(2)));
        assert_eq!(journal.compare(Some(oid(2))), Found::Unfinished(oid(2)), "crashed after the flip");
        journal.finish();
        assert_eq!(journal.unannounced.back().map(|step| (step.number, step.forced)), Some((number, true)));
        assert_eq!(journal.compare(Some(oid(2))), Found::Agreement);
        assert_eq!(journal.compare(None), Found::Astray(oid(2)));
        journal.begin(oid(3), false, Trigger::Poll);
        journal.abandon();
        assert_eq!(journal.compare(Some(oid(2))), Found::Agreement);
    }

    #[test]
    fn what_was_written_is_read_again_and_damage_starts_a_new_lineage() {
        let folder = std::env::temp_dir().join(format!("baft-journal-{}", ulid::Ulid::new()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("published.json");
        let mut file = JournalFile::open(&path).unwrap();
        file.change(|journal| published(journal, 1)).unwrap();
        let before = file.get().clone();
        assert_eq!(JournalFile::open(&path).unwrap().get(), &before);
        std::fs::write(&path, "{").unwrap();
        let file = JournalFile::open(&path).unwrap();
        assert_ne!(file.get().lineage, before.lineage);
        assert_eq!(file.get().head, None);
        assert!(folder.join("published.unreadable").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
