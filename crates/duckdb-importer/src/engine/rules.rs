//! What decides how files are read: the declaration of the datasets and their schemas. They live in the repository too,
//! so a commit can break them; then the last good version stays in effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use baft_repo::{Oid, Repo, RepoPath};

use super::plan::{Files, Overlay};
use super::read::{Blobs, chain};
use crate::ImporterError;
use crate::apply::{ErrorRecord, FileRecord, error_records};
use crate::source::{Scanner, Target, Version};
use baft_dataset::dataset::{CONFIG_FILE, Datasets};
use baft_dataset::rows::{Issue, Severity};
use baft_dataset::schema::Schema;

/// A schema in effect.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The version in effect; nothing when none ever could be used.
    pub blob: Option<Oid>,
    /// Compiled.
    pub schema: Option<Arc<Schema>>,
    /// What is wrong with the newest version.
    pub issues: Vec<Issue>,
}

/// The datasets and schemas in effect.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The datasets.
    pub datasets: Arc<Datasets>,
    /// The version of the declaration in effect; nothing for the built-in one.
    pub declaration: Option<Oid>,
    /// What is wrong with the newest declaration.
    pub declaration_issues: Vec<Issue>,
    /// Schemas by path, of those that exist.
    pub schemas: BTreeMap<String, Effective>,
}

/// Versions of a file, newest first, all of them.
pub type Versions<'a> = dyn FnMut(&str) -> Result<Vec<Version>, ImporterError> + 'a;

/// The datasets in effect, the version of the declaration they come from (nothing for the built-in ones), and what is wrong
/// with the newest version.
pub type Declared = (Arc<Datasets>, Option<Oid>, Vec<Issue>);

/// Finds the datasets in effect.
pub fn datasets(now: Option<Oid>, versions: &mut Versions<'_>, blobs: &Blobs<'_>) -> Result<Declared, ImporterError> {
    let Some(blob) = now else { return Ok((Datasets::built_in(), None, Vec::new())) };
    let parse = |blob| -> Result<_, ImporterError> {
        let bytes = blobs(blob)?;
        Ok(Datasets::parse(CONFIG_FILE, &String::from_utf8_lossy(&bytes)))
    };
    let error = match parse(blob)? {
        Ok(datasets) => return Ok((Arc::new(datasets), Some(blob), Vec::new())),
        Err(error) => error,
    };
    let issues = vec![issue(CONFIG_FILE, error.line, 1, "declaration-unusable", error.message)];
    for older in versions(CONFIG_FILE)?.iter().skip(1).filter_map(|version| version.blob) {
        if let Ok(datasets) = parse(older)? {
            return Ok((Arc::new(datasets), Some(older), issues));
        }
    }
    Ok((Datasets::built_in(), None, issues))
}

/// Finds the schemas in effect. `compiled` remembers them between imports.
pub fn schemas(
    datasets: &Datasets,
    files: &Files,
    versions: &mut Versions<'_>,
    blobs: &Blobs<'_>,
    compiled: &mut BTreeMap<Oid, Arc<Schema>>,
) -> Result<BTreeMap<String, Effective>, ImporterError> {
    let mut found = BTreeMap::new();
    for path in datasets.all.iter().filter_map(|dataset| dataset.schema.as_deref()) {
        let Some(now) = files.get(path) else { continue };
        let mut compile = |blob: Oid| -> Result<_, ImporterError> {
            if let Some(known) = compiled.get(&blob) {
                return Ok(Ok(known.clone()));
            }
            let schema = Schema::compile(path, &blobs(blob)?).map(Arc::new);
            if let Ok(schema) = &schema {
                compiled.insert(blob, schema.clone());
            }
            Ok(schema)
        };
        let effective = match compile(now.blob)? {
            Ok(schema) => Effective { blob: Some(now.blob), schema: Some(schema), issues: Vec::new() },
            Err(error) => {
                let issues = vec![issue(path, error.line, error.col, "schema-unusable", error.message)];
                let mut effective = Effective { blob: None, schema: None, issues };
                for older in versions(path)?.iter().skip(1).filter_map(|version| version.blob) {
                    if let Ok(schema) = compile(older)? {
                        effective.blob = Some(older);
                        effective.schema = Some(schema);
                        break;
                    }
                }
                effective
            }
        };
        found.insert(path.to_owned(), effective);
    }
    let used: Vec<_> = found.values().filter_map(|effective| effective.blob).collect();
    compiled.retain(|blob, _| used.contains(blob));
    Ok(found)
}

