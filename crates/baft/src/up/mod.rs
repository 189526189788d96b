//! `baft up`: the whole fleet on one machine, in one process.

mod agent;
mod board;
mod display;
mod fleet;
mod hints;
mod keep;
mod once;
mod plan;
mod sample;
mod server;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use baft_kit::Exit;
use baft_kit::config::{CommonArgs, LogFormat};
use baft_kit::durable::{DirLock, LockError};
use baft_kit::shutdown::Shutdown;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::failure::Failure;
use crate::workspace::{Surroundings, Workspace};
use board::Board;
use display::Screen;
use plan::Plan;
use server::Server;

/// A longer log is begun anew.
const LOG_LIMIT: u64 = 10 << 20;

/// Where a clone came from, if it says.
pub(crate) fn origin_of(clone: &Path) -> Option<String> {
    git_config(clone, "remote.origin.url")
}

/// What git is told in a folder, by its configuration or this person's.
pub(crate) fn git_config(folder: &Path, key: &str) -> Option<String> {
    sample::git(folder, sample::Whose::Theirs, &["config", key]).ok().filter(|value| !value.is_empty())
}

/// Runs the fleet until told to stop, or once.
#[must_use]
pub fn run(args: &UpArgs, named: Option<&Path>, around: &Surroundings) -> ExitCode {
    match prepare(args, named, around) {
        Ok(prepared) => baft_kit::runtime::run("baft", 2, async move {
            let result = if args.once {
                once::run(prepared.plan, &prepared.workspace).await
            } else {
                prepared.serve(args, around).await
            };
            result.unwrap_or_else(|failure| failure.report())
        }),
        Err(failure) => failure.report().into(),
    }
}

struct Prepared {
    workspace: Workspace,
    plan: Plan,
    _lock: DirLock,
}

/// Everything that can be refused is refused here, before anything is started.
fn prepare(args: &UpArgs, named: Option<&Path>, around: &Surroundings) -> Result<Prepared, Failure> {
    let workspace = around.workspace_for_up(named)?;
    let root = workspace.root();
    std::fs::create_dir_all(root)
        .map_err(|error| Failure::new(format!("cannot make the workspace {}: {error}", root.display())))?;
    // Links resolved, so that every command calls it by the same name.
    let workspace = Workspace::at(root.canonicalize().unwrap_or_else(|_| root.to_owned()));
    let lock = DirLock::acquire(workspace.lock_file()).map_err(|error| locked(error, &workspace))?;
    let plan = Plan::make(args, &workspace)?;
    plan::settle(&plan, &workspace)?;
    Ok(Prepared { workspace, plan, _lock: lock })
}

fn locked(error: LockError, workspace: &Workspace) -> Failure {
    match error {
        LockError::Held { held_by, .. } => {
            let who = held_by.map(|pid| format!(" as process {pid}")).unwrap_or_default();
            Failure::try_again(format!(
                "`baft up` runs in {} already{who}; stop it first, or choose another folder with --workspace",
                workspace.root().display()
            ))
        }
        other => Failure::new(other.to_string()),
    }
}

impl Prepared {
    async fn serve(self, args: &UpArgs, around: &Surroundings) -> Result<Exit, Failure> {
        let cannot = |error: io::Error| Failure::new(format!("cannot start: {error}"));
        let shutdown = Shutdown::install(args.shutdown_grace).map_err(cannot)?;
        let server = if args.no_nats { None } else { Some(Server::start(&self.workspace)?) };
        let mut screen = Screen::new(args.progress);
        let style = screen.style();
        screen.say(&format!("{} in {}", style.bold("baft up"), self.workspace.root().display()));
        self.plan.announcement().iter().for_each(|line| screen.say(line));

        let quiet = Quiet::begin(&self.workspace).map_err(cannot)?;
        start_log(&args.log_level)?;
        let (board, seen) = watch::channel(Board::default());
        let done = CancellationToken::new();
        let hints = {
            let (origin, workspace, around) = (self.plan.origin.clone(), self.workspace.clone(), around.clone());
            let editing = self.plan.agent.as_ref().map(|agent| agent.clone_folder().to_owned());
            let with_nats = server.is_some();
            move || hints::lines(&origin, editing.as_deref(), &workspace, &around, with_nats)
        };
        let shown = tokio::spawn(display::show(screen, seen, done.clone(), hints));
        let result = fleet::run(self.plan, self.workspace.clone(), around.clone(), board, server, shutdown).await;
        done.cancel();
        if let Ok(mut screen) = shown.await {
            if let Ok(exit) = &result {
                screen.say(match exit {
                    Exit::Ok => "Stopped.",
                    _ => "Stopped before everything was finished; see up.log in the workspace.",
                });
            }
            screen.finish();
        }
        drop(quiet);
        result
    }
}

fn start_log(filter: &str) -> Result<(), Failure> {
    let args = CommonArgs {
        log_level: filter.to_owned(),
        log_format: LogFormat::Auto,
        admin_addr: ([127, 0, 0, 1], 0).into(),
        shutdown_grace: std::time::Duration::ZERO,
        print_config: false,
    };
    baft_kit::log::init(&args).map(drop).map_err(|error| Failure::config(error.to_string()))
}

/// While it lives, standard error goes to the log file: the daemons' logs, a library's complaints and a panic's report,
/// none of which may tear the display apart.
struct Quiet {
    before: OwnedFd,
}

impl Quiet {
    fn begin(workspace: &Workspace) -> io::Result<Self> {
        let log = open_log(&workspace.log_file())?;
        let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
        rustix::stdio::dup2_stderr(log)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Without it the last message goes to the log file.
        let _ = rustix::stdio::dup2_stderr(&self.before);
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
