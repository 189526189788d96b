//! Bringing two histories together in memory: nothing here touches a ref, the index or a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baft_dataset::dataset::Datasets;
use baft_dataset::merge::{Merged, merge as merge_data};
use baft_dataset::validate::broken;
use baft_repo::write::{TreeEdits, merge_lines};
use baft_repo::{Change, FileMode, Oid, Repo, RepoError, RepoPath};

/// What came out of three trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trees {
    /// The result; upstream's version where the two disagree.
    pub(super) tree: Oid,
    /// Where they disagree.
    pub(super) conflicts: Vec<RepoPath>,
    /// Where both changed the same file and both changes are in it: contents that are in neither history.
    pub(super) blended: Vec<RepoPath>,
}

/// Where a repository says how its data is laid out.
pub(super) const DECLARATION: &str = "baft-import.toml";

/// The declaration of a tree; the built-in one when there is none or it cannot be read.
pub(super) fn datasets(repo: &Repo, tree: Oid) -> Arc<Datasets> {
    let read = || -> Option<Arc<Datasets>> {
        let text = file_of(repo, tree, DECLARATION)?;
        match Datasets::parse(DECLARATION, &String::from_utf8_lossy(&text)) {
            Ok(datasets) => Some(Arc::new(datasets)),
            Err(error) => {
                tracing::warn!(%error, "the declaration of the data cannot be read: merging by the built-in one");
                None
            }
        }
    };
    read().unwrap_or_else(Datasets::built_in)
}

type Side = Option<(Oid, FileMode)>;

/// A three-way merge of trees, by path, then by entity. `theirs` wins where they disagree.
pub(super) fn trees(repo: &Repo, base: Option<Oid>, ours: Oid, theirs: Oid) -> Result<Trees, RepoError> {
    let mine = changed(repo, base, ours)?;
    let their = changed(repo, base, theirs)?;
    let mut result = Trees { tree: theirs, conflicts: Vec::new(), blended: Vec::new() };
    let mut edits = TreeEdits::new();
    let mut rules = None;
    for (path, (before, now)) in &mine {
        let theirs_now = match their.get(path) {
            Some((_, now)) => *now,
            None if now.is_none() => *before,
            // Untouched by them; but a file of theirs may be where our folder is, or the other way round.
            None if in_the_way(&their, path) => {
                result.conflicts.push(path.clone());
                continue;
            }
            None => {
                edits.insert(path.clone(), *now);
                continue;
            }
        };
        if theirs_now == *now {
            continue;
        }
        if !their.contains_key(path) {
            edits.insert(path.clone(), *now);
            continue;
        }
        let rules = rules.get_or_insert_with(|| datasets(repo, theirs));
        match content(repo, (rules, theirs), path, *before, *now, theirs_now)? {
            Content::Same => {}
            Content::Blended(blob, mode, conflict) => {
                edits.insert(path.clone(), Some((blob, mode)));
                result.blended.push(path.clone());
                if conflict == Conflict::Yes {
                    result.conflicts.push(path.clone());
                }
            }
            Content::Conflict => result.conflicts.push(path.clone()),
        }
    }
    if !edits.is_empty() {
        result.tree = repo.write_tree(Some(theirs), &edits)?;
    }
    Ok(result)
}

fn changed(repo: &Repo, base: Option<Oid>, to: Oid) -> Result<BTreeMap<RepoPath, (Side, Side)>, RepoError> {
    let sides = |change: Change| -> Result<(RepoPath, (Side, Side)), RepoError> {
        let at = |tree: Option<Oid>| tree.map_or(Ok(None), |tree| repo.tree_entry(tree, &change.path));
        let before = if change.old.is_some() { at(base)? } else { None };
        let now = if change.new.is_some() { at(Some(to))? } else { None };
        Ok((change.path, (before, now)))
    };
    repo.diff_trees(base, to)?.into_iter().map(sides).collect()
}

/// Whether the other side has made a file of one of the path's folders, or a folder of the path.
pub(super) fn in_the_way<T>(other: &BTreeMap<RepoPath, (T, Side)>, path: &RepoPath) -> bool {
    let mut folder = path.parent();
    while let Some(here) = folder {
        if other.get(&here).is_some_and(|(_, now)| now.is_some()) {
            return true;
        }
        folder = here.parent();
    }
    let below = format!("{path}/");
    let mut after = other.range::<str, _>((std::ops::Bound::Excluded(below.as_str()), std::ops::Bound::Unbounded));
    after.by_ref().take_while(|(found, _)| found.as_str().starts_with(&below)).any(|(_, (_, now))| now.is_some())
}

