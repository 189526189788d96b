//! A wire between a client and a server that can be made to misbehave: one way or both, for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What passes.
#[derive(Debug, Default)]
struct Valves {
    /// Nothing gets to the server.
    up_shut: AtomicBool,
    /// Nothing gets back.
    down_shut: AtomicBool,
    /// There is no connection, and none can be made.
    broken: watch::Sender<bool>,
}

/// The wire. Everything through it ends with it.
pub struct Wire {
    address: SocketAddr,
    valves: Arc<Valves>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let valves = Arc::new(Valves::default());
        let theirs = valves.clone();
        let task = tokio::spawn(async move {
            let mut wires = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let valves = theirs.clone();
                let mut broken = valves.broken.subscribe();
                if *broken.borrow() {
                    continue;
                }
                wires.spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let (one, other) = (valves.clone(), valves);
                    tokio::select! {
                        () = carry(from_client, to_server, move || one.up_shut.load(Ordering::SeqCst)) => {}
                        () = carry(from_server, to_client, move || other.down_shut.load(Ordering::SeqCst)) => {}
                        _ = broken.wait_for(|broken| *broken) => {}
                    }
                });
            }
        });
        Self { address, valves, task }
    }

    /// What a client connects to instead of a server of [`crate::nats`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}:{}@{}", crate::nats::USER, crate::nats::PASSWORD, self.address)
    }

    /// What the server says does not arrive; what it is told does.
    pub fn drop_answers(&self, drop: bool) {
        self.valves.down_shut.store(drop, Ordering::SeqCst);
    }

    /// Nothing passes, either way.
    pub fn cut(&self, cut: bool) {
        self.valves.up_shut.store(cut, Ordering::SeqCst);
        self.drop_answers(cut);
    }

    /// Connections end, and new ones end at once.
    pub fn break_off(&self, broken: bool) {
        self.valves.broken.send_replace(broken);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes one way. What comes while it is shut is held back, as a network does that retransmits later.
async fn carry(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, shut: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        while shut() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
