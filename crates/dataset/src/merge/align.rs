//! Putting two changed lists next to what they were changed from.

use std::collections::{HashMap, HashSet};

/// The order of everything either side has, by name; names are unique within a list. What one side
/// added stays behind what it was added after, theirs before ours at the same place. `None` when both
/// sides put what they share into different orders.
pub(super) fn order(base: &[String], ours: &[String], theirs: &[String]) -> Option<Vec<String>> {
    let set = |names: &[String]| -> HashSet<String> { names.iter().cloned().collect() };
    let (in_base, in_ours, in_theirs) = (set(base), set(ours), set(theirs));
    let shared = |name: &&String| in_base.contains(*name) && in_ours.contains(*name) && in_theirs.contains(*name);
    let was: Vec<_> = base.iter().filter(shared).collect();
    let here: Vec<_> = ours.iter().filter(shared).collect();
    let there: Vec<_> = theirs.iter().filter(shared).collect();
    let (mut spine, others, skip) = if here == there || here == was {
        (theirs.to_vec(), ours, Some(&in_ours))
    } else if there == was {
        (ours.to_vec(), theirs, None)
    } else {
        return None;
    };
    let mut place: HashSet<String> = spine.iter().cloned().collect();
    let mut before: Option<&String> = None;
    for name in others {
        if place.insert(name.clone()) {
            let mut at = before.and_then(|before| spine.iter().position(|other| other == before)).map_or(0, |i| i + 1);
            while skip.is_some_and(|ours| spine.get(at).is_some_and(|next| !ours.contains(next))) {
                at += 1;
            }
            spine.insert(at, name.clone());
        }
        before = Some(name);
    }
    Some(spine)
}

/// Where an item of a merged list comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// An item that all three have: its places in the base, ours and theirs.
    Kept(usize, usize, usize),
    /// This item of ours.
    Ours(usize),
    /// This item of theirs.
    Theirs(usize),
}

/// Lists longer than this are not compared item by item.
const MAX_CELLS: usize = 4_000_000;

/// Merges two lists without names by what both kept. Additions at one place are both kept, theirs
/// first; `None` when both changed the same items differently.
pub(super) fn diff3<T: PartialEq>(base: &[T], ours: &[T], theirs: &[T]) -> Option<Vec<Pick>> {
    let to_ours = matches(base, ours)?;
    let to_theirs = matches(base, theirs)?;
    let mut picks = Vec::new();
    let (mut b, mut o, mut t) = (0, 0, 0);
    loop {
        // The next item that both kept, and everything up to it.
        let stable = (b..base.len()).find_map(|i| Some((i, *to_ours.get(&i)?, *to_theirs.get(&i)?)));
        let (next_b, next_o, next_t) = stable.unwrap_or((base.len(), ours.len(), theirs.len()));
        let (was, here, there) = (&base[b..next_b], &ours[o..next_o], &theirs[t..next_t]);
        if here == was || here == there {
            picks.extend((t..next_t).map(Pick::Theirs));
        } else if there == was {
            picks.extend((o..next_o).map(Pick::Ours));
        } else if was.is_empty() {
            picks.extend((t..next_t).map(Pick::Theirs));
            picks.extend((o..next_o).filter(|&i| !there.contains(&ours[i])).map(Pick::Ours));
        } else {
            return None;
        }
        if stable.is_none() {
            return Some(picks);
        }
        picks.push(Pick::Kept(next_b, next_o, next_t));
        (b, o, t) = (next_b + 1, next_o + 1, next_t + 1);
    }
}

/// A longest common subsequence, as places of `a` and where they are in `b`.
fn matches<T: PartialEq>(a: &[T], b: &[T]) -> Option<HashMap<usize, usize>> {
    let first = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - first;
    let last = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    let mut found: HashMap<usize, usize> = (0..first).map(|i| (i, i)).collect();
    found.extend((0..last).map(|i| (a.len() - 1 - i, b.len() - 1 - i)));
    let (a, b) = (&a[first..a.len() - last], &b[first..b.len() - last]);
    if a.len().saturating_mul(b.len()) > MAX_CELLS {
        return None;
    }
    let width = b.len() + 1;
    let mut lengths = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i * width + j] = if a[i] == b[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            found.insert(first + i, first + j);
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn additions_stay_behind_what_they_were_added_after() {
        for (base, ours, theirs, expected) in [
            ("AZ", "AXZ", "AYZ", "AYXZ"),
            ("A", "AX", "AY", "AYX"),
            ("A", "XA", "YA", "YXA"),
            ("", "X", "Y", "YX"),
            ("AB", "AXB", "B", "AXB"),
            ("ABC", "ACB", "ABCY", "ACYB"),
            ("ABC", "ABCX", "CBA", "CXBA"),
            ("ABC", "CBA", "CBA", "CBA"),
        ] {
            let merged = order(&names(base), &names(ours), &names(theirs)).map(|names| names.concat());
            assert_eq!(merged.as_deref(), Some(expected), "{base} {ours} {theirs}");
        }
        assert_eq!(order(&names("ABC"), &names("BAC"), &names("ACB")), None);
    }

    #[test]
    fn lists_without_names_merge_where_the_changes_do_not_touch() {
        for (base, ours, theirs, expected) in [
            ("abc", "xbc", "aby", Some("xby")),
            ("abc", "ac", "abcd", Some("acd")),
            ("a", "ax", "ay", Some("ayx")),
            ("a", "axz", "ayx", Some("ayxz")),
            ("", "x", "y", Some("yx")),
            ("a", "b", "c", None),
            ("ab", "xb", "yb", None),
            ("ab", "b", "yb", None),
        ] {
            let (ours, theirs): (Vec<_>, Vec<_>) = (ours.chars().collect(), theirs.chars().collect());
            let base: Vec<_> = base.chars().collect();
            let merged = diff3(&base, &ours, &theirs).map(|picks| {
                let item = |pick: &Pick| match *pick {
                    Pick::Ours(i) => ours[i],
                    Pick::Theirs(i) | Pick::Kept(_, _, i) => theirs[i],
                };
                picks.iter().map(item).collect::<String>()
            });
            assert_eq!(merged.as_deref(), expected, "{base:?} {ours:?} {theirs:?}");
        }
    }
}
