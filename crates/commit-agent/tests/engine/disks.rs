//! Scenarios 2 and 18 to 23 and 25: disks that fill, fail and lie, odd files, damaged repositories, and what is refused at start.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baft_commit_agent::engine::{Adopt, Agent, Class, Extent, OpenError, Order, Touched, Trigger};
use baft_repo::transport::Libgit2;

use crate::support::{Scene, any_cycle, cycle, now, once_unlocked};

/// A small file system of its own; nothing, with the reason printed, when we may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    #[allow(clippy::print_stderr)]
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                eprintln!("skipped: a tmpfs cannot be mounted here: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Text that does not compress.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 33) as u8 % 94)
    })
    .take(length)
    .collect()
}

fn fill(path: &Path, leave: u64) {
    let free = baft_kit::durable::free_bytes(path).unwrap();
    std::fs::write(path.join("ballast"), vec![1_u8; usize::try_from(free.saturating_sub(leave)).unwrap()]).unwrap();
}

#[test]
fn scenario_19_a_disk_that_fills_at_any_point_costs_no_byte_and_recovers_by_itself() {
    for leave in [0_u64, 4, 8, 16, 24, 32, 48, 64, 96, 128] {
        let Some(disk) = SmallDisk::mount("size=6M") else { return };
        let mut scene = Scene::new(&[("a.txt", "a\n"), ("b.txt", "b\n")]);
        scene.settings.clone = disk.0.path().join("clone");
        let mut agent = scene.open();
        cycle(&mut agent);
        let (ours, theirs) = (noise(20_000, 1), noise(20_000, 2));
        scene.save("a.txt", &ours);
        scene.others_push(&[("b.txt", &theirs), ("c/new.txt", &noise(9_000, 3))]);
        fill(disk.0.path(), leave * 1024);
        let full = any_cycle(&mut agent);
        if leave == 0 {
            assert!(!full.errors.is_empty(), "{full:?}");
        }
        let text = scene.read("b.txt");
        assert!(text == "b\n" || text == theirs, "{leave}: no truncated file");
        assert_eq!(scene.read("a.txt"), ours);
        std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
        for _ in 0..2 {
            any_cycle(&mut agent);
        }
        let done = cycle(&mut agent);
        assert_eq!(done.unpushed, 0, "{leave}: {done:?}");
        assert_eq!(scene.on_remote("a.txt").as_deref(), Some(ours.as_str()), "{leave}");
        assert_eq!(scene.read("b.txt"), theirs, "{leave}");
        assert_eq!(baft_tests::model::status(&scene.clone_path()), "", "{leave}");
        scene.check();
    }
}

#[test]
fn scenario_19_inodes_that_run_out_and_a_read_only_remount_recover_by_themselves() {
    let Some(disk) = SmallDisk::mount("size=20M,nr_inodes=400") else { return };
    let mut scene = Scene::new(&[("a.txt", "a\n"), ("b.txt", "b\n")]);
    scene.settings.clone = disk.0.path().join("clone");
    let mut agent = scene.open();
    cycle(&mut agent);
    std::fs::create_dir(disk.0.path().join("many")).unwrap();
    let mut made = 0;
    while std::fs::write(disk.0.path().join(format!("many/{made}")), "").is_ok() {
        made += 1;
    }
    std::fs::write(scene.clone_path().join("a.txt"), "a2\n").unwrap();
    scene.model.saw("a.txt", b"a2\n");
    let done = any_cycle(&mut agent);
    assert!(!done.errors.is_empty(), "{done:?}");
    std::fs::remove_dir_all(disk.0.path().join("many")).unwrap();
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.txt").as_deref(), Some("a2\n"));
    scene.save("b.txt", "b2\n");
    // A file system that is being written to cannot be made read-only by hand; a read-only view of the clone over the clone can.
    let mount = |args: &[&str]| {
        let done = Command::new("mount").args(args).arg(scene.clone_path()).status().unwrap();
        assert!(done.success(), "{args:?}");
    };
    mount(&["--bind", scene.clone_path().to_str().unwrap()]);
    mount(&["-o", "remount,bind,ro"]);
    let done = any_cycle(&mut agent);
    assert!(Command::new("umount").arg(scene.clone_path()).status().unwrap().success());
    assert!(done.errors.iter().any(|error| error.class == Class::Disk), "{done:?}");
    cycle(&mut agent);
    assert_eq!(scene.on_remote("b.txt").as_deref(), Some("b2\n"));
    scene.check();
}

