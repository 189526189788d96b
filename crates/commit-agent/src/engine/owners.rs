//! Whose an edit is, when nobody says so with it: a file that was saved in the clone belongs to the session that claimed its path, or to the only session
//! on this clone that claims everything, or to the only session there is; else to nobody. Pure.

use std::sync::{Arc, Mutex, PoisonError};

use baft_repo::RepoPath;

use super::SessionStamp;

/// A session that is live on this clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What its commits say.
    pub stamp: SessionStamp,
    /// Files and folders that are its own; everything that nobody else claims, when there are none.
    pub claims: Vec<RepoPath>,
}

/// The sessions that are live on this clone, as far as is known. Cheap to clone; all clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<Mutex<Vec<Owner>>>);

impl Owners {
    /// These, and no others, from now on.
    pub fn set(&self, live: Vec<Owner>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// As they are at this moment, for one look at the files.
    pub(super) fn seen_by(&self, asker: Option<&SessionStamp>, asked_for: AskedFor) -> Ownership {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ownership::new(live, asker.cloned(), asked_for)
    }
}

/// Whether whoever asks named the paths that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedFor {
    /// No: what is theirs.
    Everything,
    /// Yes: these are theirs, where nobody else claimed them.
    Paths,
}

/// Who owns what during one look.
#[derive(Debug)]
pub(super) struct Ownership {
    live: Vec<Owner>,
    asker: Option<String>,
    asked_for: AskedFor,
    /// The one that gets what nobody claimed.
    rest: Option<String>,
}

impl Ownership {
    fn new(mut live: Vec<Owner>, asker: Option<SessionStamp>, asked_for: AskedFor) -> Self {
        let name = asker.as_ref().map(|stamp| stamp.id.clone());
        if let Some(stamp) = asker {
            match live.iter_mut().find(|owner| owner.stamp.id == stamp.id) {
                Some(owner) => {
                    let author = stamp.author.clone().or_else(|| owner.stamp.author.take());
                    owner.stamp = SessionStamp { author, ..stamp };
                }
                // Nobody keeps records of sessions here, or this one is too new for ours.
                None => live.push(Owner { stamp, claims: Vec::new() }),
            }
        }
        let mut undivided = live.iter().filter(|owner| owner.claims.is_empty());
        let rest = match (undivided.next(), undivided.next(), live.as_slice()) {
            (Some(one), None, _) => Some(one),
            (None, _, [only]) => Some(only),
            _ => None,
        };
        let rest = rest.map(|owner| owner.stamp.id.clone());
        Self { live, asker: name, asked_for, rest }
    }

    /// The session an edit of a path belongs to; nothing when it belongs to nobody.
    pub(super) fn of(&self, path: &RepoPath) -> Option<&SessionStamp> {
        let claim = |owner: &Owner| {
            let longest = owner.claims.iter().filter(|claim| path.starts_with(claim)).map(|claim| claim.as_str().len());
            longest.max()
        };
        let claims = self.live.iter().filter_map(|owner| Some((claim(owner)?, owner)));
        let best = claims.clone().map(|(length, _)| length).max();
        let mut claimed = claims.filter(|(length, _)| Some(*length) == best).map(|(_, owner)| owner);
        let name = match (claimed.next(), claimed.next()) {
            (Some(owner), None) => return Some(&owner.stamp),
            // Two claim the same: whoever asks for it, if it is one of them.
            (Some(one), Some(other)) => {
                let mut both = [one, other].into_iter().chain(claimed);
                return both.find(|owner| Some(&owner.stamp.id) == self.asker.as_ref()).map(|owner| &owner.stamp);
            }
            _ if self.asked_for == AskedFor::Paths && self.asker.is_some() => self.asker.as_ref(),
            _ => self.rest.as_ref(),
        };
        let name = name?;
        self.live.iter().find(|owner| owner.stamp.id == *name).map(|owner| &owner.stamp)
    }

