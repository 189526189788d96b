//! Where things lie: what is under the root, what the link is called, and paths from one to the other.

use std::path::{Component, Path, PathBuf};

use baft_kit::config::ConfigError;

pub(crate) const MIRROR: &str = "mirror.git";
pub(crate) const CHECKOUTS: &str = "checkouts";
pub(crate) const JOURNAL: &str = "published.json";
pub(crate) const LOCK: &str = "git-sync.lock";
pub(crate) const HOME: &str = ".home";
/// What nothing else under the root may be called.
pub(super) const OURS: &[&str] = &[MIRROR, CHECKOUTS, JOURNAL, LOCK, HOME];

/// The last part of a repository's URL or path, without `.git`: the link's name unless told otherwise.
pub(super) fn leaf(repo: &str) -> Result<String, ConfigError> {
    let trimmed = repo.trim_end_matches('/');
    let last = trimmed.rsplit(['/', ':']).next().unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(last);
    if name.is_empty() || name == "." || name == ".." || OURS.contains(&name) {
        return Err(ConfigError::new("--repo", repo, "a URL that ends in a name (or give --link)"));
    }
    Ok(name.to_owned())
}

/// Absolute, without `.` and `..`. Links in the path stay: they may be mounted elsewhere later.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    let absolute = std::path::absolute(path)
        .map_err(|error| ConfigError::new("--root", path.display(), format!("another folder ({error})")))?;
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Ok(clean)
}

/// `target` as seen from the folder `from`; both absolute and clean.
pub(crate) fn relative(from: &Path, target: &Path) -> PathBuf {
    let shared = from.components().zip(target.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(target.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_named_after_the_repository() {
        for (repo, name) in [
            ("https://h/o/docs.git", "docs"),
            ("git@h:docs.git", "docs"),
            ("git@h:o/docs/", "docs"),
            ("file:///srv/docs", "docs"),
            ("/srv/docs.git/", "docs"),
        ] {
            assert_eq!(leaf(repo).unwrap(), name);
        }
        for repo in ["", "/", "https://h/.git", "/srv/mirror.git/checkouts"] {
            assert!(leaf(repo).is_err(), "{repo}");
        }
    }

    #[test]
    fn the_links_target_is_relative_so_that_the_volume_can_be_mounted_elsewhere() {
        let target = Path::new("/r/checkouts/x");
        assert_eq!(relative(Path::new("/r"), target), Path::new("checkouts/x"));
        assert_eq!(relative(Path::new("/r/a/b"), target), Path::new("../../checkouts/x"));
        assert_eq!(relative(Path::new("/"), target), Path::new("r/checkouts/x"));
    }
}
