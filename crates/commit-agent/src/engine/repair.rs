//! What a crash, a power cut or a person may have left, put right without ever wiping anything.

use std::fs;
use std::path::Path;

use baft_repo::lock::Locks;
use baft_repo::refs::RefMove;
use baft_repo::transport::Transport;
use baft_repo::write::Stamp;
use baft_repo::{Oid, Repo, RepoError};

use super::fault::{Fault, fault};
use super::names::{Files, Names};
use super::{Agent, OpenError, OpenReport, Settings, Step, open};

impl Agent {
    /// Before anything else in a cycle.
    pub(super) fn repair(&mut self) -> Result<(), Fault> {
        self.resume()?;
        self.reconcile()
    }

    /// Whether the clone is where it was: not unmounted, emptied or replaced.
    pub(super) fn check_present(&self) -> Result<(), Fault> {
        use std::os::unix::fs::MetadataExt;
        let gone = |what: &str| {
            Fault::new(
                super::Class::Gone,
                format!("{}: {what}; nothing is captured until it is back", self.settings.clone.display()),
            )
        };
        let now = fs::metadata(&self.settings.clone).map_err(|_| gone("the clone is not there"))?;
        if (now.dev(), now.ino()) != self.live.identity().map_err(fault)? {
            return Err(gone("another folder is in the clone's place"));
        }
        let there = |path: &Path| fs::symlink_metadata(path).is_ok();
        if !there(&self.files.sentinel()) && !there(&self.files.dir().join("creating")) {
            return Err(gone("the clone's own files are gone"));
        }
        Ok(())
    }
}

/// HEAD, without which nothing opens.
pub(super) fn head(settings: &Settings, report: &mut OpenReport) -> Result<(), OpenError> {
    let git = settings.clone.join(".git");
    let path = git.join("HEAD");
    let usable = fs::read_to_string(&path).is_ok_and(|text| {
        let text = text.trim();
        text.strip_prefix("ref: refs/").is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace))
            || text.parse::<Oid>().is_ok()
    });
    if !usable && git.join("objects").is_dir() {
        baft_kit::durable::write_file(&path, format!("ref: refs/heads/{}\n", settings.branch).as_bytes())?;
        fs::create_dir_all(git.join("refs"))?;
        report.repairs.push("HEAD was missing or damaged: set to the branch".to_owned());
    }
    Ok(())
}

/// What a killed process left that is certainly ours: locks of our own refs, halves of objects under libgit2's names.
pub(super) fn sweep(repo: &Repo, report: &mut OpenReport) -> Result<(), OpenError> {
    let mut removed = 0;
    removed += sweep_folder(&repo.git_dir().join("refs/baft"), &|name| name.ends_with(".lock"))?;
    removed += sweep_folder(&repo.git_dir().join("objects"), &|name| name.contains("_git2_"))?;
    if removed > 0 {
        report.repairs.push(format!("removed {removed} leftovers of a killed process"));
    }
    Ok(())
}

fn sweep_folder(folder: &Path, ours: &dyn Fn(&str) -> bool) -> std::io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            removed += sweep_folder(&entry.path(), ours)?;
        } else if ours(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Objects that are empty or damaged are set aside; what the remote has is fetched again, what is on disk is stored again.
pub(super) fn objects(
    repo: &Repo,
    files: &Files,
    settings: &Settings,
    transport: &dyn Transport,
    names: &Names,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    let mut aside = set_aside(repo, files, &|bytes| bytes == 0)?;
    if loose(repo).take(MOST_CHECKED + 1).count() <= MOST_CHECKED {
        aside += set_aside_unreadable(repo, files)?;
    }
    let damaged = || -> Vec<RepoError> {
        let refs = [&names.branch, &names.pending, &names.upstream];
        let check = |name: &&String| -> Option<RepoError> {
            let commit = repo.find_ref(name).ok()??;
            whole(repo, commit).err()
        };
        refs.iter().filter_map(check).collect()
    };
    let found = damaged();
    if found.is_empty() {
        if aside > 0 {
            report.repairs.push(format!("set {aside} damaged objects aside that nothing needs"));
        }
        return Ok(());
    }
    for error in &found {
        tracing::error!(%error, "an object is missing or damaged");
    }
    aside += set_aside_unreadable(repo, files)?;
    let fresh = files.dir().join("refetch.git");
    let _ = fs::remove_dir_all(&fresh);
    let fetched = Repo::create_bare(&fresh).map_err(OpenError::from).and_then(|fresh| {
        let spec = format!("+{}:{}", names.branch, names.branch);
        transport
            .fetch(&fresh, &settings.remote, &[spec])
            .map_err(|error| OpenError::Clone(fault(error).at(Step::Fetch)))
    });
    match fetched {
        Ok(_) => copy_objects(&fresh.join("objects"), &repo.git_dir().join("objects"))?,
        Err(error) => {
            tracing::error!(%error, "cannot fetch again what is damaged; what is here is used as far as it goes")
        }
    }
    let _ = fs::remove_dir_all(&fresh);
    store_files_again(repo, &settings.clone)?;
    let left = damaged().len();
    report.repairs.push(format!("set {aside} damaged objects aside and stored again what the remote and the files have; {left} refs are still damaged"));
    Ok(())
}

/// With more loose objects than this, only empty ones are looked for at every start.
const MOST_CHECKED: usize = 5_000;

/// Every tree can be read and every blob is there.
fn whole(repo: &Repo, commit: Oid) -> Result<(), RepoError> {
    for entry in repo.list(commit, None)? {
        if entry.mode != baft_repo::FileMode::Submodule && !repo.contains(entry.oid) {
            return Err(RepoError::Corrupt {
                message: format!("{} ({}) of {commit} is missing", entry.path, entry.oid),
            });
        }
    }
    Ok(())
}

fn loose(repo: &Repo) -> impl Iterator<Item = fs::DirEntry> {
    let folders = fs::read_dir(repo.git_dir().join("objects")).into_iter().flatten().flatten();
    let folders = folders.filter(|folder| folder.file_name().len() == 2);
    folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten())
}