    /// Whether an edit belongs to another session than the one that asks: it is not hurried by the request.
    pub(super) fn is_anothers(&self, path: &RepoPath) -> bool {
        match (&self.asker, self.of(path)) {
            (Some(asker), Some(stamp)) => stamp.id != *asker,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    fn stamp(id: &str) -> SessionStamp {
        SessionStamp { id: id.to_owned(), epoch: None, author: None }
    }

    fn owner(id: &str, claims: &[&str]) -> Owner {
        Owner { stamp: stamp(id), claims: claims.iter().map(|claim| path(claim)).collect() }
    }

    fn of(live: &[Owner], asker: Option<&str>, asked_for: AskedFor, file: &str) -> Option<String> {
        let ownership = Ownership::new(live.to_vec(), asker.map(stamp), asked_for);
        ownership.of(&path(file)).map(|stamp| stamp.id.clone())
    }

    #[test]
    fn an_edit_belongs_to_who_claimed_it_or_to_the_only_one_who_could_have_made_it() {
        use AskedFor::{Everything, Paths};
        let (ann, bob) = (owner("ann", &["data/a"]), owner("bob", &["data/b", "data/a/bobs"]));
        let (any, other) = (owner("any", &[]), owner("other", &[]));
        for (live, asker, asked_for, file, expected) in [
            (vec![], None, Everything, "x", None),
            (vec![], Some("ann"), Everything, "x", Some("ann")),
            (vec![ann.clone()], None, Everything, "elsewhere", Some("ann")),
            (vec![ann.clone(), bob.clone()], None, Everything, "data/a/x", Some("ann")),
            (vec![ann.clone(), bob.clone()], None, Everything, "data/a/bobs/x", Some("bob")),
            (vec![ann.clone(), bob.clone()], None, Everything, "elsewhere", None),
            (vec![ann.clone(), bob.clone()], Some("bob"), Everything, "data/a/x", Some("ann")),
            (vec![ann.clone(), bob.clone()], Some("bob"), Everything, "elsewhere", None),
            (vec![ann.clone(), bob.clone()], Some("bob"), Paths, "elsewhere", Some("bob")),
            (vec![ann.clone(), bob.clone()], Some("bob"), Paths, "data/a/x", Some("ann")),
            (vec![ann.clone(), any.clone()], None, Everything, "elsewhere", Some("any")),
            (vec![ann.clone(), any.clone(), other.clone()], None, Everything, "elsewhere", None),
            (vec![ann.clone(), any.clone()], Some("new"), Everything, "elsewhere", None),
            (vec![ann.clone(), owner("too", &["data/a"])], None, Everything, "data/a/x", None),
            (vec![ann.clone(), owner("too", &["data/a"])], Some("too"), Everything, "data/a/x", Some("too")),
        ] {
            let found = of(&live, asker, asked_for, file);
            assert_eq!(found.as_deref(), expected, "{live:?} {asker:?} {file}");
        }
    }

    #[test]
    fn the_author_on_record_signs_what_is_asked_for_in_a_sessions_name() {
        use super::super::Author;
        let author = Some(Author { name: "Ann".to_owned(), email: "ann@example.org".to_owned() });
        let known = Owner { stamp: SessionStamp { author: author.clone(), ..stamp("ann") }, claims: vec![] };
        let asker = SessionStamp { epoch: Some("A.7".to_owned()), ..stamp("ann") };
        let ownership = Ownership::new(vec![known], Some(asker), AskedFor::Everything);
        let found = ownership.of(&path("x")).unwrap();
        assert_eq!((found.epoch.as_deref(), &found.author), (Some("A.7"), &author));
    }

    proptest! {
        #[test]
        fn nobody_gets_what_another_claimed_alone(
            claims in proptest::collection::vec(proptest::collection::vec("[ab](/[ab]){0,2}", 0..3), 0..4),
            file in "[ab](/[ab]){0,3}",
            asker in proptest::option::of(0_usize..5),
            named in any::<bool>(),
        ) {
            let live: Vec<Owner> = claims
                .iter()
                .enumerate()
                .map(|(n, claims)| owner(&n.to_string(), &claims.iter().map(String::as_str).collect::<Vec<_>>()))
                .collect();
            let asked_for = if named { AskedFor::Paths } else { AskedFor::Everything };
            let found = of(&live, asker.map(|n| n.to_string()).as_deref(), asked_for, &file);
            let claiming: Vec<&Owner> =
                live.iter().filter(|owner| owner.claims.iter().any(|claim| path(&file).starts_with(claim))).collect();
            if let [one] = claiming.as_slice() {
                prop_assert_eq!(found.as_ref(), Some(&one.stamp.id));
            } else if let Some(found) = &found {
                let known = claiming.iter().any(|owner| owner.stamp.id == *found);
                prop_assert!(known || claiming.is_empty());
            }
        }
    }
}
