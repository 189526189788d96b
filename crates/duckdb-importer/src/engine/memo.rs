//! Files that were read lately, as they were read: an edit is looked at more than once, and the version before it is
//! compared with again.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use baft_dataset::dataset::{Dataset, Datasets};
use baft_dataset::extract::parse_file_after;
use baft_dataset::rows::ParsedFile;
use baft_dataset::schema::Schema;
use baft_repo::Oid;

/// So many bytes of files are remembered, a few times as much when read.
const MOST: usize = 8 << 20;

/// A file as it is, as it was, and as it was committed.
const LATELY: usize = 3;

/// What is remembered. It holds for one set of rules; with others, [`Memo::clear`] it.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Vec<Remembered>>);

#[derive(Debug)]
struct Remembered {
    path: String,
    blob: Oid,
    judged: bool,
    bytes: usize,
    file: Arc<ParsedFile>,
}

/// A file with what decides how it is read.
#[derive(Debug)]
pub struct Wanted {
    /// The file.
    pub path: String,
    /// Its content's name.
    pub blob: Oid,
    /// Its content.
    pub content: Arc<[u8]>,
    /// What its entities must satisfy.
    pub schema: Option<Arc<Schema>>,
}

impl Memo {
    /// The file as it reads, from memory if it is there. `schema` is the one that the rules name for it, or none.
    pub fn read(
        &self,
        path: &str,
        blob: Oid,
        content: &[u8],
        dataset: &Dataset,
        schema: Option<&Schema>,
    ) -> Arc<ParsedFile> {
        let known = |it: &Remembered| it.blob == blob && it.judged == schema.is_some() && it.path == path;
        if let Some(found) = self.all().iter().find(|it| known(it)) {
            return found.file.clone();
        }
        let another = |it: &&Remembered| it.judged == schema.is_some() && it.path == path;
        let before = self.all().iter().rev().find(another).map(|it| it.file.clone());
        let file = Arc::new(parse_file_after(before.as_deref(), path, content, dataset, schema));
        if content.len() <= MOST {
            let new = Remembered {
                path: path.to_owned(),
                blob,
                judged: schema.is_some(),
                bytes: content.len(),
                file: file.clone(),
            };
            let mut all = self.all();
            all.retain(|it| !known(it));
            all.push(new);
            while all.iter().map(|it| it.bytes).sum::<usize>() > MOST {
                all.remove(0);
            }
        }
        file
    }

    /// The versions of a file that were read last, the latest first.
    pub fn lately(&self, path: &str) -> Vec<Arc<ParsedFile>> {
        self.all().iter().rev().filter(|it| it.path == path).take(LATELY).map(|it| it.file.clone()).collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files that another thread reads, so that they are remembered when they are asked for.
#[derive(Debug)]
pub struct Ahead {
    files: Vec<(String, Oid)>,
    thread: JoinHandle<()>,
}

impl Ahead {
    /// Begins to read what is wanted of `files`, which are known by path and content. Nothing when no thread can be had.
    pub fn begin(
        files: Vec<(String, Oid)>,
        memo: &Arc<Memo>,
        datasets: Arc<Datasets>,
        wanted: Vec<Wanted>,
    ) -> Option<Self> {
        let memo = memo.clone();
        let work = move || {
            for file in wanted {
                if let Some(dataset) = datasets.for_path(&file.path) {
                    memo.read(&file.path, file.blob, &file.content, dataset, file.schema.as_deref());
                }
            }
        };
        let thread = std::thread::Builder::new().name("read".to_owned()).spawn(work).ok()?;
        Some(Self { files, thread })
    }

    /// Whether these are the files.
    pub fn is_of(&self, files: &[(String, Oid)]) -> bool {
        self.files == files
    }

    /// Waits until all is read. What could not be is read when it is asked for.
    pub fn finish(self) {
        let _ = self.thread.join();
    }
}
