//! Whatever happens to a repository, carrying the database on gives the same rows as building it from nothing.
//!
//! Random sequences of edits, each followed by an import and a rebuild that are compared in every table. A failure prints
//! its seed; `BAFT_PROPERTY_SEED` repeats it, `BAFT_PROPERTY_SEEDS` and `BAFT_PROPERTY_STEPS` ask for more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

mod support;

use std::collections::BTreeMap;

use baft_duckdb_importer::engine::Engine;
use baft_duckdb_importer::{ImporterError, Request, Settings};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use support::{Clone, differences};

const LISTS: [(&str, &str); 4] = [
    ("data/gaps.yaml", "G01-"),
    ("data/variables.yaml", "SV-"),
    ("data/observations.yaml", ""),
    ("data/traps.yaml", ""),
];
const WORDS: [&str; 12] =
    ["water", "wells", "Obs 001", "Obs 2", "G01-3", "SV-2", "Trap 1", "نامه", "كتاب", "B02", "dams running", "no"];

#[derive(Debug, Clone, PartialEq)]
enum Entity {
    Named(u32, String),
    Nameless(String),
    Borrowed(&'static str, String),
}

#[derive(Debug, Clone, PartialEq)]
enum File {
    Good(Vec<Entity>),
    Broken(Vec<Entity>),
}

struct World {
    clone: Clone,
    rng: StdRng,
    lists: BTreeMap<&'static str, File>,
    briefs: BTreeMap<String, Vec<String>>,
    log: Vec<String>,
    branches: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let lists = LISTS.iter().map(|(path, _)| {
            let entities = (1..=rng.random_range(1..5)).map(|n| Entity::Named(n, "water and wells".to_owned()));
            (*path, File::Good(entities.collect()))
        });
        let lists = lists.collect();
        let briefs = [("b01".to_owned(), vec!["Intro".to_owned()])].into();
        let world = Self { clone: Clone::new(), rng, lists, briefs, log: Vec::new(), branches: Vec::new() };
        world.write();
        world.clone.commit("first");
        world
    }

    fn text(&mut self) -> String {
        (0..self.rng.random_range(1..4)).map(|_| *WORDS.choose(&mut self.rng).unwrap()).collect::<Vec<_>>().join(" ")
    }

    /// Puts the model on disk.
    fn write(&self) {
        let data = self.clone.path().join("data");
        let _ = std::fs::remove_dir_all(&data);
        for (path, prefix) in LISTS {
            let Some(file) = self.lists.get(path) else { continue };
            let (entities, broken) = match file {
                File::Good(entities) => (entities, false),
                File::Broken(entities) => (entities, true),
            };
            let mut yaml = "version: '1'\nentries:\n".to_owned();
            for entity in entities {
                let (id, text) = match entity {
                    Entity::Named(n, text) => (format!("id: {prefix}{n}\n  "), text),
                    Entity::Nameless(text) => (String::new(), text),
                    Entity::Borrowed(id, text) => (format!("id: {id}\n  "), text),
                };
                yaml.push_str(&format!("- {id}title: '{text}'\n  description: '{text}'\n  status: OPEN\n"));
            }
            if broken {
                yaml.push_str("- id: [\n");
            }
            self.clone.write(path, &yaml);
        }
        for (stem, sections) in &self.briefs {
            let mut yaml = format!("brief_id: {}\ntitle: 'Brief {stem}'\nsections:\n", stem.to_uppercase());
            for (n, section) in sections.iter().enumerate() {
                yaml.push_str(&format!("- id: '{n}'\n  title: '{section}'\n  content: 'About {section}'\n"));
            }
            self.clone.write(&format!("data/briefs/{stem}.yaml"), &yaml);
        }
    }

    /// One random edit of the model.
    fn edit(&mut self) {
        let path = LISTS.choose(&mut self.rng).unwrap().0;
        let text = self.text();
        let choice = self.rng.random_range(0..16);
        self.log.push(format!("edit {choice} of {path}: {text}"));
        match (choice, self.lists.get_mut(path)) {
            (0..4, Some(File::Good(entities))) if !entities.is_empty() => {
                let at = self.rng.random_range(0..entities.len());
                let (Entity::Named(_, old) | Entity::Nameless(old) | Entity::Borrowed(_, old)) = &mut entities[at];
                *old = text;
            }
            (4..6, Some(File::Good(entities))) => {
                let n = self.rng.random_range(1..9);
                let at = self.rng.random_range(0..=entities.len());
                // Now and then an id that is there already.
                entities.insert(at, Entity::Named(n, text));
            }
            (6, Some(File::Good(entities))) if !entities.is_empty() => {
                let at = self.rng.random_range(0..entities.len());
                entities.remove(at);
            }
            (7, Some(File::Good(entities))) if !entities.is_empty() => {
                let at = self.rng.random_range(0..entities.len());
                entities[at] = Entity::Nameless(text);
            }
            (8, Some(File::Good(entities))) => entities.push(Entity::Borrowed("G01-1", text)),
            (9, Some(File::Good(entities))) => {
                let entities = std::mem::take(entities);
                self.lists.insert(path, File::Broken(entities));
            }
            (10, _) => {
                self.lists.remove(path);
            }
            (11, _) => {
                let stem = format!("b0{}", self.rng.random_range(1..4));
                self.briefs.entry(stem).or_default().push(text);
            }
            (12, _) => {
                if let Some((stem, mut sections)) = self.briefs.pop_first() {
                    // Renamed, with or without another word.
                    if self.rng.random_bool(0.5) {
                        sections.reverse();
                    }
                    if self.rng.random_bool(0.8) {
                        self.briefs.insert(format!("{stem}x"), sections);
                    }
                }
            }
            (13, _) => {
                let schemas = ["{\"properties\": {\"title\": {\"maxLength\": 12}}}", "{}", "{ broken"];
                let schema = schemas.choose(&mut self.rng).unwrap();
                self.clone.write("schemas/gap.schema.json", schema);
            }
            (_, Some(File::Broken(entities))) => {
                let entities = std::mem::take(entities);
                self.lists.insert(path, File::Good(entities));
            }
            (_, None) => {
                self.lists.insert(path, File::Good(vec![Entity::Named(1, text)]));
            }
            _ => self.clone.write("README.md", &text),
        }
    }

