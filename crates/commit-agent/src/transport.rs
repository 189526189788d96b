//! The way to the remote, which a shutdown can cut short.
//!
//! A conversation with a remote that hangs may last until its deadline, and the program has less time than that when it is told to end. So each
//! runs on a thread of its own, and cutting it short means no longer waiting for it: leaving a fetch or push alone at any point is safe (the
//! same as a crash there), and the process ends soon after.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use baft_repo::Repo;
use baft_repo::transport::{Class, FetchReport, PushSpec, PushedRef, Remote, RemoteRef, Transport, TransportError};

/// Cuts conversations short. Clones share it.
#[derive(Clone, Default)]
pub struct Scissors(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    tell: Option<Box<dyn Fn() + Send>>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Talk as you like.
    #[default]
    Open,
    /// The program ends: nobody talks any more.
    Closed,
    /// But the final cycle may.
    Allowed,
}

impl std::fmt::Debug for Scissors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scissors")
    }
}

impl Scissors {
    /// Ends the conversation that is under way, and every later one.
    pub fn cut(&self) {
        self.close(|_| true);
    }

    /// The same, unless the final cycle has begun.
    pub fn cut_unless_allowed(&self) {
        self.close(|phase| phase != Phase::Allowed);
    }

    /// The final cycle may talk.
    pub fn allow(&self) {
        self.waiting().phase = Phase::Allowed;
    }

    fn close(&self, when: impl Fn(Phase) -> bool) {
        let mut waiting = self.waiting();
        if when(waiting.phase) {
            waiting.phase = Phase::Closed;
            if let Some(tell) = &waiting.tell {
                tell();
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whom to tell; says whether talking is possible at all.
    fn begin(&self, tell: Box<dyn Fn() + Send>) -> bool {
        let mut waiting = self.waiting();
        waiting.tell = Some(tell);
        waiting.phase != Phase::Closed
    }

    fn end(&self) {
        self.waiting().tell = None;
    }
}

/// A transport whose conversations can be cut short.
pub struct Cuttable {
    inner: Arc<dyn Transport>,
    scissors: Scissors,
    timeout: Duration,
}

impl std::fmt::Debug for Cuttable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cuttable").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Cuttable {
    /// Wraps a transport; no conversation lasts longer than `timeout`.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>, scissors: Scissors, timeout: Duration) -> Self {
        Self { inner, scissors, timeout }
    }

    fn call<T: Send + 'static>(
        &self,
        remote: &Remote,
        work: impl FnOnce(&dyn Transport, &Remote) -> Result<T, TransportError> + Send + 'static,
    ) -> Result<T, TransportError> {
        let deadline = remote.deadline.map_or(self.timeout, |deadline| deadline.min(self.timeout));
        let remote = Remote { deadline: Some(deadline), ..remote.clone() };
        let inner = Arc::clone(&self.inner);
        let (done, result): (Sender<Option<Result<T, TransportError>>>, _) = channel();
        let cut = done.clone();
        if !self.scissors.begin(Box::new(move || drop(cut.send(None)))) {
            self.scissors.end();
            return Err(cut_short());
        }
        let thread = std::thread::Builder::new().name("remote".to_owned()).spawn(move || {
            // Nobody listens any more when it was cut short.
            let _ = done.send(Some(work(inner.as_ref(), &remote)));
        });
        let result = match thread {
            // The sender that cuts lives until `end`, so this waits for one of the two.
            Ok(_) => result.recv().ok().flatten(),
            Err(error) => Some(Err(failure(Class::Disk, format!("cannot start a thread: {error}")))),
        };
        self.scissors.end();
        result.unwrap_or_else(|| Err(cut_short()))
    }
}

fn cut_short() -> TransportError {
    failure(Class::Timeout, "the conversation with the remote was cut short because the program ends".to_owned())
}

fn failure(class: Class, message: String) -> TransportError {
    TransportError { class, message, hint: None }
}

/// The same repository, for another thread.
fn again(repo: &Repo) -> Result<Repo, TransportError> {
    Repo::open(repo.path()).map_err(|error| failure(Class::Corrupt, error.to_string()))
}

impl Transport for Cuttable {
    fn list(&self, remote: &Remote) -> Result<Vec<RemoteRef>, TransportError> {
        self.call(remote, |inner, remote| inner.list(remote))
    }

    fn fetch(&self, repo: &Repo, remote: &Remote, refspecs: &[String]) -> Result<FetchReport, TransportError> {
        let (repo, refspecs) = (again(repo)?, refspecs.to_vec());
        self.call(remote, move |inner, remote| inner.fetch(&repo, remote, &refspecs))
    }

    fn push(&self, repo: &Repo, remote: &Remote, specs: &[PushSpec]) -> Result<Vec<PushedRef>, TransportError> {
        let (repo, specs) = (again(repo)?, specs.to_vec());
        self.call(remote, move |inner, remote| inner.push(&repo, remote, &specs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A remote that says nothing until it is dropped.
    struct Silent(Mutex<std::sync::mpsc::Receiver<()>>);

    impl Transport for Silent {
        fn list(&self, _: &Remote) -> Result<Vec<RemoteRef>, TransportError> {
            let _ = self.0.lock().unwrap().recv();
            Ok(Vec::new())
        }

        fn fetch(&self, _: &Repo, _: &Remote, _: &[String]) -> Result<FetchReport, TransportError> {
            unreachable!()
        }

        fn push(&self, _: &Repo, _: &Remote, _: &[PushSpec]) -> Result<Vec<PushedRef>, TransportError> {
            unreachable!()
        }
    }

    #[test]
    fn a_conversation_that_hangs_ends_when_it_is_cut_short_and_others_go_on() {
        let (say, silence) = channel();
        let scissors = Scissors::default();
        let transport =
            Arc::new(Cuttable::new(Arc::new(Silent(Mutex::new(silence))), scissors.clone(), Duration::from_secs(60)));
        let waiting = Arc::clone(&transport);
        let waiting = std::thread::spawn(move || waiting.list(&Remote::default()));
        while scissors.waiting().tell.is_none() {
            std::thread::yield_now();
        }
        scissors.cut();
        assert_eq!(waiting.join().unwrap().unwrap_err().class, Class::Timeout);
        assert!(transport.list(&Remote::default()).is_err(), "nobody talks any more");
        scissors.allow();
        scissors.cut_unless_allowed();
        say.send(()).unwrap();
        say.send(()).unwrap();
        assert_eq!(transport.list(&Remote::default()), Ok(Vec::new()));
    }
}
