//! A git server over http that answers as fast as it can, so that what is measured is the client.
//!
//! What a check for news asks for (the advertisement of refs, and protocol 2's `ls-refs`) is taken from the real
//! `git upload-pack` once and then answered from memory: the repository must not change. Fetches are passed on.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Serves one bare repository for as long as the process lives.
pub struct GitHttp {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    repository: PathBuf,
    remembered: Mutex<HashMap<Vec<u8>, Arc<Vec<u8>>>>,
    requests: AtomicU64,
    busy: AtomicU64,
}

impl GitHttp {
    pub fn serve(repository: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            repository,
            remembered: Mutex::default(),
            requests: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        });
        let server = Arc::clone(&shared);
        std::thread::Builder::new().name("git-http".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                // A client that goes away in the middle is its own business.
                std::thread::spawn(move || drop(server.converse(&stream)));
            }
        })?;
        Ok(Self { port, shared })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/repo.git", self.port)
    }

    /// Requests answered so far, and the time from having read each to having written its answer.
    pub fn spent(&self) -> (u64, Duration) {
        let busy = Duration::from_nanos(self.shared.busy.load(Ordering::Relaxed));
        (self.shared.requests.load(Ordering::Relaxed), busy)
    }
}

struct Request {
    first_line: String,
    protocol: String,
    body: Vec<u8>,
}

impl Shared {
    fn converse(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(request) = read_request(&mut reader)? {
            let began = Instant::now();
            let (kind, body) = self.answer(&request)?;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-{kind}\r\nCache-Control: no-cache\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut whole = head.into_bytes();
            whole.extend_from_slice(&body);
            writer.write_all(&whole)?;
            self.busy.fetch_add(u64::try_from(began.elapsed().as_nanos())?, Ordering::Relaxed);
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Result<(&'static str, Arc<Vec<u8>>)> {
        if request.first_line.starts_with("GET ") && request.first_line.contains("service=git-upload-pack") {
            let advertise = || {
                let mut body = b"001e# service=git-upload-pack\n0000".to_vec();
                body.extend(self.upload_pack(&["--http-backend-info-refs"], &request.protocol, &[])?);
                Ok(body)
            };
            return Ok(("git-upload-pack-advertisement", self.remember(request, advertise)?));
        }
        if !request.first_line.starts_with("POST ") {
            bail!("not a request of the git protocol: {}", request.first_line);
        }
        let run = || self.upload_pack(&[], &request.protocol, &request.body);
        let listing = request.body.windows(15).any(|part| part == b"command=ls-refs");
        let body = if listing { self.remember(request, run)? } else { Arc::new(run()?) };
        Ok(("git-upload-pack-result", body))
    }

    fn remember(&self, request: &Request, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        let key = [request.first_line.as_bytes(), request.protocol.as_bytes(), &request.body].join(&0);
        if let Some(known) = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(make()?);
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&made));
        Ok(made)
    }

    fn upload_pack(&self, options: &[&str], protocol: &str, input: &[u8]) -> Result<Vec<u8>> {
        let mut child = Command::new("git")
            .args(["upload-pack", "--stateless-rpc"])
            .args(options)
            .arg(&self.repository)
            .env("GIT_PROTOCOL", protocol)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start git upload-pack")?;
        let mut stdin = child.stdin.take().context("no input")?;
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output()?;
        drop(feeder.join());
        Ok(output.stdout)
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Result<Option<Request>> {
    let mut first_line = String::new();
    if reader.read_line(&mut first_line)? == 0 {
        return Ok(None);
    }
    let (mut length, mut chunked, mut protocol) = (0, false, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "git-protocol" => value.clone_into(&mut protocol),
            "content-encoding" => bail!("compressed requests are not understood here"),
            "expect" => bail!("expectations are not understood here"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16)?;
            let mut part = vec![0; size + 2];
            reader.read_exact(&mut part)?;
            body.extend_from_slice(&part[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(Some(Request { first_line: first_line.trim_end().to_owned(), protocol, body }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::child::git;

    #[test]
    fn git_lists_and_clones_over_it_and_listing_is_answered_from_memory() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--initial-branch=main", "work"]).unwrap();
        let work = folder.path().join("work");
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", "one"]).unwrap();
        git(folder.path(), &["clone", "--quiet", "--bare", "work", "repo.git"]).unwrap();
        let server = GitHttp::serve(folder.path().join("repo.git")).unwrap();
        for protocol in ["0", "2"] {
            for _ in 0..3 {
                let version = format!("protocol.version={protocol}");
                let listed =
                    git(folder.path(), &["-c", &version, "ls-remote", &server.url(), "refs/heads/main"]).unwrap();
                assert!(listed.stdout.ends_with("refs/heads/main\n"), "{}", listed.stdout);
            }
        }
        assert!(server.spent().0 >= 9);
        assert!(server.shared.remembered.lock().unwrap().len() <= 3);
        git(folder.path(), &["clone", "--quiet", &server.url(), "cloned"]).unwrap();
        let head = git(&folder.path().join("cloned"), &["rev-parse", "HEAD"]).unwrap().stdout;
        assert_eq!(head, git(&work, &["rev-parse", "HEAD"]).unwrap().stdout);
    }
}
