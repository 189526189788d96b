//! Starting: is this the clone, whose is it, and what did a crash leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use baft_kit::durable::DirLock;
use baft_repo::live::Live;
use baft_repo::lock::Locks;
use baft_repo::transport::Transport;
use baft_repo::write::{NewCommit, Stamp};
use baft_repo::{Oid, Repo, RepoError};

use super::fault::Fault;
use super::names::{Files, Names};
use super::saved::{Found, SavedFile, Sentinel, read, write};
use super::scan::Tree;
use super::{Adopt, Agent, Class, Extent, FirstClone, Hints, OpenError, OpenReport, Order, Pause, Settings, repair};

/// What there is at the clone's place.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Nothing, or an empty folder.
    Nothing,
    /// A clone that was being made when the process ended.
    HalfMade,
    /// A clone with our sentinel.
    Ours,
    /// A repository without one.
    Foreign,
    /// Files, but no repository.
    Files,
}

impl Agent {
    pub(super) fn start(settings: Settings, transport: Arc<dyn Transport>) -> Result<(Self, OpenReport), OpenError> {
        let mut report = OpenReport::default();
        let marker = marker(&settings.clone);
        match look(&settings.clone)? {
            Place::Ours => {}
            Place::HalfMade => return first_clone(settings, transport, report),
            Place::Foreign if settings.adopt == Adopt::Allow => adopt(&settings)?,
            Place::Foreign => return Err(OpenError::NotAdopted { path: settings.clone }),
            place if marker.exists() => {
                let what = if place == Place::Files { "its repository is gone" } else { "it is empty" };
                let message = format!(
                    "there was a clone here and now {what}: mount the volume, or restore it; when it is really to be made anew, remove {}",
                    marker.display()
                );
                return Err(OpenError::Gone { path: settings.clone, message });
            }
            Place::Files => {
                return Err(OpenError::Config(format!(
                    "{} has files but is no git repository: give another folder",
                    settings.clone.display()
                )));
            }
            Place::Nothing if settings.first_clone == FirstClone::Refuse => {
                let message = "there is no clone here, and none is to be made: mount the volume".to_owned();
                return Err(OpenError::Gone { path: settings.clone, message });
            }
            Place::Nothing => return first_clone(settings, transport, report),
        }
        let mut agent = Self::assemble(settings, transport, &mut report)?;
        agent.check_sentinel()?;
        write_marker(&agent.settings)?;
        agent.first_repairs(&mut report)?;
        Ok((agent, report))
    }

    fn assemble(settings: Settings, transport: Arc<dyn Transport>, report: &mut OpenReport) -> Result<Self, OpenError> {
        let files = Files::new(&settings.clone.join(".git"));
        fs::create_dir_all(files.dir())?;
        let lock = DirLock::acquire(files.lock())?;
        self_test(&files)?;
        repair::head(&settings, report)?;
        let repo = Repo::open(&settings.clone).map_err(unsupported)?;
        repo.check_workable().map_err(unsupported)?;
        repo.configure_clone()?;
        let locks = Locks::new(files.locks())?;
        for path in locks.sweep()? {
            report.repairs.push(format!("removed our own lock {}", path.display()));
        }
        repair::sweep(&repo, report)?;
        let names = Names::new(&settings);
        repair::objects(&repo, &files, &settings, &*transport, &names, report)?;
        repair::refs(&repo, &locks, &settings, &names, report)?;
        let (saved, found) = SavedFile::open(files.state())?;
        let live = Live::open(&settings.clone)?;
        let tip = repo.find_ref(&names.pending)?.ok_or_else(|| RepoError::NotFound { what: names.pending.clone() })?;
        let mut tree = Tree::new(&repo, tip)?;
        tree.trust_index(&repo, &live);
        let (min, max) = settings.push.backoff;
        let mut agent = Self {
            owners: super::Owners::default(),
            hints: Hints::default(),
            transport,
            names,
            files,
            repo,
            live,
            locks,
            _lock: lock,
            saved,
            tree,
            report: super::Cycle::default(),
            plan: None,
            bulk: None,
            passed: Default::default(),
            held_stats: Default::default(),
            left: Default::default(),
            snapshots: Default::default(),
            recent: Vec::new(),
            released: None,
            remote_refs: Default::default(),
            came_in: Default::default(),
            declared: None,
            tested: Default::default(),
            order_deadline: None,
            order_session: None,
            meanwhile: super::push::Meanwhile::default(),
            blocked: None,
            backoff: baft_kit::backoff::Backoff::new(min, max),
            retry_at: None,
            errors: Vec::new(),
            settings,
        };
        if found == Found::No {
            agent.rebuild_saved()?;
        }
        Ok(agent)
    }

    /// The state is new: what refs know is taken from them.
    fn rebuild_saved(&mut self) -> Result<(), OpenError> {
        let branch = self.repo.find_ref(&self.names.branch)?;
        let prefix = self.names.parked_prefix();
        let parked: Vec<Oid> = self
            .repo
            .refs()?
            .into_iter()
            .filter(|found| found.name.starts_with(&prefix))
            .map(|found| found.oid)
            .collect();
        self.saved.change(|saved| saved.announced = branch.into_iter().collect())?;
        for commit in parked {
            // Why it was parked is not known any more: a person decides.
            self.record_parked(commit, super::ParkedKind::Dropped, Vec::new(), None, super::Confirmed::No)
                .map_err(open_error)?;
        }
        Ok(())
    }

    fn check_sentinel(&self) -> Result<(), OpenError> {
        let sentinel: Option<Sentinel> = read(&self.files.sentinel())?.and_then(Result::ok);
        let Some(sentinel) = sentinel else { return Ok(()) };
        if sentinel.agent != self.settings.agent.as_str() {
            return Err(OpenError::Config(format!(
                "{} belongs to the agent {:?}, not to {:?}: one agent per clone",
                self.settings.clone.display(),
                sentinel.agent,
                self.settings.agent.as_str()
            )));
        }
        Ok(())
    }

