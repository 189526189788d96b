//! The private nats-server of `baft up`: a child process on loopback, restarted when it dies.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use baft_kit::backoff::Backoff;
use baft_kit::durable;
use rand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bound::bound_command;
use crate::failure::Failure;
use crate::runtime::Nats;
use crate::workspace::Workspace;

/// How long a start may take: reading back a large store is slow.
const START: Duration = Duration::from_secs(30);

/// How long an orderly end may take before it is killed.
const STOP: Duration = Duration::from_secs(5);

/// A server that ran this long was well: the next restart is immediate again.
const WELL: Duration = Duration::from_secs(30);

/// How the server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not answering yet.
    Starting,
    /// It answers.
    Running {
        /// Its process.
        pid: u32,
    },
    /// It ended, and will be started again.
    Down {
        /// Why, in one line.
        reason: String,
        /// How often it has been started.
        starts: u32,
    },
    /// It was stopped, or cannot be started at all.
    Ended,
}

/// The running server and the thread that keeps it running.
pub struct Server {
    endpoint: Nats,
    address: SocketAddr,
    state: watch::Receiver<State>,
    stop: CancellationToken,
}

impl Server {
    /// Writes its configuration, starts it and returns at once; see [`Self::state`].
    ///
    /// # Errors
    /// There is no nats-server, or its folder cannot be written.
    pub fn start(workspace: &Workspace) -> Result<Self, Failure> {
        let program = find(&Places::real())?;
        let folder = workspace.nats();
        let cannot = |error: io::Error| Failure::new(format!("cannot prepare {}: {error}", folder.display()));
        let address = free_address().map_err(cannot)?;
        let endpoint = configure(&folder, address.port()).map_err(cannot)?;
        let log = File::create(folder.join("server.log")).map_err(cannot)?;
        let (sender, state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let keeper = Keeper { program, folder: folder.clone(), address, log, state: sender, stop: stop.clone() };
        // Its own thread, because the child is bound to the thread that starts it (see `bound_command`).
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        std::thread::Builder::new()
            .name("nats-keeper".to_owned())
            .spawn(move || runtime.block_on(keeper.run()))
            .map_err(cannot)?;
        Ok(Self { endpoint, address, state, stop })
    }

    /// How clients reach it.
    #[must_use]
    pub fn endpoint(&self) -> &Nats {
        &self.endpoint
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is doing, and a way to wait for changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until it answers for the first time.
    ///
    /// # Errors
    /// It ended instead; its reason is its own.
    pub async fn answers(&self) -> Result<(), Failure> {
        let mut state = self.state();
        let settled = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match settled.as_deref() {
            Ok(State::Running { .. }) => Ok(()),
            Ok(State::Down { reason, .. }) => Err(Failure::new(format!("nats-server does not start: {reason}"))
                .hint("see nats/server.log in the workspace; `baft up --no-nats` does without")),
            _ => Err(Failure::new("nats-server was stopped while starting")),
        }
    }

    /// Stops it, and waits until it is gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let gone = self.state.wait_for(|state| *state == State::Ended);
        let _ = tokio::time::timeout(STOP + Duration::from_secs(1), gone).await;
    }
}

struct Keeper {
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    log: File,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

impl Keeper {
    /// Starts it again whenever it ends, on the same port and store, so that clients find it and nothing is lost.
    async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut starts = 0;
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            starts += 1;
            let reason = match self.once().await {
                Ok(reason) => reason,
                Err(error) => format!("cannot run {}: {error}", self.program.display()),
            };
            if self.stop.is_cancelled() {
                break;
            }
            if began.elapsed() > WELL {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            tracing::warn!(%reason, starts, delay_ms = delay.as_millis(), "nats-server ended; starting it again");
            self.state.send_replace(State::Down { reason, starts });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.state.send_replace(State::Ended);
    }