#[derive(PartialEq, Eq)]
enum Conflict {
    Yes,
    No,
}

enum Content {
    /// It comes to what they have.
    Same,
    /// A content of its own, with their version where the two disagree.
    Blended(Oid, FileMode, Conflict),
    /// Theirs, whole.
    Conflict,
}

/// Larger files are not merged by content.
const LARGEST: u64 = 16 << 20;

/// Merges one file. With the declaration goes the tree it is of, where its schemas are.
fn content(
    repo: &Repo,
    (rules, tree): (&Datasets, Oid),
    path: &RepoPath,
    base: Side,
    ours: Side,
    theirs: Side,
) -> Result<Content, RepoError> {
    let (Some((our_blob, our_mode)), Some((their_blob, their_mode))) = (ours, theirs) else {
        return Ok(Content::Conflict);
    };
    if our_blob == their_blob {
        return Ok(Content::Same);
    }
    let plain = |mode| matches!(mode, FileMode::File | FileMode::Executable);
    let based = base.map(|(blob, _)| blob);
    if based == Some(our_blob) {
        return Ok(Content::Same);
    }
    if !plain(our_mode) || !plain(their_mode) || base.is_some_and(|(_, mode)| !plain(mode)) {
        return Ok(Content::Conflict);
    }
    if based == Some(their_blob) {
        return Ok(Content::Blended(our_blob, their_mode, Conflict::No));
    }
    for blob in [Some(our_blob), Some(their_blob), based].into_iter().flatten() {
        if repo.size(blob)? > LARGEST {
            return Ok(Content::Conflict);
        }
    }
    let (ours, theirs) = (repo.read(our_blob)?, repo.read(their_blob)?);
    let base = based.map(|blob| repo.read(blob)).transpose()?;
    let blended = |text: &[u8], conflict| -> Result<Content, RepoError> {
        let blob = repo.write_blob(text)?;
        Ok(if blob == their_blob && conflict == Conflict::No {
            Content::Same
        } else {
            Content::Blended(blob, their_mode, conflict)
        })
    };
    let merged = merge_data(rules, path.as_str(), base.as_deref(), &ours, &theirs);
    if let Merged::Clean(text) | Merged::Partly { text, .. } = &merged {
        let broken = broken(rules, path.as_str(), &[&ours, &theirs], text, |schema| file_of(repo, tree, schema));
        if let Some(issue) = broken.first() {
            tracing::info!(%path, %issue, "each side is valid, the two together are not");
            return Ok(Content::Conflict);
        }
    }
    match merged {
        Merged::Clean(text) => blended(&text, Conflict::No),
        Merged::Partly { text, conflicts } => {
            tracing::info!(%path, conflicts = conflicts.len(), "merged, except for what both sides changed");
            blended(&text, Conflict::Yes)
        }
        Merged::Whole { reason } => {
            let data = matches!(path.extension(), Some("yaml" | "yml"));
            let lines = if data { None } else { merge_lines(base.as_deref(), &ours, &theirs) };
            match lines.filter(|text| {
                path.extension() != Some("json") || serde_json::from_slice::<serde_json::Value>(text).is_ok()
            }) {
                Some(text) => blended(&text, Conflict::No),
                None => {
                    tracing::info!(%path, reason, "cannot be merged");
                    Ok(Content::Conflict)
                }
            }
        }
    }
}

/// The content of a file of a tree, if it is there.
pub(super) fn file_of(repo: &Repo, tree: Oid, path: &str) -> Option<Vec<u8>> {
    let (blob, _) = repo.tree_entry(tree, &RepoPath::new(path).ok()?).ok()??;
    repo.read(blob).ok()
}

/// Whether two sets of changed paths have nothing to do with each other.
pub(super) fn disjoint(repo: &Repo, base: Oid, ours: &BTreeSet<RepoPath>, theirs: Oid) -> Result<bool, RepoError> {
    let their = changed(repo, Some(base), theirs)?;
    Ok(ours.iter().all(|path| !their.contains_key(path) && !in_the_way(&their, path)))
}
