//! The system calls of a checkout, all relative to open folders: no path is resolved twice, and no symlink is ever followed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode as Bits, OFlags};

use super::Access;
use super::manifest::Stat;
use crate::FileMode;

/// Permission bits of files and folders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permissions {
    file: u32,
    executable: u32,
    folder: u32,
}

impl From<Access> for Permissions {
    fn from(access: Access) -> Self {
        match access {
            Access::ReadOnly => Self { file: 0o444, executable: 0o555, folder: 0o755 },
            Access::GroupWrite => Self { file: 0o664, executable: 0o775, folder: 0o2775 },
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, FOLDER, Bits::empty())?)
}

pub(super) fn open_dir(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, FOLDER, Bits::empty())?)
}

pub(super) fn make_dir(parent: BorrowedFd<'_>, name: &[u8], permissions: Permissions) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Bits::from_raw_mode(permissions.folder))?;
    let dir = open_dir(parent, name)?;
    // mkdir obeys the umask; we mean what we say.
    rustix::fs::fchmod(&dir, Bits::from_raw_mode(permissions.folder))?;
    Ok(dir)
}

pub(super) fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
    Ok(convert(&rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

pub(super) fn stat_fd(fd: impl AsFd) -> io::Result<Stat> {
    Ok(convert(&rustix::fs::fstat(fd)?))
}

fn convert(stat: &rustix::fs::Stat) -> Stat {
    let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    Stat {
        inode: stat.st_ino,
        size: stat.st_size.cast_unsigned(),
        mtime: nanos(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
        ctime: nanos(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
    }
}

/// Now, in nanoseconds since 1970. The kernel stamps files with a clock that may lag by a tick or two, hence the margin for beginnings.
pub(super) fn clock() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// A moment certainly not after any stamp the kernel gives from now on.
pub(super) fn clock_before() -> i64 {
    clock().saturating_sub(20_000_000)
}

/// Makes a new file and returns it still open, so that the caller decides about syncing. Symlinks have nothing to keep open.
pub(super) fn create(
    dir: BorrowedFd<'_>,
    name: &[u8],
    mode: FileMode,
    content: &[u8],
    permissions: Permissions,
) -> io::Result<Option<File>> {
    let bits = match mode {
        FileMode::File => permissions.file,
        FileMode::Executable => permissions.executable,
        FileMode::Symlink => {
            rustix::fs::symlinkat(content, dir, name)?;
            return Ok(None);
        }
        FileMode::Submodule => {
            make_dir(dir, name, permissions)?;
            return Ok(None);
        }
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, Bits::from_raw_mode(bits))?);
    file.write_all(content)?;
    rustix::fs::fchmod(&file, Bits::from_raw_mode(bits))?;
    Ok(Some(file))
}

pub(super) fn link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::linkat(from, name, to, name, AtFlags::empty())?)
}

/// What a file or symlink holds now.
pub(super) fn content(dir: BorrowedFd<'_>, name: &[u8], mode: FileMode) -> io::Result<Vec<u8>> {
    if mode == FileMode::Symlink {
        return Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, Bits::empty())?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the name is of the kind, and has the bits, that we would have made.
pub(super) fn has_mode(dir: BorrowedFd<'_>, name: &[u8], mode: FileMode, permissions: Permissions) -> io::Result<bool> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let bits = Bits::from_raw_mode(stat.st_mode).as_raw_mode() & 0o7777;
    Ok(match (mode, FileType::from_raw_mode(stat.st_mode)) {
        (FileMode::File, FileType::RegularFile) => bits == permissions.file,
        (FileMode::Executable, FileType::RegularFile) => bits == permissions.executable,
        (FileMode::Symlink, FileType::Symlink) | (FileMode::Submodule, FileType::Directory) => true,
        _ => false,
    })
}

pub(super) fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Removes a folder and everything in it, without following symlinks. Stops early, leaving a rest, when `stop` says so between two folders.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8], stop: &dyn Fn() -> bool) -> io::Result<bool> {
    if stop() {
        return Ok(false);
    }
    let dir = match open_dir(parent, name) {
        Ok(dir) => dir,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {
            unlink(parent, name)?;
            return Ok(true);
        }
        Err(e) => return Err(e),
    };
    for entry in rustix::fs::Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        // The type may be unknown on some file systems; unlink then tells.
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => open_dir(&dir, name).is_ok(),
            _ => false,
        };
        if !is_dir {
            unlink(dir.as_fd(), name)?;
        } else if !remove_tree(dir.as_fd(), name, stop)? {
            return Ok(false);
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(true),
        Err(e) => Err(e.into()),
    }
}
