//! Leased ports on loopback: two tests never get the same one, even in different processes, and a server can be
//! restarted on the port it had.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::fs::{FlockOperation, flock};

/// Below the range from which the kernel hands out ports of its own accord.
const FIRST: u16 = 21_000;
const COUNT: u16 = 10_000;

/// A port nobody else uses until this is dropped. Keeps a lock, not the port itself.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Leases a free port.
    ///
    /// # Panics
    /// When none of the ten thousand is free.
    #[must_use]
    pub fn lease() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = folder();
        let start = (std::process::id().wrapping_mul(37) % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = FIRST + offset;
            let Ok(lock) =
                OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(number.to_string()))
            else {
                continue;
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on loopback.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join("baft-test-ports");
    std::fs::create_dir_all(&folder).expect("the folder for port locks can be created");
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leases_never_share_a_port_and_a_dropped_one_can_be_had_again() {
        let leases: Vec<Port> = (0..50).map(|_| Port::lease()).collect();
        let mut numbers: Vec<u16> = leases.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }
}
