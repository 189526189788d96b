//! Immutable checkouts: one folder per commit, named by its id, that appears whole or not at all.
//!
//! ```text
//! <root>/<oid>/           a checkout: exactly the commit's files, read-only
//!       .manifests/<oid>  what was written there (see `manifest`); a cache
//!       .spare/           a second copy of the newest checkout, made of links, that becomes the next one (see `Checkouts::prepare`)
//!       .tmp-*  .trash-*  being built, being removed; what a crash leaves of them is swept later
//! ```
//!
//! A new checkout costs by what changed when a spare is ready: the spare already shares every file with the newest checkout, so the changed
//! files are replaced in it, every other file is looked at once (`stat`), and it gets its name. Without a spare the unchanged files are linked
//! there and then.

mod build;
mod files;
mod manifest;
mod spare;
mod sweep;
mod verify;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::RenameFlags;

use self::build::{Base, Counts, Plan, Stop};
use self::files::Permissions;
use self::manifest::Manifest;
pub use self::sweep::{Keep, Swept};
use crate::{Oid, Repo, RepoError};

/// How files of a new checkout are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Unchanged files are hard links to the previous checkout; everything is read-only.
    #[default]
    Link,
    /// Every checkout has its own files, for consumers that may write.
    Copy,
}

/// Who may write to a checkout besides us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Nobody: files are 0444 (0555), folders 0755.
    #[default]
    ReadOnly,
    /// Our group: files are 0664 (0775), folders 2775. Implies [`Mode::Copy`].
    GroupWrite,
}

/// The folder with the checkouts. One process owns it at a time; the caller holds the lock.
#[derive(Debug)]
pub struct Checkouts {
    root: PathBuf,
    fd: OwnedFd,
    mode: Mode,
    access: Access,
    serial: AtomicU64,
}

/// Where the files of a published checkout came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The checkout was there already, and intact.
    Existing,
    /// The spare, changed where the commits differ.
    Spare,
    /// Links to the previous checkout.
    Linked,
    /// Written in full.
    Written,
}

/// What publishing a checkout did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutReport {
    /// The checkout.
    pub path: PathBuf,
    /// Where its files came from.
    pub origin: Origin,
    /// Files shared with another checkout, or there already.
    pub linked: usize,
    /// Files written.
    pub written: usize,
    /// Bytes written.
    pub bytes: u64,
    /// Files of the previous checkout that somebody had changed; they were written afresh.
    pub altered: usize,
}

const MANIFESTS: &str = ".manifests";

impl Checkouts {
    /// Opens the folder, creating it when needed. What a crash left half done is removed by the next [`Checkouts::sweep`].
    ///
    /// # Errors
    /// When the folder cannot be created or read.
    pub fn open(root: impl AsRef<Path>, mode: Mode, access: Access) -> Result<Self, RepoError> {
        let root = root.as_ref().to_owned();
        std::fs::create_dir_all(root.join(MANIFESTS)).map_err(|e| RepoError::io("creating", &root, e))?;
        let fd = files::open_root(&root).map_err(|e| RepoError::io("opening", &root, e))?;
        let mode = if access == Access::GroupWrite { Mode::Copy } else { mode };
        let checkouts = Self { root, fd, mode, access, serial: AtomicU64::new(0) };
        if access == Access::GroupWrite {
            rustix::fs::fchmod(&checkouts.fd, rustix::fs::Mode::from_raw_mode(0o2775))
                .map_err(|e| checkouts.io("setting the permissions of", "", e.into()))?;
        }
        Ok(checkouts)
    }

    /// Where a commit's checkout is or would be.
    pub fn path(&self, commit: Oid) -> PathBuf {
        self.root.join(commit.to_string())
    }

    /// Makes the checkout of a commit appear under its name, whole and on disk, or not at all. `previous` is the checkout to share files
    /// with. A checkout that is there already is used when it is intact, and replaced in one step when somebody changed it.
    ///
    /// # Errors
    /// When something cannot be read or written; nothing appears then.
    pub fn publish(&self, repo: &Repo, commit: Oid, previous: Option<Oid>) -> Result<CheckoutReport, RepoError> {
        let name = commit.to_string();
        let occupied = rustix::fs::statat(&self.fd, name.as_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if occupied && self.is_intact(repo, commit)? {
            self.touch_manifest(&name);
            return Ok(self.report(commit, Origin::Existing, Counts::default()));
        }
        let built = self.build(repo, commit, previous);
        let (temporary, manifest, origin, counts) = built.inspect_err(|_| self.discard_temporaries())?;
        self.write_manifest(&name, &manifest)?;
        self.give_name(&temporary, &name, occupied).inspect_err(|_| self.discard_temporaries())?;
        // The previous checkout's age counts from now. Both by the same clock, so that the order is certain.
        if let Some(previous) = previous.filter(|previous| *previous != commit) {
            self.touch_manifest(&previous.to_string());
        }
        self.touch_manifest(&name);
        Ok(self.report(commit, origin, counts))
    }

    /// Whether the checkout of a commit is there and is exactly what was written.
    ///
    /// # Errors
    /// When the commit cannot be read.
    pub fn is_intact(&self, repo: &Repo, commit: Oid) -> Result<bool, RepoError> {
        let name = commit.to_string();
        let tree = repo.tree_id(commit)?;
        let (Some(manifest), Ok(dir)) = (self.read_manifest(&name), files::open_dir(&self.fd, name.as_bytes())) else {
            return Ok(false);
        };
        Ok(manifest.tree() == tree && verify::is_intact(&manifest, dir.as_fd(), self.access.into()))
    }

    /// The commits that have a checkout, newest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn existing(&self) -> Result<Vec<Oid>, RepoError> {
        Ok(self.aged()?.into_iter().map(|(oid, _)| oid).collect())
    }

