//! The files of a working tree, read so that a half-written one is never taken for a finished one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baft_repo::Oid;

use crate::ImporterError;
use crate::generation::FileId;

/// File systems stamp files with a clock that ticks every few milliseconds: a file modified this recently may change
/// again without looking different.
const RACY: Duration = Duration::from_millis(50);

/// The reading side refuses a file beyond its limit, so the beginning that is too long already stands for the whole: a huge file costs no
/// memory and keeps none of the others from being imported.
fn most_bytes() -> u64 {
    baft_dataset::yaml::Limits::default().bytes as u64 + 1
}

/// A file as it is saved now.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The id git would give its content.
    pub blob: Oid,
    /// When it was modified, in seconds since 1970.
    pub modified: i64,
    /// How long ago that was when it was read.
    pub age: Duration,
    /// Its size.
    pub bytes: u64,
    /// Its content, when it had to be read now.
    pub content: Option<Arc<[u8]>>,
}

/// Reads the files that matter, each only once until it changes.
#[derive(Debug)]
pub struct Scanner {
    root: PathBuf,
    known: HashMap<String, (FileId, Saved)>,
}

impl Scanner {
    /// For the working tree at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), known: HashMap::new() }
    }

    /// The working tree.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every file below `roots` (folders or files, relative) that matters.
    ///
    /// # Errors
    /// When the folder cannot be read. Single files that vanish meanwhile are simply not there.
    pub fn scan(
        &mut self,
        roots: &[String],
        matters: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Saved>, ImporterError> {
        std::fs::metadata(&self.root).map_err(ImporterError::io("read", &self.root))?;
        let mut paths = Vec::new();
        for root in roots {
            self.collect(root, &mut paths)?;
        }
        paths.retain(|path| matters(path));
        let mut found = BTreeMap::new();
        let mut known = HashMap::with_capacity(paths.len());
        for path in paths {
            if let Some((id, saved)) = self.look(&path)? {
                let settled = saved.age > RACY;
                found.insert(path.clone(), saved.clone());
                if settled {
                    known.insert(path, (id, Saved { content: None, ..saved }));
                }
            }
        }
        self.known = known;
        Ok(found)
    }

    /// The content of a file that is still the one scanned.
    ///
    /// # Errors
    /// When it cannot be read, or has changed: scan again then.
    pub fn read(&self, path: &str, blob: Oid) -> Result<Arc<[u8]>, ImporterError> {
        let full = self.root.join(path);
        let bytes = read_start(&full).map_err(ImporterError::io("read", &full))?;
        if Oid::of_blob(&bytes) == blob {
            return Ok(bytes.into());
        }
        Err(ImporterError::Unsettled)
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) -> Result<(), ImporterError> {
        let full = if path.is_empty() { self.root.clone() } else { self.root.join(path) };
        let Ok(meta) = std::fs::symlink_metadata(&full) else { return Ok(()) };
        if meta.is_file() {
            paths.push(path.to_owned());
        }
        if !meta.is_dir() {
            return Ok(());
        }
        let entries = match std::fs::read_dir(&full) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(ImporterError::io("list", &full))?,
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| *name != ".git") else { continue };
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.collect(&below, paths)?,
                Ok(kind) if kind.is_file() => paths.push(below),
                _ => {}
            }
        }
        Ok(())
    }

    /// The file as it is now; nothing when it is gone.
    fn look(&self, path: &str) -> Result<Option<(FileId, Saved)>, ImporterError> {
        let full = self.root.join(path);
        for _ in 0..5 {
            let Ok(meta) = std::fs::symlink_metadata(&full) else { return Ok(None) };
            let id = FileId::from(&meta);
            if let Some((known, saved)) = self.known.get(path)
                && *known == id
            {
                return Ok(Some((id, Saved { age: age(&meta), ..saved.clone() })));
            }
            let content = match read_start(&full) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                content => content.map_err(ImporterError::io("read", &full))?,
            };
            if FileId::of(&full).ok() != Some(id) {
                // Somebody is writing: what was read may be half of it.
                std::thread::sleep(Duration::from_millis(3));
                continue;
            }
            let modified = meta.modified().unwrap_or(UNIX_EPOCH);
            let saved = Saved {
                blob: Oid::of_blob(&content),
                modified: i64::try_from(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(0),
                age: age(&meta),
                bytes: meta.len(),
                content: Some(content.into()),
            };
            return Ok(Some((id, saved)));
        }
        Err(ImporterError::Unsettled)
    }
}

fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len().min(most_bytes());
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + 1);
    file.take(most_bytes()).read_to_end(&mut content)?;
    Ok(content)
}

/// How long ago a file was modified; nothing when it claims to be from the future.
fn age(meta: &std::fs::Metadata) -> Duration {
    let modified = meta.modified().unwrap_or(UNIX_EPOCH);
    SystemTime::now().duration_since(modified).unwrap_or_default()
}
