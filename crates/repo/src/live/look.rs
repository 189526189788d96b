//! Reading a file that somebody may be writing.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::{Kind, Live, Stat, open_in, stat_in};
use crate::{FileMode, RepoPath, ffi};

/// What was found at a path.
#[derive(Debug)]
pub enum Look {
    /// Nothing, or a folder.
    Absent,
    /// A file or symlink that did not change while it was read.
    Stable {
        /// Its bytes, or what is known instead.
        content: Content,
        /// Its kind.
        mode: FileMode,
        /// What the file system said before and after.
        stat: Stat,
    },
    /// It changed while it was read.
    Unstable,
    /// A socket, a pipe or a device.
    Special,
}

/// The bytes of a file, or the open file when it is larger than was asked for.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Bytes(Vec<u8>),
    /// Too large to be read at once.
    Large(File),
}

/// Whether somebody has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Nobody.
    None,
    /// Somebody.
    Some,
    /// The file system does not tell, or it is another user's file.
    Unknown,
}

impl Live {
    /// Reads what is at a path, at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read (permissions, disk).
    pub fn read(&self, path: &RepoPath, limit: u64) -> io::Result<Look> {
        match self.folder(path)? {
            Some(folder) => read_in(&folder, path.file_name(), limit),
            None => Ok(Look::Absent),
        }
    }

    /// Whether somebody has the file open for writing.
    #[must_use]
    pub fn writers(&self, path: &RepoPath) -> Writers {
        match self.folder(path) {
            Ok(Some(folder)) => writers_in(&folder, path.file_name()),
            _ => Writers::Unknown,
        }
    }
}

pub(super) fn writers_in(folder: &OwnedFd, name: &str) -> Writers {
    match open_in(folder, name) {
        Ok(file) => match ffi::has_writer(&file) {
            Some(true) => Writers::Some,
            Some(false) => Writers::None,
            None => Writers::Unknown,
        },
        Err(_) => Writers::Unknown,
    }
}

pub(super) fn read_in(folder: &OwnedFd, name: &str, limit: u64) -> io::Result<Look> {
    let Some(before) = stat_in(folder, name)? else { return Ok(Look::Absent) };
    let mode = match before.kind() {
        Kind::Folder => return Ok(Look::Absent),
        Kind::Special => return Ok(Look::Special),
        Kind::File(mode) => mode,
    };
    let content = if mode == FileMode::Symlink {
        match rustix::fs::readlinkat(folder, name, Vec::new()) {
            Ok(target) => Content::Bytes(target.into_bytes()),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => return Ok(Look::Unstable),
            Err(e) => return Err(e.into()),
        }
    } else {
        let mut file = match open_in(folder, name) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Look::Unstable),
            Err(e) => return Err(e),
        };
        if Stat::from(rustix::fs::fstat(&file)?) != before {
            return Ok(Look::Unstable);
        }
        if before.size > limit {
            Content::Large(file)
        } else {
            let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or(0));
            // One byte more than expected tells of growth, and a file that grows for ever is not read for ever.
            (&mut file).take(before.size + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != before.size || Stat::from(rustix::fs::fstat(&file)?) != before {
                return Ok(Look::Unstable);
            }
            Content::Bytes(bytes)
        }
    };
    match stat_in(folder, name)? {
        Some(after) if after == before => Ok(Look::Stable { content, mode, stat: before }),
        _ => Ok(Look::Unstable),
    }
}
