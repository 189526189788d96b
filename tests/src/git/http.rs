//! A small HTTP server that runs `git http-backend`, and misbehaves when told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// Every request is answered with this status.
    Status(u16),
    /// Requests are read and never answered.
    Hang,
    /// The answer to a fetch begins and never ends.
    HangInPack,
    /// Answers end in the middle, with a closed connection.
    Truncate,
    /// The answer to a fetch ends in the middle, with a closed connection.
    TruncatePack,
    /// A push is done, and its answer never arrives: a closed connection.
    LosePushAnswer,
    /// Whoever wants to push is answered with this status; fetching works.
    RefusePush(u16),
    /// Whoever wants to push gets no answer; fetching works.
    HangInPush,
    /// One byte of the answer every so many milliseconds.
    Trickle(u64),
    /// Everything is redirected to this URL's prefix.
    Redirect(&'static str),
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    login: Option<(String, String)>,
    cookie: Option<String>,
    connections: Vec<TcpStream>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    state: Mutex<State>,
    stopping: AtomicBool,
    wake: Condvar,
    accepted: AtomicUsize,
    requests: AtomicUsize,
    refused: AtomicUsize,
}

/// A running HTTP server for the bare repositories of a folder. Stops when dropped.
#[derive(Debug)]
pub struct GitHttp {
    shared: Arc<Shared>,
    port: u16,
    listener: Option<JoinHandle<()>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl GitHttp {
    /// Serves every repository of a folder.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start(root: &Path) -> Self {
        Self::start_at(root, 0)
    }

    /// The same at a port where another one was.
    ///
    /// # Panics
    /// When the port cannot be had.
    #[must_use]
    pub fn start_at(root: &Path, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            state: Mutex::default(),
            stopping: AtomicBool::new(false),
            wake: Condvar::new(),
            accepted: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopping.load(Ordering::Acquire) {
                    return;
                }
                accepting.accepted.fetch_add(1, Ordering::AcqRel);
                let serving = Arc::clone(&accepting);
                if let Ok(copy) = stream.try_clone() {
                    serving.state.lock().expect("the state").connections.push(copy);
                }
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Self { shared, port, listener: Some(listener) }
    }

    /// The URL of the harness's remote.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/remote.git", self.port)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Misbehave from now on. Requests that hang go on hanging.
    pub fn fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Closes the connections there are, those of requests that hang among them.
    pub fn cut(&self) {
        let mut state = self.shared.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Ask for this user and password from now on; nothing asks for none.
    pub fn require_login(&self, login: Option<(&str, &str)>) {
        self.state().login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
    }

    /// Ask for this cookie (`name=value`) from now on.
    pub fn require_cookie(&self, cookie: &str) {
        self.state().cookie = Some(cookie.to_owned());
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Acquire)
    }

    /// Requests that showed a wrong password so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Acquire)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().expect("the state")
    }
}

