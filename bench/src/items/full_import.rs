//! Importing everything, from nothing.

use std::process::Command;

use anyhow::{Context, Result};

use super::Setting;
use crate::child::run as run_child;
use crate::data::{Repository, python, script};
use crate::fleet::{From, database, import_once};
use crate::reader::Reader;
use crate::report::{Goal, Section};
use crate::stats::{Samples, show_mib, show_seconds};

pub fn run(setting: &Setting) -> Result<Section> {
    let folder = setting.folder("full-import")?;
    let repository = Repository::of_folder(&setting.source.folder, &folder)?;

    let (mut ours, mut our_peak) = (Samples::default(), 0);
    for round in 0..setting.rounds(10) {
        let workspace = folder.join(format!("ours-{round}"));
        let done = run_child(&mut import_once(From::Commits(&repository.remote), &workspace))?;
        ours.push(done.wall);
        our_peak = our_peak.max(done.peak_kib);
        let count = Reader::new(database(&workspace)).ask("SELECT CAST(count(*) AS VARCHAR) FROM entities")?;
        if setting.source.real {
            anyhow::ensure!(count == "337", "the importer published {count} entities instead of 337");
        }
    }

    let mut section = Section::new(
        "Full import",
        "From the start of the process to a published database, all from nothing. The baseline is the plain script\n\
         (`import_plain.py`): PyYAML's safe_load, executemany, the same search index built by SQL. It does less: no typed\n\
         tables, cross references, schemas, line numbers or change feed, and no check of what it wrote.",
    );
    let variants: [(&str, &[&str]); 3] = [
        ("plain Python (safe_load, executemany)", &["--loader", "python"]),
        ("with libyaml's loader", &["--loader", "c"]),
        ("with libyaml's loader and whole columns instead of executemany", &["--loader", "c", "--write", "columns"]),
    ];
    for (index, (name, options)) in variants.into_iter().enumerate() {
        let (mut theirs, mut their_peak, mut phases) = (Samples::default(), 0, String::new());
        for round in 0..setting.rounds(5).max(3) {
            let target = folder.join(format!("plain-{index}-{round}.duckdb"));
            let mut command = Command::new(python());
            command.arg(script("baseline/import_plain.py")).arg(&repository.clone).arg(&target).args(options);
            let done = run_child(&mut command)?;
            theirs.push(done.wall);
            their_peak = their_peak.max(done.peak_kib);
            phases = describe(&done.stdout)?;
        }
        let ratio = theirs.p50() / ours.p50();
        let (goal, reached) = if index == 0 { ("at least 10×", Some(Goal::when(ratio >= 10.0))) } else { ("", None) };
        section.compare(&format!("wall time, against {name}"), ours.show(), theirs.show(), ratio, goal, reached);
        if index == 0 {
            let memory = their_peak as f64 / our_peak as f64;
            let reached = Some(Goal::when(memory >= 2.0));
            section.compare("peak memory", show_mib(our_peak), show_mib(their_peak), memory, "half", reached);
        }
        section.note(format!("{name}: {phases}."));
    }
    Ok(section)
}

fn describe(said: &str) -> Result<String> {
    let said: serde_json::Value = serde_json::from_str(said).context("the plain script's report")?;
    let phase = |name: &str| show_seconds(said[name].as_f64().unwrap_or(f64::NAN));
    Ok(format!("reading {}, writing {}, index {}", phase("parse_s"), phase("write_s"), phase("search_s")))
}
