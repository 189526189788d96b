//! The sample repository: a remote in the workspace, made from files that are part of this program.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use crate::failure::Failure;

/// Path and content of every file.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sample_files.rs"));

/// Makes the sample's remote, unless there is one from before: what somebody tried out in it stays. A sample of a version that had no remote
/// becomes a clone of one.
///
/// # Errors
/// git is missing, or the folder cannot be written.
pub fn make(remote: &Path, clone: &Path) -> Result<(), Failure> {
    if remote.join("HEAD").exists() {
        return Ok(());
    }
    let parent = remote.parent().unwrap_or(Path::new("."));
    let cannot = |error: io::Error| Failure::new(format!("cannot make the sample in {}: {error}", remote.display()));
    // Beside it and renamed when whole: a sample cut short by a crash is never taken for one.
    let draft = tempfile::Builder::new().prefix(".sample-").tempdir_in(parent).map_err(cannot)?;
    let bare = draft.path().join("bare");
    let (made, source) = (draft.path().join("files"), if clone.join(".git").exists() { Some(clone) } else { None });
    let source = match source {
        Some(older) => older,
        None => {
            fs::create_dir_all(&made).map_err(cannot)?;
            first_commit(&made).map_err(|error| match error {
                Broken::Files(error) => cannot(error),
                Broken::Git(failure) => failure,
            })?;
            &made
        }
    };
    let (from, to) = (source.to_string_lossy(), bare.to_string_lossy());
    git(draft.path(), Whose::Ours, &["clone", "--quiet", "--bare", "--no-hardlinks", &from, &to])?;
    git(&bare, Whose::Ours, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
    git(&bare, Whose::Ours, &["remote", "remove", "origin"])?;
    if source == clone {
        let url = remote.to_string_lossy();
        // It may have one already that was given by hand.
        let _ = git(clone, Whose::Ours, &["remote", "add", "origin", &url]);
    }
    fs::rename(&bare, remote).map_err(cannot)
}

enum Broken {
    Files(io::Error),
    Git(Failure),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Files(error)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Git(failure)
    }
}

fn first_commit(folder: &Path) -> Result<(), Broken> {
    for (path, content) in FILES {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder)).and_then(|()| fs::write(&path, content))?;
    }
    git(folder, Whose::Ours, &["init", "--quiet"])?;
    // `init -b` is younger than some of the gits in use.
    git(folder, Whose::Ours, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
    git(folder, Whose::Ours, &["add", "--all"])?;
    git(folder, Whose::Ours, &["commit", "--quiet", "--message", "Sangab Waterworks Handbook: the sample data"])?;
    Ok(())
}

/// Whose git configuration applies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// None: no hooks, templates, signing or line ends of this person.
    Ours,
    /// That of the person who runs this.
    Theirs,
}

/// Runs git in `folder` without ever taking a lock it does not need, and gives what it prints.
///
/// # Errors
/// git is missing, or it fails.
pub fn git(folder: &Path, whose: Whose, arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder);
    if whose == Whose::Ours {
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args(["-c", "core.hooksPath=/dev/null", "-c", "init.templateDir=", "-c", "core.autocrlf=false"])
            .args(["-c", "user.name=Baft", "-c", "user.email=baft@localhost"]);
    }
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
        command.env_remove(variable);
    }
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").args(arguments);
    match command.output() {
        Ok(Output { status, stdout, .. }) if status.success() => {
            Ok(String::from_utf8_lossy(&stdout).trim_end().to_owned())
        }
        Ok(Output { stderr, .. }) => {
            let why = String::from_utf8_lossy(&stderr).trim().to_owned();
            Err(Failure::new(format!("git {} failed in {}: {why}", arguments[0], folder.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new("git was not found").hint("install git, or give a repository with --repo"))
        }
        Err(error) => Err(Failure::new(format!("cannot run git: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_bare_remote_with_one_commit_that_holds_every_file() {
        let parent = tempfile::tempdir().unwrap();
        let remote = parent.path().join("sample.git");
        make(&remote, &parent.path().join("sample")).unwrap();
        let listed = git(&remote, Whose::Ours, &["ls-tree", "-r", "--name-only", "main"]).unwrap();
        assert_eq!(listed.lines().count(), FILES.len());
        assert!(listed.contains("data/gaps.yaml"), "{listed}");
        assert_eq!(git(&remote, Whose::Ours, &["symbolic-ref", "HEAD"]).unwrap(), "refs/heads/main");
        assert_eq!(git(&remote, Whose::Ours, &["rev-parse", "--is-bare-repository"]).unwrap(), "true");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        fs::write(remote.join("mine.txt"), "mine").unwrap();
        make(&remote, &parent.path().join("sample")).unwrap();
        assert!(remote.join("mine.txt").exists(), "what somebody tried out in the sample stays");
    }

    #[test]
    fn a_sample_without_a_remote_gets_one_with_its_history() {
        let parent = tempfile::tempdir().unwrap();
        let (remote, clone) = (parent.path().join("sample.git"), parent.path().join("sample"));
        fs::create_dir(&clone).unwrap();
        assert!(first_commit(&clone).is_ok());
        git(&clone, Whose::Ours, &["commit", "--allow-empty", "--quiet", "--message", "mine"]).unwrap();
        make(&remote, &clone).unwrap();
        assert_eq!(git(&remote, Whose::Ours, &["log", "-1", "--format=%s", "main"]).unwrap(), "mine");
        assert_eq!(git(&clone, Whose::Ours, &["remote", "get-url", "origin"]).unwrap(), remote.to_string_lossy());
    }
}
