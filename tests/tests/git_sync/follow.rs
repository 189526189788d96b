//! What is followed, and what readers find.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use baft_tests::{GitRemote, wait_until};

use crate::support::{Place, SOON, files, shown};

#[test]
fn head_is_followed_forward_and_back() {
    let (remote, first) = GitRemote::with_files(&[("a.yaml", "1"), ("d/b.yaml", "1")]);
    let place = Place::new();
    let mut process = place.start(&remote.url(), &[]);
    place.expect(&remote, &first);
    let second = remote.commit(&[("a.yaml", "2"), ("d/e/c.yaml", "1")]);
    place.expect(&remote, &second);
    remote.git(&["reset", "-q", "--hard", &first]);
    remote.git(&["push", "-q", "--force", "origin", "main"]);
    place.expect(&remote, &first);
    assert!(process.terminate(SOON).success());
    assert_eq!(place.shown().as_deref(), Some(first.as_str()), "the link outlives the process");
}

#[test]
fn a_branch_a_tag_and_a_full_ref_can_be_followed_and_switched_between() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    remote.git(&["branch", "side"]);
    remote.git(&["push", "-q", "origin", "side"]);
    let second = remote.commit(&[("a", "2")]);
    let place = Place::new();
    let run = |reference: &str| assert_eq!(place.once(&remote.url(), &["--ref", reference]).0, 0, "{reference}");
    run("main");
    place.expect(&remote, &second);
    run("side");
    place.expect(&remote, &first);
    run("refs/heads/main");
    place.expect(&remote, &second);

    remote.git(&["tag", "light", &first]);
    remote.git(&["tag", "-m", "annotated", "v1", &first]);
    remote.git(&["push", "-q", "origin", "light", "v1"]);
    run("light");
    place.expect(&remote, &first);
    run("main");
    run("v1");
    place.expect(&remote, &first);
    remote.git(&["tag", "-f", "-m", "moved", "v1", &second]);
    remote.git(&["push", "-q", "--force", "origin", "v1"]);
    run("v1");
    place.expect(&remote, &second);
}

#[test]
fn a_moved_tag_and_a_new_default_branch_are_noticed_while_it_runs() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    remote.git(&["tag", "t"]);
    remote.git(&["push", "-q", "origin", "t"]);
    let (tag, head) = (Place::new(), Place::new());
    let _follows_tag = tag.start(&remote.url(), &["--ref=t"]);
    let _follows_head = head.start(&remote.url(), &[]);
    tag.expect(&remote, &first);
    head.expect(&remote, &first);
    remote.git(&["checkout", "-q", "-b", "next"]);
    let second = remote.commit_only(&[("a", Some(b"2"))]);
    remote.git(&["push", "-q", "origin", "next"]);
    remote.git(&["tag", "-f", "t"]);
    remote.git(&["push", "-q", "--force", "origin", "t"]);
    tag.expect(&remote, &second);
    assert_eq!(head.shown().as_deref(), Some(first.as_str()));
    baft_tests::git::git(&remote.bare(), &["symbolic-ref", "HEAD", "refs/heads/next"]);
    head.expect(&remote, &second);
}

#[test]
fn a_commit_is_published_once_and_the_remote_is_left_in_peace() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    // A file that is named like the commit must not confuse anybody.
    let second = remote.commit(&[(first.as_str(), "x"), ("a", "2")]);
    let http = remote.serve_http();
    let place = Place::new();
    let _process = place.start(&http.url(), &["--ref", &first]);
    place.expect(&remote, &first);
    let (before, looks) = (http.requests(), place.metric("git_sync_count_total{status=\"noop\"}"));
    wait_until("five more looks", SOON, || {
        (place.metric("git_sync_count_total{status=\"noop\"}") >= looks + 5.0).then_some(())
    });
    assert_eq!(http.requests(), before);
    drop(_process);
    assert_eq!(place.once(&http.url(), &["--ref", &second]).0, 0);
    place.expect(&remote, &second);
    let (code, log) = place.once(&http.url(), &["--ref", &"1".repeat(40)]);
    assert_eq!(code, 1, "{log}");
    place.expect(&remote, &second);
}

