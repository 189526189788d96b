//! Where on disk the files of the datasets can be.

use super::{CONFIG_FILE, Datasets};

impl Datasets {
    /// The folders and files below which everything that matters lies, relative to the repository's root; `""` is the
    /// root itself. None lies inside another.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        let mut roots: Vec<String> = vec![CONFIG_FILE.to_owned()];
        for dataset in &self.all {
            roots.extend(dataset.schema.clone());
            roots.extend(dataset.globs.iter().map(|glob| fixed_part(glob.glob().glob())));
        }
        roots.sort_unstable();
        roots.dedup();
        let all = roots.clone();
        roots.retain(|root| !all.iter().any(|other| contains(other, root)));
        roots
    }

    /// Whether a path is a file of a dataset, a schema or the declaration itself.
    #[must_use]
    pub fn concerns(&self, path: &str) -> bool {
        path == CONFIG_FILE
            || self.all.iter().any(|dataset| dataset.schema.as_deref() == Some(path))
            || self.for_path(path).is_some()
    }
}

/// What a glob begins with before anything variable, in whole path parts.
fn fixed_part(glob: &str) -> String {
    let Some(variable) = glob.find(['*', '?', '[', '{', '\\']) else { return glob.to_owned() };
    glob[..variable].rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

fn contains(outer: &str, inner: &str) -> bool {
    outer != inner && (outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_part_of_a_glob_ends_before_the_first_wildcard() {
        for (glob, fixed) in [
            ("data/*.yaml", "data"),
            ("data/gaps.yaml", "data/gaps.yaml"),
            ("data/b{1,2}/x.yaml", "data"),
            ("**/*.md", ""),
            ("*.yaml", ""),
        ] {
            assert_eq!(fixed_part(glob), fixed);
        }
    }

    #[test]
    fn no_root_lies_inside_another() {
        assert!(
            contains("", "data")
                && contains("data", "data/briefs")
                && !contains("data", "database")
                && !contains("data", "data")
        );
        let roots = Datasets::built_in().roots();
        assert!(roots.contains(&CONFIG_FILE.to_owned()), "{roots:?}");
    }
}
