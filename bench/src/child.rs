//! Child processes: how long they took, how much processor time and memory.

use std::fs::{read_dir, read_to_string};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command that has ended well.
pub struct Finished {
    /// From before the process was started to its end.
    pub wall: Duration,
    /// User and system time, of the process and the children it waited for.
    pub cpu: Duration,
    /// Largest resident memory. Never below that of this process, which is small.
    pub peak_kib: u64,
    pub stdout: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Finished> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).with_context(|| format!("output of {shown}"))?;
    }
    let (status, usage) = wait(child).with_context(|| format!("waiting for {shown}"))?;
    let wall = began.elapsed();
    if status != 0 {
        bail!("{shown} ended with wait status {status}; it said: {stdout}");
    }
    let time = |value: libc::timeval| Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1000);
    Ok(Finished { wall, cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_kib: usage.ru_maxrss as u64, stdout })
}

/// `wait4`, because the standard library does not tell what a child used.
#[allow(unsafe_code)]
fn wait(child: Child) -> Result<(i32, libc::rusage)> {
    let mut status = 0;
    let pid = child.id() as libc::pid_t;
    // SAFETY: rusage is plain integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals; the child is ours and nobody else waits for it.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if waited == pid {
            return Ok((status, usage));
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
}

/// Runs `git` in a folder, quietly.
pub fn git(folder: &std::path::Path, arguments: &[&str]) -> Result<Finished> {
    run(git_command(folder).args(arguments))
}

/// A `git` that does not read this user's settings.
pub fn git_command(folder: &std::path::Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false"])
        .stderr(Stdio::null());
    command
}

/// Processor time a running process has used so far, all threads that still live.
pub fn cpu_of(pid: u32) -> Duration {
    let tasks = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds: u64 = tasks
        .filter_map(|task| read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// Memory of a running process, in KiB.
pub struct Memory {
    pub resident: u64,
    /// The part that is its own: not mapped from files.
    pub anonymous: u64,
    pub peak: u64,
}

pub fn memory_of(pid: u32) -> Result<Memory> {
    let text = read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> u64 {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().split(' ').next()?.parse().ok())
            .unwrap_or(0)
    };
    Ok(Memory { resident: field("VmRSS"), anonymous: field("RssAnon"), peak: field("VmHWM") })
}

/// `from | to`.
pub fn pipe(from: &mut Command, to: &mut Command) -> Result<()> {
    let mut source = from.stdout(Stdio::piped()).spawn()?;
    let output = source.stdout.take().context("no output to pipe")?;
    let status = to.stdin(Stdio::from(output)).status()?;
    let first = source.wait()?;
    if !status.success() || !first.success() {
        bail!("{from:?} | {to:?} failed");
    }
    Ok(())
}
