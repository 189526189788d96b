//! What a checkout held, byte for byte, when it was made: how a later one knows which files it may share.
//!
//! A manifest is a cache: without one (or with a torn one, which its checksum shows) files are compared by content instead. It is read and
//! written as one block and walked in place, so that a checkout of 50,000 files costs one 4 MB read and no allocation per file.
//!
//! Layout, little-endian: magic, tree id, how the files were made, root folder's `mtime`, window, then records in git's tree order, then a
//! checksum. Folders nest: a folder's record is followed by its content and a `LEAVE`.

use crate::{FileMode, Oid};

const MAGIC: &[u8; 8] = b"baftman1";
const TREE: usize = 8;
const KIND: usize = TREE + 20;
const MTIME: usize = KIND + 8;
const WINDOW: usize = MTIME + 8;
const HEADER: usize = WINDOW + 16;
const DIR: u8 = 1;
const LEAVE: u8 = 2;
const FILE: u8 = 3;
const EXECUTABLE: u8 = 4;
const SYMLINK: u8 = 5;
const SUBMODULE: u8 = 6;

/// What the kernel says about one file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
}

/// A stretch of time in which we ourselves changed link counts, and with them `ctime`, of files that manifests know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Window {
    pub(super) fn holds(self, time: i64) -> bool {
        self.from <= time && time <= self.to
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// A folder begins; `mtime` as it was when its content was complete.
    Dir { name: &'a [u8], tree: Oid, mtime: i64 },
    /// The innermost folder ends.
    Leave,
    /// A file, link or submodule.
    File { name: &'a [u8], mode: FileMode, oid: Oid, stat: Stat },
}

/// A manifest under construction.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// `kind` says how files are made; checkouts of different kinds share nothing.
    pub(super) fn new(tree: Oid, kind: u64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity.max(4096));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(tree.as_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.resize(HEADER, 0);
        Self { bytes }
    }

    /// Begins a folder; the returned mark goes to [`Writer::leave`].
    pub(super) fn enter(&mut self, name: &[u8], tree: Oid) -> usize {
        self.bytes.push(DIR);
        self.name(name);
        self.bytes.extend_from_slice(tree.as_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.len() - 8
    }

    pub(super) fn leave(&mut self, mark: usize, mtime: i64) {
        self.bytes[mark..mark + 8].copy_from_slice(&mtime.to_le_bytes());
        self.bytes.push(LEAVE);
    }

    pub(super) fn file(&mut self, name: &[u8], mode: FileMode, oid: Oid, stat: Stat) {
        self.bytes.push(match mode {
            FileMode::File => FILE,
            FileMode::Executable => EXECUTABLE,
            FileMode::Symlink => SYMLINK,
            FileMode::Submodule => SUBMODULE,
        });
        self.name(name);
        self.bytes.extend_from_slice(oid.as_bytes());
        for number in [stat.inode, stat.size, stat.mtime.cast_unsigned(), stat.ctime.cast_unsigned()] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn finish(mut self, root_mtime: i64) -> Manifest {
        self.bytes[MTIME..MTIME + 8].copy_from_slice(&root_mtime.to_le_bytes());
        seal(&mut self.bytes);
        Manifest { bytes: self.bytes }
    }

    /// Names in a tree come from the file system or will go there: 255 bytes at most; longer ones fail to be created before they get here.
    fn name(&mut self, name: &[u8]) {
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&name[..usize::from(length)]);
    }
}

fn seal(bytes: &mut Vec<u8>) {
    let sum = checksum(bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
}

/// Catches torn and misplaced writes; not meant against anybody who can write here (they could write the files themselves).
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    for byte in chunks.remainder() {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    sum ^ (sum >> 32)
}

/// A complete, checked manifest.
#[derive(Clone)]
pub(super) struct Manifest {
    bytes: Vec<u8>,
}

impl Manifest {
    /// Nothing when the bytes are not a whole manifest of this kind.
    pub(super) fn from_bytes(bytes: Vec<u8>, kind: u64) -> Option<Self> {
        let body = bytes.len().checked_sub(8).filter(|body| *body >= HEADER)?;
        let mut sum = [0; 8];
        sum.copy_from_slice(&bytes[body..]);
        let whole = bytes.starts_with(MAGIC) && checksum(&bytes[..body]) == u64::from_le_bytes(sum);
        (whole && i64_at(&bytes, KIND).cast_unsigned() == kind).then_some(Self { bytes })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The root tree of the checkout.
    pub(super) fn tree(&self) -> Oid {
        oid_at(&self.bytes, TREE)
    }

    /// When the root folder's entries changed last.
    pub(super) fn root_mtime(&self) -> i64 {
        i64_at(&self.bytes, MTIME)
    }

    /// When we changed `ctime`s after they were recorded.
    pub(super) fn window(&self) -> Window {
        Window { from: i64_at(&self.bytes, WINDOW), to: i64_at(&self.bytes, WINDOW + 8) }
    }

    /// Notes that we changed link counts again. One window is kept; it grows to hold both.
    pub(super) fn note_window(&mut self, window: Window) {
        let old = self.window();
        let from = if old.from == 0 { window.from } else { old.from.min(window.from) };
        self.bytes[WINDOW..WINDOW + 8].copy_from_slice(&from.to_le_bytes());
        self.bytes[WINDOW + 8..WINDOW + 16].copy_from_slice(&old.to.max(window.to).to_le_bytes());
        self.bytes.truncate(self.bytes.len() - 8);
        seal(&mut self.bytes);
    }

    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { bytes: &self.bytes[..self.bytes.len() - 8], at: HEADER }
    }
}

/// A position in a manifest. `Clone` is how one looks ahead.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next record; nothing at the end of the root folder.
    pub(super) fn next(&mut self) -> Option<Record<'a>> {
        let kind = *self.bytes.get(self.at)?;
        self.at += 1;
        if kind == LEAVE {
            return Some(Record::Leave);
        }
        let length = usize::from(u16::from_le_bytes([self.bytes[self.at], self.bytes[self.at + 1]]));
        let name = &self.bytes[self.at + 2..self.at + 2 + length];
        self.at += 2 + length;
        let oid = oid_at(self.bytes, self.at);
        self.at += 20;
        if kind == DIR {
            let mtime = i64_at(self.bytes, self.at);
            self.at += 8;
            return Some(Record::Dir { name, tree: oid, mtime });
        }
        let number = |index: usize| i64_at(self.bytes, self.at + index * 8);
        let stat = Stat {
            inode: number(0).cast_unsigned(),
            size: number(1).cast_unsigned(),
            mtime: number(2),
            ctime: number(3),
        };
        self.at += 32;
        let mode = match kind {
            EXECUTABLE => FileMode::Executable,
            SYMLINK => FileMode::Symlink,
            SUBMODULE => FileMode::Submodule,
            _ => FileMode::File,
        };
        Some(Record::File { name, mode, oid, stat })
    }

    /// The next record without moving on; a folder's end is the end.
    pub(super) fn peek(&self) -> Option<Record<'a>> {
        match self.clone().next() {
            Some(Record::Leave) | None => None,
            record => record,
        }
    }

    /// Moves behind the end of the folder that was entered last.
    pub(super) fn skip_dir(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Some(Record::Dir { .. }) => depth += 1,
                Some(Record::Leave) => depth -= 1,
                Some(Record::File { .. }) => {}
                None => return,
            }
        }
    }
}

