//! The source as it is at one moment, and what is remembered of it between moments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baft_repo::{Oid, Repo};

use super::memo::{Ahead, Memo, Wanted};
use super::plan::{Base, Files, Overlay, Plan, committed_files, files_now, plan};
use super::pool::Contents;
use super::read::{BaseFile, End, Task, chain};
use super::rules::{self, Rules};
use crate::ImporterError;
use crate::apply::{ErrorRecord, FileRecord};
use crate::config::{Follow, Settings, Source};
use crate::generation::FileId;
use crate::source::{Filter, History, Range, Saved, Scanner, Target, Version, follow};
use baft_dataset::dataset::{CONFIG_FILE, Datasets};

/// A file that cannot be read and was saved this recently may simply not be finished.
pub(super) const SETTLING: Duration = Duration::from_millis(250);

/// So many files are read in the background, by one thread.
pub(super) const AHEAD: usize = 4;

/// The source: what it is now, and handles and caches to look again cheaply.
#[derive(Debug)]
pub(super) struct Scenery {
    source: Source,
    strict: bool,
    limit: usize,
    pub(super) repo: Option<(Repo, PathBuf, FileId)>,
    pub(super) history: Option<History>,
    tree: Option<(Oid, BTreeMap<String, Oid>)>,
    compiled: BTreeMap<Oid, Arc<baft_dataset::schema::Schema>>,
    scanner: Option<Scanner>,
    /// What is imported now.
    pub(super) target: Target,
    /// The files now.
    pub(super) files: Files,
    /// Contents that are not in the repository.
    pub(super) overlay: Overlay,
    /// The rules in effect now.
    pub(super) rules: Rules,
    /// Files read lately, by these rules.
    pub(super) memo: Arc<Memo>,
    ahead: Option<Ahead>,
}

impl Scenery {
    pub(super) fn new(settings: &Settings) -> Self {
        let scanner = match &settings.source {
            Source::Worktree { clone } => Some(Scanner::new(clone)),
            Source::Git { .. } => None,
        };
        let datasets = Datasets::built_in();
        Self {
            source: settings.source.clone(),
            strict: settings.strict,
            limit: settings.history,
            repo: None,
            history: None,
            tree: None,
            compiled: BTreeMap::new(),
            scanner,
            target: Target::Saved(None),
            files: Files::new(),
            overlay: Overlay::new(),
            rules: Rules { datasets, declaration: None, declaration_issues: Vec::new(), schemas: BTreeMap::new() },
            memo: Arc::default(),
            ahead: None,
        }
    }

    pub(super) fn forget_repository(&mut self) {
        self.repo = None;
        self.history = None;
        self.tree = None;
    }

    /// The datasets in effect.
    pub(super) fn datasets(&self) -> Arc<Datasets> {
        self.rules.datasets.clone()
    }

    /// What a database made now says about the rules.
    pub(super) fn fingerprint(&self) -> String {
        self.rules.fingerprint(self.strict)
    }

    pub(super) fn repo_path(&self) -> Option<&Path> {
        self.repo.as_ref().map(|(_, path, _)| path.as_path())
    }

