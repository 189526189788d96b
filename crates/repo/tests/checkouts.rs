//! A checkout is exactly its commit, appears whole or not at all, and never inherits anybody's edits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use baft_repo::checkout::{Access, CheckoutReport, Keep, Mode, Origin};
use baft_repo::{Checkouts, Oid, Repo, RepoError, Settings};
use baft_tests::GitRemote;
use baft_tests::git::git;
use tempfile::TempDir;

struct Fixture {
    remote: GitRemote,
    repo: Repo,
    checkouts: Checkouts,
    _folder: TempDir,
}

impl Fixture {
    fn new(mode: Mode, access: Access) -> Self {
        baft_repo::init(&Settings::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let remote = GitRemote::new();
        let repo = Repo::open(remote.bare()).unwrap();
        let checkouts = Checkouts::open(folder.path().join("checkouts"), mode, access).unwrap();
        Self { remote, repo, checkouts, _folder: folder }
    }

    fn linked() -> Self {
        Self::new(Mode::Link, Access::ReadOnly)
    }

    fn commit(&self, files: &[(&str, &str)]) -> Oid {
        self.remote.commit(files).parse().unwrap()
    }

    fn publish(&self, commit: Oid, previous: Option<Oid>) -> CheckoutReport {
        let report = self.checkouts.publish(&self.repo, commit, previous).unwrap();
        self.assert_whole(commit);
        report
    }

    fn prepare(&self, commit: Oid) {
        assert!(self.checkouts.prepare(&self.repo, commit, &|| false).unwrap());
    }

    fn assert_whole(&self, commit: Oid) {
        let expected: BTreeMap<String, (String, String)> =
            self.remote.tree(&commit.to_string()).into_iter().filter(|(_, (mode, _))| mode != "160000").collect();
        assert_eq!(on_disk(&self.checkouts.path(commit)), expected);
    }
}

/// Every file of a folder as `git ls-tree` would list it.
fn on_disk(root: &Path) -> BTreeMap<String, (String, String)> {
    let mut files = Vec::new();
    collect(root, &mut files);
    let mut found = BTreeMap::new();
    for path in files {
        let metadata = path.symlink_metadata().unwrap();
        let (mode, content) = if metadata.is_symlink() {
            ("120000", std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else {
            (if metadata.mode() & 0o100 != 0 { "100755" } else { "100644" }, std::fs::read(&path).unwrap())
        };
        let oid = git2_hash(&content);
        let name = path.strip_prefix(root).unwrap();
        found.insert(String::from_utf8_lossy(name.as_os_str().as_bytes()).into_owned(), (mode.to_owned(), oid));
    }
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

fn git2_hash(content: &[u8]) -> String {
    git2::Oid::hash_object(git2::ObjectType::Blob, content).unwrap().to_string()
}

const FILES: &[(&str, &str)] = &[
    ("data/gaps/G1.yaml", "id: 1\n"),
    ("data/gaps/G2.yaml", "id: 2\n"),
    ("data/obs.yaml", "a: b\n"),
    ("README.md", "hello\n"),
    ("empty", ""),
    ("گپ/ö b.yaml", "x\n"),
];

#[test]
fn a_checkout_is_the_commit_and_nothing_else() {
    let fixture = Fixture::linked();
    let work = fixture.remote.work();
    std::fs::create_dir_all(work.join("bin")).unwrap();
    std::fs::write(work.join("bin/run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(work.join("bin/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../README.md", work.join("bin/link")).unwrap();
    std::fs::write(work.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff")), "x").unwrap();
    let commit = fixture.commit(FILES);
    let report = fixture.checkouts.publish(&fixture.repo, commit, None).unwrap();
    assert_eq!((report.origin, report.written, report.linked), (Origin::Written, 9, 0));
    // `ls-tree` output is lossy for the odd name on both sides.
    fixture.assert_whole(commit);
    assert!(!report.path.join(".git").exists());
    assert_eq!(report.path.join("README.md").metadata().unwrap().mode() & 0o7777, 0o444);
    assert_eq!(report.path.join("bin/run").metadata().unwrap().mode() & 0o7777, 0o555);
}

#[test]
fn unchanged_files_are_shared_with_and_without_a_spare() {
    let fixture = Fixture::linked();
    let first = fixture.commit(FILES);
    fixture.publish(first, None);
    let second = fixture.commit(&[("data/gaps/G1.yaml", "id: 1\nnew: yes\n"), ("data/new/x", "x")]);
    let report = fixture.publish(second, Some(first));
    assert_eq!((report.origin, report.written, report.linked, report.altered), (Origin::Linked, 2, 5, 0));
    fixture.prepare(second);
    let third = fixture.commit(&[("data/new/x", "y")]);
    let report = fixture.publish(third, Some(second));
    assert_eq!((report.origin, report.written, report.linked, report.altered), (Origin::Spare, 1, 6, 0));
    let inode = |commit: Oid, path: &str| fixture.checkouts.path(commit).join(path).metadata().unwrap().ino();
    assert_eq!(inode(first, "README.md"), inode(third, "README.md"));
    assert_ne!(inode(second, "data/new/x"), inode(third, "data/new/x"));
    for commit in [first, second, third] {
        fixture.assert_whole(commit);
        assert!(fixture.checkouts.is_intact(&fixture.repo, commit).unwrap());
    }
}

#[test]
fn every_kind_of_change_ends_in_the_same_tree_by_every_road() {
    let fixture = Fixture::linked();
    let work = fixture.remote.work();
    let mut previous = fixture.commit(FILES);
    fixture.publish(previous, None);
    let steps: [&dyn Fn(); 9] = [
        &|| std::fs::remove_dir_all(work.join("data/gaps")).unwrap(),
        &|| {
            std::fs::remove_file(work.join("empty")).unwrap();
            std::fs::create_dir(work.join("empty")).unwrap();
            std::fs::write(work.join("empty/inside"), "file became folder").unwrap();
        },
        &|| {
            std::fs::remove_dir_all(work.join("empty")).unwrap();
            std::fs::write(work.join("empty"), "folder became file").unwrap();
            // Sorts between `empty` and `empty/`.
            std::fs::write(work.join("empty.txt"), "between").unwrap();
        },
        &|| {
            std::fs::remove_file(work.join("README.md")).unwrap();
            std::os::unix::fs::symlink("data/obs.yaml", work.join("README.md")).unwrap();
        },
        &|| std::fs::set_permissions(work.join("data/obs.yaml"), std::fs::Permissions::from_mode(0o755)).unwrap(),
        &|| std::fs::rename(work.join("گپ"), work.join("renamed")).unwrap(),
        &|| {
            std::fs::create_dir_all(work.join("deep/er/and/deeper"))
                .and_then(|()| std::fs::write(work.join("deep/er/and/deeper/x"), "x"))
                .unwrap()
        },
        &|| std::fs::remove_dir_all(work.join("deep")).unwrap(),
        &|| std::fs::write(work.join("README.md.bak"), "x").unwrap(),
    ];
    for (number, step) in steps.iter().enumerate() {
        step();
        let commit = fixture.commit(&[]);
        let report = fixture.publish(commit, Some(previous));
        assert_eq!(report.altered, 0, "step {number}");
        // The same again from a spare of the previous commit, and from links.
        for road in [Origin::Spare, Origin::Linked] {
            std::fs::remove_dir_all(fixture.checkouts.path(commit)).unwrap();
            if road == Origin::Spare {
                fixture.prepare(previous);
            }
            let report = fixture.publish(commit, Some(previous));
            let turned = number == 2;
            assert!(report.origin == road || turned, "step {number}: {:?} instead of {road:?}", report.origin);
        }
        previous = commit;
    }
}

#[test]
fn one_stray_write_never_spreads() {
    let fixture = Fixture::linked();
    let first = fixture.commit(FILES);
    let path = fixture.publish(first, None).path;
    fixture.prepare(first);
    // One file is overwritten in place, one replaced, one removed; the spare shares their inodes.
    std::fs::set_permissions(path.join("data/obs.yaml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path.join("data/obs.yaml"), "bad!\n").unwrap();
    std::fs::remove_file(path.join("README.md")).unwrap();
    std::fs::write(path.join("README.md"), "hello\n").unwrap();
    std::fs::remove_file(path.join("empty")).unwrap();
    assert!(!fixture.checkouts.is_intact(&fixture.repo, first).unwrap());
    let second = fixture.commit(&[("data/gaps/G1.yaml", "id: 11\n")]);
    let report = fixture.publish(second, Some(first));
    assert_eq!((report.origin, report.altered), (Origin::Spare, 1));
    // Without a spare, all three are seen.
    let third = fixture.commit(&[("data/gaps/G1.yaml", "id: 12\n")]);
    let report = fixture.publish(third, Some(first));
    assert_eq!((report.origin, report.altered), (Origin::Linked, 3));
}

#[test]
fn a_write_that_hides_behind_its_old_time_stamp_is_found_by_content() {
    let fixture = Fixture::linked();
    let first = fixture.commit(FILES);
    let path = fixture.publish(first, None).path.join("data/obs.yaml");
    let time = path.metadata().unwrap().modified().unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&path, "a: c\n").unwrap();
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    let second = fixture.commit(&[("data/gaps/G1.yaml", "id: 11\n")]);
    assert_eq!(fixture.publish(second, Some(first)).altered, 1);
}

#[test]
fn a_damaged_checkout_is_replaced_in_one_step() {
    let fixture = Fixture::linked();
    let commit = fixture.commit(FILES);
    let path = fixture.publish(commit, None).path;
    assert_eq!(fixture.publish(commit, None).origin, Origin::Existing);
    std::fs::create_dir(path.join("data/__pycache__")).unwrap();
    std::fs::write(path.join("data/__pycache__/x.pyc"), "x").unwrap();
    // A reader that has the folder open keeps it.
    let reader = std::fs::File::open(&path).unwrap();
    let report = fixture.publish(commit, None);
    assert_ne!(report.origin, Origin::Existing);
    assert!(!path.join("data/__pycache__").exists());
    assert_ne!(reader.metadata().unwrap().ino(), path.metadata().unwrap().ino());
    fixture.checkouts.sweep(Keep { newest: 1, younger_than: Duration::ZERO }, commit, &|| false).unwrap();
    assert_eq!(names(&fixture), ["<oid>"]);
}

#[test]
fn a_missing_manifest_costs_time_and_nothing_else() {
    let fixture = Fixture::linked();
    let first = fixture.commit(FILES);
    let root = fixture.publish(first, None).path.parent().unwrap().to_owned();
    std::fs::write(root.join(".manifests").join(first.to_string()), "torn").unwrap();
    let second = fixture.commit(&[("data/gaps/G1.yaml", "id: 11\n")]);
    assert_eq!(fixture.publish(second, Some(first)).origin, Origin::Written);
}

#[test]
fn checkouts_in_copy_mode_share_no_inode_and_the_group_may_write() {
    let fixture = Fixture::new(Mode::Link, Access::GroupWrite);
    let first = fixture.commit(FILES);
    let path = fixture.publish(first, None).path;
    assert_eq!(path.join("README.md").metadata().unwrap().mode() & 0o7777, 0o664);
    assert_eq!(path.join("data").metadata().unwrap().mode() & 0o7777, 0o2775);
    fixture.prepare(first);
    // A consumer edits its checkout; the next one has what was committed.
    std::fs::write(path.join("README.md"), "mine\n").unwrap();
    let second = fixture.commit(&[("data/gaps/G1.yaml", "id: 11\n")]);
    assert_eq!(fixture.publish(second, Some(first)).origin, Origin::Spare);
    let inode = |commit: Oid| fixture.checkouts.path(commit).join("empty").metadata().unwrap().ino();
    assert_ne!(inode(first), inode(second));
}

#[test]
fn old_checkouts_go_and_the_current_one_and_its_spare_stay_good() {
    let fixture = Fixture::linked();
    let mut commits = vec![fixture.commit(FILES)];
    fixture.publish(commits[0], None);
    for number in 0..4 {
        let commit = fixture.commit(&[("data/obs.yaml", &format!("n: {number}\n"))]);
        fixture.publish(commit, commits.last().copied());
        commits.push(commit);
    }
    let current = commits[4];
    fixture.prepare(current);
    let keep = Keep { newest: 5, younger_than: Duration::ZERO };
    assert!(fixture.checkouts.sweep(keep, current, &|| false).unwrap().removed.is_empty());
    let keep = Keep { newest: 1, younger_than: Duration::from_secs(3600) };
    assert!(fixture.checkouts.sweep(keep, current, &|| false).unwrap().removed.is_empty());
    let keep = Keep { newest: 2, younger_than: Duration::ZERO };
    let swept = fixture.checkouts.sweep(keep, current, &|| false).unwrap();
    assert_eq!(swept.removed.len(), 3);
    assert_eq!(fixture.checkouts.existing().unwrap(), [current, commits[3]]);
    // Removing links changed every shared file's ctime; nobody is fooled.
    assert!(fixture.checkouts.is_intact(&fixture.repo, current).unwrap());
    let next = fixture.commit(&[("data/obs.yaml", "next: 1\n")]);
    let report = fixture.publish(next, Some(current));
    assert_eq!((report.origin, report.altered), (Origin::Spare, 0));
}

#[test]
fn an_interrupted_sweep_or_spare_leaves_nothing_behind_for_long() {
    let fixture = Fixture::linked();
    let first = fixture.commit(FILES);
    fixture.publish(first, None);
    let second = fixture.commit(&[("data/obs.yaml", "n: 1\n")]);
    fixture.publish(second, Some(first));
    assert!(!fixture.checkouts.prepare(&fixture.repo, second, &|| true).unwrap());
    let keep = Keep { newest: 1, younger_than: Duration::ZERO };
    let swept = fixture.checkouts.sweep(keep, second, &|| true).unwrap();
    assert!(swept.interrupted);
    assert!(!fixture.checkouts.path(first).exists(), "it is out of sight at once");
    assert!(!fixture.checkouts.sweep(keep, second, &|| false).unwrap().interrupted);
    assert_eq!(names(&fixture), ["<oid>"]);
    fixture.assert_whole(second);
}

/// What is in the checkouts' folder, ids and our own folder of manifests left out.
fn names(fixture: &Fixture) -> Vec<String> {
    let root = fixture.checkouts.path(Oid::from_bytes([0; 20])).parent().unwrap().to_owned();
    let mut names: Vec<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".manifests")
        .map(|name| if name.parse::<Oid>().is_ok() { "<oid>".to_owned() } else { name })
        .collect();
    names.sort();
    names
}

#[test]
fn a_tree_that_git_would_refuse_is_refused_as_a_whole() {
    let fixture = Fixture::linked();
    fixture.commit(FILES);
    let bare = fixture.remote.bare();
    let blob = git(&bare, &["rev-parse", "main:README.md"]);
    for name in [".git", "..", ".GIT"] {
        // `git mktree` refuses these names; a tree object written by hand does not.
        let mut tree = format!("100644 {name}\0").into_bytes();
        tree.extend_from_slice(blob.parse::<Oid>().unwrap().as_bytes());
        let raw = git2::Repository::open_bare(&bare).unwrap();
        let tree = raw.odb().unwrap().write(git2::ObjectType::Tree, &tree).unwrap().to_string();
        let commit = commit_tree(&bare, &tree);
        let error = fixture.checkouts.publish(&fixture.repo, commit, None).unwrap_err();
        assert!(matches!(error, RepoError::HostilePath { .. }), "{name}: {error}");
        assert!(!fixture.checkouts.path(commit).exists());
    }
    assert!(names(&fixture).is_empty());
}

fn commit_tree(bare: &Path, tree: &str) -> Oid {
    let output = Command::new("git")
        .current_dir(bare)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "commit-tree", tree, "-m", "x"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_submodule_is_an_empty_folder_and_a_missing_object_stops_everything() {
    let fixture = Fixture::linked();
    let other = GitRemote::with_files(&[("x", "y")]).1;
    fixture.remote.commit(FILES);
    fixture.remote.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{other},sub/module")]);
    fixture.remote.git(&["commit", "-qm", "submodule"]);
    fixture.remote.git(&["push", "-q", "origin", "HEAD"]);
    let commit: Oid = fixture.remote.head().parse().unwrap();
    let path = fixture.publish(commit, None).path;
    assert!(path.join("sub/module").is_dir());
    // A commit whose blob is not there.
    let raw = git2::Repository::open_bare(fixture.remote.bare()).unwrap();
    let mut tree = b"100644 file\0".to_vec();
    tree.extend_from_slice(&[7; 20]);
    let tree = raw.odb().unwrap().write(git2::ObjectType::Tree, &tree).unwrap().to_string();
    let broken = commit_tree(&fixture.remote.bare(), &tree);
    fixture.checkouts.publish(&fixture.repo, broken, Some(commit)).unwrap_err();
    assert!(!fixture.checkouts.path(broken).exists());
    assert_eq!(names(&fixture), ["<oid>"]);
}
