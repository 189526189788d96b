//! The repositories that are measured with, and one-entity edits to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use baft_tests::process::workspace;

use crate::child::{git, git_command, pipe, run};

/// The folder everything is read from.
#[derive(Clone)]
pub struct Source {
    pub folder: PathBuf,
    /// Is it the real data of the specification, or the sample?
    pub real: bool,
}

impl Source {
    /// What the command line names, else the real data beside the workspace, else the sample.
    pub fn find(named: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = named {
            if !folder.join("data").is_dir() {
                bail!("--data {}: holds no folder data", folder.display());
            }
            return Ok(Self { folder, real: true });
        }
        let beside = workspace().join("../shared/data/framework");
        if beside.join("data").is_dir() {
            return Ok(Self { folder: fs::canonicalize(beside)?, real: true });
        }
        Ok(Self { folder: workspace().join("examples/sample-framework"), real: false })
    }

    pub fn describe(&self) -> &'static str {
        if self.real {
            "the framework's own data (337 entities, 667 sections, 48 files)"
        } else {
            "the sample repository, as the framework's data is not here: SMALLER than what the goals are set for"
        }
    }
}

/// The Python of `make tools`.
pub fn python() -> PathBuf {
    std::env::var_os("BAFT_PYTHON")
        .filter(|value| !value.is_empty())
        .map_or_else(|| workspace().join(".tools/venv/bin/python"), PathBuf::from)
}

pub fn script(name: &str) -> PathBuf {
    workspace().join("bench").join(name)
}

/// A bare remote with one commit of this folder on `main`, and a clone to push from.
pub struct Repository {
    pub remote: PathBuf,
    pub clone: PathBuf,
}

impl Repository {
    pub fn of_folder(folder: &Path, under: &Path) -> Result<Self> {
        let made = Self { remote: under.join("remote.git"), clone: under.join("clone") };
        fs::create_dir_all(under)?;
        git(under, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"])?;
        git(under, &["clone", "--quiet", "remote.git", "clone"])?;
        git(&made.clone, &["symbolic-ref", "HEAD", "refs/heads/main"])?;
        run(Command::new("cp").arg("-r").arg("--no-preserve=mode").arg(folder.join(".")).arg(&made.clone))?;
        git(&made.clone, &["add", "--all"])?;
        git(&made.clone, &["commit", "--quiet", "-m", "Begin"])?;
        git(&made.clone, &["push", "--quiet", "origin", "main"])?;
        Ok(made)
    }

    /// A bare remote with one commit of `count` small files; no clone.
    pub fn of_many_files(count: usize, under: &Path) -> Result<PathBuf> {
        fs::create_dir_all(under)?;
        git(under, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"])?;
        let remote = under.join("remote.git");
        let mut generate = Command::new(python());
        generate.arg(script("generate/many_files.py")).arg(count.to_string());
        pipe(&mut generate, git_command(&remote).args(["fast-import", "--quiet", "--done"]))?;
        // As a server would keep it.
        git(&remote, &["gc", "--quiet"])?;
        Ok(remote)
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.remote.display())
    }

    /// Commits all edits; the push is left to the caller, who times it.
    pub fn commit(&self, message: &str) -> Result<String> {
        git(&self.clone, &["commit", "--quiet", "--all", "-m", message])?;
        Ok(git(&self.clone, &["rev-parse", "HEAD"])?.stdout.trim().to_owned())
    }

    pub fn push(&self) -> Result<()> {
        git(&self.clone, &["push", "--quiet", "origin", "main"]).map(drop)
    }
}

/// Adds one commit that changes one file to a bare repository made by [`Repository::of_many_files`].
pub fn change_one_of_many(remote: &Path, round: usize) -> Result<()> {
    let file = remote.with_file_name("change");
    let body = format!("id: {round}\ntitle: Changed in round {round}\n");
    fs::write(
        &file,
        format!(
            "commit refs/heads/main\ncommitter Bench <bench@example.org> {} +0000\ndata 6\nchange\nfrom refs/heads/main^0\n\
             M 100644 inline data/0007/000777.yaml\ndata {}\n{body}\ndone\n",
            1_760_000_001 + round,
            body.len()
        ),
    )?;
    pipe(Command::new("cat").arg(&file), git_command(remote).args(["fast-import", "--quiet", "--done"]))
}

/// Makes one-entity edits in a file of variables and knows how to see them.
pub struct Editor {
    file: PathBuf,
    lines: Vec<String>,
    /// Which lines to replace, with the entity's id.
    places: Vec<(usize, String)>,
}

/// An edit and how a reader sees it: the query answers `true` once it is there.
pub struct Edit {
    pub sql: String,
}

impl Editor {
    pub fn open(file: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut places = Vec::new();
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let mut id = String::new();
        for (at, line) in lines.iter().enumerate() {
            if let Some(found) = line.strip_prefix("- id: ") {
                found.trim().trim_matches('\'').clone_into(&mut id);
            }
            // Only where the value ends with its line.
            let next = lines.get(at + 1).is_some_and(|next| next.starts_with("  insight:"));
            if line.starts_with("  trend: ") && next {
                places.push((at, id.clone()));
            }
        }
        if places.is_empty() {
            bail!("{} has no entity that can be edited", file.display());
        }
        Ok(Self { file, lines, places })
    }

    /// Saves the file as an editor does, a new file over the old one, with one more entity changed.
    pub fn save(&mut self, round: usize) -> Result<Edit> {
        let (line, id) = &self.places[round % self.places.len()];
        let mark = format!("bench-{round}-end");
        self.lines[*line] = format!("  trend: {mark}\n");
        let fresh = self.file.with_extension("fresh");
        fs::write(&fresh, self.lines.concat())?;
        fs::rename(&fresh, &self.file)?;
        Ok(Edit { sql: format!("SELECT CAST(contains(content, '{mark}') AS VARCHAR) FROM entities WHERE id = '{id}'") })
    }
}
