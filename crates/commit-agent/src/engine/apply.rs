//! Edits by request: as one commit, in the files and on the branch, or not at all.

use std::collections::BTreeMap;

use baft_dataset::dataset::Datasets;
use baft_dataset::edit::{self, EditErrorKind, EntityRef, FieldPath};
use baft_dataset::validate;
use baft_repo::write::TreeEdits;
use baft_repo::{FileMode, Oid, RepoPath};

use super::fault::{Fault, fault};
use super::saved::Touch;
use super::{Agent, Applied, Apply, ApplyError, Edit, Flush, Order, merge};

/// New contents by path; nothing deletes.
type Contents = BTreeMap<RepoPath, Option<Vec<u8>>>;

impl Agent {
    pub(super) fn apply_edits(&mut self, apply: &Apply) -> Result<Applied, ApplyError> {
        self.check_present().map_err(unavailable)?;
        self.repair().map_err(unavailable)?;
        self.capture(&Order { flush: Flush::Quiet, ..Order::default() }).map_err(unavailable)?;
        self.land().map_err(unavailable)?;
        let tip = self.tip().map_err(unavailable)?;
        let tree = self.repo.tree_id(tip).map_err(below)?;
        let rules = merge::datasets(&self.repo, tree);
        let mut contents = Contents::new();
        for one in &apply.edits {
            self.work_out(one, apply.base, tip, &rules, &mut contents)?;
        }
        self.check_free(contents.keys())?;
        self.check_schemas(&contents, tip, &rules)?;
        let mut edits = TreeEdits::new();
        let mut paths = Vec::new();
        for (path, content) in contents {
            let there = self.entry(tip, &path).map_err(unavailable)?;
            let new = match content {
                Some(bytes) => Some(self.admit(&path, &bytes, there)?),
                None => None,
            };
            if new != there {
                edits.insert(path.clone(), new);
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Ok(Applied { commit: tip, paths });
        }
        let tree = self.repo.write_tree(Some(tree), &edits).map_err(below)?;
        let author = self.author(apply.session.as_ref());
        let message = self.message(apply.session.as_ref(), apply.message.as_deref(), &paths);
        let commit = self.make_commit(tree, &[tip], &author, &message).map_err(unavailable)?;
        super::failpoint::hit("apply.pending").map_err(|error| unavailable(fault(error)))?;
        // From the journal on, it happens, also after a crash.
        self.shift(tip, commit, Touch::Files).map_err(unavailable)?;
        Ok(Applied { commit, paths })
    }

    /// Refuses contents that violate the schema of their dataset where the file did not before.
    fn check_schemas(&self, contents: &Contents, tip: Oid, rules: &Datasets) -> Result<(), ApplyError> {
        let tree = self.repo.tree_id(tip).map_err(below)?;
        for (path, content) in contents {
            let Some(after) = content else { continue };
            let before = merge::file_of(&self.repo, tree, path.as_str());
            let before: Vec<&[u8]> = before.as_deref().into_iter().collect();
            let schema = |wanted: &str| {
                let new = contents.iter().find(|(path, _)| path.as_str() == wanted);
                new.map_or_else(|| merge::file_of(&self.repo, tree, wanted), |(_, content)| content.clone())
            };
            let broken = validate::broken(rules, path.as_str(), &before, after, schema);
            if let Some(issue) = broken.first() {
                let message = match broken.len() {
                    1 => format!("the result violates its schema: {issue}"),
                    n => format!("the result violates its schema in {n} places, first: {issue}"),
                };
                return Err(ApplyError::Refused { path: path.clone(), reason: None, message });
            }
        }
        Ok(())
    }

    /// What one edit makes of the files.
    fn work_out(
        &self,
        one: &Edit,
        base: Option<Oid>,
        tip: Oid,
        rules: &Datasets,
        contents: &mut Contents,
    ) -> Result<(), ApplyError> {
        match one {
            Edit::File { path, content } => {
                if let Some(base) = base {
                    let then = self
                        .entry(base, path)
                        .map_err(|_| ApplyError::Invalid(format!("{base} is not a commit that is here")))?;
                    if then != self.entry(tip, path).map_err(unavailable)? {
                        return Err(ApplyError::Conflict(format!("{path} has changed since {base}: read it again")));
                    }
                }
                if content.is_none() && self.entry(tip, path).map_err(unavailable)?.is_none() {
                    return Err(ApplyError::NotFound(path.to_string()));
                }
                contents.insert(path.clone(), content.clone());
                Ok(())
            }
            Edit::Entity { type_, id, set, unset } => {
                let (path, text) = self.find_entity(type_, id, tip, rules, contents)?;
                if let Some(base) = base {
                    self.check_entity(type_, id, &path, base, tip, rules)?;
                }
                let field = |name: &String| {
                    name.parse::<FieldPath>().map_err(|error| ApplyError::Invalid(format!("{name}: {error}")))
                };
                let set = set
                    .iter()
                    .map(|(name, value)| Ok((field(name)?, value.clone())))
                    .collect::<Result<Vec<_>, ApplyError>>()?;
                let unset = unset.iter().map(field).collect::<Result<Vec<_>, _>>()?;
                let entity = EntityRef { type_name: type_, id };
                let new =
                    edit::set(rules, path.as_str(), &text, entity, &set, &unset).map_err(|error| match error.kind {
                        EditErrorKind::NotFound => ApplyError::NotFound(format!("{type_} {id}")),
                        EditErrorKind::BadRequest => ApplyError::Invalid(error.to_string()),
                        _ => ApplyError::Refused { path: path.clone(), reason: None, message: error.to_string() },
                    })?;
                contents.insert(path, Some(new));
                Ok(())
            }
        }
    }

    /// The file an entity is in, as the edits so far have it.
    fn find_entity(
        &self,
        type_: &str,
        id: &str,
        tip: Oid,
        rules: &Datasets,
        contents: &Contents,
    ) -> Result<(RepoPath, Vec<u8>), ApplyError> {
        let entries = self.repo.list(tip, None).map_err(below)?;
        let paths = edit::candidates(rules, type_, entries.iter().map(|entry| entry.path.as_str()));
        let paths: std::collections::BTreeSet<&str> = paths.into_iter().collect();
        if paths.is_empty() {
            return Err(ApplyError::NotFound(format!("a file with entities of type {type_}")));
        }
        for entry in entries.iter().filter(|entry| paths.contains(entry.path.as_str())) {
            let text = match contents.get(&entry.path) {
                Some(Some(text)) => text.clone(),
                Some(None) => continue,
                None => self.repo.read(entry.oid).map_err(below)?,
            };
            if locate(rules, &entry.path, &text, type_, id).is_some() {
                return Ok((entry.path.clone(), text));
            }
        }
        Err(ApplyError::NotFound(format!("{type_} {id}")))
    }

    /// Whether the entity is what it was at `base`; the rest of its file may have changed.
    fn check_entity(
        &self,
        type_: &str,
        id: &str,
        path: &RepoPath,
        base: Oid,
        tip: Oid,
        rules: &Datasets,
    ) -> Result<(), ApplyError> {
        let text_at = |commit: Oid| -> Result<Option<Vec<u8>>, ApplyError> {
            let text = self
                .repo
                .read_path(commit, path)
                .map_err(|_| ApplyError::Invalid(format!("{commit} is not a commit that is here")))?;
            Ok(text.and_then(|text| {
                let span = locate(rules, path, &text, type_, id)?;
                text.get(span).map(<[u8]>::to_vec)
            }))
        };
        match text_at(base)? == text_at(tip)? {
            true => Ok(()),
            false => Err(ApplyError::Conflict(format!("{type_} {id} has changed since {base}: read it again"))),
        }
    }

    /// Files somebody is editing this moment are not edited from behind.
    fn check_free<'p>(&self, paths: impl Iterator<Item = &'p RepoPath>) -> Result<(), ApplyError> {
        let waiting: std::collections::BTreeSet<RepoPath> =
            self.tree.waiting().into_iter().map(|(path, _)| path).collect();
        for path in paths {
            if waiting.contains(path) && self.is_dirty(path)
                || self.saved.get().stale.contains_key(path)
                || self.saved.get().held.contains_key(path)
            {
                return Err(ApplyError::Conflict(format!(
                    "{path} is being edited in the clone: try again when that is captured"
                )));
            }
        }
        Ok(())
    }