impl Drop for GitHttp {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.cut();
        self.shared.wake.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let Ok(copy) = stream.try_clone() else { return };
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(copy);
        let mut writer = stream;
        while let Some(request) = read_request(&mut reader, &mut writer) {
            self.requests.fetch_add(1, Ordering::AcqRel);
            if self.answer(&request, &mut writer).is_none() || self.stopping.load(Ordering::Acquire) {
                break;
            }
        }
        let _ = writer.shutdown(Shutdown::Both);
    }

    /// Answers one request; nothing when the connection is to be closed.
    fn answer(&self, request: &Request, out: &mut TcpStream) -> Option<()> {
        let (fault, login, cookie) = {
            let state = self.state.lock().ok()?;
            (state.fault, state.login.clone(), state.cookie.clone())
        };
        let pack = request.method == "POST" && request.path.ends_with("/git-upload-pack");
        let push = request.path.ends_with("/git-receive-pack") || request.query.contains("git-receive-pack");
        match fault {
            Fault::Hang => return self.hang(),
            Fault::Status(status) => return plain(out, status, ""),
            Fault::RefusePush(status) if push => return plain(out, status, ""),
            Fault::HangInPush if push => return self.hang(),
            Fault::Redirect(prefix) => {
                return plain(out, 301, &format!("Location: {prefix}{}?{}\r\n", request.path, request.query));
            }
            _ => {}
        }
        if let Some((user, password)) = login {
            let expected = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
            let shown = request.headers.get("authorization");
            if shown != Some(&expected) {
                self.refused.fetch_add(usize::from(shown.is_some()), Ordering::AcqRel);
                return plain(out, 401, "WWW-Authenticate: Basic realm=\"git\"\r\n");
            }
        }
        if let Some(cookie) = cookie
            && request.headers.get("cookie").is_none_or(|shown| !shown.split("; ").any(|one| one == cookie))
        {
            return plain(out, 403, "");
        }
        let (status, headers, body) = self.run_backend(request)?;
        let mut head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n", body.len()).into_bytes();
        head.extend_from_slice(b"\r\n");
        match fault {
            Fault::Truncate => cut(out, &head, &body),
            Fault::LosePushAnswer if push && request.method == "POST" => None,
            Fault::TruncatePack if pack => cut(out, &head, &body),
            Fault::HangInPack if pack => {
                out.write_all(&head).ok()?;
                out.write_all(&body[..body.len() / 2]).ok()?;
                self.hang()
            }
            Fault::Trickle(pause) => {
                for byte in head.iter().chain(&body) {
                    out.write_all(&[*byte]).ok()?;
                    self.pause(Duration::from_millis(pause))?;
                }
                Some(())
            }
            _ => {
                head.extend_from_slice(&body);
                out.write_all(&head).ok()
            }
        }
    }

    fn hang(&self) -> Option<()> {
        let mut state = self.state.lock().ok()?;
        while !self.stopping.load(Ordering::Acquire) {
            state = self.wake.wait(state).ok()?;
        }
        None
    }

    fn pause(&self, pause: Duration) -> Option<()> {
        let state = self.state.lock().ok()?;
        drop(self.wake.wait_timeout(state, pause).ok()?);
        (!self.stopping.load(Ordering::Acquire)).then_some(())
    }

    fn run_backend(&self, request: &Request) -> Option<(String, String, Vec<u8>)> {
        let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
        let mut child = super::command(&self.root)
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", &request.query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("REMOTE_USER", "test")
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut stdin = child.stdin.take()?;
        let body = request.body.clone();
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&body)));
        let mut output = Vec::new();
        child.stdout.take()?.read_to_end(&mut output).ok()?;
        let _ = feeder.join();
        let _ = child.wait();
        let split = output.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (mut status, mut headers) = ("200 OK".to_owned(), String::new());
        for line in String::from_utf8_lossy(&output[..split]).split("\r\n") {
            match line.strip_prefix("Status: ") {
                Some(text) => status = text.to_owned(),
                None => headers.push_str(&format!("{line}\r\n")),
            }
        }
        Some((status, headers, output.split_off(split + 4)))
    }
}

fn plain(out: &mut TcpStream, status: u16, headers: &str) -> Option<()> {
    let answer = format!("HTTP/1.1 {status} Status\r\n{headers}Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n");
    out.write_all(answer.as_bytes()).ok()
}

fn cut(out: &mut TcpStream, head: &[u8], body: &[u8]) -> Option<()> {
    out.write_all(head).ok()?;
    out.write_all(&body[..body.len() / 2]).ok()?;
    let _ = out.flush();
    None
}

fn read_request(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    if headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let start = body.len();
            body.resize(start + size, 0);
            reader.read_exact(&mut body[start..]).ok()?;
            let mut end = String::new();
            reader.read_line(&mut end).ok()?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length").and_then(|value| value.parse().ok()) {
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
