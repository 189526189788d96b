//! From a saved file to a row that a new reader sees.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Setting;
use crate::data::{Editor, Repository};
use crate::fleet::{From, database, importer};
use crate::reader::Reader;
use crate::report::{Goal, Section};
use crate::stats::Samples;

pub fn run(setting: &Setting) -> Result<Section> {
    let folder = setting.folder("save-to-row")?;
    let repository = Repository::of_folder(&setting.source.folder, &folder)?;
    let workspace = folder.join("workspace");
    let _importer = importer(From::Files(&repository.clone), &workspace, None);
    let reader = Reader::new(database(&workspace));
    let mut editor = Editor::open(repository.clone.join("data/variables.yaml"))?;

    let mut samples = Samples::default();
    let warm_up = 5;
    for round in 0..setting.rounds(100) + warm_up {
        let before = reader.published();
        let began = Instant::now();
        let edit = editor.save(round)?;
        let seen = reader.wait_for(before, &edit.sql, "true", Duration::from_secs(30))?;
        if round >= warm_up {
            samples.push(seen - began);
        }
        // As a person would: not in the middle of the previous import.
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut section = Section::new(
        "Save to row",
        "The importer follows a clone's files (`--source worktree`): from before the file is written until a reader that opens\n\
         the published file afresh reads the new value. There is no baseline: the shell way imports what was pushed.",
    );
    let reached = Goal::when(samples.p50() <= 0.100);
    section.alone(&format!("{} saves", samples.len()), samples.show(), "p50 at most 100 ms", Some(reached));
    Ok(section)
}
