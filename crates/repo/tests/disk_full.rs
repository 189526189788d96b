//! A full disk: reported as such, nothing half done is left, and the next one that fits succeeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::Path;
use std::process::Command;

use baft_repo::checkout::{Access, Mode};
use baft_repo::transport::{Class, Libgit2, Remote, Transport};
use baft_repo::{Checkouts, Oid, Repo, Settings};
use baft_tests::GitRemote;

/// A small file system of its own; nothing, with the reason printed, when we may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                eprintln!("skipped: a tmpfs cannot be mounted here: {other:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

/// Text that does not compress.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 33) as u8 % 94)
    })
    .take(length)
    .collect()
}

#[test]
fn a_checkout_that_does_not_fit_leaves_no_trace() {
    let Some(disk) = SmallDisk::mount("1M") else { return };
    baft_repo::init(&Settings::default()).unwrap();
    let (source, first) = GitRemote::with_files(&[("a", "1")]);
    let repo = Repo::open(source.bare()).unwrap();
    let checkouts = Checkouts::open(disk.path().join("checkouts"), Mode::Link, Access::ReadOnly).unwrap();
    let first: Oid = first.parse().unwrap();
    checkouts.publish(&repo, first, None).unwrap();
    let large: Oid = source.commit(&[("b", &noise(2_000_000))]).parse().unwrap();
    for prepared in [false, true] {
        if prepared {
            assert!(checkouts.prepare(&repo, first, &|| false).unwrap());
        }
        let error = checkouts.publish(&repo, large, Some(first)).unwrap_err();
        assert!(error.is_disk(), "{error}");
        assert_eq!(checkouts.existing().unwrap(), [first]);
        assert!(checkouts.is_intact(&repo, first).unwrap());
    }
    let fits: Oid = source.commit(&[("b", &noise(400_000))]).parse().unwrap();
    checkouts.publish(&repo, fits, Some(first)).unwrap();
}

#[test]
fn a_fetch_that_does_not_fit_is_a_disk_failure_and_the_mirror_stays_whole() {
    let Some(disk) = SmallDisk::mount("1M") else { return };
    baft_repo::init(&Settings::default()).unwrap();
    let (source, first) = GitRemote::with_files(&[("a", "1")]);
    let http = source.serve_http();
    let repo = Repo::create_bare(disk.path().join("mirror.git")).unwrap();
    let specs = ["+refs/heads/main:refs/baft/upstream".to_owned()];
    for url in [source.url(), http.url()] {
        let remote = Remote { url, ..Remote::default() };
        Libgit2::new().fetch(&repo, &remote, &specs).unwrap();
        let known = repo.find_ref("refs/baft/upstream").unwrap();
        source.commit(&[("b", &noise(3_000_000))]);
        let error = Libgit2::new().fetch(&repo, &remote, &specs).unwrap_err();
        assert_eq!(error.class, Class::Disk, "{}: {error}", remote.url);
        assert_eq!(repo.find_ref("refs/baft/upstream").unwrap(), known);
        source.git(&["reset", "-q", "--hard", &first]);
        source.git(&["push", "-q", "--force", "origin", "HEAD"]);
        assert_eq!(Libgit2::new().fetch(&repo, &remote, &specs).map(|r| r.objects), Ok(0));
    }
}