    fn admit(
        &mut self,
        path: &RepoPath,
        bytes: &[u8],
        there: Option<(Oid, FileMode)>,
    ) -> Result<(Oid, FileMode), ApplyError> {
        let refused = |reason, message: String| ApplyError::Refused { path: path.clone(), reason, message };
        if bytes.len() as u64 > self.settings.gates.max_file_bytes {
            return Err(refused(Some(crate::gates::Reason::Size), format!("{} bytes", bytes.len())));
        }
        if let Some(why) = self.repo.conversion(path, bytes) {
            return Err(refused(None, why.to_owned()));
        }
        let blob = Oid::of_blob(bytes);
        if let Some(hold) = self.judge(path, blob, bytes, there.map(|(blob, _)| blob)).map_err(unavailable)? {
            return Err(refused(Some(hold.reason), hold.detail));
        }
        let blob = self.repo.write_blob(bytes).map_err(below)?;
        let mode = there.map(|(_, mode)| mode).filter(|mode| *mode == FileMode::Executable).unwrap_or(FileMode::File);
        Ok((blob, mode))
    }
}

fn locate(rules: &Datasets, path: &RepoPath, text: &[u8], type_: &str, id: &str) -> Option<std::ops::Range<usize>> {
    let found = edit::entities_of(rules, path.as_str(), text).ok()?;
    let same = |one: &edit::Located| {
        one.id == id || one.id.rsplit_once('-').is_some_and(|_| one.id.ends_with(&format!("-{id}")))
    };
    let exact = found.iter().find(|one| one.id == id);
    let one = exact.or_else(|| found.iter().find(|one| one.type_name == type_ && same(one)))?;
    Some(one.span.clone())
}

fn unavailable(fault: Fault) -> ApplyError {
    ApplyError::Unavailable(fault.message)
}

fn below(error: baft_repo::RepoError) -> ApplyError {
    unavailable(fault(error))
}