    /// One life of the server: why it ended.
    async fn once(&self) -> io::Result<String> {
        let mut command = bound_command(self.program.as_os_str());
        command
            .arg("-c")
            .arg(self.folder.join("server.conf"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?)
            // Ctrl-C goes to the whole group of a terminal; the server must outlive the daemons that drain into it.
            .process_group(0);
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let pid = child.id().unwrap_or_default();
        tokio::select! {
            status = child.wait() => return Ok(self.last_words(status?)),
            answered = answers(self.address) => if answered {
                tracing::info!(pid, address = %self.address, "nats-server answers");
                self.state.send_replace(State::Running { pid });
            } else {
                end(&mut child).await;
                return Ok(format!("it did not answer within {} s", START.as_secs()));
            },
            () = self.stop.cancelled() => {
                end(&mut child).await;
                return Ok("stopped".to_owned());
            }
        }
        tokio::select! {
            status = child.wait() => Ok(self.last_words(status?)),
            () = self.stop.cancelled() => {
                end(&mut child).await;
                Ok("stopped".to_owned())
            }
        }
    }

    /// The reason it gave, else how it ended.
    fn last_words(&self, status: std::process::ExitStatus) -> String {
        let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let fatal = log.lines().rev().take(20).find_map(|line| {
            let at = line.find("[FTL]").map(|at| at + 5).or_else(|| line.starts_with("nats-server:").then_some(12))?;
            line.get(at..).map(|text| text.trim_start_matches([':', ' ']).to_owned())
        });
        match fatal {
            Some(fatal) if !status.success() => format!("{fatal} ({status})"),
            _ => status.to_string(),
        }
    }
}

async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(STOP, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Waits until the server greets a client, and says whether it did in time.
async fn answers(address: SocketAddr) -> bool {
    let until = Instant::now() + START;
    while Instant::now() < until {
        // Blocking, on a thread that has nothing else to do; on loopback it takes no time.
        if greets(address) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

fn greets(address: SocketAddr) -> bool {
    let patience = Duration::from_millis(500);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else { return false };
    let mut greeting = [0; 5];
    stream.set_read_timeout(Some(patience)).is_ok() && stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO "
}

/// Writes the configuration and a fresh password, both for this user only. Nothing secret is ever an argument.
fn configure(folder: &Path, port: u16) -> io::Result<Nats> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let user = "baft".to_owned();
    let password: String = rand::rng().random::<[u8; 24]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let password_file = folder.join("password");
    durable::write_private_file(&password_file, password.as_bytes())?;
    let config = baft_bus::private_server_config(port, &folder.join("store"), &user, &password);
    durable::write_private_file(&folder.join("server.conf"), config.as_bytes())?;
    Ok(Nats { url: format!("nats://127.0.0.1:{port}"), user, password_file })
}

/// A free port outside the range from which the kernel takes ports for outgoing connections, so that it is still free
/// when the server is restarted.
fn free_address() -> io::Result<SocketAddr> {
    let mut rng = rand::rng();
    for _ in 0..100 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.random_range(14_000..20_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Where a nats-server may be.
struct Places {
    named: Option<PathBuf>,
    current: PathBuf,
    program: PathBuf,
    path: Vec<PathBuf>,
}

impl Places {
    fn real() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            named: variable("BAFT_NATS_SERVER").map(PathBuf::from),
            current: std::env::current_dir().unwrap_or_default(),
            program: std::env::current_exe().unwrap_or_default(),
            path: variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
        }
    }
}

/// The one named, else the one `make tools` fetched for this project or for the one this program was built in, else
/// the one on the PATH.
fn find(places: &Places) -> Result<PathBuf, Failure> {
    if let Some(named) = &places.named {
        return if is_program(named) {
            Ok(named.clone())
        } else {
            Err(Failure::config(format!("BAFT_NATS_SERVER: '{}' is not a program", named.display()))
                .hint("set it to the path of nats-server 2.11 or later, or unset it"))
        };
    }
    let name = OsStr::new("nats-server");
    let fetched = places.current.ancestors().chain(places.program.ancestors()).map(|folder| folder.join(".tools/bin"));
    fetched.chain(places.path.iter().cloned()).map(|folder| folder.join(name)).find(|path| is_program(path)).ok_or_else(
        || {
            Failure::config("no nats-server was found: not in .tools/bin, not on the PATH").hint(
                "`make tools` fetches it; or set BAFT_NATS_SERVER to the path of one (2.11 or later); or run with --no-nats",
            )
        },
    )
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, name: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_server_named_beats_the_one_fetched_which_beats_the_one_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mut places = Places {
            named: None,
            current: root.join("project/deep"),
            program: root.join("built/target/release/baft"),
            path: vec![root.join("bin")],
        };
        let hint = find(&places).unwrap_err().hint.unwrap();
        assert!(hint.contains("make tools") && hint.contains("--no-nats"), "{hint}");
        let on_path = program(&root.join("bin"), "nats-server");
        assert_eq!(find(&places).unwrap(), on_path);
        let built = program(&root.join("built/.tools/bin"), "nats-server");
        assert_eq!(find(&places).unwrap(), built);
        let project = program(&root.join("project/.tools/bin"), "nats-server");
        assert_eq!(find(&places).unwrap(), project);
        places.named = Some(program(root, "my-nats"));
        assert_eq!(find(&places).unwrap(), root.join("my-nats"));
        places.named = Some(root.join("missing"));
        assert_eq!(find(&places).unwrap_err().exit, baft_kit::Exit::Config);
    }

    #[test]
    fn nobody_else_can_read_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let nats = folder.path().join("nats");
        let endpoint = configure(&nats, 4222).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&nats), mode(&endpoint.password_file), mode(&nats.join("server.conf"))),
            (0o700, 0o600, 0o600)
        );
        let password = fs::read_to_string(&endpoint.password_file).unwrap();
        assert_eq!(password.len(), 48);
        assert!(!endpoint.url.contains(&password));
        assert_ne!(
            configure(&nats, 4222).map(|_| fs::read_to_string(nats.join("password")).unwrap()).unwrap(),
            password
        );
    }
}