    pub(super) fn contents(&self) -> Contents<'_> {
        Contents { repo: self.repo_path(), overlay: &self.overlay }
    }

    /// Looks at the source. `at` asks for one commit of it.
    pub(super) fn look(&mut self, at: Option<&str>) -> Result<(), ImporterError> {
        self.open_repository()?;
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        let target = follow(&self.source, repo, at)?;
        let scanner = self.scanner.as_mut().filter(|_| matches!(target, Target::Saved(_)));
        self.overlay.clear();

        let declared = rules::declaration_now(repo, target, scanner.as_deref(), &mut self.overlay)?;
        let limit = self.limit;
        let contents = Contents { repo: None, overlay: &self.overlay };
        let blobs = |blob| contents.get(repo, blob);
        let mut old_declarations = |path: &str| match (repo, target.commit()) {
            (Some(repo), Some(commit)) => {
                let mut history = History::new(commit, limit, Arc::new(|path: &str| path == CONFIG_FILE));
                history.read_for(repo, path)?;
                let saved = declared.and_then(|(blob, saved)| Some((blob, saved?)));
                let committed = history.known(path).first().is_some_and(|version| version.blob.is_some());
                Ok(chain(saved, history.known(path), committed).0)
            }
            _ => Ok(Vec::new()),
        };
        let declared_blob = declared.map(|(blob, _)| blob);
        // Compiled patterns are worth keeping. A declaration that cannot be used is looked into again: an older one may be found.
        let (datasets, declaration, declaration_issues) = match self.rules.are_of(declared_blob) {
            true => (self.rules.datasets.clone(), declared_blob, Vec::new()),
            false => rules::datasets(declared_blob, &mut old_declarations, &blobs)?,
        };
        if datasets.fingerprint() != self.rules.datasets.fingerprint() {
            self.history = None;
            self.tree = None;
        }

        let saved = match scanner {
            Some(scanner) => {
                let matters = |path: &str| datasets.concerns(path);
                let saved = scanner.scan(&datasets.roots(), &matters)?;
                remember(&mut self.overlay, &saved);
                Some(saved)
            }
            None => None,
        };
        let committed = match (repo, target.commit()) {
            (Some(repo), Some(commit)) => {
                let history = move_history(&mut self.history, repo, commit, self.limit, &datasets)?;
                let files = committed_files(repo, commit, history, &datasets, self.tree.as_ref())?;
                self.tree = Some((commit, files.clone()));
                files
            }
            _ => BTreeMap::new(),
        };
        self.files = files_now(&committed, saved.as_ref());
        if saved.is_some() {
            // Schemas are few, and needed whether they changed or not.
            let schemas: Vec<_> = datasets.all.iter().filter_map(|dataset| dataset.schema.clone()).collect();
            self.fetch(schemas.into_iter())?;
        }
        let schemas = self.schemas(&datasets)?;
        let rules = Rules { datasets, declaration, declaration_issues, schemas };
        if !rules.agree_with(&self.rules) {
            // What is still being read belongs to the old rules.
            self.finish_reading();
            self.memo.clear();
        }
        self.rules = rules;
        self.target = target;
        Ok(())
    }

    fn schemas(&mut self, datasets: &Datasets) -> Result<BTreeMap<String, rules::Effective>, ImporterError> {
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        let contents = Contents { repo: None, overlay: &self.overlay };
        let blobs = |blob| contents.get(repo, blob);
        let (files, history) = (&self.files, &mut self.history);
        let mut versions = |path: &str| all_versions(repo, history.as_mut(), files, path);
        rules::schemas(datasets, files, &mut versions, &blobs, &mut self.compiled)
    }

    /// Makes sure that the contents of these files can be read: those that are saved and were read before.
    pub(super) fn fetch(&mut self, paths: impl Iterator<Item = String>) -> Result<(), ImporterError> {
        let Some(scanner) = &self.scanner else { return Ok(()) };
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        for (path, blob) in missing(&self.files, paths, &self.overlay, repo) {
            self.overlay.insert(blob, scanner.read(&path, blob)?);
        }
        Ok(())
    }

    /// The files to import among the files now: those of datasets, in path order.
    pub(super) fn dataset_files(&self) -> Vec<String> {
        self.files.keys().filter(|path| self.rules.datasets.for_path(path).is_some()).cloned().collect()
    }

    /// What lies between an older commit and now.
    pub(super) fn repo_and_history(&mut self) -> (Option<&Repo>, Option<&mut History>) {
        (self.repo.as_ref().map(|(repo, _, _)| repo), self.history.as_mut())
    }

    /// Reads the whole history.
    pub(super) fn read_history(&mut self) -> Result<(), ImporterError> {
        if let (Some(repo), Some(history)) = self.repo_and_history() {
            history.read_all(repo)?;
        }
        Ok(())
    }

    /// All versions of a file.
    pub(super) fn versions(&mut self, path: &str) -> Result<Vec<Version>, ImporterError> {
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        all_versions(repo, self.history.as_mut(), &self.files, path)
    }

    /// The versions of a file that are newer than the database, and whether those are all.
    pub(super) fn recent(&self, path: &str, range: &Range) -> (Vec<Version>, bool) {
        let Some(now) = self.files.get(path) else { return (Vec::new(), true) };
        let known = self.history.as_ref().map_or(&[][..], |history| history.known(path));
        let recent: Vec<_> = known
            .iter()
            .copied()
            .take_while(|version| match version.origin {
                crate::source::Origin::Commit(commit, _) => range.commits.contains(&commit),
                crate::source::Origin::Saved(_) => false,
            })
            .collect();
        chain(now.saved.map(|(time, _)| (now.blob, time)), &recent, now.committed)
    }

    /// A file to be read.
    pub(super) fn task<'a>(
        &'a self,
        path: &'a str,
        chain: &'a [Version],
        base: Option<&'a BaseFile>,
    ) -> Option<Task<'a>> {
        let dataset = self.rules.datasets.for_path(path)?;
        Some(Task {
            path,
            dataset,
            schema: self.rules.schema(dataset.schema.as_deref()),
            blob: self.files.get(path)?.blob,
            chain,
            end: base.map_or(End::Beginning, End::Base),
            strict: self.strict,
            memo: None,
        })
    }

    /// What an import has to look at, against what the database knows.
    pub(super) fn plan(&mut self, base: &Base) -> Result<Plan, ImporterError> {
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        plan(&self.files, base, &self.rules, self.target, repo, self.history.as_mut())
    }

    /// Begins to read files in the background. So many of them that all threads will have enough to do are left alone, and
    /// so are those that are being read or were.
    pub(super) fn read_ahead(&mut self, paths: &BTreeSet<String>) {
        if paths.len() > AHEAD {
            return;
        }
        let names: Vec<_> = paths.iter().filter_map(|path| Some((path.clone(), self.files.get(path)?.blob))).collect();
        if self.ahead.as_ref().is_some_and(|ahead| ahead.is_of(&names)) {
            return;
        }
        self.finish_reading();
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        let wanted = names.iter().filter_map(|(path, blob)| {
            let dataset = self.rules.datasets.for_path(path)?;
            let content = self.contents().get(repo, *blob).ok()?;
            let schema = dataset.schema.as_ref().and_then(|schema| self.rules.schemas.get(schema)?.schema.clone());
            Some(Wanted { path: path.clone(), blob: *blob, content, schema })
        });
        let wanted = wanted.collect();
        self.ahead = Ahead::begin(names, &self.memo, self.datasets(), wanted);
    }

    /// Waits for what [`Scenery::read_ahead`] began.
    pub(super) fn finish_reading(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.finish();
        }
    }

    /// Whether dates before the oldest commit that was read are not exact.
    pub(super) fn truncated(&self) -> bool {
        self.history.as_ref().is_some_and(History::truncated)
    }

    /// The declaration and the schemas among the files now.
    pub(super) fn rule_files(&self) -> Vec<String> {
        let is_rule = |path: &&String| *path == CONFIG_FILE || self.rules.schemas.contains_key(*path);
        self.files.keys().filter(is_rule).cloned().collect()
    }

    /// Whether a file belongs to a dataset.
    pub(super) fn is_data(&self, path: &str) -> bool {
        self.rules.datasets.for_path(path).is_some()
    }

    /// The books' entries of the declaration and the schemas among these files.
    pub(super) fn rule_records(&mut self, paths: &[String]) -> (Vec<FileRecord>, Vec<ErrorRecord>) {
        let rule_files = self.rule_files();
        let mut since = BTreeMap::new();
        for path in paths.iter().filter(|path| rule_files.contains(path)) {
            let versions = self.versions(path).unwrap_or_default();
            since.insert(path.clone(), versions.first().map(|version| version.origin.label()).unwrap_or_default());
        }
        let repo = self.repo.as_ref().map(|(repo, _, _)| repo);
        let size = |blob| {
            let there = self.overlay.get(&blob).map(|content| content.len() as u64);
            there.or_else(|| repo?.size(blob).ok()).unwrap_or(0)
        };
        let since_of = |path: &str| since.get(path).cloned().unwrap_or_default();
        self.rules.records(&mut since.keys(), &self.files, &since_of, &size)
    }

    fn open_repository(&mut self) -> Result<(), ImporterError> {
        let (path, required) = match &self.source {
            Source::Git { repo, .. } => (repo.clone(), true),
            Source::Worktree { clone } => (clone.clone(), false),
        };
        let git = path.join(".git");
        if !required && !git.exists() {
            self.forget_repository();
            return Ok(());
        }
        if matches!(&self.source, Source::Git { follow: Follow::Link(_), .. }) && !path.exists() {
            self.forget_repository();
            return Err(ImporterError::NoSource(format!("git-sync has not made {} yet", path.display())));
        }
        // A mirror that git-sync had to make again has the same path and is another repository.
        let id = FileId::of(&path.join(if git.exists() { ".git" } else { "." }))
            .map_err(ImporterError::io("open the repository", &path))?;
        if self.repo.as_ref().is_none_or(|(_, _, known)| !known.same_inode(&id)) {
            self.forget_repository();
            let repo = Repo::open(&path).map_err(ImporterError::repo("opening it"))?;
            self.repo = Some((repo, path, id));
        }
        Ok(())
    }
}

