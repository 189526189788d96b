//! Scenario 2: the power fails. The clone is on an ext4 of its own in a file; what the file holds at a chosen moment is what a disk would hold, and
//! everything that nobody had put on disk until then is gone.
//!
//! The file system is the harshest that ext4 offers: nothing is written out by a timer, new contents are not written before the names that lead to
//! them (`data=writeback`), and a file renamed over another is not flushed for the sake of programs that forget it (`noauto_da_alloc`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use baft_commit_agent::engine::FAILPOINTS;
use baft_tests::wait_until;

use crate::child;
use crate::kill::{eventful_in, settles};
use crate::support::{Scene, any_cycle, cycle};

const OPTIONS: &str = "loop,data=writeback,noauto_da_alloc,commit=900,noinit_itable";

/// A disk whose power can be cut.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// A new one; nothing, with the reason printed, where none can be mounted.
    #[allow(clippy::print_stderr)]
    fn new() -> Option<Self> {
        let disk = Self { folder: tempfile::Builder::new().prefix("baft-power-").tempdir().unwrap() };
        std::fs::create_dir(disk.mounted()).unwrap();
        std::fs::File::create(disk.image()).unwrap().set_len(48 << 20).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(disk.image())
            .output();
        if !made.as_ref().is_ok_and(|made| made.status.success()) {
            eprintln!("skipped: no ext4 can be made here: {made:?}");
            return None;
        }
        let mounted = Command::new("mount").args(["-o", OPTIONS]).arg(disk.image()).arg(disk.mounted()).output();
        if !mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("skipped: an image cannot be mounted here: {mounted:?}");
            return None;
        }
        Some(disk)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mounted(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Puts everything on disk.
    fn sync(&self) {
        assert!(Command::new("sync").arg("-f").arg(self.mounted()).status().unwrap().success());
    }

    /// Cuts the power: first `end` ends whoever uses the disk, and then it holds what it held before that.
    fn cut(&self, end: impl FnOnce()) {
        let copy = self.folder.path().join("held");
        self.wait_for_quiet();
        assert!(
            Command::new("cp").arg("--sparse=always").args([self.image(), copy.clone()]).status().unwrap().success()
        );
        end();
        self.unmount();
        std::fs::rename(copy, self.image()).unwrap();
        let mounted = Command::new("mount").args(["-o", OPTIONS]).arg(self.image()).arg(self.mounted()).status();
        assert!(mounted.unwrap().success(), "mounting after the power cut");
    }

    /// What is on its way to the disk arrives: a copy that is made meanwhile would be of no moment at all.
    fn wait_for_quiet(&self) {
        let devices = Command::new("losetup").arg("-j").arg(self.image()).output().unwrap();
        let text = String::from_utf8_lossy(&devices.stdout).into_owned();
        let device = text.split(':').next().and_then(|path| path.strip_prefix("/dev/")).unwrap_or_default().to_owned();
        let inflight = Path::new("/sys/block").join(device).join("inflight");
        wait_until("the disk to be quiet", Duration::from_secs(10), || {
            let text = std::fs::read_to_string(&inflight).unwrap_or_default();
            text.split_whitespace().all(|number| number == "0").then_some(())
        });
    }

    fn unmount(&self) {
        let gone = || Command::new("umount").arg(self.mounted()).status().unwrap().success().then_some(());
        wait_until("the disk to be unmounted", Duration::from_secs(10), gone);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.mounted()).output();
    }
}

/// Runs a child up to the failpoint and cuts the power there; whether it got there.
fn cut_at(disk: &Disk, scene: &Scene, mode: &str, name: &str, nth: u32) -> bool {
    let here = tempfile::tempdir().unwrap();
    let failpoint = format!("{name}:wait:{nth}");
    let env = [("BAFT_FAILPOINT", failpoint.as_str()), ("BAFT_FAILPOINT_DIR", here.path().to_str().unwrap())];
    let mut child = child::start_with(scene, mode, &env);
    let reached = here.path().join("reached");
    let there = wait_until(&format!("{failpoint} or the end"), Duration::from_secs(60), || {
        if reached.exists() {
            return Some(true);
        }
        (!child.is_running()).then_some(false)
    });
    if there {
        disk.cut(|| child.kill());
    }
    there
}

fn often() -> u32 {
    if std::env::var_os("BAFT_SOAK_ROUNDS").is_some() { 3 } else { 1 }
}

