//! From a saved file to the remote, one saved file among many, and commit-agent with nothing to do; each beside the shell's
//! `git add -A && git commit && git push`, started by itself at the moment of the save.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use baft_tests::NatsServer;
use baft_tests::git::GitHttp;

use super::Setting;
use crate::child::{cpu_of, git, git_command, memory_of, run as run_child};
use crate::data::{Editor, Repository};
use crate::fleet::{AGENT, Client, Looks, commit_agent};
use crate::report::{Goal, Section};
use crate::stats::{Samples, show_mib, show_seconds};

const PATIENCE: Duration = Duration::from_secs(60);
/// What the shell way runs when its timer says so.
const SHELL: &str = "git add -A && git commit --quiet --message save && git push --quiet origin main";
/// The same without the network.
const SHELL_COMMIT: &str = "git add -A && git commit --quiet --message save";

pub fn save_to_pushed(setting: &Setting) -> Result<Section> {
    let mut section = Section::new(
        "Save to pushed",
        "One-entity edits in a clone, until the remote's branch has them: commit-agent with the file watch and no quiet period,\n\
         every object and ref synced to disk. The baseline is the shell's `git add -A && git commit && git push`, started at\n\
         the moment of the save, without the wait for its timer and without waiting for the disk.",
    );
    for over in ["file", "http"] {
        let folder = setting.folder(&format!("save-to-pushed-{over}"))?;
        let repository = Repository::of_folder(&setting.source.folder, &folder)?;
        git(&repository.remote, &["config", "http.receivepack", "true"])?;
        let http = GitHttp::start(&folder);
        let url = if over == "http" { http.url() } else { repository.url() };
        git(&repository.clone, &["remote", "set-url", "origin", &url])?;
        let rounds = setting.rounds(100);
        let ours = agent_pushes(&repository, &folder.join("agent"), &url, rounds)?;
        let theirs = shell_pushes(&repository, rounds)?;
        section.compare(
            &format!("{over}: {} saves", ours.len()),
            ours.show(),
            theirs.show(),
            theirs.p50() / ours.p50(),
            "",
            None,
        );
    }
    section.note(
        "The specification's loop commits every 15 minutes; its wait, 7.5 minutes on average, is not in the baseline.",
    );
    Ok(section)
}