    /// One random step: edits, and usually something with git.
    fn step(&mut self) {
        for _ in 0..self.rng.random_range(1..4) {
            self.edit();
        }
        self.write();
        let choice = self.rng.random_range(0..20);
        self.log.push(format!("git {choice}"));
        match choice {
            0..12 => {
                self.clone.commit("step");
            }
            12 => {
                self.branches.push(self.clone.commit("remembered"));
            }
            13 | 14 => {
                // Another history: back one or two commits, then on.
                let back = format!("HEAD~{}", self.rng.random_range(1..3));
                if self.clone.git(&["rev-list", "--count", "HEAD"]).parse::<u32>().unwrap() > 3 {
                    self.clone.git(&["reset", "-q", "--soft", &back]);
                }
                self.clone.commit("forced");
            }
            15 => {
                // A merge that takes our side: first parents only count.
                self.clone.commit("ours");
                if let Some(other) = self.branches.pop() {
                    self.clone.git(&[
                        "merge",
                        "-q",
                        "-s",
                        "ours",
                        "-m",
                        "merged",
                        &other,
                        "--allow-unrelated-histories",
                    ]);
                }
            }
            16 => {
                self.clone.commit("empty");
                self.clone.commit("empty again");
            }
            // Not committed.
            _ => {}
        }
    }
}

fn import(engine: &mut Engine, request: &Request) {
    for _ in 0..100 {
        match engine.import(request) {
            Err(ImporterError::Unsettled) => std::thread::sleep(std::time::Duration::from_millis(30)),
            result => {
                result.unwrap();
                engine.tidy();
                return;
            }
        }
    }
    panic!("the files never settle");
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn run(seed: u64, settings: impl Fn(&Clone, &str) -> Settings) {
    let mut world = World::new(seed);
    let steps = number("BAFT_PROPERTY_STEPS", 20);
    let carried = settings(&world.clone, "carried");
    let mut engine = Engine::open(carried.clone()).unwrap();
    let mut rebuilder = Engine::open(settings(&world.clone, "built")).unwrap();
    for step in 0..steps {
        if world.rng.random_bool(0.1) {
            drop(engine);
            engine = Engine::open(carried.clone()).unwrap();
        }
        if world.rng.random_bool(0.3) {
            engine.keep_standby();
        }
        // What was read ahead serves when it is what is imported, and does no harm when it is not.
        let (changes, stays) = (world.rng.random_bool(0.3), world.rng.random_bool(0.3));
        if changes {
            engine.anticipate();
            world.step();
        }
        if stays {
            engine.anticipate();
        }
        import(&mut engine, &Request::default());
        import(&mut rebuilder, &Request { full: true, commit: None });
        let found = differences(&world.clone.db("carried"), &world.clone.db("built"));
        assert!(found.is_empty(), "seed {seed}, step {step}:\n{}\n{}", world.log.join("\n"), found.join("\n"));
        // Tables that an import does not touch are not read again; what is said of them must be true all the same.
        let digest = |engine: &Engine| engine.current().unwrap().manifest.content_digest;
        assert_eq!(digest(&engine), digest(&rebuilder), "seed {seed}, step {step}");
        world.log.push(format!("--- step {step} was equal"));
        world.step();
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("BAFT_PROPERTY_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=number("BAFT_PROPERTY_SEEDS", 2)).collect(),
    }
}

#[test]
fn carrying_commits_on_equals_building_anew() {
    for seed in seeds() {
        run(seed, |clone, name| clone.commits(name));
    }
}

#[test]
fn carrying_saved_files_on_equals_building_anew() {
    for seed in seeds() {
        run(seed, |clone, name| clone.files(name));
    }
}

#[test]
fn a_strict_importer_carries_on_equally() {
    for seed in seeds() {
        run(seed + 1000, |clone, name| Settings { strict: true, ..clone.commits(name) });
    }
}