fn set_aside(repo: &Repo, files: &Files, bad: &dyn Fn(u64) -> bool) -> std::io::Result<usize> {
    let mut moved = 0;
    for entry in loose(repo) {
        if entry.metadata().is_ok_and(|metadata| bad(metadata.len())) {
            move_aside(&entry.path(), files)?;
            moved += 1;
        }
    }
    Ok(moved)
}

fn move_aside(path: &Path, files: &Files) -> std::io::Result<()> {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::create_dir_all(files.damaged())?;
    fs::rename(path, files.damaged().join(format!("{folder}{name}")))
}

/// Loose objects that do not have the content of their name.
fn set_aside_unreadable(repo: &Repo, files: &Files) -> Result<usize, OpenError> {
    let mut moved = 0;
    for entry in loose(repo) {
        let path = entry.path();
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let Ok(oid) = format!("{folder}{}", entry.file_name().to_string_lossy()).parse::<Oid>() else { continue };
        if repo.verify(oid).is_err() {
            move_aside(&path, files)?;
            moved += 1;
        }
    }
    Ok(moved)
}

fn copy_objects(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_objects(&entry.path(), &target)?;
        } else if !target.exists() {
            fs::copy(entry.path(), &target)?;
            baft_kit::durable::sync_file(&target)?;
        }
    }
    baft_kit::durable::sync_dir(to)
}

/// Blobs that only this clone had are in its files, as long as nobody changed them.
fn store_files_again(repo: &Repo, folder: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if entry.file_name() == ".git" {
            continue;
        }
        if kind.is_dir() {
            store_files_again(repo, &entry.path())?;
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(entry.path())
        {
            repo.write_blob(&bytes)?;
        }
    }
    Ok(())
}

/// The refs everything hangs on: missing, garbage, or leading to something that is not here.
pub(super) fn refs(
    repo: &Repo,
    locks: &Locks,
    settings: &Settings,
    names: &Names,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    let usable = |oid: Oid| whole(repo, oid).is_ok();
    let good = |name: &str| repo.find_ref(name).ok().flatten().filter(|oid| usable(*oid));
    let who = Stamp {
        name: settings.committer.name.clone(),
        email: settings.committer.email.clone(),
        seconds: baft_kit::time::unix_seconds(),
    };
    let set = |name: &str, to: Oid| -> Result<(), OpenError> {
        let from = match repo.find_ref(name) {
            Ok(from) => from,
            Err(_) => {
                // Garbage: kept beside, for whoever wants to look.
                let path = repo.git_dir().join(name);
                fs::rename(&path, repo.git_dir().join("baft").join(format!("{}.damaged", name.replace('/', "_"))))?;
                repo.find_ref(name)?
            }
        };
        if from != Some(to) {
            let change = RefMove { name, from, to: Some(to), who: &who, why: "baft: repair" };
            repo.move_ref(locks, change)?;
        }
        Ok(())
    };
    let branch = match good(&names.branch) {
        Some(branch) => branch,
        None => {
            let known = [&names.landed, &names.pending, &names.upstream, &names.tracking];
            let was_there = repo.find_ref(&names.branch).map_or(true, |found| found.is_some())
                || known.iter().any(|name| good(name).is_some());
            let found = reflog(repo, &names.branch).into_iter().rev().find(|oid| usable(*oid));
            let found = found.or_else(|| known.iter().find_map(|name| good(name)));
            let to = match found {
                Some(to) => to,
                None => open::root_commit(repo)?,
            };
            set(&names.branch, to)?;
            if was_there {
                report.repairs.push(format!("{} was missing or damaged: set to {to}", names.branch));
            }
            to
        }
    };
    for name in [&names.landed, &names.pending] {
        if good(name).is_none() {
            if repo.find_ref(name).map_or(true, |found| found.is_some()) {
                report.repairs.push(format!("{name} was damaged: set to {branch}"));
            }
            set(name, branch)?;
        }
    }
    for name in [&names.upstream, &names.fetched, &names.held, &names.saved, &names.snapshot] {
        let damaged = match repo.find_ref(name) {
            Ok(Some(oid)) => !repo.contains(oid),
            Ok(None) => false,
            Err(_) => true,
        };
        if damaged {
            report.repairs.push(format!("{name} was damaged: set aside"));
            let path = repo.git_dir().join(name);
            fs::rename(&path, repo.git_dir().join("baft").join(format!("{}.damaged", name.replace('/', "_"))))?;
        }
    }
    Ok(())
}

/// What a branch has been, oldest first.
fn reflog(repo: &Repo, name: &str) -> Vec<Oid> {
    let text = fs::read_to_string(repo.git_dir().join("logs").join(name)).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}
