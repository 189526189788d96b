//! Making objects: blobs, trees by path edits, commits. Nothing here touches the index, HEAD, a ref or a file.

use std::collections::BTreeMap;

use git2::ObjectType;

use crate::{FileMode, Oid, Repo, RepoError, RepoPath};

/// Who, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// Seconds since 1970.
    pub seconds: i64,
}

/// What a path of a tree becomes: a content, or nothing.
pub type TreeEdits = BTreeMap<RepoPath, Option<(Oid, FileMode)>>;

/// What a path, seen from some folder, becomes.
type PathEdit<'a> = (&'a str, Option<(Oid, FileMode)>);

/// What happens to one name of a folder: itself, and what is below it.
#[derive(Default)]
struct Name<'a> {
    own: Option<Option<(Oid, FileMode)>>,
    below: Vec<PathEdit<'a>>,
}

/// How large and how many the objects are that are remembered. Larger ones are kept in packs.
const LARGEST_NOTED: usize = 256 << 10;
const MOST_NOTED: usize = 1_000;
/// How often an object is written that vanishes at once.
const MOST_WRITES: u32 = 20;

/// An object that was written a moment ago.
#[derive(Debug, Clone)]
pub struct Written {
    oid: Oid,
    kind: ObjectType,
    content: Vec<u8>,
}

impl Written {
    /// Bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.content.len() + std::mem::size_of::<Self>()
    }
}

/// A commit to be made.
#[derive(Debug, Clone)]
pub struct NewCommit<'a> {
    /// Its tree.
    pub tree: Oid,
    /// Its parents, first parent first.
    pub parents: &'a [Oid],
    /// Who wrote it.
    pub author: &'a Stamp,
    /// Who made the commit.
    pub committer: &'a Stamp,
    /// Its message.
    pub message: &'a str,
}

/// Makes the signature of a commit's text.
pub type SignCommit<'a> = &'a dyn Fn(&[u8]) -> Result<String, String>;