fn issue(path: &str, line: u32, col: u32, code: &'static str, message: String) -> Issue {
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

impl Rules {
    /// Whether the datasets are those of this version of the declaration; without one, the built-in ones.
    pub fn are_of(&self, declaration: Option<Oid>) -> bool {
        self.declaration == declaration && self.declaration_issues.is_empty()
    }

    /// The version of a schema that is in effect.
    #[must_use]
    pub fn schema_blob(&self, path: &str) -> Option<Oid> {
        self.schemas.get(path)?.blob
    }

    /// The schema of a dataset that is in effect.
    #[must_use]
    pub fn schema(&self, path: Option<&str>) -> Option<&Schema> {
        self.schemas.get(path?)?.schema.as_deref()
    }

    /// A database made by other rules must be rebuilt.
    #[must_use]
    pub fn fingerprint(&self, strict: bool) -> String {
        let (tables, parser) = (crate::tables::SCHEMA_VERSION, baft_dataset::extract::PARSER_VERSION);
        let strict = if strict { "strict" } else { "lenient" };
        format!("{tables}.{parser}.{strict}.{}", self.datasets.fingerprint())
    }

    /// Whether these rules read and judge every file as the others do.
    #[must_use]
    pub fn agree_with(&self, others: &Self) -> bool {
        let schemas = |rules: &Self| {
            let blobs = rules.schemas.iter().map(|(path, schema)| (path.clone(), schema.blob));
            blobs.collect::<Vec<_>>()
        };
        self.datasets.fingerprint() == others.datasets.fingerprint() && schemas(self) == schemas(others)
    }

    /// The entries in `_files` and `_errors` of the declaration and the schemas among `paths`.
    #[must_use]
    pub fn records(
        &self,
        paths: &mut dyn Iterator<Item = &String>,
        files: &Files,
        since: &dyn Fn(&str) -> String,
        size: &dyn Fn(Oid) -> u64,
    ) -> (Vec<FileRecord>, Vec<ErrorRecord>) {
        let mut records = Vec::new();
        let mut errors = Vec::new();
        for path in paths {
            let (kind, effective, issues) = match self.schemas.get(path) {
                _ if path == CONFIG_FILE => ("config", self.declaration, &self.declaration_issues),
                Some(schema) => ("schema", schema.blob, &schema.issues),
                None => continue,
            };
            let Some(now) = files.get(path) else { continue };
            let since = since(path);
            errors.extend(error_records(issues, &since));
            records.push(FileRecord {
                path: path.clone(),
                blob: now.blob.to_string(),
                bytes: size(now.blob),
                kind: kind.to_owned(),
                rows: 0,
                state: if issues.is_empty() { "ok" } else { "quarantined" }.to_owned(),
                good_blob: (!issues.is_empty()).then(|| effective.map(|blob| blob.to_string()).unwrap_or_default()),
                since,
            });
        }
        (records, errors)
    }
}

/// All versions of a file, from a history that has been read far enough.
#[must_use]
pub fn all_versions(files: &Files, path: &str, known: &[Version]) -> Vec<Version> {
    let now = files.get(path);
    let saved = now.and_then(|now| Some((now.blob, now.saved?.0)));
    chain(saved, known, now.is_some_and(|now| now.committed)).0
}

/// The declaration as it is now, with the time it was saved where that matters.
pub fn declaration_now(
    repo: Option<&Repo>,
    target: Target,
    scanner: Option<&Scanner>,
    overlay: &mut Overlay,
) -> Result<Option<(Oid, Option<i64>)>, ImporterError> {
    if let Some(scanner) = scanner {
        let path = scanner.root().join(CONFIG_FILE);
        let content = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            content => content.map_err(ImporterError::io("read", &path))?,
        };
        let blob = Oid::of_blob(&content);
        let committed = repo.is_some_and(|repo| repo.contains(blob));
        overlay.insert(blob, content.into());
        return Ok(Some((blob, (!committed).then_some(0))));
    }
    let (Some(repo), Some(commit), Ok(path)) = (repo, target.commit(), RepoPath::new(CONFIG_FILE)) else {
        return Ok(None);
    };
    let entries = repo.list(commit, Some(&path)).map_err(ImporterError::repo("looking for the declaration"))?;
    Ok(entries.first().map(|entry| (entry.oid, None)))
}