#[test]
fn a_ref_that_does_not_exist_is_an_error_that_names_it() {
    let (remote, _) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let (code, log) = place.once(&remote.url(), &["--ref=no-such"]);
    assert_eq!(code, 1);
    assert!(log.contains("no-such"), "{log}");
    assert_eq!(place.shown(), None);
}

#[test]
fn the_link_may_be_relative_nested_absolute_or_named_after_the_repository() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let absolute = place.path("elsewhere/deep/link");
    for link in ["link", "sub/dir/link", absolute.to_str().unwrap()] {
        assert_eq!(place.once(&remote.url(), &[&format!("--link={link}")]).0, 0);
        let link = place.root().join(link);
        assert_eq!(shown(&link), Some(first.clone()));
        assert!(std::fs::read_link(&link).unwrap().is_relative());
        assert_eq!(files(&link), remote.tree(&first));
    }
    let mut process = baft_tests::Process::spawn_bin(
        "git-sync",
        ["--one-time", "--repo", &remote.url(), "--root", place.path("other").to_str().unwrap()],
        &[],
    );
    assert!(process.wait(SOON).success());
    let name = Path::new(&remote.url()).file_stem().unwrap().to_owned();
    assert_eq!(shown(&place.path("other").join(name)), Some(first));
}

#[test]
fn an_odd_root_is_no_problem_and_what_is_not_ours_stays() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    // Under another repository, through a link, with `..` in it, and with strangers' files.
    baft_tests::git::git(&place.path(""), &["init", "-q", "."]);
    std::fs::create_dir_all(place.path("real/.git/objects")).unwrap();
    std::fs::create_dir_all(place.path("real/.worktrees/x")).unwrap();
    std::fs::write(place.path("real/notes"), "mine").unwrap();
    symlink(place.path("real"), place.root()).unwrap();
    let root = format!("--root={}/../root", place.root().display());
    let mut arguments = place.arguments(&remote.url(), &["--one-time"]);
    arguments[1] = root;
    let mut process = baft_tests::Process::spawn_bin("git-sync", arguments, &[]);
    assert!(process.wait(SOON).success(), "{}", process.logs());
    place.expect(&remote, &first);
    assert_eq!(std::fs::read_to_string(place.path("real/notes")).unwrap(), "mine");
    assert!(place.path("real/.worktrees/x").is_dir());
}

#[test]
fn another_repository_on_the_same_volume_replaces_the_first() {
    let (one, first) = GitRemote::with_files(&[("a", "1")]);
    let (two, second) = GitRemote::with_files(&[("b", "2")]);
    let place = Place::new();
    assert_eq!(place.once(&one.url(), &[]).0, 0);
    place.expect(&one, &first);
    assert_eq!(place.once(&two.url(), &[]).0, 0);
    place.expect(&two, &second);
}

#[test]
fn what_somebody_changed_in_a_checkout_is_put_right() {
    let (remote, first) = GitRemote::with_files(&[("a", "1"), ("b", "1")]);
    let place = Place::new();
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    // While it does not run: a changed file, a lost link.
    let file = place.link().join("a");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&file, "changed").unwrap();
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    place.expect(&remote, &first);
    std::fs::remove_file(place.link()).unwrap();
    let _process = place.start(&remote.url(), &[]);
    place.expect(&remote, &first);
    // While it runs: the checkout gone, the link gone.
    std::fs::remove_dir_all(place.root().join("checkouts").join(&first)).unwrap();
    wait_until("the checkout to be back", SOON, || place.link().join("a").exists().then_some(()));
    place.expect(&remote, &first);
    std::fs::remove_file(place.link()).unwrap();
    place.expect(&remote, &first);
    // A change never spreads to the next checkout.
    let file = place.link().join("b");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&file, "changed").unwrap();
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
    assert_eq!(place.read("b"), "1");
}

