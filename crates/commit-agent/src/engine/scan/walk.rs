//! Listing folders: every entry with the stat it has, leaving out what nobody commits.

use std::path::Path;

use baft_repo::live::{OWN_PREFIX, Stat};
use baft_repo::{FileMode, RepoPath};

use super::{Eyes, Tree, trouble};
use crate::engine::PathTrouble;

impl Tree {
    /// Everything below a folder, or everything.
    pub(super) fn walk(&mut self, eyes: &Eyes<'_>, folder: Option<&RepoPath>, troubles: &mut Vec<PathTrouble>) {
        let path = folder.map_or_else(|| eyes.live.path().to_owned(), |folder| eyes.live.path().join(folder.as_path()));
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                // What cannot be listed is not gone.
                if error.kind() != std::io::ErrorKind::NotFound {
                    self.seen_below(folder);
                    troubles.push(trouble(&path.to_string_lossy(), &error));
                }
                return;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.seen_below(folder);
                    troubles.push(trouble(&path.to_string_lossy(), &error));
                    return;
                }
            };
            let name = entry.file_name();
            if name.as_encoded_bytes().eq_ignore_ascii_case(b".git")
                || name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes())
            {
                continue;
            }
            let text = name.to_str().and_then(|name| match folder {
                Some(folder) => folder.join(name).ok(),
                None => RepoPath::new(name).ok(),
            });
            let Some(path) = text else {
                troubles.push(PathTrouble {
                    path: Path::new(folder.map_or("", RepoPath::as_str)).join(&name).to_string_lossy().into_owned(),
                    message: "its name is not valid UTF-8: rename it".to_owned(),
                });
                continue;
            };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                self.walk_below(eyes, &path, troubles);
            } else if kind.is_file() || kind.is_symlink() {
                match entry.metadata() {
                    Ok(metadata) => self.note(eyes, path, stat_of(&metadata)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => troubles.push(trouble(path.as_str(), &error)),
                }
            } else if eyes.scope.include.is_match(path.as_str()) || self.files.contains_key(&path) {
                troubles.push(PathTrouble {
                    path: path.to_string(),
                    message: "it is no file but a pipe, a socket or a device".to_owned(),
                });
            }
        }
    }

    fn walk_below(&mut self, eyes: &Eyes<'_>, path: &RepoPath, troubles: &mut Vec<PathTrouble>) {
        let submodule = self.files.get_mut(path).filter(|known| known.mode == FileMode::Submodule);
        if let Some(known) = submodule {
            known.round = self.round;
            return;
        }
        if eyes.live.path().join(path.as_path()).join(".git").exists() {
            if self.nested.insert(path.to_string()) {
                troubles.push(PathTrouble {
                    path: path.to_string(),
                    message: "it is a repository of its own: left out".to_owned(),
                });
            }
            self.seen_below(Some(path));
            return;
        }
        let tracked = self.below(path).next().is_some();
        if tracked || !eyes.repo.is_ignored(path) {
            self.walk(eyes, Some(path), troubles);
        }
    }

    fn seen_below(&mut self, folder: Option<&RepoPath>) {
        let round = self.round;
        for (path, known) in &mut self.files {
            if folder.is_none_or(|folder| path.starts_with(folder)) {
                known.round = round;
            }
        }
    }
}

fn stat_of(metadata: &std::fs::Metadata) -> Stat {
    use std::os::unix::fs::MetadataExt;
    let time = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    Stat {
        mode: metadata.mode(),
        size: metadata.size(),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        ino: metadata.ino(),
        dev: metadata.dev(),
        uid: metadata.uid(),
        gid: metadata.gid(),
    }
}
