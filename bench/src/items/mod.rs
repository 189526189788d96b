//! What can be measured. Each item starts what it needs, runs its baseline too, and cleans up.

mod commit_agent;
mod full_import;
mod idle;
mod many_files;
mod one_entity;
mod push_to_row;
mod save_to_row;
mod sessions;

use std::path::PathBuf;

use anyhow::Result;

use crate::data::Source;
use crate::report::Section;

/// What every item is given.
pub struct Setting {
    pub source: Source,
    /// A folder that is removed afterwards.
    pub scratch: PathBuf,
    /// Divides the number of rounds, for a quick look.
    pub quick: bool,
}

impl Setting {
    /// A folder of its own for an item, or a part of one.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub fn rounds(&self, usual: usize) -> usize {
        if self.quick { (usual / 10).max(3) } else { usual }
    }
}

/// One measurement, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Item {
    /// Process start to published generation, against the plain Python script
    FullImport,
    /// A push until a new reader sees the row, against the shell way
    PushToRow,
    /// A saved file until a new reader sees the row
    SaveToRow,
    /// One changed entity among 337 and among 16,850
    OneEntity,
    /// git-sync with nothing new, against `git ls-remote`; memory
    Idle,
    /// One changed file among 50,000, against `git fetch && git worktree add`
    ManyFiles,
    /// A saved file until it is on the remote, against the shell's add, commit and push
    SaveToPushed,
    /// One saved file among 50,000 until commit-agent has it, against `git add -A && git commit`
    Capture,
    /// commit-agent with nothing to do; memory
    CommitIdle,
    /// session-registry with 10,000 sessions: lists, beats, memory; against Python's reader of marker files
    Sessions,
}

impl Item {
    pub fn run(self, setting: &Setting) -> Result<Section> {
        match self {
            Self::FullImport => full_import::run(setting),
            Self::PushToRow => push_to_row::run(setting),
            Self::SaveToRow => save_to_row::run(setting),
            Self::OneEntity => one_entity::run(setting),
            Self::Idle => idle::run(setting),
            Self::ManyFiles => many_files::run(setting),
            Self::SaveToPushed => commit_agent::save_to_pushed(setting),
            Self::Capture => commit_agent::capture_one(setting),
            Self::CommitIdle => commit_agent::idle(setting),
            Self::Sessions => sessions::run(setting),
        }
    }
}