#[test]
fn old_checkouts_go_and_the_newest_stay_and_garbage_is_swept() {
    let (remote, first) = GitRemote::with_files(&[("a", "0")]);
    let place = Place::new();
    let _process = place.start(&remote.url(), &["--keep-checkouts=2"]);
    place.expect(&remote, &first);
    std::fs::create_dir_all(place.root().join("checkouts/.tmp-left-by-a-crash/d")).unwrap();
    let mut last = first;
    for n in 1..=4 {
        let next = remote.commit(&[("a", &n.to_string())]);
        place.expect(&remote, &next);
        last = next;
    }
    let left = || -> Vec<String> {
        let entries = std::fs::read_dir(place.root().join("checkouts")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.len() == 40 || name.starts_with(".tmp")).collect()
    };
    wait_until("two checkouts to be left", SOON, || (left().len() == 2).then_some(()));
    assert!(left().contains(&last));
}

#[test]
fn a_replaced_checkout_stays_for_the_stale_worktree_timeout() {
    let (remote, first) = GitRemote::with_files(&[("a", "0")]);
    let place = Place::new();
    let _process = place.start(&remote.url(), &["--keep-checkouts=1", "--stale-worktree-timeout=1h"]);
    place.expect(&remote, &first);
    let second = remote.commit(&[("a", "1")]);
    place.expect(&remote, &second);
    let third = remote.commit(&[("a", "2")]);
    place.expect(&remote, &third);
    wait_until("the sweep", SOON, || (place.metric("baft_git_sync_checkouts") >= 3.0).then_some(()));
    assert!(place.root().join("checkouts").join(first).is_dir());
}

#[test]
fn files_are_shared_and_read_only_or_own_and_writable_for_the_group() {
    let (remote, first) = GitRemote::with_files(&[("a", "1"), ("b", "1")]);
    let (shared, own) = (Place::new(), Place::new());
    for (place, args) in [(&shared, &[][..]), (&own, &["--group-write"][..])] {
        assert_eq!(place.once(&remote.url(), args).0, 0);
        place.expect(&remote, &first);
    }
    let second = remote.commit(&[("a", "2")]);
    for (place, args) in [(&shared, &[][..]), (&own, &["--group-write"][..])] {
        assert_eq!(place.once(&remote.url(), args).0, 0);
        place.expect(&remote, &second);
    }
    let meta = |place: &Place, commit: &str, file: &str| {
        std::fs::metadata(place.root().join("checkouts").join(commit).join(file)).unwrap()
    };
    assert_eq!(meta(&shared, &first, "b").ino(), meta(&shared, &second, "b").ino());
    assert_eq!(meta(&shared, &second, "b").mode() & 0o777, 0o444);
    assert_ne!(meta(&own, &first, "b").ino(), meta(&own, &second, "b").ino());
    assert_eq!(meta(&own, &second, "b").mode() & 0o777, 0o664);
}

#[test]
fn every_kind_of_entry_arrives() {
    let (remote, _) =
        GitRemote::with_files(&[("plain", "1"), ("empty", ""), ("نام.yaml", "متن"), ("with space/x", "1")]);
    symlink("plain", remote.work().join("link")).unwrap();
    std::fs::write(remote.work().join("run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(remote.work().join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let commit = remote.commit(&[("last", "1")]);
    let place = Place::new();
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    place.expect(&remote, &commit);
}

#[test]
fn a_mirror_of_many_small_packs_is_packed_anew_and_goes_on() {
    let (remote, first) = GitRemote::with_files(&[("a", "0")]);
    let http = remote.serve_http(); // over HTTP every fetch is a pack
    let place = Place::new();
    let _process = place.start(&http.url(), &["--period=20ms"]);
    place.expect(&remote, &first);
    let mut last = first;
    for n in 1..=54 {
        last = remote.commit(&[("a", &n.to_string())]);
        place.wait_for(&last);
    }
    wait_until("the packing", SOON, || (place.metric("baft_git_sync_mirror_compacted_total") >= 1.0).then_some(()));
    let mirror = place.root().join("mirror.git");
    let packs = std::fs::read_dir(mirror.join("objects/pack")).unwrap();
    assert!(packs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count() < 20);
    baft_tests::git::git(&mirror, &["fsck", "--strict"]);
    assert_eq!(baft_tests::git::git(&mirror, &["rev-list", "--count", &last]), "55", "with the whole history");
    let next = remote.commit(&[("b", "1")]);
    place.expect(&remote, &next);
}