#[test]
fn scenario_20_odd_files_are_told_of_and_the_others_still_commit() {
    use std::os::unix::ffi::OsStrExt;
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    let clone = scene.clone_path();
    rustix::fs::mknodat(rustix::fs::CWD, clone.join("pipe.yaml"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(clone.join("socket.yaml")).unwrap();
    std::os::unix::fs::symlink("loop.yaml", clone.join("loop.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc", clone.join("outside")).unwrap();
    std::fs::write(clone.join(std::ffi::OsStr::from_bytes(b"bad\xff.yaml")), "x").unwrap();
    std::fs::create_dir_all(clone.join("nested/.git")).unwrap();
    std::fs::write(clone.join("nested/x.yaml"), "x: 1\n").unwrap();
    scene.save("line\nbreak.yaml", "n: 1\n");
    scene.save(&format!("{}.yaml", "n".repeat(250)), "n: 2\n");
    scene.save("a.yaml", "a: 2\n");
    let done = cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"));
    for odd in ["pipe.yaml", "socket.yaml", "nested"] {
        assert!(done.troubles.iter().any(|trouble| trouble.path == odd), "{odd}: {:?}", done.troubles);
    }
    assert!(done.troubles.iter().any(|trouble| trouble.message.contains("UTF-8")));
    let tree = baft_tests::git::ls_tree(&scene.remote.bare(), "main");
    assert!(tree.contains_key("loop.yaml") && tree.contains_key("line\nbreak.yaml"), "{tree:?}");
    assert!(!tree.keys().any(|path| path.starts_with("outside") || path.starts_with("nested")));
    scene.check();
}

#[test]
fn scenario_20_lfs_and_line_endings_are_left_alone_in_both_directions() {
    let mut scene = Scene::new(&[
        (".gitattributes", "*.bin filter=lfs\n*.dos text eol=crlf\n"),
        ("x.bin", "pointer\n"),
        ("y.dos", "one\n"),
        ("a.yaml", "a: 1\n"),
    ]);
    let mut agent = scene.open();
    scene.save("a.yaml", "a: 2\n");
    std::fs::write(scene.clone_path().join("x.bin"), "the real thing").unwrap();
    let done = cycle(&mut agent);
    assert!(done.troubles.iter().any(|trouble| trouble.path == "x.bin"), "{done:?}");
    scene.others_push(&[("x.bin", "another pointer\n"), ("a.yaml", "a: 3\n")]);
    cycle(&mut agent);
    assert_eq!(scene.read("x.bin"), "the real thing");
    assert_eq!(scene.on_remote("x.bin").as_deref(), Some("another pointer\n"));
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 3\n"));
    scene.check();
}

fn loose_object(clone: &Path, oid: &str) -> PathBuf {
    clone.join(".git/objects").join(&oid[..2]).join(&oid[2..])
}

fn damage(path: &Path, content: &[u8]) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn scenario_21_damage_is_repaired_without_a_wipe() {
    for what in [
        "empty blob",
        "garbage blob",
        "empty tree",
        "index",
        "no index",
        "main",
        "no main",
        "HEAD",
        "pending",
        "state",
        "journal",
    ] {
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
        let mut agent = scene.open();
        scene.save("a.yaml", "a: pushed\n");
        cycle(&mut agent);
        scene.save("b.yaml", "b: only here\n");
        agent.touched(Touched::Rescan);
        agent.cycle(&Order { extent: Extent::Local, ..now() });
        drop(agent);
        let clone = scene.clone_path();
        let git = clone.join(".git");
        match what {
            "empty blob" => damage(&loose_object(&clone, &baft_tests::model::blob_id(b"b: only here\n")), b""),
            "garbage blob" => damage(&loose_object(&clone, &baft_tests::model::blob_id(b"a: pushed\n")), b"garbage"),
            "empty tree" => damage(&loose_object(&clone, &scene.git(&["rev-parse", "HEAD~1^{tree}"])), b""),
            "index" => std::fs::write(git.join("index"), "garbage").unwrap(),
            "no index" => std::fs::remove_file(git.join("index")).unwrap(),
            "main" => std::fs::write(git.join("refs/heads/main"), "garbage").unwrap(),
            "no main" => std::fs::remove_file(git.join("refs/heads/main")).unwrap(),
            "HEAD" => std::fs::remove_file(git.join("HEAD")).unwrap(),
            "pending" => std::fs::write(git.join("refs/baft/pending/main"), "").unwrap(),
            "state" => std::fs::write(git.join("baft/state.json"), "{").unwrap(),
            _ => std::fs::write(git.join("baft/journal.json"), "{").unwrap(),
        }
        let mut agent = scene.open();
        scene.save("a.yaml", "a: after\n");
        any_cycle(&mut agent);
        let done = cycle(&mut agent);
        assert_eq!(done.unpushed, 0, "{what}: {done:?}");
        assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: after\n"), "{what}");
        assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: only here\n"), "{what}");
        assert_eq!(baft_tests::model::status(&clone), "", "{what}");
        scene.check();
    }
}

#[test]
fn scenario_22_a_person_who_collects_garbage_all_the_time_takes_nothing_away() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let clone = scene.clone_path();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                let mut gc = Command::new("git");
                gc.current_dir(&clone).args(["gc", "-q", "--prune=now"]);
                drop(gc.output().unwrap());
            }
        });
        for n in 0..40 {
            scene.save(&format!("d/{n}.yaml"), &format!("n: {n}\n"));
            any_cycle(&mut agent);
            if n % 4 == 0 {
                agent.rest();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
    for _ in 0..3 {
        any_cycle(&mut agent);
    }
    cycle(&mut agent);
    scene.check();
}

/// Many files are written as one pack, large ones are not kept in memory: neither is lost to a collection between the writing and the ref.
#[test]
fn scenario_22_garbage_that_is_collected_before_a_ref_leads_to_it_takes_nothing_away() {
    for (what, files, length) in [("many files", 100, 40), ("a large file", 1, 400_000)] {
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
        drop(scene.open());
        let contents: Vec<(String, String)> = (0..files).map(|n| (format!("d/{n}.txt"), noise(length, n))).collect();
        for (path, content) in &contents {
            scene.save(path, content);
        }
        let here = tempfile::tempdir().unwrap();
        let env = [("BAFT_FAILPOINT", "capture.commit:wait:1"), ("BAFT_FAILPOINT_DIR", here.path().to_str().unwrap())];
        let mut child = crate::child::start_with(&scene, "local", &env);
        let reached = here.path().join("reached");
        baft_tests::wait_until("the commit that no ref leads to", Duration::from_secs(60), || {
            assert!(child.is_running(), "{what}: {}", child.logs());
            reached.exists().then_some(())
        });
        scene.git(&["gc", "-q", "--prune=now"]);
        // The files are changed before anybody notices: what was captured is nowhere else.
        for (path, _) in &contents {
            std::fs::write(scene.clone_path().join(path), "changed since\n").unwrap();
        }
        std::fs::remove_file(&reached).unwrap();
        let status = child.wait(Duration::from_secs(60));
        assert!(status.success(), "{what}: {}", child.logs());
        let mut agent = scene.open();
        any_cycle(&mut agent);
        cycle(&mut agent);
        for (path, content) in &contents {
            let blob = baft_tests::model::blob_id(content.as_bytes());
            let known = scene.git(&["log", "--all", "--format=%H", &format!("--find-object={blob}")]);
            assert!(!known.is_empty(), "{what}: {path} is lost");
        }
        scene.check();
    }
}

#[test]
fn scenario_23_files_keep_their_permissions_and_owner() {
    use std::os::unix::fs::MetadataExt;
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("run.sh", "echo\n")]);
    let mut agent = scene.open();
    let path = scene.clone_path().join("a.yaml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&path, Some(2000), Some(3000)).unwrap();
    }
    scene.others_push(&[("a.yaml", "a: 2\n")]);
    cycle(&mut agent);
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o664);
    if root {
        assert_eq!((metadata.uid(), metadata.gid()), (2000, 3000));
    }
    // A change of the executable bit alone is none.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o775)).unwrap();
    assert!(cycle(&mut agent).captured.is_empty());
    scene.check();
}

