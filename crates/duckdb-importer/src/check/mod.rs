//! `check`: reads, validates and lints files without a database, for editors, pre-commit hooks and CI.
//!
//! It reads with the same code and the same rules as an import, so what it accepts is imported and what it complains
//! about would stand in `_errors`. It looks at the files as they are saved, never at git.

mod report;
mod sarif;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use report::Format;

use crate::ImporterError;
use crate::engine::id_is_elsewhere;
use crate::source::Scanner;
use baft_dataset::dataset::{CONFIG_FILE, Datasets};
use baft_dataset::extract::parse_file;
use baft_dataset::rows::{Issue, Severity};
use baft_dataset::schema::Schema;

/// What was looked at and what was found.
#[derive(Debug)]
pub struct CheckReport {
    /// Files of datasets that were read.
    pub files: usize,
    /// Entities in them that have an id.
    pub entities: usize,
    /// Sections in them.
    pub sections: usize,
    /// Findings, by path and place.
    pub issues: Vec<Issue>,
    /// The content of the files that findings are about.
    sources: BTreeMap<String, Arc<[u8]>>,
}

impl CheckReport {
    /// How many findings are this bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.issues.iter().filter(|issue| issue.severity == severity).count()
    }

    /// The report as text, JSON or SARIF.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => report::text(self),
            Format::Json => report::json(self),
            Format::Sarif => sarif::sarif(self),
        }
    }
}

/// Checks the repository at `root`. With `only`, which holds files and folders, findings elsewhere are left out; the
/// rest is read all the same, since an id may be taken there.
///
/// # Errors
/// When the folder cannot be read, or a path of `only` lies outside it.
pub fn run_check(root: &Path, only: &[PathBuf]) -> Result<CheckReport, ImporterError> {
    let only = only.iter().map(|path| below(root, path)).collect::<Result<Vec<_>, _>>()?;
    let (datasets, mut issues) = declared(root)?;
    let mut scanner = Scanner::new(root);
    let saved = scanner.scan(&datasets.roots(), &|path| datasets.concerns(path))?;
    let mut sources = BTreeMap::new();
    for (path, file) in saved {
        if let Some(content) = file.content {
            sources.insert(path, content);
        }
    }
    let schemas = schemas(&datasets, &sources, &mut issues);

    let mut report = CheckReport { files: 0, entities: 0, sections: 0, issues, sources };
    let mut places: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for (path, bytes) in &report.sources {
        let Some(dataset) = datasets.for_path(path) else { continue };
        let schema = dataset.schema.as_deref().and_then(|path| schemas.get(path));
        let parsed = parse_file(path, bytes, dataset, schema);
        report.files += 1;
        report.entities += parsed.entities.len();
        report.sections += parsed.sections.len();
        report.issues.extend(parsed.issues);
        for entity in parsed.entities {
            match places.entry(entity.id.clone()) {
                Entry::Vacant(place) => {
                    place.insert((path.clone(), entity.line_start));
                }
                // Files come in path order, and the first keeps the id.
                Entry::Occupied(owner) => {
                    let (owner, line) = owner.get();
                    report.issues.push(id_is_elsewhere(&entity, path, &format!("{owner}:{line}")));
                }
            }
        }
    }
    report.issues.retain(|issue| only.is_empty() || only.iter().any(|path| within(&issue.path, path)));
    report.issues.sort_by(|a, b| (&a.path, a.line, a.col, a.code).cmp(&(&b.path, b.line, b.col, b.code)));
    let named: BTreeSet<String> = report.issues.iter().map(|issue| issue.path.clone()).collect();
    report.sources.retain(|path, _| named.contains(path));
    Ok(report)
}

/// The datasets, and what is wrong with their declaration. One that cannot be used counts as absent, as in an import
/// that never saw a good one.
fn declared(root: &Path) -> Result<(Arc<Datasets>, Vec<Issue>), ImporterError> {
    let path = root.join(CONFIG_FILE);
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Datasets::built_in(), Vec::new())),
        Err(error) => return Err(ImporterError::io("read", &path)(error)),
    };
    Ok(match Datasets::parse(CONFIG_FILE, &text) {
        Ok(datasets) => (Arc::new(datasets), Vec::new()),
        Err(error) => {
            let message = format!("{}; the built-in datasets are used instead", error.message);
            (Datasets::built_in(), vec![file_issue(CONFIG_FILE, error.line, 1, "declaration-unusable", message)])
        }
    })
}

fn schemas(
    datasets: &Datasets,
    sources: &BTreeMap<String, Arc<[u8]>>,
    issues: &mut Vec<Issue>,
) -> BTreeMap<String, Schema> {
    let wanted: BTreeSet<&str> = datasets.all.iter().filter_map(|dataset| dataset.schema.as_deref()).collect();
    let mut compiled = BTreeMap::new();
    for path in wanted {
        match sources.get(path).map(|bytes| Schema::compile(path, bytes)) {
            None => {}
            Some(Ok(schema)) => {
                compiled.insert(path.to_owned(), schema);
            }
            Some(Err(error)) => {
                issues.push(file_issue(path, error.line, error.col, "schema-unusable", error.message));
            }
        }
    }
    compiled
}

