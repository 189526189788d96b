//! From what a value is and what it must be to the next single change of the text.

use crate::value::Val;

/// A step from a value to one of its parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// The value of a key.
    Key(Val),
    /// An item of a list.
    Index(usize),
}

/// One change of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// The value at the path becomes another.
    Replace(Vec<Step>, Val),
    /// The mapping at the path gets a key after its last.
    Add(Vec<Step>, Val, Val),
    /// The list at the path gets an item before this index.
    Insert(Vec<Step>, usize, Val),
    /// The key or item at the path goes.
    Remove(Vec<Step>),
}

/// The first change on the way from `old` to `new`; `None` when they are the same.
pub(crate) fn next(path: &[Step], old: &Val, new: &Val) -> Option<Op> {
    if old == new {
        return None;
    }
    let replace = || Some(Op::Replace(path.to_vec(), new.clone()));
    match (old, new) {
        (Val::Map(was), Val::Map(will)) if !was.is_empty() && !will.is_empty() => {
            let kept = || was.iter().filter(|(key, _)| new.get(key).is_some()).map(|(key, _)| key);
            // What stays must stay in its order, with what is new after it.
            if kept().next().is_none() || !kept().eq(will.iter().take(kept().count()).map(|(key, _)| key)) {
                return replace();
            }
            if let Some((key, _)) = was.iter().find(|(key, _)| new.get(key).is_none()) {
                return Some(Op::Remove(with(path, Step::Key(key.clone()))));
            }
            for (key, value) in will {
                match old.get(key) {
                    None => return Some(Op::Add(path.to_vec(), key.clone(), value.clone())),
                    Some(before) if before != value => {
                        return next(&with(path, Step::Key(key.clone())), before, value);
                    }
                    Some(_) => {}
                }
            }
            None
        }
        (Val::Seq(was), Val::Seq(will)) if !was.is_empty() && !will.is_empty() => {
            let first = was.iter().zip(will).take_while(|(a, b)| a == b).count();
            let rest = was.len().min(will.len()) - first;
            let last = was.iter().rev().zip(will.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
            let (gone, come) = (&was[first..was.len() - last], &will[first..will.len() - last]);
            let item = with(path, Step::Index(first));
            let insert = |value: &Val| Some(Op::Insert(path.to_vec(), first, value.clone()));
            match (gone, come) {
                (_, []) => Some(Op::Remove(item)),
                ([], [value, ..]) => insert(value),
                ([_, others @ ..], [value, ..]) if others.contains(value) => Some(Op::Remove(item)),
                ([before, ..], [value, others @ ..]) if others.contains(before) => insert(value),
                ([before, ..], [value, ..]) => next(&item, before, value),
            }
        }
        _ => replace(),
    }
}

fn with(path: &[Step], step: Step) -> Vec<Step> {
    let mut path = path.to_vec();
    path.push(step);
    path
}