    fn first_repairs(&mut self, report: &mut OpenReport) -> Result<(), OpenError> {
        let journal = super::saved::Journal::read(&self.files.journal())?;
        match self.repair() {
            Ok(()) if journal.is_some() => report.repairs.push("finished a step that was cut short".to_owned()),
            Ok(()) => {}
            // The cycles go on trying.
            Err(fault) if fault.class == Class::Corrupt => return Err(open_error(fault)),
            Err(fault) => tracing::warn!(error = fault.message, "cannot finish an interrupted step yet"),
        }
        Ok(())
    }
}

fn open_error(fault: Fault) -> OpenError {
    OpenError::Io(std::io::Error::other(fault.message))
}

fn unsupported(error: RepoError) -> OpenError {
    match error {
        RepoError::Unsupported { .. } | RepoError::Untrusted { .. } => OpenError::Unsupported(error.to_string()),
        other => OpenError::Repo(other),
    }
}

fn look(clone: &Path) -> Result<Place, OpenError> {
    let entries = match fs::read_dir(clone) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Place::Nothing),
        Err(error) => {
            return Err(std::io::Error::new(error.kind(), format!("cannot list {}: {error}", clone.display())).into());
        }
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).filter(|name| name != "lost+found").collect();
    let git = clone.join(".git");
    if git.join("baft/sentinel.json").exists() {
        return Ok(Place::Ours);
    }
    if git.join("baft/creating").exists() {
        return Ok(Place::HalfMade);
    }
    if !git.exists() && clone.join("HEAD").is_file() && clone.join("objects").is_dir() {
        return Err(OpenError::Unsupported(format!("{} is a bare repository: give a working clone", clone.display())));
    }
    Ok(if names.is_empty() {
        Place::Nothing
    } else if git.exists() {
        Place::Foreign
    } else {
        Place::Files
    })
}

/// Beside the clone: what says that there was one, when its own volume does not any more.
fn marker(clone: &Path) -> PathBuf {
    let name = clone.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    clone.with_file_name(format!(".{name}.baft-clone"))
}

fn write_marker(settings: &Settings) -> Result<(), OpenError> {
    let path = marker(&settings.clone);
    if !path.exists()
        && let Err(error) = write(&path, &sentinel(settings))
    {
        tracing::warn!(%error, "cannot note beside the clone that there is one; an empty folder will not be told from a lost volume");
    }
    Ok(())
}

fn sentinel(settings: &Settings) -> Sentinel {
    Sentinel {
        agent: settings.agent.to_string(),
        branch: settings.branch.clone(),
        since: baft_kit::time::now_rfc3339(),
    }
}

fn adopt(settings: &Settings) -> Result<(), OpenError> {
    let repo = Repo::open(&settings.clone).map_err(unsupported)?;
    repo.check_workable().map_err(unsupported)?;
    let files = Files::new(repo.git_dir());
    fs::create_dir_all(files.dir())?;
    write(&files.sentinel(), &sentinel(settings))?;
    Ok(())
}

/// Makes an empty clone and brings upstream in the way it always is, with a journal, so that it can be cut short anywhere.
fn first_clone(
    settings: Settings,
    transport: Arc<dyn Transport>,
    mut report: OpenReport,
) -> Result<(Agent, OpenReport), OpenError> {
    let clone = settings.clone.clone();
    let creating = clone.join(".git/baft/creating");
    if !creating.exists() {
        fs::create_dir_all(clone.join(".git/baft"))?;
        baft_kit::durable::write_file(&creating, b"")?;
    }
    if Repo::open(&clone).is_err() {
        Repo::create_working(&clone, &settings.branch, &settings.remote_name, &without_password(&settings.remote.url))?;
    }
    let mut agent = Agent::assemble(settings, transport, &mut report)?;
    agent.repair().map_err(open_error)?;
    let cycle = agent.cycle(&Order { extent: Extent::Pull, pause: Pause::Ignore, ..Order::default() });
    if let Some(error) = cycle.errors.into_iter().next() {
        return Err(OpenError::Clone(error));
    }
    write(&agent.files.sentinel(), &sentinel(&agent.settings))?;
    fs::remove_file(&creating)?;
    baft_kit::durable::sync_dir(agent.files.dir())?;
    write_marker(&agent.settings)?;
    let head = agent.branch().map_err(open_error)?;
    agent.saved.change(|saved| saved.announced = vec![head])?;
    report.cloned = Some(head);
    Ok((agent, report))
}

/// The first commit of a repository that has none: the same for everybody, so that two agents that begin at once begin alike.
pub(super) fn root_commit(repo: &Repo) -> Result<Oid, RepoError> {
    let tree = repo.write_tree(None, &Default::default())?;
    let who = Stamp { name: "baft".to_owned(), email: "baft@baft.invalid".to_owned(), seconds: 0 };
    repo.write_commit(&NewCommit { tree, parents: &[], author: &who, committer: &who, message: "Start\n" }, None)
}

/// A person's git asks for the password; it is not written into the clone.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match host.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}/{path}")
        }
        None => url.to_owned(),
    }
}

/// A lock that does not exclude is none: some network file systems pretend.
fn self_test(files: &Files) -> Result<(), OpenError> {
    match DirLock::acquire(files.lock()) {
        Err(_) => Ok(()),
        Ok(_) => Err(OpenError::Unsupported(format!(
            "file locks do not exclude on the file system of {}: put the clone on a local one",
            files.dir().display()
        ))),
    }
}
