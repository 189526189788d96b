//! A git-sync under test, and what is around it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baft_tests::{GitRemote, Port, Process, wait_until};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

pub const SOON: Duration = Duration::from_secs(20);

/// A folder for a git-sync's root, with the port of its admin server.
pub struct Place {
    folder: TempDir,
    pub admin: Port,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("baft-git-sync-").tempdir().unwrap();
        Self { folder, admin: Port::lease() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn link(&self) -> PathBuf {
        self.root().join("link")
    }

    /// Starts git-sync on a remote: root and link as above, every 50 ms unless the arguments say otherwise.
    pub fn start(&self, url: &str, args: &[&str]) -> Process {
        self.start_with(url, args, &[])
    }

    pub fn start_with(&self, url: &str, args: &[&str], env: &[(&str, &str)]) -> Process {
        Process::spawn_bin("git-sync", self.arguments(url, args), env)
    }

    pub fn arguments(&self, url: &str, args: &[&str]) -> Vec<String> {
        let mut all = vec![format!("--repo={url}"), format!("--root={}", self.root().display())];
        let admin = self.admin.address().to_string();
        let defaults =
            [("--admin-addr", admin.as_str()), ("--link", "link"), ("--period", "50ms"), ("--max-backoff", "200ms")];
        for (flag, value) in defaults {
            if !args.iter().any(|arg| arg.split('=').next() == Some(flag)) {
                all.push(format!("{flag}={value}"));
            }
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all
    }

    /// Runs it to its end with `--one-time`; gives its exit code and its log.
    pub fn once(&self, url: &str, args: &[&str]) -> (i32, String) {
        let mut process = self.start(url, &[&["--one-time"], args].concat());
        let status = process.wait(SOON);
        (status.code().unwrap_or(-1), process.logs())
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        http(self.admin.address(), "GET", path, &[], b"").unwrap_or((0, String::new()))
    }

    /// The value of a metric, labels included in the name; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// What the link shows: the last part of its target.
    pub fn shown(&self) -> Option<String> {
        shown(&self.link())
    }

    pub fn wait_for(&self, commit: &str) {
        wait_until(&format!("{commit} to be published"), SOON, || {
            (self.shown().as_deref() == Some(commit)).then_some(())
        });
    }

    /// Waits for the commit and compares every file with what git has.
    pub fn expect(&self, remote: &GitRemote, commit: &str) {
        self.wait_for(commit);
        assert_eq!(files(&self.link()), remote.tree(commit), "the checkout of {commit}");
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.link().join(file)).unwrap()
    }
}

pub fn shown(link: &Path) -> Option<String> {
    Some(std::fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// Every file below a folder as `git ls-tree` would have it.
pub fn files(folder: &Path) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    // Through the link once, so that all files are of one checkout.
    let folder = std::fs::canonicalize(folder).unwrap();
    collect(&folder, "", &mut found).unwrap();
    found
}

pub fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, (String, String)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), found)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path())?;
            found.insert(name, ("120000".to_owned(), blob(target.as_os_str().as_encoded_bytes())));
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
            let mode = if executable { "100755" } else { "100644" };
            found.insert(name, (mode.to_owned(), blob(&std::fs::read(entry.path())?)));
        }
    }
    Ok(())
}

/// The id git gives to this content.
pub fn blob(content: &[u8]) -> String {
    let mut sha = Sha1::new();
    sha.update(format!("blob {}\0", content.len()));
    sha.update(content);
    hex::encode(sha.finalize())
}

/// One HTTP request; status and body.
pub fn http(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(SOON))?;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A server that refuses a large body may close before it has read all of it.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// Somebody who is called over HTTP: answers with what `answer` says for the n-th request, and remembers the requests.
pub struct Listener {
    pub addr: SocketAddr,
    pub heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    pub fn start(answer: impl Fn(usize) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut chunk) {
                        Ok(0) | Err(_) => break,
                        Ok(n) => request.extend_from_slice(&chunk[..n]),
                    }
                }
                let number = {
                    let mut memory = memory.lock().unwrap();
                    memory.push(String::from_utf8_lossy(&request).into_owned());
                    memory.len()
                };
                let (status, body) = answer(number);
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { addr, heard }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// A program for hooks.
pub fn script(place: &Place, name: &str, text: &str) -> String {
    let path = place.path(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