fn agent_pushes(repository: &Repository, clone: &Path, url: &str, rounds: usize) -> Result<Samples> {
    let _agent = commit_agent(clone, url, Looks::Watching, None)?;
    let branch = Tip::of(&repository.remote, "refs/heads/main")?;
    let mut editor = Editor::open(clone.join("data/variables.yaml"))?;
    let mut samples = Samples::default();
    let warm_up = 5;
    for round in 0..rounds + warm_up {
        let before = branch.read()?;
        let began = Instant::now();
        editor.save(round)?;
        let seen = branch.wait_for_another(&before)?;
        if round >= warm_up {
            samples.push(seen - began);
        }
        same(clone, &repository.remote, "main:data/variables.yaml", "data/variables.yaml")?;
        // As a person would: not in the middle of the previous push.
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(samples)
}

fn shell_pushes(repository: &Repository, rounds: usize) -> Result<Samples> {
    git(&repository.clone, &["pull", "--quiet", "--ff-only", "origin", "main"])?;
    let mut editor = Editor::open(repository.clone.join("data/variables.yaml"))?;
    let mut samples = Samples::default();
    for round in 0..rounds {
        // No edit like the agent's last.
        editor.save(round + 500_000)?;
        samples.push(run_child(&mut shell(&repository.clone, SHELL))?.wall);
    }
    Ok(samples)
}

pub fn capture_one(setting: &Setting) -> Result<Section> {
    let mut section = Section::new(
        "Capture of one changed file",
        "One file of many is saved, until its content is in commit-agent's private ref, synced to disk: from then on nothing can\n\
         be lost. With the file watch from the save; without it from a request, as every file is looked at. The baseline is the\n\
         shell's `git add -A && git commit` at the moment of the save.",
    );
    for count in [500, if setting.quick { 5_000 } else { 50_000 }] {
        let folder = setting.folder(&format!("capture-{count}"))?;
        let remote = Repository::of_many_files(count, &folder)?;
        let url = format!("file://{}", remote.display());
        let rounds = setting.rounds(30);
        let clone = folder.join("agent");
        let watched = captures(&clone, &url, Looks::Watching, rounds)?;
        let looked = captures(&clone, &url, Looks::WhenAsked, rounds)?;
        let theirs = shell_commits(&folder, rounds)?;
        let large = count > 1000;
        for (how, ours, limit, goal) in
            [("with the watch", &watched, 0.050, "at most 50 ms"), ("without", &looked, 1.0, "at most 1 s")]
        {
            section.compare(
                &format!("{count} files, {how}"),
                ours.show(),
                theirs.show(),
                theirs.p50() / ours.p50(),
                if large { goal } else { "" },
                large.then(|| Goal::when(ours.p50() <= limit)),
            );
        }
        fs::remove_dir_all(&folder)?;
    }
    Ok(section)
}

fn captures(clone: &Path, url: &str, looks: Looks, rounds: usize) -> Result<Samples> {
    let nats = NatsServer::start();
    let client = Client::connect(&nats)?;
    let _agent = commit_agent(clone, url, looks, Some(&nats))?;
    let branch = Tip::of(Path::new(url.trim_start_matches("file://")), "refs/heads/main")?;
    let pending = Tip::of(&clone.join(".git"), &format!("refs/baft/pending/{AGENT}"))?;
    let file = clone.join("data/0003/000333.yaml");
    let mut samples = Samples::default();
    let warm_up = 3;
    for round in 0..rounds + warm_up {
        let (before, before_there) = (pending.read()?, branch.read()?);
        let text = format!("id: 333\ntitle: Saved in round {round}, {looks:?}\n");
        let began = Instant::now();
        save(&file, &text)?;
        let asking = (looks == Looks::WhenAsked).then(|| client.commit_in_background());
        let seen = pending.wait_for_another(&before)?;
        if round >= warm_up {
            samples.push(seen - began);
        }
        // Not in the middle of the previous push.
        branch.wait_for_another(&before_there)?;
        if let Some(asking) = asking {
            asking.wait()?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(samples)
}

fn shell_commits(folder: &Path, rounds: usize) -> Result<Samples> {
    git(folder, &["clone", "--quiet", "remote.git", "shell"])?;
    let clone = folder.join("shell");
    let mut samples = Samples::default();
    for round in 0..rounds {
        save(&clone.join("data/0003/000333.yaml"), &format!("id: 333\ntitle: Saved in the shell's round {round}\n"))?;
        samples.push(run_child(&mut shell(&clone, SHELL_COMMIT))?.wall);
    }
    Ok(samples)
}

pub fn idle(setting: &Setting) -> Result<Section> {
    let mut section = Section::new(
        "commit-agent with nothing to do",
        "The framework's clone, watched, the schedule every 15 minutes, connected to NATS. The baseline is one pass of the\n\
         shell's `git add -A` and a look whether there is something to commit.",
    );
    let folder = setting.folder("commit-idle")?;
    let repository = Repository::of_folder(&setting.source.folder, &folder)?;
    let nats = NatsServer::start();
    let _client = Client::connect(&nats)?;
    let clone = folder.join("agent");
    let agent = commit_agent(&clone, &repository.url(), Looks::Watching, Some(&nats))?;
    // One edit, so that what is measured has worked before.
    let branch = Tip::of(&repository.remote, "refs/heads/main")?;
    let mut editor = Editor::open(clone.join("data/variables.yaml"))?;
    let mut save = |round| -> Result<Duration> {
        let (before, began) = (branch.read()?, Instant::now());
        editor.save(round)?;
        let seen = branch.wait_for_another(&before)?;
        agent.wait_until_pushed()?;
        Ok(seen - began)
    };
    save(0)?;
    let (working, soon) = (memory_of(agent.process.id())?, save(1)?);
    std::thread::sleep(Duration::from_secs(2));

    // It rests after five seconds without work.
    let rest = Duration::from_secs(if setting.quick { 10 } else { 60 });
    let (id, began) = (agent.process.id(), Instant::now());
    let cpu = cpu_of(id);
    std::thread::sleep(rest);
    let share = (cpu_of(id) - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let used = memory_of(id)?;
    let late = save(2)?;
    let pass = run_child(&mut shell(&repository.clone, "git add -A && git diff --cached --quiet"))?.cpu.as_secs_f64();

    let reached = Goal::when(used.resident <= 12 * 1024);
    section.alone("memory, resident", show_mib(used.resident), "at most 12 MiB", Some(reached));
    section.alone("memory, anonymous part", show_mib(used.anonymous), "", None);
    section.alone(
        "processor time of a minute",
        show_seconds(share * 60.0),
        "not measurable (60 ms)",
        Some(Goal::when(share <= 0.001)),
    );
    section.alone("the shell's pass, processor time", show_seconds(pass), "", None);
    section.alone("the first save after the rest, to pushed", show_seconds(late.as_secs_f64()), "", None);
    section.note(format!(
        "After {} s of rest; before it the agent's memory was {}, its peak {}, and a save took {}.",
        rest.as_secs(),
        show_mib(working.resident),
        show_mib(used.peak),
        show_seconds(soon.as_secs_f64())
    ));
    Ok(section)
}

/// The file of a ref, to see when it moves.
struct Tip {
    file: PathBuf,
}

impl Tip {
    fn of(repository: &Path, name: &str) -> Result<Self> {
        // Where it is packed, it is a file of its own after the first move.
        let oid = git(repository, &["rev-parse", name])?.stdout.trim().to_owned();
        ensure!(!oid.is_empty(), "{} has no {name}", repository.display());
        Ok(Self { file: repository.join(name) })
    }

    /// What it points to; nothing while it is packed.
    fn read(&self) -> Result<String> {
        match fs::read_to_string(&self.file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| self.file.display().to_string()),
        }
    }

    fn wait_for_another(&self, before: &str) -> Result<Instant> {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = self.read()?;
            if now != before && now.ends_with('\n') {
                return Ok(Instant::now());
            }
            if Instant::now() > until {
                bail!("{} did not move within {} s", self.file.display(), PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// As an editor does that writes a new file over the old one.
fn save(file: &Path, text: &str) -> Result<()> {
    let fresh = file.with_extension("fresh");
    fs::write(&fresh, text)?;
    Ok(fs::rename(&fresh, file)?)
}

fn shell(clone: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(clone).arg("-c").arg(script);
    for (name, value) in git_command(clone).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Bench").env(format!("GIT_{role}_EMAIL"), "bench@example.org");
    }
    command
}

/// What was measured is what was meant.
fn same(clone: &Path, remote: &Path, object: &str, file: &str) -> Result<()> {
    let there = git(remote, &["cat-file", "blob", object])?.stdout;
    ensure!(there == fs::read_to_string(clone.join(file))?, "the remote has another {file} than the clone");
    Ok(())
}