fn remember(overlay: &mut Overlay, saved: &BTreeMap<String, Saved>) {
    for file in saved.values() {
        if let Some(content) = &file.content {
            overlay.insert(file.blob, content.clone());
        }
    }
}

/// Files among `paths` whose content is neither at hand nor in the repository.
fn missing(
    files: &Files,
    paths: impl Iterator<Item = String>,
    overlay: &Overlay,
    repo: Option<&Repo>,
) -> Vec<(String, Oid)> {
    let there = |blob| overlay.contains_key(&blob) || repo.is_some_and(|repo| repo.contains(blob));
    paths.filter_map(|path| files.get(&path).map(|now| (path, now.blob))).filter(|(_, blob)| !there(*blob)).collect()
}

fn move_history<'a>(
    history: &'a mut Option<History>,
    repo: &Repo,
    commit: Oid,
    limit: usize,
    datasets: &Arc<Datasets>,
) -> Result<&'a mut History, ImporterError> {
    let datasets = datasets.clone();
    let filter: Filter = Arc::new(move |path: &str| datasets.concerns(path));
    let history = history.get_or_insert_with(|| History::new(commit, limit, filter));
    history.move_to(repo, commit)?;
    Ok(history)
}

fn all_versions(
    repo: Option<&Repo>,
    history: Option<&mut History>,
    files: &Files,
    path: &str,
) -> Result<Vec<Version>, ImporterError> {
    match (repo, history) {
        (Some(repo), Some(history)) => {
            history.read_for(repo, path)?;
            Ok(rules::all_versions(files, path, history.known(path)))
        }
        _ => Ok(rules::all_versions(files, path, &[])),
    }
}