#[test]
fn scenario_25_a_last_cycle_with_the_remote_down_is_durable_and_pushed_by_the_next() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    scene.save("a.yaml", "a: last words\n");
    let away = scene.remote.bare().with_extension("away");
    std::fs::rename(scene.remote.bare(), &away).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    let done = agent.cycle(&Order { trigger: Trigger::Shutdown, deadline: Some(deadline), ..now() });
    assert_eq!(done.landed.len(), 1, "{done:?}");
    drop(agent);
    std::fs::rename(&away, scene.remote.bare()).unwrap();
    let mut agent = scene.open();
    agent.cycle(&Order::default());
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: last words\n"));
    scene.check();
}

#[test]
fn scenario_25_a_commit_is_never_older_than_its_parent_whatever_the_clock_says() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let future = 4_000_000_000_i64;
    let mut commit = Command::new("git");
    commit.current_dir(scene.remote.work()).args(["commit", "-q", "--allow-empty", "-m", "from the future"]);
    for role in ["AUTHOR", "COMMITTER"] {
        commit
            .env(format!("GIT_{role}_NAME"), "T")
            .env(format!("GIT_{role}_EMAIL"), "t@example.org")
            .env(format!("GIT_{role}_DATE"), format!("@{future} +0000"));
    }
    assert!(commit.output().unwrap().status.success());
    scene.remote.git(&["push", "-q", "origin", "HEAD"]);
    let mut agent = scene.open();
    scene.save("a.yaml", "a: 2\n");
    cycle(&mut agent);
    assert_eq!(scene.git(&["log", "-1", "--format=%ct"]), future.to_string());
    scene.check();
}

