//! Child processes that cannot outlive their test.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A running (or ended) child with its own process group. Dropping it kills the whole group.
///
/// Standard output and error go to files, so a talkative child never blocks and nothing is lost when it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    logs: TempDir,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` under a name used in messages.
    ///
    /// # Panics
    /// When the program cannot be started; the message names it.
    #[must_use]
    pub fn spawn(name: &str, mut command: Command) -> Self {
        let logs = tempfile::Builder::new().prefix("baft-test-logs-").tempdir().expect("a temporary folder for logs");
        let open =
            |file: &str| OpenOptions::new().create(true).append(true).open(logs.path().join(file)).expect("a log file");
        command.stdin(Stdio::null()).stdout(open("stdout")).stderr(open("stderr")).process_group(0);
        die_with_parent(&mut command);
        let program = command.get_program().to_owned();
        let child = spawn_on_lasting_thread(command)
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child's process id is positive");
        Self { name: name.to_owned(), child, group, logs, ended: None }
    }

    /// Starts a binary of this workspace (see [`bin`]).
    #[must_use]
    pub fn spawn_bin<I, S>(name: &str, args: I, env: &[(&str, &str)]) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(bin(name));
        command.args(args).envs(env.iter().copied());
        Self::spawn(name, command)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the child wrote to standard error and output so far.
    #[must_use]
    pub fn logs(&self) -> String {
        format!("{}{}", self.stderr(), self.stdout())
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.logs.path().join("stdout"))
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.logs.path().join("stderr"))
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Is it still running?
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// Sends a signal to the child alone.
    pub fn signal(&self, signal: Signal) {
        // A child that has just ended is not an error here.
        let _ = rustix::process::kill_process(self.group, signal);
    }

    /// Stops it from running without ending it, and returns when none of its threads runs any more: on a busy machine the
    /// others go on for a moment after the signal.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stopped = |task: fs::DirEntry| {
            // The state follows the name, which is in brackets and may hold any.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
        };
        wait_until("every thread to stand still", Duration::from_secs(20), || {
            let mut tasks = fs::read_dir(format!("/proc/{}/task", self.id())).ok()?.flatten();
            tasks.all(stopped).then_some(())
        });
    }

    /// Lets it run on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends SIGTERM and waits.
    ///
    /// # Panics
    /// When it has not ended by the deadline; the message shows its log.
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(deadline)
    }

    /// Waits for the child to end by itself.
    ///
    /// # Panics
    /// When it has not ended by the deadline; the message shows its log.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            if Instant::now() > until {
                panic!("{} did not end within {deadline:?}; its log:\n{}", self.name, self.logs());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9 to the whole group, and waits until the child is gone.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = kill_process_group(self.group, Signal::KILL);
            self.ended = Some(self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(9)));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also when the child itself has ended: it may have left children of its own in the group.
        let _ = kill_process_group(self.group, Signal::KILL);
        self.kill();
        if thread::panicking() {
            let log = self.logs();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprint_block(&self.name, &tail);
        }
    }
}

#[allow(clippy::print_stderr)]
fn eprint_block(name: &str, tail: &[&str]) {
    eprintln!("---- last lines of {name}");
    for line in tail.iter().rev() {
        eprintln!("{line}");
    }
}

/// Asks the kernel to kill the child when the thread that started it ends, that is: when the test process dies.
#[allow(unsafe_code)] // pre_exec: only an async-signal-safe system call runs between fork and exec.
fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one prctl(2) call, which is async-signal-safe, and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
        });
    }
}

type Job = (Command, Sender<std::io::Result<Child>>);

/// The death signal above follows the *thread* that forked, and test threads are short-lived: so one thread, which
/// lives as long as the process, starts all children.
fn spawn_on_lasting_thread(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in jobs {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        sender
    });
    let (answer, result) = channel();
    spawner.send((command, answer)).expect("the spawner lives as long as the process");
    result.recv().expect("the spawner answers every job")
}

fn read_lossy(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let _ = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The workspace's root.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package lies in the workspace").to_owned()
}

/// The path of a binary of this workspace, in the same target folder and profile as the running test.
///
/// # Panics
/// When it has not been built; the message says how.
#[must_use]
pub fn bin(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let mut folder = test.parent().expect("a test lies in a folder").to_owned();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} does not exist: run `cargo build --bins` (with the same profile and target folder) first",
        path.display()
    );
    path
}

/// The Python of the tests, if it has a module; nothing, with the reason why `what` is left out printed, if it has not.
#[must_use]
#[allow(clippy::print_stderr)]
pub fn python_with(module: &str, what: &str) -> Option<PathBuf> {
    let python =
        std::env::var_os("BAFT_PYTHON").map_or_else(|| workspace().join(".tools/venv/bin/python"), PathBuf::from);
    let import = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: no {what}, because {} with {module} is missing (make tools)", python.display());
    None
}

/// Polls until `condition` gives a value, every 10 ms.
///
/// # Panics
/// When it has not by the deadline; the message says what was waited for.
pub fn wait_until<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() <= until, "waited {deadline:?} in vain for: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// [`wait_until`] for conditions that must be awaited.
///
/// # Panics
/// When the condition gave no value by the deadline.
pub async fn wait_until_async<T, F>(what: &str, deadline: Duration, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + deadline;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() <= until, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_a_process_kills_its_grandchildren_too() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]);
        let process = Process::spawn("shell", command);
        let grandchild =
            wait_until("the grandchild's id", Duration::from_secs(5), || process.stdout().trim().parse::<u32>().ok());
        let alive = || {
            // A zombie waiting for init to reap it is dead enough.
            std::fs::read_to_string(format!("/proc/{grandchild}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        assert!(alive());
        drop(process);
        wait_until("the grandchild to be gone", Duration::from_secs(5), || (!alive()).then_some(()));
    }

    #[test]
    fn what_a_killed_process_said_can_still_be_read() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; sleep 1000"]);
        let mut process = Process::spawn("shell", command);
        wait_until("both lines", Duration::from_secs(5), || {
            (process.stdout() == "out\n" && process.stderr() == "err\n").then_some(())
        });
        process.kill();
        assert!(!process.is_running());
        assert_eq!(process.logs(), "err\nout\n");
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let mut process = thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            Process::spawn("sleep", command)
        })
        .join()
        .unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(process.is_running());
    }
}
