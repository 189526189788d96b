//! Which of a remote's refs a name means: git's own order, on a list instead of a repository.

use baft_repo::Oid;
use baft_repo::transport::RemoteRef;

/// What to fetch, and the commit it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Full name on the remote, or HEAD.
    pub name: String,
    /// The commit; annotated tags are peeled.
    pub commit: Oid,
}

/// Finds `name` among a remote's refs as git would: as it is, then as a tag, then as a branch.
#[must_use]
pub fn find(refs: &[RemoteRef], name: &str) -> Option<Wanted> {
    let candidates =
        [name.to_owned(), format!("refs/{name}"), format!("refs/tags/{name}"), format!("refs/heads/{name}")];
    let oid = |name: &str| refs.iter().find(|found| found.name == name).map(|found| found.oid);
    candidates.into_iter().find_map(|candidate| {
        let plain = oid(&candidate)?;
        let commit = oid(&format!("{candidate}^{{}}")).unwrap_or(plain);
        Some(Wanted { name: candidate, commit })
    })
}

impl Wanted {
    /// Brings it into the mirror: under its own name, HEAD under one of ours.
    #[must_use]
    pub fn refspec(&self) -> String {
        if self.name == "HEAD" { "+HEAD:refs/baft/head".to_owned() } else { format!("+{0}:{0}", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(names: &[(&str, u8)]) -> Vec<RemoteRef> {
        let entry =
            |&(name, n): &(&str, u8)| RemoteRef { name: name.to_owned(), oid: Oid::from_bytes([n; 20]), target: None };
        names.iter().map(entry).collect()
    }

    #[test]
    fn a_name_means_what_it_means_to_git() {
        let refs = refs(&[
            ("HEAD", 1),
            ("refs/heads/main", 1),
            ("refs/heads/both", 2),
            ("refs/tags/both", 3),
            ("refs/tags/v1", 4),
            ("refs/tags/v1^{}", 5),
        ]);
        let found = |name: &str| find(&refs, name).map(|wanted| (wanted.name, wanted.commit.as_bytes()[0]));
        assert_eq!(found("HEAD"), Some(("HEAD".to_owned(), 1)));
        assert_eq!(found("main"), Some(("refs/heads/main".to_owned(), 1)));
        assert_eq!(found("heads/both"), Some(("refs/heads/both".to_owned(), 2)));
        assert_eq!(found("both"), Some(("refs/tags/both".to_owned(), 3)), "a tag wins, as in git");
        assert_eq!(found("v1"), Some(("refs/tags/v1".to_owned(), 5)), "an annotated tag is peeled");
        assert_eq!(found("refs/heads/main"), Some(("refs/heads/main".to_owned(), 1)));
        assert_eq!(found("gone"), None);
        assert_eq!(find(&refs, "HEAD").map(|wanted| wanted.refspec()), Some("+HEAD:refs/baft/head".to_owned()));
    }
}
