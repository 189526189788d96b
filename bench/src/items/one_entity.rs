//! One changed entity, among few and among many.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use baft_tests::NatsServer;

use super::Setting;
use crate::child::run as run_child;
use crate::data::{Editor, Repository, python, script};
use crate::fleet::{Client, Daemon, From, database, importer};
use crate::reader::Reader;
use crate::report::{Goal, Section};
use crate::scrape::Metrics;
use crate::stats::{Samples, show_seconds};

/// The phases whose cost must not grow with the repository.
const FLAT: [&str; 2] = ["parse", "write"];

pub fn run(setting: &Setting) -> Result<Section> {
    let mut section = Section::new(
        "One changed entity",
        "One entity changes and is committed; measured is the import that follows, asked for with `import.run`: until the answer\n\
         (the generation is published), and until somebody who opens the file then has read the row. Parsing and writing must not grow with the repository; publishing copies the file and does.\n\
         Fifty times the entities come as fifty times the files (a repository that grew), and as files fifty times as long,\n\
         where reading the one changed file is fifty times the work.",
    );
    let scaled = |layout: &str| -> Result<_> {
        let folder = setting.folder(&format!("scaled-{layout}"))?;
        let mut command = Command::new(python());
        command.arg(script("generate/scaled.py")).arg(&setting.source.folder).arg(&folder).arg("50");
        run_child(command.args(["--layout", layout]))?;
        Ok(folder)
    };
    let many = if setting.source.real { "16,850" } else { "50 times the" };
    let few = if setting.source.real { "337" } else { "the sample's" };
    let parts = scaled("parts")?;
    std::fs::write(parts.join("baft-import.toml"), declaration())?;
    let cases = [
        (few, setting.source.folder.clone(), "data/variables.yaml", Some(0.060)),
        (many, parts, "data/part00/variables.yaml", Some(0.450)),
        ("50 times the entries in each file:", scaled("single")?, "data/variables.yaml", None),
    ];
    for (index, (name, source, file, goal)) in cases.into_iter().enumerate() {
        let measured = measure(setting, &setting.folder(&format!("one-entity-{index}"))?, &source, file)?;
        let (text, reached) = match goal {
            Some(limit) => {
                (format!("at most {}", show_seconds(limit)), Some(Goal::when(measured.published.p50() <= limit)))
            }
            None => (String::new(), None),
        };
        section.alone(&format!("{name} entities: request to answer"), measured.published.show(), &text, reached);
        section.alone(&format!("{name} entities: request to row"), measured.row.show(), "", None);
        section.alone(&format!("{name} entities: parse and write, mean"), show_seconds(measured.flat), "flat", None);
        section.note(format!("{name} entities, mean of each phase: {}.", measured.phases));
    }
    Ok(section)
}

struct Measured {
    published: Samples,
    row: Samples,
    flat: f64,
    phases: String,
}

fn measure(setting: &Setting, folder: &Path, source: &Path, file: &str) -> Result<Measured> {
    let repository = Repository::of_folder(source, folder)?;
    let workspace = folder.join("workspace");
    let nats = NatsServer::start();
    let client = Client::connect(&nats)?;
    let daemon = importer(From::Commits(&repository.remote), &workspace, Some(&nats));
    let reader = Reader::new(database(&workspace));
    let mut editor = Editor::open(repository.clone.join(file))?;
    let rounds = setting.rounds(30);
    let (mut published, mut row) = (Samples::default(), Samples::default());
    let mut before = Vec::new();
    for round in 0..rounds + 3 {
        let edit = editor.save(round)?;
        repository.commit(&format!("Round {round}"))?;
        repository.push()?;
        if round == 3 {
            before = phases(&daemon)?;
        }
        let before = reader.published();
        let began = Instant::now();
        client.import()?;
        let answered = Instant::now();
        let seen = reader.wait_for(before, &edit.sql, "true", Duration::from_secs(60))?;
        if round >= 3 {
            published.push(answered - began);
            row.push(seen - began);
        }
    }
    let spent: Vec<(String, f64)> = phases(&daemon)?
        .into_iter()
        .map(|(name, seconds)| {
            let earlier = before.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, seconds)| *seconds);
            (name, (seconds - earlier) / rounds as f64)
        })
        .collect();
    let flat = spent.iter().filter(|(name, _)| FLAT.contains(&name.as_str())).map(|(_, seconds)| seconds).sum();
    let phases: Vec<String> =
        spent.iter().map(|(name, seconds)| format!("{name} {}", show_seconds(*seconds))).collect();
    Ok(Measured { published, row, flat, phases: phases.join(", ") })
}

fn phases(daemon: &Daemon) -> Result<Vec<(String, f64)>> {
    Ok(Metrics::of(daemon.admin.address())?.by_label("baft_duckdb_importer_phase_duration_seconds_sum", "phase"))
}

/// The usual layout, once in each of the folders `data/part*`.
fn declaration() -> String {
    include_str!("../../../crates/dataset/src/dataset/built_in.toml").replace("\"data/", "\"data/part*/")
}