fn oid_at(bytes: &[u8], at: usize) -> Oid {
    let mut oid = [0; 20];
    oid.copy_from_slice(&bytes[at..at + 20]);
    Oid::from_bytes(oid)
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(byte: u8) -> Oid {
        Oid::from_bytes([byte; 20])
    }

    fn sample() -> Manifest {
        let mut writer = Writer::new(oid(9), 3, 0);
        let stat = Stat { inode: 7, size: 3, mtime: -5, ctime: 6 };
        writer.file(b"a", FileMode::File, oid(1), stat);
        let mark = writer.enter(b"d", oid(2));
        writer.file(b"x", FileMode::Executable, oid(3), stat);
        writer.leave(mark, 77);
        writer.file(b"z\xff", FileMode::Symlink, oid(4), stat);
        writer.finish(-8)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let manifest = Manifest::from_bytes(sample().as_bytes().to_vec(), 3).unwrap();
        assert_eq!((manifest.tree(), manifest.root_mtime()), (oid(9), -8));
        assert!(Manifest::from_bytes(sample().as_bytes().to_vec(), 4).is_none(), "another kind");
        let mut cursor = manifest.cursor();
        let stat = Stat { inode: 7, size: 3, mtime: -5, ctime: 6 };
        assert_eq!(cursor.next(), Some(Record::File { name: b"a", mode: FileMode::File, oid: oid(1), stat }));
        assert_eq!(cursor.next(), Some(Record::Dir { name: b"d", tree: oid(2), mtime: 77 }));
        cursor.skip_dir();
        assert_eq!(cursor.peek(), Some(Record::File { name: b"z\xff", mode: FileMode::Symlink, oid: oid(4), stat }));
        assert!(cursor.next().is_some());
        assert_eq!(cursor.next(), None);
    }

    #[test]
    fn a_torn_manifest_is_no_manifest() {
        let whole = sample().as_bytes().to_vec();
        for length in 0..whole.len() {
            assert!(Manifest::from_bytes(whole[..length].to_vec(), 3).is_none(), "{length}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            assert!(Manifest::from_bytes(bytes, 3).is_none(), "{at}");
        }
    }

    #[test]
    fn windows_grow_and_survive_writing() {
        let mut manifest = sample();
        assert!(!manifest.window().holds(10));
        manifest.note_window(Window { from: 10, to: 20 });
        manifest.note_window(Window { from: 15, to: 30 });
        let again = Manifest::from_bytes(manifest.as_bytes().to_vec(), 3).unwrap();
        assert_eq!(again.window(), Window { from: 10, to: 30 });
    }
}
