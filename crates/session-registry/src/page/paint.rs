//! Paints the page's middle when something happened, as long as somebody watches, and hands it to all who do.

use std::sync::Arc;
use std::time::Duration;

use baft_bus::payload::{CommitStatus, SessionStatusRequest, SessionStatusResponse};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tail::Tail;
use super::view::{self, View};
use crate::registry::Registry;

/// Painted again this soon at the earliest, however much happens.
const PAUSE: Duration = Duration::from_millis(500);
/// And at least this often while somebody watches: ages grow, and not everything is told by an event.
const ANYWAY: Duration = Duration::from_secs(5);
/// A picture this old is given to who loads the page, rather than asking the whole fleet for every visitor.
const FRESH: Duration = Duration::from_millis(900);
/// Clones shown at most.
const CLONES: usize = 8;

/// Paints. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Painter {
    registry: Registry,
    tail: Tail,
    news: Arc<Notify>,
    seats: Arc<Semaphore>,
    picture: watch::Sender<Arc<str>>,
    painted: Arc<Mutex<Option<Instant>>>,
    /// Shown, and called old, while NATS is away.
    last: Arc<Mutex<Option<Seen>>>,
}

/// Everything at a glance, and the clones.
type Seen = (SessionStatusResponse, Vec<CommitStatus>);

/// Somebody who watches.
#[derive(Debug)]
pub(super) struct Watcher {
    pictures: watch::Receiver<Arc<str>>,
    _seat: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next picture; nothing when there will be none.
    pub(super) async fn next(&mut self) -> Option<Arc<str>> {
        self.pictures.changed().await.ok()?;
        Some(self.pictures.borrow_and_update().clone())
    }
}

impl Painter {
    pub(super) fn new(registry: Registry, seats: usize) -> Self {
        Self {
            registry,
            tail: Tail::default(),
            news: Arc::default(),
            seats: Arc::new(Semaphore::new(seats)),
            picture: watch::Sender::new("".into()),
            painted: Arc::default(),
            last: Arc::default(),
        }
    }

    /// A place to watch from; nothing when all are taken.
    pub(super) fn watch(&self) -> Option<Watcher> {
        let seat = self.seats.clone().try_acquire_owned().ok()?;
        self.news.notify_one();
        Some(Watcher { pictures: self.picture.subscribe(), _seat: seat })
    }

    /// The picture as of now, or of a moment ago.
    pub(super) async fn now(&self) -> Arc<str> {
        let mut painted = self.painted.lock().await;
        if painted.is_none_or(|at| at.elapsed() > FRESH) {
            let picture: Arc<str> = view::middle(&self.look().await).into();
            self.picture.send_if_modified(|old| {
                let new = *old != picture;
                *old = picture;
                new
            });
            *painted = Some(Instant::now());
        }
        self.picture.borrow().clone()
    }

    /// Listens and paints until `shutdown`.
    pub(super) async fn work(&self, shutdown: CancellationToken) {
        let painting = async {
            loop {
                let _ = tokio::time::timeout(ANYWAY, self.news.notified()).await;
                if self.picture.receiver_count() > 0 {
                    self.painted.lock().await.take();
                    self.now().await;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tokio::select! {
            () = self.tail.listen(&self.registry.bus, &self.news, shutdown.clone()) => {}
            () = painting => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn look(&self) -> View {
        let (registry, at) = (&self.registry, baft_kit::time::now_rfc3339());
        let connected = registry.bus.is_up();
        let mut last = self.last.lock().await;
        if let (false, Some((status, clones))) = (connected, last.clone()) {
            return View { at, connected, status: Ok(status), clones, events: self.tail.lines() };
        }
        let status = registry.status(SessionStatusRequest::default()).await;
        let mut clones = Vec::new();
        if let Ok(status) = &status {
            clones.extend(status.clone.clone());
            let mut others: Vec<_> = status.sessions.iter().filter_map(|record| record.agent.clone()).collect();
            others.sort();
            others.dedup();
            others.retain(|agent| clones.iter().all(|known| known.agent != *agent));
            let asked = others.iter().take(CLONES).map(|agent| registry.fleet.clone_status(agent));
            clones.extend(futures_util::future::join_all(asked).await.into_iter().filter_map(Result::ok));
        }
        if let Ok(status) = &status {
            *last = Some((status.clone(), clones.clone()));
        }
        View { at, connected, status, clones, events: self.tail.lines() }
    }
}
