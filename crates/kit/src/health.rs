//! The `healthcheck` subcommand: asks the admin server, for images without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::exit::Exit;

/// How long the whole question may take; probes commonly allow five seconds.
const LIMIT: Duration = Duration::from_secs(3);

/// More of an answer than this is of no use to anybody.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks the admin server at `addr` for `path` (`/readyz` or `/livez`): [`Exit::Ok`] when it answers 200, else
/// [`Exit::Failure`] with the reason on standard error. An address for all interfaces is asked through loopback.
/// Blocks for at most about three seconds.
#[must_use]
pub fn healthcheck(addr: SocketAddr, path: &str) -> Exit {
    let addr = reachable(addr);
    let problem = match ask(addr, path) {
        Ok((200, _)) => return Exit::Ok,
        Ok((status, body)) => format!("{path} answered {status}: {}", body.trim()),
        Err(error) => format!("cannot ask {addr}: {error}; is the daemon running with this --admin-addr?"),
    };
    // Nobody is left to tell when standard error is closed; the exit code remains.
    let _ = writeln!(io::stderr(), "{problem}");
    Exit::Failure
}

fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// One HTTP/1.0 request, so that the answer is neither chunked nor kept alive: status and body.
fn ask(addr: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let deadline = Instant::now() + LIMIT;
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT)?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while (answer.len() as u64) < MAX_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        addr
    }

    #[test]
    fn only_200_is_healthy() {
        let ok = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(healthcheck(ok, "/livez"), Exit::Ok);
        let not_ready = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{}");
        assert_eq!(healthcheck(not_ready, "/readyz"), Exit::Failure);
        assert_eq!(healthcheck(answering("SSH-2.0-x\r\n"), "/livez"), Exit::Failure);
    }

    #[test]
    fn nobody_there_is_not_healthy() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(healthcheck(gone, "/livez"), Exit::Failure);
    }

    #[test]
    fn all_interfaces_are_asked_through_loopback() {
        assert_eq!(reachable("0.0.0.0:9101".parse().unwrap()).to_string(), "127.0.0.1:9101");
        assert_eq!(reachable("[::]:9101".parse().unwrap()).to_string(), "[::1]:9101");
        assert_eq!(reachable("10.0.0.7:9101".parse().unwrap()).to_string(), "10.0.0.7:9101");
    }
}