#[test]
fn scenario_25_what_cannot_work_is_refused_at_start_in_one_line() {
    let open = |scene: &Scene, adopt| {
        let mut settings = scene.settings.clone();
        settings.adopt = adopt;
        Agent::open(settings, Arc::new(Libgit2::new())).map(drop)
    };
    for (what, words) in [
        ("reftable", "reftable"),
        ("shallow", "shallow"),
        ("split", "split index"),
        ("sparse", "sparse"),
        ("bare", "bare"),
    ] {
        let scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
        scene.remote.commit(&[("a.yaml", "a: 2\n")]);
        let parent = scene.clone_path().parent().unwrap().to_owned();
        let url = format!("file://{}", scene.remote.url());
        let clone =
            |args: &[&str]| drop(baft_tests::git::git(&parent, &[&["clone", "-q"], args, &[&url, "clone"]].concat()));
        match what {
            "shallow" => clone(&["--depth=1"]),
            "bare" => clone(&["--bare"]),
            _ => clone(&[]),
        }
        match what {
            // As newer gits make it; the one here may not know it yet.
            "reftable" => {
                scene.git(&["config", "core.repositoryFormatVersion", "1"]);
                scene.git(&["config", "extensions.refStorage", "reftable"]);
            }
            "split" => drop(scene.git(&["update-index", "--split-index"])),
            "sparse" => drop(scene.git(&["sparse-checkout", "set", "d"])),
            _ => {}
        }
        let error = open(&scene, Adopt::Allow).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(words) && !said.contains('\n'), "{what}: {said}");
    }
    let scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    baft_tests::git::git(scene.clone_path().parent().unwrap(), &["clone", "-q", &scene.remote.url(), "clone"]);
    assert!(matches!(open(&scene, Adopt::Refuse), Err(OpenError::NotAdopted { .. })));
    open(&scene, Adopt::Allow).unwrap();
    once_unlocked(|| open(&scene, Adopt::Refuse));
    let agent = scene.open();
    assert!(matches!(open(&scene, Adopt::Refuse), Err(OpenError::Locked(_))), "one agent per clone");
    drop(agent);
}

#[test]
#[allow(clippy::print_stdout)]
fn scenario_18_thousands_of_files_at_once_and_one_among_many() {
    let count = if std::env::var_os("BAFT_SOAK_ROUNDS").is_some() { 50_000 } else { 4_000 };
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    cycle(&mut agent);
    for n in 0..count {
        let folder = scene.clone_path().join(format!("d{}", n % 100));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{n}.yaml")), format!("n: {n}\n")).unwrap();
    }
    agent.hints().add(Touched::Rescan);
    let started = Instant::now();
    let done = agent.cycle(&Order { extent: Extent::Local, ..now() });
    assert_eq!(done.captured[0].paths.len(), count);
    println!("captured and landed {count} new files in {:?}", started.elapsed());
    cycle(&mut agent);
    std::thread::sleep(Duration::from_millis(150));
    cycle(&mut agent);
    scene.save("a.yaml", "a: 2\n");
    let started = Instant::now();
    agent.touched(Touched::Some(["a.yaml".parse().unwrap()].into()));
    let done = agent.cycle(&Order { extent: Extent::Local, ..now() });
    println!("one of {count} with a hint, captured and landed: {:?}", started.elapsed());
    assert_eq!(done.captured.len(), 1);
    scene.save("a.yaml", "a: 3\n");
    let started = Instant::now();
    agent.touched(Touched::Rescan);
    let done = agent.cycle(&Order { extent: Extent::Local, ..now() });
    println!("one of {count} without, captured and landed: {:?}", started.elapsed());
    assert_eq!(done.captured.len(), 1);
    cycle(&mut agent);
    scene.check();
}
