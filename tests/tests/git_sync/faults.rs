//! What breaks, and what readers notice of it: nothing.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use baft_tests::git::Fault;
use baft_tests::{GitRemote, wait_until};

use crate::support::{Place, SOON, files};

fn failures(place: &Place, class: &str) -> f64 {
    place.metric(&format!("baft_git_sync_failures_total{{class=\"{class}\"}}"))
}

fn wait_for_failure(place: &Place, class: &str) {
    let before = failures(place, class);
    wait_until(&format!("a failure of class {class}"), SOON, || (failures(place, class) > before).then_some(()));
}

#[test]
fn rewritten_history_is_followed_and_counted() {
    let (remote, _) = GitRemote::with_files(&[("a", "1")]);
    let second = remote.commit(&[("a", "2")]);
    let place = Place::new();
    let _process = place.start(&remote.url(), &[]);
    place.expect(&remote, &second);
    let other = remote.force_push(1, &[("a", "other"), ("b", "new")]);
    place.expect(&remote, &other);
    wait_until("the count", SOON, || (place.metric("baft_git_sync_forced_total") == 1.0).then_some(()));
}

#[test]
fn a_remote_that_fails_in_any_way_is_waited_for_while_readers_keep_what_they_have() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let http = remote.serve_http();
    let place = Place::new();
    let mut process = place.start(&http.url(), &["--sync-timeout=1s"]);
    place.expect(&remote, &first);
    for (n, (fault, class)) in [
        (Fault::Status(401), "auth"),
        (Fault::Status(404), "not_found"),
        (Fault::Status(500), "network"),
        (Fault::Hang, "timeout"),
        (Fault::Truncate, "network"),
    ]
    .into_iter()
    .enumerate()
    {
        let next = remote.commit(&[("a", &format!("{n}"))]);
        http.fault(fault);
        wait_for_failure(&place, class);
        assert_ne!(place.shown(), Some(next.clone()), "{fault:?}");
        http.fault(Fault::None);
        place.expect(&remote, &next);
    }
    assert!(process.is_running());
    assert_eq!(place.metric("baft_git_sync_mirror_rebuilt_total"), 0.0, "the mirror was never to blame");
}

#[test]
fn a_fetch_that_stalls_or_breaks_off_publishes_nothing_and_is_tried_again() {
    for fault in [Fault::HangInPack, Fault::TruncatePack] {
        let (remote, first) = GitRemote::with_files(&[("a", "1")]);
        let http = remote.serve_http();
        let place = Place::new();
        let _process = place.start(&http.url(), &["--sync-timeout=1s"]);
        place.expect(&remote, &first);
        http.fault(fault);
        let noise: String =
            (0..20_000).map(|n: u32| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
        let second = remote.commit(&[("a", &noise), ("b", "2")]);
        wait_until("failures", SOON, || (place.metric("baft_git_sync_consecutive_failures") >= 2.0).then_some(()));
        assert_eq!(place.shown().as_deref(), Some(first.as_str()), "{fault:?}");
        http.fault(Fault::None);
        place.expect(&remote, &second);
    }
}

#[test]
fn a_remote_that_is_gone_and_comes_back_is_found_again() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let mut process = place.start(&remote.file_url(), &[]);
    place.expect(&remote, &first);
    let aside = remote.bare().with_extension("aside");
    std::fs::rename(remote.bare(), &aside).unwrap();
    wait_for_failure(&place, "not_found");
    std::fs::rename(&aside, remote.bare()).unwrap();
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
    assert!(process.is_running());
}

#[test]
fn it_gives_up_after_the_failures_it_was_told_to_tolerate() {
    let place = Place::new();
    for (args, tries) in [(&["--max-failures=2"][..], 3), (&["--max-failures=5", "--init-max-failures=1"], 2)] {
        let mut process = place.start("/no/such/repository", args);
        assert_eq!(process.wait(SOON).code(), Some(1));
        let said = process.logs().lines().filter(|line| line.contains("sync failed")).count();
        assert_eq!(said, tries, "{}", process.logs());
    }
    let mut process = place.start("/no/such/repository", &[]);
    wait_until("five failures", SOON, || (place.metric("baft_git_sync_consecutive_failures") >= 5.0).then_some(()));
    assert!(process.is_running(), "for ever by default");
}

