//! The sample repository: made in the workspace from files that are part of this program.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use crate::failure::Failure;

/// Path and content of every file.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sample_files.rs"));

/// Makes the repository at `folder`, unless there is one from before: what somebody tried out in it stays.
///
/// # Errors
/// git is missing, or the folder cannot be written.
pub fn make(folder: &Path) -> Result<(), Failure> {
    if folder.join(".git").exists() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    let cannot = |error: io::Error| Failure::new(format!("cannot make the sample in {}: {error}", folder.display()));
    // Beside it and renamed when whole: a sample cut short by a crash is never taken for one.
    let draft = tempfile::Builder::new().prefix(".sample-").tempdir_in(parent).map_err(cannot)?;
    for (path, content) in FILES {
        let path = draft.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(draft.path()))
            .and_then(|()| fs::write(&path, content))
            .map_err(cannot)?;
    }
    git(draft.path(), Whose::Ours, &["init", "--quiet"])?;
    // `init -b` is younger than some of the gits in use.
    git(draft.path(), Whose::Ours, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
    git(draft.path(), Whose::Ours, &["add", "--all"])?;
    git(draft.path(), Whose::Ours, &["commit", "--quiet", "--message", "Sangab Waterworks Handbook: the sample data"])?;
    // Whoever has no name yet in git can commit here all the same.
    if git(draft.path(), Whose::Theirs, &["config", "user.email"]).is_err() {
        git(draft.path(), Whose::Ours, &["config", "user.name", "Sample"])?;
        git(draft.path(), Whose::Ours, &["config", "user.email", "sample@localhost"])?;
    }
    let draft = draft.keep();
    fs::rename(&draft, folder).map_err(cannot)
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
    fn the_sample_is_a_repository_with_one_commit_that_holds_every_file() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sample");
        make(&folder).unwrap();
        let listed = git(&folder, Whose::Ours, &["ls-tree", "-r", "--name-only", "HEAD"]).unwrap();
        assert_eq!(listed.lines().count(), FILES.len());
        assert!(listed.contains("data/gaps.yaml"), "{listed}");
        assert_eq!(git(&folder, Whose::Ours, &["status", "--porcelain"]).unwrap(), "");
        assert_eq!(git(&folder, Whose::Ours, &["symbolic-ref", "HEAD"]).unwrap(), "refs/heads/main");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_tried_out_in_the_sample_stays() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sample");
        make(&folder).unwrap();
        fs::write(folder.join("mine.txt"), "mine").unwrap();
        make(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("mine.txt")).unwrap(), "mine");
    }
}