impl Repo {
    /// Stores a blob; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_blob(&self, content: &[u8]) -> Result<Oid, RepoError> {
        self.noted("writing a blob", || self.git.blob(content))
    }

    /// Stores a blob of a known size from a reader, a piece at a time.
    ///
    /// # Errors
    /// When it cannot be read or written, or is not of that size.
    pub fn write_blob_from(&self, size: u64, mut content: impl std::io::Read) -> Result<Oid, RepoError> {
        let fail = |e| self.unwritten("writing a blob", e);
        let odb = self.git.odb().map_err(fail)?;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let mut writer = odb.writer(length, ObjectType::Blob).map_err(fail)?;
        let copied =
            std::io::copy(&mut content, &mut writer).map_err(|e| RepoError::io("copying into", self.git_dir(), e))?;
        if copied != size {
            return Err(RepoError::NotFound { what: "the rest of a file that became shorter".to_owned() });
        }
        let oid = writer.finalize().map_err(fail)?;
        if length > LARGEST_NOTED {
            self.keep_object(oid)?;
        }
        Ok(oid.into())
    }

    /// The tree that has these edits over `base` (nothing means empty). Costs by what changes. Folders that become empty vanish; a file may take a
    /// folder's place and the other way round.
    ///
    /// # Errors
    /// When an object is missing or cannot be written.
    pub fn write_tree(&self, base: Option<Oid>, edits: &TreeEdits) -> Result<Oid, RepoError> {
        let edits: Vec<PathEdit<'_>> = edits.iter().map(|(path, to)| (path.as_str(), *to)).collect();
        match self.edit_tree(base, &edits)? {
            Some(tree) => Ok(tree),
            None => self
                .git
                .treebuilder(None)
                .and_then(|empty| empty.write())
                .map(Oid::from)
                .map_err(|e| self.unwritten("writing a tree", e)),
        }
    }

    fn edit_tree(&self, base: Option<Oid>, edits: &[PathEdit<'_>]) -> Result<Option<Oid>, RepoError> {
        let fail = |e| self.unwritten("writing a tree", e);
        let base = base
            .map(|oid| self.git.find_tree(oid.git()))
            .transpose()
            .map_err(|e| RepoError::git("reading a tree", e))?;
        let mut builder = self.git.treebuilder(base.as_ref()).map_err(fail)?;
        let mut names: BTreeMap<&str, Name<'_>> = BTreeMap::new();
        for (path, to) in edits {
            match path.split_once('/') {
                Some((name, rest)) => names.entry(name).or_default().below.push((rest, *to)),
                None => names.entry(path).or_default().own = Some(*to),
            }
        }
        for (name, Name { own, below }) in names {
            let there = base.as_ref().and_then(|tree| tree.get_name(name));
            let folder =
                there.as_ref().filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|entry| entry.id().into());
            if let Some(Some((oid, mode))) = own {
                builder.insert(name, oid.git(), mode.raw()).map_err(fail)?;
                continue;
            }
            let file_goes = own.is_some() && folder.is_none();
            if file_goes && there.is_some() {
                builder.remove(name).map_err(fail)?;
            }
            if below.is_empty() {
                continue;
            }
            match self.edit_tree(folder, &below)? {
                Some(tree) => drop(builder.insert(name, tree.git(), 0o040_000).map_err(fail)?),
                // Nothing below was there, or is any more. A file of that name stays.
                None if folder.is_some() => builder.remove(name).map_err(fail)?,
                None => {}
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        self.noted("writing a tree", || builder.write()).map(Some)
    }

    /// Stores a commit; no ref points to it yet.
    ///
    /// # Errors
    /// When an object is missing, a name is empty, the signature cannot be made, or it cannot be written.
    pub fn write_commit(&self, new: &NewCommit<'_>, sign: Option<SignCommit<'_>>) -> Result<Oid, RepoError> {
        let fail = |e| self.unwritten("writing a commit", e);
        let signature =
            |stamp: &Stamp| git2::Signature::new(&stamp.name, &stamp.email, &git2::Time::new(stamp.seconds, 0));
        let (author, committer) = (signature(new.author).map_err(fail)?, signature(new.committer).map_err(fail)?);
        let tree = self.git.find_tree(new.tree.git()).map_err(|e| RepoError::git("reading a tree", e))?;
        let parents = new.parents.iter().map(|oid| self.commit(*oid)).collect::<Result<Vec<_>, _>>()?;
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        let Some(sign) = sign else {
            return self.noted("writing a commit", || {
                self.git.commit(None, &author, &committer, new.message, &tree, &parents)
            });
        };
        let text = self.git.commit_create_buffer(&author, &committer, new.message, &tree, &parents).map_err(fail)?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| RepoError::Signing { message: "its text is not UTF-8".to_owned() })?;
        let made = sign(text.as_bytes()).map_err(|message| RepoError::Signing { message })?;
        self.noted("writing a commit", || self.git.commit_signed(text, &made, None))
    }

    /// Writes an object and remembers it. A collector at work may delete it before we even look: then it is written again.
    fn noted(&self, doing: &'static str, write: impl Fn() -> Result<git2::Oid, git2::Error>) -> Result<Oid, RepoError> {
        let odb = self.git.odb().map_err(|e| self.unwritten(doing, e))?;
        let mut tries = 0;
        loop {
            let oid = write().map_err(|e| self.unwritten(doing, e))?;
            tries += 1;
            let size = match odb.read_header(oid) {
                Ok((size, _)) => size,
                Err(_) if tries < MOST_WRITES => continue,
                Err(e) => return Err(RepoError::git(doing, e)),
            };
            if size > LARGEST_NOTED {
                match self.keep_object(oid) {
                    // Gone before it was in the pack.
                    Err(_) if tries < MOST_WRITES && !self.is_there(oid) => continue,
                    kept => return kept.map(|()| oid.into()),
                }
            }
            let Ok(object) = odb.read(oid) else { continue };
            let mut all = self.written.borrow_mut();
            all.push_back(Written { oid: oid.into(), kind: object.kind(), content: object.data().to_vec() });
            if all.len() > MOST_NOTED {
                all.pop_front();
            }
            return Ok(oid.into());
        }
    }

    /// Whether an object is on the disk, whatever this handle remembers of it.
    fn is_there(&self, oid: git2::Oid) -> bool {
        git2::Repository::open(self.git_dir()).and_then(|fresh| Ok(fresh.odb()?.exists(oid))).unwrap_or(false)
    }

    /// Small objects that were written through this handle since the last call. For writing them again: a person's `git gc --prune=now` decides
    /// what nothing leads to before a ref does, and deletes it after.
    pub fn take_written(&self) -> Vec<Written> {
        self.written.take().into()
    }

    /// Writes an object again when it is gone from the disk; whether it was. Only for a handle that has not read it: libgit2 remembers objects.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn restore(&self, object: &Written) -> Result<bool, RepoError> {
        let fail = |e| self.unwritten("writing an object again", e);
        let odb = self.git.odb().map_err(fail)?;
        if odb.exists(object.oid.git()) {
            return Ok(false);
        }
        odb.write(object.kind, &object.content).map_err(fail)?;
        Ok(true)
    }

    /// The best common ancestor of two commits; nothing when they have none.
    ///
    /// # Errors
    /// When the history is damaged.
    pub fn merge_base(&self, a: Oid, b: Oid) -> Result<Option<Oid>, RepoError> {
        match self.git.merge_base(a.git(), b.git()) {
            Ok(oid) => Ok(Some(oid.into())),
            Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(e) => Err(RepoError::git("walking the history", e)),
        }
    }

    /// Commits reachable from `from` and from none of `without`, parents before children.
    ///
    /// # Errors
    /// When the history is damaged.
    pub fn commits(&self, from: Oid, without: &[Oid]) -> Result<Vec<Oid>, RepoError> {
        let fail = |e| RepoError::git("walking the history", e);
        let mut walk = self.git.revwalk().map_err(fail)?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::REVERSE).map_err(fail)?;
        walk.push(from.git()).map_err(fail)?;
        for oid in without {
            walk.hide(oid.git()).map_err(fail)?;
        }
        walk.map(|oid| oid.map(Oid::from).map_err(fail)).collect()
    }

    /// A commit's whole message.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn message(&self, commit: Oid) -> Result<String, RepoError> {
        Ok(String::from_utf8_lossy(self.commit(commit)?.message_bytes()).into_owned())
    }

    /// When the commit was made, in seconds since 1970 (committer time).
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn committed_at(&self, commit: Oid) -> Result<i64, RepoError> {
        Ok(self.commit(commit)?.time().seconds())
    }

    /// What a path is in a tree; nothing when there is no file of that name.
    ///
    /// # Errors
    /// When an object is missing or damaged.
    pub fn tree_entry(&self, tree: Oid, path: &RepoPath) -> Result<Option<(Oid, FileMode)>, RepoError> {
        let tree = self.git.find_tree(tree.git()).map_err(|e| RepoError::git("reading a tree", e))?;
        match tree.get_path(path.as_path()) {
            Ok(entry) => Ok(FileMode::from_raw(entry.filemode()).map(|mode| (entry.id().into(), mode))),
            Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(e) => Err(RepoError::git("reading a tree", e)),
        }
    }

    /// Reads an object whole and checks that it has the content of its name.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn verify(&self, oid: Oid) -> Result<(), RepoError> {
        let fail = |e| RepoError::git("checking an object", e);
        let object = self.git.odb().map_err(fail)?;
        let object = object.read(oid.git()).map_err(fail)?;
        let actual = git2::Oid::hash_object(object.kind(), object.data()).map_err(fail)?;
        match actual == oid.git() {
            true => Ok(()),
            false => Err(RepoError::Corrupt { message: format!("{oid} has the content of {actual}") }),
        }
    }

    /// libgit2 loses the reason when a loose object cannot be written.
    pub(crate) fn unwritten(&self, doing: &'static str, error: git2::Error) -> RepoError {
        let text = error.message().to_lowercase();
        let full = text.contains("no space left") || text.contains("disk quota");
        let read_only = text.contains("read-only file system");
        let vague = matches!(
            error.class(),
            git2::ErrorClass::Os | git2::ErrorClass::Filesystem | git2::ErrorClass::Odb | git2::ErrorClass::None
        );
        if read_only {
            let error = std::io::Error::new(std::io::ErrorKind::ReadOnlyFilesystem, error.message().to_owned());
            return RepoError::io(doing, self.git_dir(), error);
        }
        if full || vague && (text.contains("writ") || text.contains("create")) {
            let free = baft_kit::durable::free_bytes(self.git_dir()).unwrap_or(u64::MAX);
            let kind = if full || free < 1 << 20 { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::Other };
            return RepoError::io(doing, self.git_dir(), std::io::Error::new(kind, error.message().to_owned()));
        }
        RepoError::git(doing, error)
    }
}

/// Merges three versions of a text by line; nothing when the same lines were changed.
#[must_use]
pub fn merge_lines(base: Option<&[u8]>, ours: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    let input = |content| {
        let mut input = git2::MergeFileInput::new();
        input.content(content);
        input
    };
    let base = input(base.unwrap_or_default());
    let merged = git2::merge_file(&base, &input(ours), &input(theirs), None).ok()?;
    merged.is_automergeable().then(|| merged.content().to_vec())
}
