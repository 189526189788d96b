//! Reading many files at once, each thread with its own handle on the repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use baft_repo::{Oid, Repo};

use super::plan::Overlay;
use super::read::Blobs;
use crate::ImporterError;

/// Where contents come from.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The repository, for threads to open.
    pub repo: Option<&'a Path>,
    /// What is not in it.
    pub overlay: &'a Overlay,
}

impl Contents<'_> {
    /// The content of a blob, given an open repository.
    ///
    /// # Errors
    /// When it is nowhere.
    pub fn get(&self, repo: Option<&Repo>, blob: Oid) -> Result<std::sync::Arc<[u8]>, ImporterError> {
        if let Some(content) = self.overlay.get(&blob) {
            return Ok(content.clone());
        }
        let Some(repo) = repo else { return Err(ImporterError::Unsettled) };
        Ok(repo.read(blob).map_err(ImporterError::repo("reading a file"))?.into())
    }
}

/// Does `work` on every task on `threads` threads and hands the results to `sink` here, in the order of the tasks.
///
/// # Errors
/// The first error of either; the rest is abandoned.
pub fn each<T: Sync, R: Send>(
    tasks: &[T],
    threads: usize,
    contents: Contents<'_>,
    work: impl Fn(&T, &Blobs<'_>) -> Result<R, ImporterError> + Sync,
    mut sink: impl FnMut(usize, R) -> Result<(), ImporterError>,
) -> Result<(), ImporterError> {
    let next = AtomicUsize::new(0);
    let worker = |send: &dyn Fn(usize, Result<R, ImporterError>) -> bool| {
        let repo = contents.repo.map(Repo::open).transpose().map_err(ImporterError::repo("opening it"));
        let repo = match repo {
            Ok(repo) => repo,
            Err(error) => {
                send(next.fetch_add(1, Ordering::Relaxed), Err(error));
                return;
            }
        };
        let blobs = |blob| contents.get(repo.as_ref(), blob);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(index) else { return };
            if !send(index, work(task, &blobs)) {
                return;
            }
        }
    };
    if tasks.len() <= 1 || threads <= 1 {
        let results = std::cell::RefCell::new(Vec::new());
        worker(&|index, result| {
            results.borrow_mut().push((index, result));
            true
        });
        return results.into_inner().into_iter().try_for_each(|(index, result)| sink(index, result?));
    }
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(threads * 2);
        for _ in 0..threads.min(tasks.len()) {
            let sender = sender.clone();
            let worker = &worker;
            scope.spawn(move || worker(&|index, result| sender.send((index, result)).is_ok()));
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut wanted = 0;
        for (index, result) in receiver {
            waiting.insert(index, result?);
            while let Some(result) = waiting.remove(&wanted) {
                sink(wanted, result)?;
                wanted += 1;
            }
        }
        Ok(())
    })
}
