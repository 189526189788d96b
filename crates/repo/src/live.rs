//! Files that people and programs have open: looked at without disturbing anybody, changed one by one so that a reader sees the old content or
//! the new and no save is ever lost.
//!
//! A file is replaced by exchanging it with a finished one beside it, and what came out is looked at before it is thrown away: when it is not what
//! was expected, somebody saved in between, and it goes back. Folders are opened step by step without following links, so that nothing outside the
//! working tree is ever touched.

mod look;
mod replace;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{FileMode, Oid, RepoPath};

pub use look::{Content, Look, Writers};
pub use replace::{Outcome, Sync, Wanted};

/// A working tree's root folder.
#[derive(Debug)]
pub struct Live {
    root: OwnedFd,
    path: PathBuf,
}

/// What the file system says about a file. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Kind and permissions.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When the content last changed, as told by whoever changed it.
    pub mtime: i64,
    /// When anything about the file last changed; nobody can set it.
    pub ctime: i64,
    /// Inode.
    pub ino: u64,
    /// Device.
    pub dev: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What kind of thing a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file, a symlink, …
    File(FileMode),
    /// A folder.
    Folder,
    /// A socket, a pipe or a device.
    Special,
}

impl Stat {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match FileType::from_raw_mode(self.mode) {
            FileType::RegularFile if self.mode & 0o100 != 0 => Kind::File(FileMode::Executable),
            FileType::RegularFile => Kind::File(FileMode::File),
            FileType::Symlink => Kind::File(FileMode::Symlink),
            FileType::Directory => Kind::Folder,
            _ => Kind::Special,
        }
    }
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast, clippy::cast_possible_wrap, clippy::cast_sign_loss)] // The fields' types differ between architectures.
impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        let time = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            mode: stat.st_mode as u32,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            ino: stat.st_ino as u64,
            dev: stat.st_dev as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Everything beside a file that is ours begins with this.
pub const OWN_PREFIX: &str = ".baft-";

impl Live {
    /// Opens the root folder of a working tree.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(path, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root folder as it was opened, whatever is at its path by now: device and inode.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let stat = Stat::from(rustix::fs::fstat(&self.root)?);
        Ok((stat.dev, stat.ino))
    }

    /// The folder a path is in; nothing when there is none.
    fn folder(&self, path: &RepoPath) -> io::Result<Option<OwnedFd>> {
        let mut folder = self.root.try_clone()?;
        let Some(parent) = path.parent() else { return Ok(Some(folder)) };
        for name in parent.as_str().split('/') {
            folder = match rustix::fs::openat(&folder, name, FOLDER, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
        }
        Ok(Some(folder))
    }

    /// The folder a path is in, created when need be.
    fn make_folder(&self, path: &RepoPath) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        let Some(parent) = path.parent() else { return Ok(folder) };
        for name in parent.as_str().split('/') {
            let next = match rustix::fs::openat(&folder, name, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) => rustix::fs::fsync(&folder)?,
                        Err(Errno::EXIST) => {}
                        Err(e) => return Err(e.into()),
                    }
                    rustix::fs::openat(&folder, name, FOLDER, Mode::empty())
                }
                other => other,
            };
            folder = next?;
        }
        Ok(folder)
    }

    /// What is at a path, links not followed; nothing when there is nothing.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn stat(&self, path: &RepoPath) -> io::Result<Option<Stat>> {
        match self.folder(path)? {
            Some(folder) => stat_in(&folder, path.file_name()),
            None => Ok(None),
        }
    }

    /// Puts what is at a path on disk, whoever wrote it: its content, and the names that lead to it, or that there is nothing.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync_path(&self, path: &RepoPath) -> io::Result<()> {
        if let Some(folder) = self.folder(path)? {
            match open_in(&folder, path.file_name()) {
                Ok(file) => rustix::fs::fsync(file)?,
                // A link's target is on disk with its name; what is gone is gone with its name.
                Err(error)
                    if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut folder = self.root.try_clone()?;
        rustix::fs::fsync(&folder)?;
        for name in path.parent().iter().flat_map(|parent| parent.as_str().split('/')) {
            folder = match rustix::fs::openat(&folder, name, FOLDER, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => break,
                Err(error) => return Err(error.into()),
            };
            rustix::fs::fsync(&folder)?;
        }
        Ok(())
    }

    /// Puts the names of the folder a path is in on disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync_folder_of(&self, path: &RepoPath) -> io::Result<()> {
        match self.folder(path)? {
            Some(folder) => Ok(rustix::fs::fsync(folder)?),
            None => Ok(()),
        }
    }
}

fn stat_in(folder: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn open_in(folder: &OwnedFd, name: &str) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?))
}

/// The content git would store for a symlink or a file's bytes.
fn oid_of(content: &[u8]) -> Oid {
    Oid::of_blob(content)
}
