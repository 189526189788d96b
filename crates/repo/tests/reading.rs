//! What this crate reads is what git reads, after any sequence of edits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use baft_repo::checkout::{Access, Mode};
use baft_repo::{Checkouts, FileMode, Oid, Repo, RepoPath, Settings, Status};
use baft_tests::GitRemote;
use proptest::prelude::*;

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

fn open(remote: &GitRemote) -> Repo {
    baft_repo::init(&Settings::default()).unwrap();
    Repo::open(remote.work()).unwrap()
}

#[test]
fn commits_trees_and_files_read_as_they_were_written() {
    let (remote, first) = GitRemote::with_files(&[("data/a.yaml", "1"), ("data/deep/b.yaml", "22"), ("c", "")]);
    let second = remote.commit(&[("data/a.yaml", "2")]);
    let repo = open(&remote);
    let (first, second): (Oid, Oid) = (first.parse().unwrap(), second.parse().unwrap());
    assert_eq!(repo.head().unwrap(), Some(second));
    assert_eq!(repo.resolve("HEAD~1").unwrap(), first);
    assert!(repo.resolve("no-such-branch").is_err());
    assert_eq!(repo.read_path(first, &path("data/a.yaml")).unwrap().unwrap(), b"1");
    assert_eq!(repo.read_path(second, &path("data/a.yaml")).unwrap().unwrap(), b"2");
    assert_eq!(repo.read_path(second, &path("data")).unwrap(), None, "a folder is not a file");
    assert_eq!(repo.read_path(second, &path("data/none")).unwrap(), None);
    let names = |prefix: Option<&str>| -> Vec<String> {
        let prefix = prefix.map(path);
        let entries = repo.list(second, prefix.as_ref()).unwrap();
        assert!(entries.iter().all(|entry| entry.mode == FileMode::File));
        entries.into_iter().map(|entry| entry.path.to_string()).collect()
    };
    assert_eq!(names(None), ["c", "data/a.yaml", "data/deep/b.yaml"]);
    assert_eq!(names(Some("data/deep")), ["data/deep/b.yaml"]);
    assert_eq!(names(Some("c")), ["c"]);
    assert!(names(Some("nothing")).is_empty());
    let deep = |commit| repo.subtree_id(commit, &path("data/deep")).unwrap();
    assert!(deep(first).is_some() && deep(first) == deep(second));
    assert_ne!(repo.tree_id(first).unwrap(), repo.tree_id(second).unwrap());
    let history: Vec<Oid> = repo.first_parents(second).map(|info| info.unwrap().oid).collect();
    assert_eq!(history, [second, first]);
    let info = repo.commit_info(second).unwrap();
    assert_eq!(
        (info.summary.as_str(), info.author.email.as_str(), info.parents),
        ("edit", "test@example.org", vec![first])
    );
    let blob = repo.list(second, Some(&path("data/deep/b.yaml"))).unwrap()[0].oid;
    assert_eq!(repo.size(blob).unwrap(), 2);
}

#[derive(Debug, Clone)]
enum Edit {
    Write(usize, u8),
    Delete(usize),
    Executable(usize),
    Link(usize),
}

/// Few names that get in each other's way: files where folders were, and names that sort around a slash.
const NAMES: [&str; 9] = ["a", "a/b", "a/b/c", "a.b", "a-b", "x/a", "x/b", "x/y/z", "گ/ö"];

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = (0..4u8, 0..NAMES.len(), any::<u8>()).prop_map(|(kind, name, byte)| match kind {
        0 | 1 => Edit::Write(name, byte % 4),
        2 if byte % 3 == 0 => Edit::Executable(name),
        2 if byte % 3 == 1 => Edit::Link(name),
        _ => Edit::Delete(name),
    });
    prop::collection::vec(prop::collection::vec(edit, 1..6), 2..6)
}

/// Makes room for `name`: whatever is in its way goes.
fn clear(work: &std::path::Path, name: &str) {
    let target = work.join(name);
    for ancestor in target.ancestors().skip(1).take_while(|ancestor| *ancestor != work) {
        if ancestor.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            std::fs::remove_file(ancestor).unwrap();
        }
    }
    match target.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(&target).unwrap(),
        Ok(_) => std::fs::remove_file(&target).unwrap(),
        Err(_) => {}
    }
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
}

fn apply(work: &std::path::Path, edit: &Edit) {
    use std::os::unix::fs::PermissionsExt;
    match edit {
        Edit::Write(name, byte) => {
            clear(work, NAMES[*name]);
            std::fs::write(work.join(NAMES[*name]), [*byte]).unwrap();
        }
        Edit::Delete(name) => clear(work, NAMES[*name]),
        Edit::Executable(name) => {
            clear(work, NAMES[*name]);
            std::fs::write(work.join(NAMES[*name]), "#!").unwrap();
            std::fs::set_permissions(work.join(NAMES[*name]), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Edit::Link(name) => {
            clear(work, NAMES[*name]);
            std::os::unix::fs::symlink("elsewhere", work.join(NAMES[*name])).unwrap();
        }
    }
}

/// What `git diff-tree` says, in our words.
fn by_git(remote: &GitRemote, old: &str, new: &str) -> BTreeMap<String, Status> {
    let text = remote.git(&["diff-tree", "-r", "--no-renames", "--name-status", "-z", old, new]);
    let fields: Vec<&str> = text.split('\0').filter(|field| !field.is_empty()).collect();
    fields
        .chunks_exact(2)
        .map(|pair| {
            let status = match pair[0] {
                "A" => Status::Added,
                "D" => Status::Deleted,
                "T" => Status::TypeChanged,
                _ => Status::Modified,
            };
            (pair[1].to_owned(), status)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_edits_diff_as_git_says_and_check_out_as_committed(steps in edits()) {
        let (remote, first) = GitRemote::with_files(&[("a/b/c", "1"), ("x/a", "1")]);
        let repo = open(&remote);
        let folder = tempfile::tempdir().unwrap();
        let checkouts = Checkouts::open(folder.path(), Mode::Link, Access::ReadOnly).unwrap();
        let mut previous: Oid = first.parse().unwrap();
        checkouts.publish(&repo, previous, None).unwrap();
        for (number, step) in steps.iter().enumerate() {
            step.iter().for_each(|edit| apply(&remote.work(), edit));
            let commit: Oid = remote.commit(&[]).parse().unwrap();
            let ours: BTreeMap<String, Status> =
                repo.diff(Some(previous), commit).unwrap().into_iter().map(|c| (c.path.to_string(), c.status)).collect();
            prop_assert_eq!(&ours, &by_git(&remote, &previous.to_string(), &commit.to_string()));
            if number % 2 == 0 {
                prop_assert!(checkouts.prepare(&repo, previous, &|| false).unwrap());
            }
            let report = checkouts.publish(&repo, commit, Some(previous)).unwrap();
            prop_assert_eq!(report.altered, 0);
            // git's own verdict on the checkout: nothing differs from the commit.
            let tree = report.path.to_str().unwrap().to_owned();
            let index = folder.path().join("index");
            let git_dir = remote.work().join(".git");
            let run = |args: &[&str]| {
                let output = std::process::Command::new("git").env("GIT_INDEX_FILE", &index).env("GIT_DIR", &git_dir)
                    .env("GIT_WORK_TREE", &tree).args(args).output().unwrap();
                (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
            };
            let id = commit.to_string();
            prop_assert!(run(&["read-tree", &id]).0);
            prop_assert_eq!(run(&["status", "--porcelain", "--untracked-files=all"]).1, "");
            previous = commit;
        }
    }
}