    /// Checkouts and when each was last published or replaced by the next, newest first.
    fn aged(&self) -> Result<Vec<(Oid, SystemTime)>, RepoError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(|e| self.io("reading", "", e))? {
            let entry = entry.map_err(|e| self.io("reading", "", e))?;
            let Some(oid) = entry.file_name().to_str().and_then(|name| name.parse::<Oid>().ok()) else { continue };
            let manifest = self.root.join(MANIFESTS).join(oid.to_string());
            let age =
                std::fs::metadata(manifest).or_else(|_| entry.metadata()).and_then(|metadata| metadata.modified());
            found.push((oid, age.unwrap_or(SystemTime::UNIX_EPOCH)));
        }
        found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(found)
    }

    /// Builds a commit's tree under a temporary name, from the best base there is.
    fn build(
        &self,
        repo: &Repo,
        commit: Oid,
        previous: Option<Oid>,
    ) -> Result<(String, Manifest, Origin, Counts), RepoError> {
        let never = || false;
        let plan = self.plan(commit, &never);
        if let Some((temporary, manifest, counts)) = self.take_spare(repo, plan)? {
            return Ok((temporary, manifest, Origin::Spare, counts));
        }
        let temporary = self.temporary("tmp", &commit.to_string());
        let dir = files::make_dir(self.fd.as_fd(), temporary.as_bytes(), self.access.into())
            .map_err(|e| self.io("creating", &temporary, e))?;
        let old = previous.filter(|_| self.mode == Mode::Link).and_then(|previous| {
            let name = previous.to_string();
            Some((self.read_manifest(&name)?, files::open_dir(&self.fd, name.as_bytes()).ok()?))
        });
        let (origin, result) = match old {
            Some((manifest, root)) => {
                (Origin::Linked, build::build(repo, plan, Base::Linked { manifest: &manifest, root }, dir.as_fd()))
            }
            None => (Origin::Written, build::build(repo, plan, Base::Empty, dir.as_fd())),
        };
        match result {
            Ok((manifest, counts)) => Ok((temporary, manifest, origin, counts)),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Interrupted | Stop::NotOurs) => {
                Err(self.io("building", &temporary, std::io::ErrorKind::Interrupted.into()))
            }
        }
    }

    fn plan<'a>(&self, commit: Oid, interrupted: &'a dyn Fn() -> bool) -> Plan<'a> {
        Plan { commit, permissions: Permissions::from(self.access), kind: self.kind(), interrupted }
    }

    /// Checkouts made in another way share nothing with ours.
    fn kind(&self) -> u64 {
        match (self.mode, self.access) {
            (Mode::Link, Access::ReadOnly) => 1,
            (Mode::Copy, Access::ReadOnly) => 2,
            (_, Access::GroupWrite) => 3,
        }
    }

    /// The last step: from here on the checkout can be seen. A damaged one of the same name is exchanged, never missing for a moment.
    fn give_name(&self, temporary: &str, name: &str, occupied: bool) -> Result<(), RepoError> {
        let flags = if occupied { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let renamed = rustix::fs::renameat_with(&self.fd, temporary, &self.fd, name, flags).or_else(|e| match e {
            // Old or foreign file systems know no flags. A plain rename never replaces a folder that is not empty.
            rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS if occupied => {
                rustix::fs::renameat(&self.fd, name, &self.fd, self.temporary("trash", name).as_str())?;
                rustix::fs::renameat(&self.fd, temporary, &self.fd, name)
            }
            rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => {
                rustix::fs::renameat(&self.fd, temporary, &self.fd, name)
            }
            e => Err(e),
        });
        renamed.map_err(|e| self.io("naming", name, e.into()))?;
        rustix::fs::fsync(&self.fd).map_err(|e| self.io("syncing", "", e.into()))
    }

    fn report(&self, commit: Oid, origin: Origin, counts: Counts) -> CheckoutReport {
        CheckoutReport {
            path: self.path(commit),
            origin,
            linked: counts.kept,
            written: counts.written,
            bytes: counts.bytes,
            altered: counts.altered,
        }
    }

    fn temporary(&self, what: &str, name: &str) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        format!(".{what}-{name}-{}-{serial}", std::process::id())
    }

    /// After a failure, above all a full disk, the room is needed at once. The failure is what gets reported.
    fn discard_temporaries(&self) {
        if let Err(error) = self.sweep_leftovers(&|| false) {
            tracing::warn!(%error, "could not remove an unfinished checkout");
        }
    }

    fn read_manifest(&self, name: &str) -> Option<Manifest> {
        Manifest::from_bytes(std::fs::read(self.root.join(MANIFESTS).join(name)).ok()?, self.kind())
    }

    /// Not synced: a manifest is a cache and carries a checksum.
    fn write_manifest(&self, name: &str, manifest: &Manifest) -> Result<(), RepoError> {
        let path = self.root.join(MANIFESTS).join(name);
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, manifest.as_bytes()).map_err(|e| RepoError::io("writing", &temporary, e))?;
        std::fs::rename(&temporary, &path).map_err(|e| RepoError::io("writing", &path, e))
    }

    fn touch_manifest(&self, name: &str) {
        let path = self.root.join(MANIFESTS).join(name);
        let touched = std::fs::File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(path = %path.display(), %error, "could not note a checkout's age");
        }
    }

    fn io(&self, doing: &'static str, name: &str, source: std::io::Error) -> RepoError {
        RepoError::io(doing, self.root.join(name), source)
    }
}