#[test]
fn a_termination_during_a_hanging_fetch_is_prompt_and_orderly() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let http = remote.serve_http();
    let place = Place::new();
    let mut process = place.start(&http.url(), &[]);
    place.expect(&remote, &first);
    http.fault(Fault::Hang);
    let requests = http.requests();
    wait_until("a look that hangs", SOON, || (http.requests() > requests).then_some(()));
    let began = Instant::now();
    assert!(process.terminate(SOON).success(), "{}", process.logs());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// Replaces an object file with garbage. Replaced, not overwritten: a mapped pack must not change under the process.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    for byte in bytes.iter_mut().skip(2) {
        *byte ^= 0x55;
    }
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_mirror_is_set_aside_and_cloned_again_while_readers_keep_theirs() {
    let (remote, _) = GitRemote::with_files(&[("a", "1"), ("d/b", "1")]);
    let first = remote.commit(&[("c", "1")]);
    let place = Place::new();
    let mut process = place.start(&remote.url(), &[]);
    place.expect(&remote, &first);
    let held = std::fs::canonicalize(place.link()).unwrap();
    let before = files(&held);
    let mirror = place.root().join("mirror.git");

    // The blob of d/b is damaged, and somebody changed the file, so that the next checkout needs the blob.
    let mut pack = std::fs::read_dir(mirror.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.find(|path| path.extension().is_some_and(|extension| extension == "pack")).unwrap();
    let loose = format!(
        "mv {0}/objects/pack/* /{1}/ && git unpack-objects -q < /{1}/{2}",
        mirror.display(),
        place.path("").display(),
        pack.file_name().unwrap().to_str().unwrap()
    );
    assert!(Command::new("sh").arg("-c").arg(loose).current_dir(&mirror).status().unwrap().success());
    let blob = before["d/b"].1.clone();
    damage(&mirror.join("objects").join(&blob[..2]).join(&blob[2..]));
    let file = held.join("d/b");
    // In place, so that whatever shares the file sees it, too.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&file, "changed").unwrap();

    let second = remote.commit(&[("a", "2"), ("d/e", "new")]);
    place.expect(&remote, &second);
    assert_eq!(std::fs::read_to_string(held.join("c")).unwrap(), "1", "whoever had the old checkout open keeps it");
    assert!(process.is_running());
    wait_until("the count", SOON, || (place.metric("baft_git_sync_mirror_rebuilt_total") >= 1.0).then_some(()));
    let aside = std::fs::read_dir(place.root()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_str().is_some_and(|name| name.starts_with("mirror.git.damaged-"))
    });
    assert_eq!(aside.count(), 1);
    baft_tests::git::git(&mirror, &["fsck", "--strict"]);
    let third = remote.commit(&[("a", "3")]);
    place.expect(&remote, &third);
}

#[test]
fn a_mirror_whose_every_pack_is_garbage_is_got_over() {
    let (remote, first) = GitRemote::with_files(&[("a", "1"), ("d/b", "1")]);
    let place = Place::new();
    let _process = place.start(&remote.url(), &[]);
    place.expect(&remote, &first);
    let before = files(&place.link());
    let held = std::fs::canonicalize(place.link()).unwrap();
    for entry in std::fs::read_dir(place.root().join("mirror.git/objects/pack")).unwrap() {
        damage(&entry.unwrap().path());
    }
    let second = remote.commit(&[("a", "2")]);
    place.expect(&remote, &second);
    assert_eq!(files(&held), before);
}

#[test]
fn locks_left_by_a_killed_process_stop_nobody() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    place.expect(&remote, &first);
    let mirror = place.root().join("mirror.git");
    for lock in [
        "HEAD.lock",
        "packed-refs.lock",
        "refs/baft/head.lock",
        "refs/baft/published.lock",
        "objects/pack/pack_git2_abc",
    ] {
        std::fs::write(mirror.join(lock), "").unwrap();
    }
    let second = remote.commit(&[("a", "2")]);
    let (code, log) = place.once(&remote.url(), &[]);
    assert_eq!(code, 0, "{log}");
    place.expect(&remote, &second);
    assert!(!mirror.join("objects/pack/pack_git2_abc").exists());
}

#[test]
fn a_mirror_that_is_gone_or_no_repository_is_made_again() {
    let (remote, _) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let mirror = place.root().join("mirror.git");
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    std::fs::remove_dir_all(&mirror).unwrap();
    let second = remote.commit(&[("a", "2")]);
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    place.expect(&remote, &second);
    std::fs::remove_file(mirror.join("HEAD")).unwrap();
    let third = remote.commit(&[("a", "3")]);
    let (code, log) = place.once(&remote.url(), &[]);
    assert_eq!(code, 0, "{log}");
    place.expect(&remote, &third);
    // A damaged journal costs the numbering, nothing else.
    std::fs::write(place.root().join("published.json"), "garbage").unwrap();
    let fourth = remote.commit(&[("a", "4")]);
    assert_eq!(place.once(&remote.url(), &[]).0, 0);
    place.expect(&remote, &fourth);
}

/// A small file system of its own; unmounted when dropped.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            Ok(output) => {
                eprintln!("skipped: cannot mount a tmpfs here: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: cannot mount a tmpfs here: {error}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_readers_alone_and_is_got_over() {
    let (remote, first) = GitRemote::with_files(&[("a", "1")]);
    let place = Place::new();
    let Some(_disk) = Tmpfs::mount(&place.root(), "3m") else { return };
    let mut process = place.start(&remote.url(), &[]);
    place.expect(&remote, &first);
    let ballast = place.root().join("ballast");
    let mut filler = std::fs::File::create(&ballast).unwrap();
    let _ = std::io::copy(&mut std::io::repeat(7).take(8 << 20), &mut filler);
    drop(filler);
    let mut seed = 1_u64;
    let noise: String = (0..400_000)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            char::from(b'!' + (seed % 90) as u8)
        })
        .collect();
    let second = remote.commit(&[("big", &noise), ("a", "2")]);
    wait_for_failure(&place, "disk");
    assert_eq!(place.shown().as_deref(), Some(first.as_str()));
    assert_eq!(files(&place.link()), remote.tree(&first));
    std::fs::remove_file(&ballast).unwrap();
    place.expect(&remote, &second);
    assert!(process.is_running());
}
