//! Saves of an editor that held a file open while upstream's change of it came in: its text is from before, with or without edits of its own. What was
//! saved is committed as it is, because a person may have meant exactly that; but it takes upstream's change back, so the commit says so, and people
//! are told. What upstream had is in the history.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use baft_repo::{Oid, RepoPath};

use super::harvest::Harvest;
use super::{Agent, Notice};

/// How long after a change of upstream's came in a save of the old text is worth a word.
const LATELY: Duration = Duration::from_secs(15 * 60);
/// So many changes of one file are remembered.
const MOST_CHANGES: usize = 8;
/// Larger files are compared whole, not line by line.
const LARGEST: usize = 4 << 20;

/// A change of upstream's that came into a file.
#[derive(Debug, Clone, Copy)]
struct Change {
    before: Oid,
    after: Oid,
    when: Instant,
}

/// What came in lately.
#[derive(Debug, Default)]
pub(super) struct CameIn(HashMap<RepoPath, Vec<Change>>);

impl CameIn {
    /// Notes what changed in the files.
    pub(super) fn note<'a>(&mut self, changes: impl Iterator<Item = &'a baft_repo::Change>) {
        let when = Instant::now();
        for change in changes {
            let (Some(before), Some(after)) = (change.old, change.new) else { continue };
            let known = self.0.entry(change.path.clone()).or_default();
            if known.len() == MOST_CHANGES {
                known.remove(0);
            }
            known.push(Change { before, after, when });
        }
    }

    fn forget_old(&mut self) {
        self.0.retain(|_, changes| {
            changes.retain(|change| change.when.elapsed() < LATELY);
            !changes.is_empty()
        });
    }
}

impl Agent {
    /// Which of the saved files take back what upstream changed in them lately.
    pub(super) fn stale_saves(&mut self, harvest: &Harvest) -> BTreeSet<RepoPath> {
        self.came_in.forget_old();
        let mut found = BTreeSet::new();
        for (path, saved) in &harvest.edits {
            let Some(changes) = self.came_in.0.get(path) else { continue };
            if changes.iter().any(|change| self.is_taken_back(change, saved.blob)) {
                tracing::warn!(%path, "saved with the text from before upstream's change came in");
                self.report.notices.push(Notice::StaleSave { path: path.clone() });
                found.insert(path.clone());
            }
        }
        found
    }

    fn is_taken_back(&self, change: &Change, saved: Oid) -> bool {
        if saved == change.before {
            return true;
        }
        let read = |oid| self.repo.read(oid).ok().filter(|bytes| bytes.len() <= LARGEST);
        match (read(change.before), read(change.after), read(saved)) {
            (Some(before), Some(after), Some(saved)) => takes_back(&before, &after, &saved),
            _ => false,
        }
    }
}

/// Whether a text has every line a change removed and none of those it added.
fn takes_back(before: &[u8], after: &[u8], saved: &[u8]) -> bool {
    let (before, after, saved) = (lines(before), lines(after), lines(saved));
    let count = |of: &HashMap<&[u8], usize>, line: &[u8]| of.get(line).copied().unwrap_or(0);
    let mut changed = false;
    for line in before.keys().chain(after.keys()) {
        let (was, is, now) = (count(&before, line), count(&after, line), count(&saved, line));
        if was == is {
            continue;
        }
        changed = true;
        if was > is && now < was || was < is && now > was {
            return false;
        }
    }
    changed
}

fn lines(text: &[u8]) -> HashMap<&[u8], usize> {
    let mut lines = HashMap::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_before_with_edits_of_its_own_takes_upstreams_change_back() {
        let (before, after) = (b"a: 1\nb: 1\nc: 1\n", b"a: 1\nb: 2\nc: 1\nd: 1\n");
        for (saved, expected) in [
            ("a: 1\nb: 1\nc: 1\n", true),
            ("a: 7\nb: 1\nc: 1\ne: 1\n", true),
            ("a: 7\nb: 2\nc: 1\nd: 1\n", false),
            ("a: 1\nb: 1\nc: 1\nd: 1\n", false),
            ("a: 1\nb: 3\nc: 1\nd: 1\n", false),
            ("", false),
        ] {
            assert_eq!(takes_back(before, after, saved.as_bytes()), expected, "{saved:?}");
        }
        assert!(!takes_back(b"a\n", b"a\n", b"a\n"), "nothing came in");
    }
}