fn file_issue(path: &str, line: u32, col: u32, code: &'static str, message: String) -> Issue {
    Issue {
        path: path.to_owned(),
        line,
        col,
        pointer: String::new(),
        entity_id: None,
        severity: Severity::Error,
        code,
        message,
    }
}

/// A path as given on the command line, relative to the repository.
fn below(root: &Path, path: &Path) -> Result<String, ImporterError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(ImporterError::io("find", path));
    let (root, full) = (absolute(root)?, absolute(path)?);
    let relative = full.strip_prefix(&root).ok().or_else(|| path.is_relative().then_some(path));
    let parts: Option<Vec<&str>> = relative.and_then(|path| {
        path.components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect()
    });
    parts.map(|parts| parts.join("/")).ok_or_else(|| {
        ImporterError::Refused(format!(
            "{} is not inside {}; name files of the repository",
            path.display(),
            root.display()
        ))
    })
}

fn within(path: &str, wanted: &str) -> bool {
    wanted.is_empty() || path == wanted || path.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    const GAPS: &str = "entries:\n- id: G01-01\n  description: one\n- id: G01-02\n  description: two\n";

    #[test]
    fn a_clean_repository_has_no_findings() {
        let dir = repository(&[("data/gaps.yaml", GAPS)]);
        let report = run_check(dir.path(), &[]).unwrap();
        assert_eq!((report.files, report.entities, report.issues.len()), (1, 2, 0), "{:?}", report.issues);
        assert_eq!(report.render(Format::Text), "1 file, 2 entities, 0 sections: no findings\n");
    }

    #[test]
    fn a_syntax_error_is_shown_with_its_line_and_a_caret_under_its_column() {
        let dir = repository(&[("data/gaps.yaml", "entries:\n- id: G01-01\n  description: [one\n")]);
        let report = run_check(dir.path(), &[]).unwrap();
        assert_eq!(report.count(Severity::Error), 1);
        let text = report.render(Format::Text);
        assert!(text.starts_with("error["), "{text}");
        let issue = &report.issues[0];
        assert!(text.contains(&format!("--> data/gaps.yaml:{}:{}", issue.line, issue.col)), "{text}");
        let caret = text.lines().find(|line| line.trim_end().ends_with('^')).unwrap();
        assert_eq!(caret.find('^').unwrap() - caret.find('|').unwrap() - 2, issue.col as usize - 1, "{text}");
    }

    #[test]
    fn one_id_in_two_files_is_an_error_naming_both() {
        let dir = repository(&[
            (
                "baft-import.toml",
                "version = 1\n[[dataset]]\nname = \"items\"\nfiles = [\"data/*.yaml\"]\nlist = \"/entries\"\nid = [\"id\"]\n",
            ),
            ("data/a.yaml", "entries:\n- id: X-1\n"),
            ("data/b.yaml", "entries:\n- id: X-1\n"),
        ]);
        let report = run_check(dir.path(), &[]).unwrap();
        let found: Vec<_> = report.issues.iter().filter(|issue| issue.code == "duplicate-id-elsewhere").collect();
        assert_eq!(found.len(), 1, "{:?}", report.issues);
        assert_eq!(found[0].path, "data/b.yaml");
        assert!(found[0].message.contains("data/a.yaml:2"), "{}", found[0].message);
    }

    #[test]
    fn only_the_files_asked_for_are_reported() {
        let broken = "entries: [\n";
        let dir = repository(&[("data/gaps.yaml", broken), ("data/traps.yaml", broken)]);
        let only = [dir.path().join("data/traps.yaml")];
        let report = run_check(dir.path(), &only).unwrap();
        assert!(!report.issues.is_empty() && report.issues.iter().all(|issue| issue.path == "data/traps.yaml"));
        assert!(run_check(dir.path(), &[PathBuf::from("/etc/passwd")]).is_err());
    }

    #[test]
    fn json_and_sarif_say_the_same_as_text() {
        let dir = repository(&[("data/gaps.yaml", "entries: [\n")]);
        let report = run_check(dir.path(), &[]).unwrap();
        let issue = &report.issues[0];
        let json: serde_json::Value = serde_json::from_str(&report.render(Format::Json)).unwrap();
        assert_eq!(json["schema"], "baft.check/1");
        assert_eq!(json["errors"], 1);
        assert_eq!(json["issues"][0]["line"], issue.line);
        let sarif: serde_json::Value = serde_json::from_str(&report.render(Format::Sarif)).unwrap();
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!((&sarif["version"], &result["ruleId"]), (&"2.1.0".into(), &issue.code.into()));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "data/gaps.yaml");
        assert_eq!(place["region"]["startLine"], issue.line);
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], issue.code);
    }
}
