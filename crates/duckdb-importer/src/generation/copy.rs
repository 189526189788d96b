//! Copying a database file, sharing its blocks where the file system can.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

const CHUNK: usize = 1 << 20;

/// What changes when anybody writes a file: enough to trust a file that this process wrote and digested itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileId {
    /// Looks at a file.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }

    /// Whether it is the same file or folder, with whatever content.
    #[must_use]
    pub fn same_inode(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

impl From<&Metadata> for FileId {
    fn from(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// BLAKE3 of a file, in hex.
///
/// # Errors
/// What the operating system said.
pub fn digest_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            n => hasher.update(&buffer[..n]),
        };
    }
}

/// Copies a file and gives the digest of what was copied.
///
/// # Errors
/// What the operating system said.
pub fn copy_checked(from: &Path, to: &Path) -> io::Result<String> {
    let mut source = File::open(from)?;
    let mut target = create(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return digest_file(to);
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            n => {
                target.write_all(&buffer[..n])?;
                hasher.update(&buffer[..n]);
            }
        }
    }
}

/// Copies a file whose content is known to be good, inside the kernel.
///
/// # Errors
/// What the operating system said.
pub fn copy_trusted(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = create(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    // Uses copy_file_range where both files are on one file system.
    io::copy(&mut source, &mut target).map(|_| ())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}
