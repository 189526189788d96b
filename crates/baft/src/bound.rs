//! Binding a child process to the life of its parent, however the parent ends.
//!
//! `baft run-bound` asks the kernel for a signal at its parent's death and then *becomes* the child program. Between
//! `fork` and `exec` the same could only be done with unsafe code; one more `exec` of our own binary needs none.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::failure::Failure;

/// Arguments of the hidden command `run-bound`.
#[derive(Debug, clap::Args)]
pub struct RunBoundArgs {
    /// The process whose end ends this one
    #[arg(long, value_name = "PID")]
    parent: u32,

    /// The program to become, and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A command for `program` that is killed when the *thread* that starts it ends. Start it from a thread that lives as
/// long as the process.
pub fn bound_command(program: &OsStr) -> Command {
    // This very program, even when its file has been replaced by a newer build.
    let mut command = Command::new(if cfg!(target_os = "linux") {
        "/proc/self/exe".into()
    } else {
        std::env::current_exe().map_or_else(|_| OsString::from("baft"), OsString::from)
    });
    command.arg("run-bound").arg("--parent").arg(std::process::id().to_string()).arg("--").arg(program);
    command
}

/// Becomes the program; returns only when it cannot.
#[must_use]
pub fn become_program(args: &RunBoundArgs) -> Failure {
    if let Err(failure) = bind(args.parent) {
        return failure;
    }
    let Some((program, arguments)) = args.command.split_first() else {
        return Failure::usage("no program to become");
    };
    let error = Command::new(program).args(arguments).exec();
    Failure::new(format!("cannot run {}: {error}", program.display()))
}

#[cfg(target_os = "linux")]
fn bind(parent: u32) -> Result<(), Failure> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::new(format!("cannot ask for a signal at the parent's end: {error}")))?;
    // The parent may have ended before the line above.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    if now.and_then(|pid| u32::try_from(pid).ok()) == Some(parent) {
        Ok(())
    } else {
        Err(Failure::new(format!("process {parent}, which this one was to end with, has ended")))
    }
}

/// Other systems have no such signal: a nats-server left behind by `kill -9` must be stopped by hand there.
#[cfg(not(target_os = "linux"))]
fn bind(_parent: u32) -> Result<(), Failure> {
    Ok(())
}
