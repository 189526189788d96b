//! The same engine in a process of its own, so that it can be killed. The process is this test binary again.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use baft_commit_agent::engine::{Agent, Apply, Edit, Extent, Order, Touched, Trigger};
use baft_repo::transport::Libgit2;
use baft_tests::Process;

use crate::support::{Scene, now, settings};

/// Starts a child on a scene's clone.
pub fn start(scene: &Scene, mode: &str, failpoint: Option<&str>) -> Process {
    start_on(&scene.clone_path(), &scene.remote.url(), scene.settings.agent.as_str(), mode, failpoint)
}

pub fn start_on(clone: &Path, url: &str, agent: &str, mode: &str, failpoint: Option<&str>) -> Process {
    let mut command = command(clone, url, agent, mode);
    match failpoint {
        Some(name) => command.env("BAFT_FAILPOINT", name),
        None => command.env_remove("BAFT_FAILPOINT"),
    };
    Process::spawn("agent", command)
}

fn command(clone: &Path, url: &str, agent: &str, mode: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child::run", "--ignored", "--nocapture", "--test-threads=1"]);
    command
        .env("BAFT_CHILD_CLONE", clone)
        .env("BAFT_CHILD_URL", url)
        .env("BAFT_CHILD_AGENT", agent)
        .env("BAFT_CHILD_MODE", mode);
    command
}

/// Starts a child with more in its environment.
pub fn start_with(scene: &Scene, mode: &str, env: &[(&str, &str)]) -> Process {
    let mut command = command(&scene.clone_path(), &scene.remote.url(), scene.settings.agent.as_str(), mode);
    command.envs(env.iter().copied());
    Process::spawn("agent", command)
}

/// Runs a child to its end; whether it was killed on its way.
pub fn run_once(scene: &Scene, mode: &str, failpoint: &str) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let mut child = start(scene, mode, Some(failpoint));
    let status = child.wait(Duration::from_secs(60));
    assert!(status.success() || status.signal().is_some(), "{status:?}: {}", child.logs());
    status.signal().is_some()
}

/// Not a test: what the child does.
#[test]
#[ignore = "started by other tests"]
fn run() {
    let Ok(clone) = std::env::var("BAFT_CHILD_CLONE") else { return };
    let _ = baft_repo::init(&baft_repo::Settings { io_timeout: Duration::from_secs(5), ..Default::default() });
    let settings = settings(
        clone.clone().into(),
        &std::env::var("BAFT_CHILD_URL").unwrap(),
        &std::env::var("BAFT_CHILD_AGENT").unwrap(),
    );
    let (mut agent, _) = Agent::open(settings, Arc::new(Libgit2::new())).unwrap();
    match std::env::var("BAFT_CHILD_MODE").unwrap().as_str() {
        "once" => {
            for _ in 0..3 {
                agent.touched(Touched::Rescan);
                agent.cycle(&now());
            }
        }
        "local" => {
            agent.touched(Touched::Rescan);
            agent.cycle(&Order { extent: Extent::Local, ..now() });
        }
        "apply" => {
            let edits = vec![
                Edit::File { path: "applied.yaml".parse().unwrap(), content: Some(b"by: request\n".to_vec()) },
                Edit::File { path: "shared.txt".parse().unwrap(), content: Some(b"by request\n".to_vec()) },
            ];
            agent.cycle(&now());
            // A failpoint may make it fail.
            drop(agent.apply(&Apply { session: None, base: None, edits, message: None }));
        }
        // By turns as told of a save, which is pushed without asking first, and as on schedule.
        _ => loop {
            agent.touched(Touched::Rescan);
            agent.cycle(&Order { trigger: Trigger::Watch, ..now() });
            agent.touched(Touched::Rescan);
            agent.cycle(&now());
            std::fs::write(format!("{clone}.cycled"), "").unwrap();
            std::thread::sleep(Duration::from_millis(10));
        },
    }
}
