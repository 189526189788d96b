//! Making trees, moving refs, and changing live files, compared with what git does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use baft_repo::live::{Live, Outcome, Sync, Wanted};
use baft_repo::lock::Locks;
use baft_repo::refs::RefMove;
use baft_repo::write::{Stamp, TreeEdits};
use baft_repo::{FileMode, Oid, Repo, RepoError, RepoPath, Settings};
use baft_tests::GitRemote;
use proptest::prelude::*;

fn path(name: &str) -> RepoPath {
    RepoPath::new(name).unwrap()
}

fn open(remote: &GitRemote) -> Repo {
    baft_repo::init(&Settings::default()).unwrap();
    Repo::open(remote.work()).unwrap()
}

/// What a tree must be after edits, from the edits alone.
fn model(files: &[(String, u8)], edits: &[(String, Option<u8>)]) -> std::collections::BTreeMap<String, u8> {
    let mut tree: std::collections::BTreeMap<String, u8> = std::collections::BTreeMap::new();
    for (name, content) in files {
        tree.retain(|there, _| !there.starts_with(&format!("{name}/")) && !name.starts_with(&format!("{there}/")));
        tree.insert(name.clone(), *content);
    }
    for (name, _) in edits.iter().filter(|(_, to)| to.is_none()) {
        tree.remove(name);
    }
    for (name, to) in edits {
        if let Some(to) = to {
            tree.retain(|there, _| !there.starts_with(&format!("{name}/")) && !name.starts_with(&format!("{there}/")));
            tree.insert(name.clone(), *to);
        }
    }
    tree
}

fn name() -> impl Strategy<Value = String> {
    "[ab](/[ab]){0,2}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_built_by_edits_is_the_tree_of_the_result(
        files in proptest::collection::vec((name(), 0..9_u8), 0..6),
        edits in proptest::collection::btree_map(name(), proptest::option::of(0..9_u8), 0..5),
    ) {
        // Two edits that cannot both be: a file and something below it.
        let clash = edits.iter().any(|(a, to)| to.is_some() && edits.iter().any(|(b, to)| to.is_some() && b.starts_with(&format!("{a}/"))));
        prop_assume!(!clash);
        let remote = GitRemote::new();
        let repo = open(&remote);
        let blob = |content: u8| repo.write_blob(&[content]).unwrap();
        let build = |tree: &std::collections::BTreeMap<String, u8>| {
            let all: TreeEdits = tree.iter().map(|(name, content)| (path(name), Some((blob(*content), FileMode::File)))).collect();
            repo.write_tree(None, &all).unwrap()
        };
        let edits: Vec<(String, Option<u8>)> = edits.into_iter().collect();
        let base = build(&model(&files, &[]));
        let changes: TreeEdits = edits.iter().map(|(name, to)| (path(name), to.map(|content| (blob(content), FileMode::File)))).collect();
        prop_assert_eq!(repo.write_tree(Some(base), &changes).unwrap(), build(&model(&files, &edits)));
    }
}

#[test]
fn a_ref_moves_only_from_where_it_was_also_when_it_is_packed() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let second = remote.commit(&[("a", "2")]);
    let (first, second): (Oid, Oid) = (first.parse().unwrap(), second.parse().unwrap());
    let repo = open(&remote);
    let locks = Locks::new(repo.git_dir().join("baft/locks")).unwrap();
    let who = Stamp { name: "T".to_owned(), email: "t@example.org".to_owned(), seconds: 1 };
    let go = |name, from, to| repo.move_ref(&locks, RefMove { name, from, to, who: &who, why: "test" });
    go("refs/baft/x", None, Some(first)).unwrap();
    assert!(matches!(go("refs/baft/x", None, Some(second)), Err(RepoError::Moved { .. })));
    remote.git(&["pack-refs", "--all"]);
    go("refs/baft/x", Some(first), Some(second)).unwrap();
    remote.git(&["pack-refs", "--all"]);
    go("refs/baft/x", Some(second), None).unwrap();
    assert_eq!(repo.find_ref("refs/baft/x").unwrap(), None);
    assert_eq!(remote.git(&["for-each-ref", "refs/baft"]), "");
    assert_eq!(repo.find_ref("refs/heads/main").unwrap(), Some(second), "the others stay packed");
    std::fs::write(repo.git_dir().join("refs/heads/main.lock"), "").unwrap();
    assert!(matches!(go("refs/heads/main", Some(second), Some(first)), Err(RepoError::Locked { .. })));
}

#[test]
fn a_live_file_is_replaced_only_when_it_is_what_was_expected_and_nobody_writes_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::open(folder.path()).unwrap();
    let file = folder.path().join("d/a.yaml");
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(&file, "old").unwrap();
    let at = path("d/a.yaml");
    let go = |old: Option<&str>, new: Option<&str>| {
        let blob = |text: &str| Oid::of_blob(text.as_bytes());
        if let Some(new) = new {
            live.prepare(&at, FileMode::File, new.as_bytes(), None, Sync::Now).unwrap();
        }
        live.replace(&Wanted { path: &at, old: old.map(blob), new: new.map(|new| (blob(new), FileMode::File)) })
            .unwrap()
    };
    let busy = Outcome::Busy { displaced: None };
    assert_eq!(go(Some("other"), Some("new")), busy);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    let writer = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    assert_eq!(go(Some("old"), Some("new")), busy);
    drop(writer);
    assert_eq!(go(Some("old"), Some("new")), Outcome::Done);
    assert_eq!(go(None, Some("newer")), busy, "a file that should not be there");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(go(Some("old"), None), busy);
    assert_eq!(go(Some("new"), None), Outcome::Done);
    assert!(!folder.path().join("d").exists(), "and its empty folder goes with it");
    assert_eq!(go(None, Some("again")), Outcome::Done);
    assert_eq!(std::fs::read_dir(folder.path().join("d")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_pack_of_blobs_is_kept_from_collectors_until_it_is_released_and_a_persons_keep_stays() {
    use std::time::Duration;
    let (remote, _) = GitRemote::with_files(&[("a.txt", "a\n")]);
    let repo = Repo::open(remote.work()).unwrap();
    let oids = repo.write_blobs(&[b"one\n".to_vec(), b"two\n".to_vec()]).unwrap();
    let large = repo.write_blob(&vec![b'x'; 300_000]).unwrap();
    let packs = remote.work().join(".git/objects/pack");
    let keeps = || {
        let files = std::fs::read_dir(&packs).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|name| name == "keep")).count()
    };
    assert_eq!(keeps(), 2);
    remote.git(&["gc", "-q", "--prune=now"]);
    for oid in oids.iter().chain([&large]) {
        assert_eq!(remote.git(&["cat-file", "-t", &oid.to_string()]), "blob");
    }
    std::fs::write(packs.join("pack-1111111111111111111111111111111111111111.keep"), "mine\n").unwrap();
    assert_eq!(repo.release_packs(Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(repo.release_packs(Duration::ZERO).unwrap(), 2);
    assert_eq!(keeps(), 1);
    remote.git(&["gc", "-q", "--prune=now"]);
    let fresh = Repo::open(remote.work()).unwrap();
    assert!(!fresh.contains(oids[0]) && !fresh.contains(large), "nothing leads to them");
    let leftovers = std::fs::read_dir(remote.work().join(".git/objects")).unwrap().flatten();
    assert!(!leftovers.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("baft-")));
}