#[test]
fn scenario_2_power_that_fails_between_any_two_steps_costs_no_byte_that_was_on_disk() {
    let mut passed = BTreeSet::new();
    for name in FAILPOINTS {
        for nth in 1..=often() {
            let Some(disk) = Disk::new() else { return };
            let scene = eventful_in(disk.mounted().join("clone"));
            disk.sync();
            if cut_at(&disk, &scene, "once", name, nth) {
                passed.insert(*name);
                let at = format!("power cut at {name}, {nth}");
                no_empty_file(&scene, &at);
                settles(&scene, &at);
            }
        }
    }
    assert!(passed.len() > 20, "only {passed:?} were reached");
}

/// Editors do not put on disk what they save. From when a capture is announced it is there all the same, in the private ref and in the file: files that
/// were older than the branch after a power cut would look like edits that take it back.
#[test]
fn scenario_2_what_was_captured_is_on_disk_whether_or_not_the_editor_put_it_there() {
    for name in FAILPOINTS.iter().skip_while(|name| **name != "capture.ref") {
        let Some(disk) = Disk::new() else { return };
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("deep/b.yaml", "b: 1\n"), ("gone.yaml", "gone: 1\n")]);
        scene.settings.clone = disk.mounted().join("clone");
        let mut agent = scene.open();
        cycle(&mut agent);
        drop(agent);
        disk.sync();
        scene.save("a.yaml", "a: 2\n");
        scene.save("new/folder/new.yaml", "new: 1\n");
        let beside = scene.clone_path().join("deep/b.fresh");
        std::fs::write(&beside, "b: 2\n").unwrap();
        std::fs::rename(&beside, scene.clone_path().join("deep/b.yaml")).unwrap();
        scene.model.saw("deep/b.yaml", b"b: 2\n");
        scene.remove("gone.yaml");
        if !cut_at(&disk, &scene, "once", name, 1) {
            continue;
        }
        assert_eq!(scene.read("a.yaml"), "a: 2\n", "{name}");
        assert_eq!(scene.read("deep/b.yaml"), "b: 2\n", "{name}");
        assert_eq!(scene.read("new/folder/new.yaml"), "new: 1\n", "{name}");
        assert!(!scene.clone_path().join("gone.yaml").exists(), "{name}: a removed file is there again");
        let mut agent = scene.open();
        any_cycle(&mut agent);
        cycle(&mut agent);
        for (path, content) in [
            ("a.yaml", Some("a: 2\n")),
            ("deep/b.yaml", Some("b: 2\n")),
            ("new/folder/new.yaml", Some("new: 1\n")),
            ("gone.yaml", None),
        ] {
            assert_eq!(scene.on_remote(path).as_deref(), content, "{name}: {path}");
        }
        assert_eq!(baft_tests::model::status(&scene.clone_path()), "", "{name}");
        scene.check();
    }
}

/// Nothing was acknowledged, so the edit may be gone; what is left is whole, and nothing of it is taken for an edit.
#[test]
fn scenario_2_power_that_fails_before_a_capture_leaves_no_empty_object_and_no_empty_file_on_the_branch() {
    for name in FAILPOINTS.iter().take_while(|name| **name != "capture.ref") {
        let Some(disk) = Disk::new() else { return };
        let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
        scene.settings.clone = disk.mounted().join("clone");
        let mut agent = scene.open();
        cycle(&mut agent);
        drop(agent);
        disk.sync();
        // In place, as some editors do: what a power cut leaves of it is an empty file.
        std::fs::write(scene.clone_path().join("a.yaml"), "a: 2\n").unwrap();
        if !cut_at(&disk, &scene, "once", name, 1) {
            continue;
        }
        let mut agent = scene.open();
        any_cycle(&mut agent);
        any_cycle(&mut agent);
        let there = scene.on_remote("a.yaml");
        assert!(matches!(there.as_deref(), Some("a: 1\n" | "a: 2\n")), "{name}: {there:?}");
        // The same content again: an empty object under its name would be in the way.
        scene.save("a.yaml", "a: 2\n");
        any_cycle(&mut agent);
        cycle(&mut agent);
        assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"), "{name}");
        scene.check();
    }
}

#[test]
fn scenario_2_a_clone_that_was_just_made_survives_a_power_cut() {
    let Some(disk) = Disk::new() else { return };
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("deep/b.yaml", "b: 1\n")]);
    scene.settings.clone = disk.mounted().join("clone");
    let agent = scene.open();
    disk.cut(|| drop(agent));
    let mut agent = scene.open();
    cycle(&mut agent);
    assert_eq!(scene.read("a.yaml"), "a: 1\n");
    assert_eq!(scene.read("deep/b.yaml"), "b: 1\n");
    scene.save("a.yaml", "a: 2\n");
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"));
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
}

fn no_empty_file(scene: &Scene, at: &str) {
    for file in baft_tests::model::files(&scene.clone_path()) {
        assert_ne!(std::fs::metadata(&file).unwrap().len(), 0, "{at}: {} is empty", file.display());
    }
}
