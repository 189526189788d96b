//! Three-way merge of one file by entity and key, done by splicing text.
//!
//! Two people who change different entities, or different fields of one, do not disagree, whatever
//! lines their changes are on. What they wrote is kept byte for byte: the result is put together from
//! pieces of the three texts, never written anew. What it must mean is worked out separately, on
//! values; if the text does not read as exactly that, the merge is given up as [`Merged::Whole`].

mod align;
mod model;
mod pieces;
mod text;

use std::collections::HashSet;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dataset::{Dataset, Datasets, Format, Kind};
use crate::edit::Source;
use crate::entries::entries;
use crate::extract::front_matter;
use crate::value::Val;
use crate::yaml::{Document, Id, Value};
use model::{Clash, Name, Units, Way, key_name, merge3};
use pieces::Side;
use text::Texts;

/// What became of a three-way merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// Both sides' changes are in it.
    Clean(Vec<u8>),
    /// Everything is merged except what `conflicts` name: there it is as `theirs` has it.
    Partly {
        /// The merged file.
        text: Vec<u8>,
        /// Where the two sides disagree; never empty.
        conflicts: Vec<EntityConflict>,
    },
    /// The file cannot be merged as data: take `theirs` whole and keep `ours` elsewhere.
    Whole {
        /// Why, for people.
        reason: String,
    },
}

/// A place where both sides changed the same thing differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityConflict {
    /// The entity's type; `None` outside entities.
    pub type_name: Option<String>,
    /// The entity's id; `None` outside entities.
    pub id: Option<String>,
    /// JSON pointer of the field both changed, in the file as `theirs` has it.
    pub pointer: String,
    /// What happened, for people.
    pub reason: String,
}

/// Merges one file. `base` is what both sides started from, `None` when both added the file.
#[must_use]
pub fn merge(datasets: &Datasets, path: &str, base: Option<&[u8]>, ours: &[u8], theirs: &[u8]) -> Merged {
    if ours == theirs || base == Some(ours) {
        return Merged::Clean(theirs.to_vec());
    }
    if base == Some(theirs) {
        return Merged::Clean(ours.to_vec());
    }
    let dataset = datasets.for_path(path);
    let format = match (dataset, path.rsplit_once('.')) {
        (Some(dataset), _) => dataset.format,
        (None, Some((_, "yaml" | "yml"))) => Format::Yaml,
        (None, _) => return whole("both sides changed this file, and its lines are not data that can be merged"),
    };
    let merger = Merger { dataset, path };
    // Files come from whoever can push. Should a bug make one of them fatal, it must cost that merge
    // and not the daemon.
    let merged = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Yaml => merger.yaml(base, ours, theirs),
        Format::Markdown => merger.markdown(base, ours, theirs),
        Format::Json => whole("both sides changed this file; JSON is not merged by entity"),
    }));
    merged.unwrap_or_else(|_| {
        whole("both sides changed this file, and merging it failed; please report it with the file")
    })
}

fn whole(reason: impl Into<String>) -> Merged {
    Merged::Whole { reason: reason.into() }
}

/// The file that is merged.
struct Merger<'m> {
    dataset: Option<&'m Dataset>,
    path: &'m str,
}

impl Merger<'_> {
    fn yaml(&self, base: Option<&[u8]>, ours: &[u8], theirs: &[u8]) -> Merged {
        let read = |bytes: &[u8], whose: &str| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(whole(format!("both sides changed this file, and {whose} version is not UTF-8"))),
        };
        let texts = || -> Result<_, Merged> {
            let base = base.map(|base| read(base, "the common")).transpose()?;
            Ok((base, read(ours, "our")?, read(theirs, "their")?))
        };
        match texts() {
            Ok((base, ours, theirs)) => self.texts(base.as_deref(), &ours, &theirs),
            Err(whole) => whole,
        }
    }

    /// Front matter is merged like YAML; the text below only when one side alone changed it.
    fn markdown(&self, base: Option<&[u8]>, ours: &[u8], theirs: &[u8]) -> Merged {
        let split = |bytes: &[u8]| -> Option<[String; 3]> {
            let text = std::str::from_utf8(bytes).ok()?;
            let range = front_matter(text).ok()??;
            Some([&text[..range.start], &text[range.clone()], &text[range.end..]].map(str::to_owned))
        };
        let base = base.map(split);
        let (Some(ours), Some(theirs), false) = (split(ours), split(theirs), matches!(base, Some(None))) else {
            return whole("both sides changed this text");
        };
        let base = base.flatten();
        let was = |n: usize| base.as_ref().map(|base| &base[n]);
        let side = |n: usize| match () {
            () if ours[n] == theirs[n] || was(n) == Some(&ours[n]) => Some(&theirs[n]),
            () if was(n) == Some(&theirs[n]) => Some(&ours[n]),
            () => None,
        };
        let (Some(head), Some(tail)) = (side(0), side(2)) else {
            return whole("both sides changed the text below the front matter");
        };
        let around = |front: Vec<u8>| [head.as_bytes(), &front, tail.as_bytes()].concat();
        if let Some(front) = side(1) {
            return Merged::Clean(around(front.as_bytes().to_vec()));
        }
        match self.texts(base.as_ref().map(|base| base[1].as_str()), &ours[1], &theirs[1]) {
            Merged::Clean(front) => Merged::Clean(around(front)),
            Merged::Partly { text, conflicts } => Merged::Partly { text: around(text), conflicts },
            whole @ Merged::Whole { .. } => whole,
        }
    }

    fn texts(&self, base: Option<&str>, ours: &str, theirs: &str) -> Merged {
        let read = |text, whose: &str| {
            Source::read(text, false).map_err(|error| {
                whole(format!("both sides changed this file, and {whose} version cannot be read: {error}"))
            })
        };
        let sources = || -> Result<_, Merged> {
            let base = base.map(|base| read(base, "the common")).transpose()?;
            Ok((base, read(ours, "our")?, read(theirs, "their")?))
        };
        let (base, ours, theirs) = match sources() {
            Ok(sources) => sources,
            Err(whole) => return whole,
        };
        let values =
            (base.as_ref().map(|base| Val::of_root(&base.doc)), Val::of_root(&ours.doc), Val::of_root(&theirs.doc));
        let mut units = Units::new(self.dataset);
        let mut texts = None;
        // Each round takes at least one more unit from theirs, so it ends.
        loop {
            let mut clashes = Vec::new();
            let model =
                merge3(&units, &mut Vec::new(), values.0.as_ref(), Some(&values.1), Some(&values.2), &mut clashes);
            let mut around = false;
            if clashes.is_empty() {
                let merging = Texts {
                    units: &units,
                    base: base.as_ref().map(|source| Side { source }),
                    ours: Side { source: &ours },
                    theirs: Side { source: &theirs },
                    misfits: std::cell::RefCell::default(),
                };
                let Some(text) = merging.merge() else {
                    return whole("both sides changed this file, and it is not written in a way that can be merged");
                };
                let misfits = merging.misfits.into_inner();
                around = misfits.iter().any(Vec::is_empty);
                clashes.extend(misfits.into_iter().filter(|way| !way.is_empty()).map(|way| (way, Clash::Layout)));
                texts = Some(text);
            }
            if clashes.is_empty() {
                let Some(text) = texts.take() else { return whole("this file cannot be merged") };
                return self.proved(text, model.as_ref(), &units, around, &ours, &theirs);
            }
            for (way, clash) in clashes {
                let Some(unit) = units.of(&way) else {
                    return self.all_of_it(&way, clash, &ours, &theirs);
                };
                if texts.is_some() && units.forced.contains_key(&unit) {
                    return whole("both sides changed this file, and the changes do not fit together");
                }
                units.forced.entry(unit).or_default().push((way, clash));
            }
        }
    }

    /// The sides disagree about something that all of the file hangs on.
    fn all_of_it(&self, way: &Way, clash: Clash, ours: &Source<'_>, theirs: &Source<'_>) -> Merged {
        let is_document = self.dataset.is_some_and(|dataset| dataset.kind == Kind::Document);
        let conflict = self.conflict(way, way, clash, ours, theirs);
        if is_document && conflict.id.is_some() {
            // The file is one entity, and the entity is what is taken from theirs.
            return Merged::Partly { text: theirs.text.as_bytes().to_vec(), conflicts: vec![conflict] };
        }
        let place = if conflict.pointer.is_empty() { String::new() } else { format!(" at {}", conflict.pointer) };
        whole(format!("both sides changed this file{place}: {}", conflict.reason))
    }

    /// The merged text, if it reads as exactly the merged values.
    fn proved(
        &self,
        text: String,
        model: Option<&Val>,
        units: &Units<'_>,
        around: bool,
        ours: &Source<'_>,
        theirs: &Source<'_>,
    ) -> Merged {
        let twice = |source: &Source<'_>| {
            let keys = source.doc.notes().iter().filter(|note| note.code == "duplicate-key").count();
            keys + self.ids_twice(&source.doc)
        };
        let good = Source::read(&text, false).is_ok_and(|merged| {
            Some(&Val::of_root(&merged.doc)) == model && twice(&merged) <= twice(ours).max(twice(theirs))
        });
        if !good {
            return whole("both sides changed this file, and the merged text would not mean what both sides meant");
        }
        let mut conflicts: Vec<EntityConflict> = Vec::new();
        for (unit, clashes) in &units.forced {
            let Some((way, clash)) = clashes.first() else { continue };
            conflicts.push(self.conflict(unit, way, *clash, ours, theirs));
        }
        if around {
            conflicts.push(EntityConflict {
                type_name: None,
                id: None,
                pointer: String::new(),
                reason: "both sides changed the comments at the start or end of the file".to_owned(),
            });
        }
        match conflicts.is_empty() {
            true => Merged::Clean(text.into_bytes()),
            false => Merged::Partly { text: text.into_bytes(), conflicts },
        }
    }

    /// How many entities have an id that another has too (`7` and `Obs-7` are one).
    fn ids_twice(&self, doc: &Document<'_>) -> usize {
        let all = self.dataset.and_then(|dataset| entries(doc, dataset, self.path)).unwrap_or_default();
        let ids: Vec<_> = all.into_iter().filter_map(|entry| entry.identity).map(|identity| identity.id).collect();
        ids.len() - ids.iter().collect::<HashSet<_>>().len()
    }

    fn conflict(&self, unit: &Way, way: &Way, clash: Clash, ours: &Source<'_>, theirs: &Source<'_>) -> EntityConflict {
        let reason = match clash {
            Clash::Both => "both sides changed it",
            Clash::WeRemoved => "it was removed here and changed upstream",
            Clash::TheyRemoved => "it was changed here and removed upstream",
            Clash::Order => "both sides put its parts into a different order",
            Clash::Layout => "both sides changed its comments or how it is written",
        };
        let entity = self.dataset.and_then(|dataset| {
            let in_source = |source: &Source<'_>| -> Option<String> {
                let all = entries(&source.doc, dataset, self.path)?;
                let node = follow(self.dataset, &source.doc, unit)?;
                let entry = all.into_iter().find(|entry| entry.node == node || entry.way.is_empty())?;
                entry.identity.map(|identity| identity.id)
            };
            let id = in_source(theirs).or_else(|| in_source(ours))?;
            Some((dataset.type_name.clone().unwrap_or_else(|| dataset.id.as_str().to_owned()), id))
        });
        let (type_name, id) = entity.unzip();
        // As far down as theirs leads, or ours where theirs does not.
        let pointer = (0..=way.len()).rev().find_map(|len| {
            let lead = |source: &Source<'_>| steps(self.dataset, &source.doc, &way[..len]);
            lead(theirs).or_else(|| lead(ours)).map(|(_, pointer)| pointer)
        });
        let pointer = pointer.unwrap_or_default();
        EntityConflict { type_name, id, pointer, reason: reason.to_owned() }
    }
}

/// The node that names lead to.
fn follow(dataset: Option<&Dataset>, doc: &Document<'_>, way: &[Name]) -> Option<Id> {
    steps(dataset, doc, way).map(|(node, _)| node)
}

fn steps(dataset: Option<&Dataset>, doc: &Document<'_>, way: &[Name]) -> Option<(Id, String)> {
    let mut here = doc.root()?;
    let mut pointer = String::new();
    for name in way {
        match (name, doc.value(here)) {
            (Name::Key(name), Value::Map(pairs)) => {
                let is = |&&(key, _): &&(Id, Id)| key_name(&Val::of(doc, key)) == *name;
                here = pairs.iter().find(is)?.1;
                let _ = write!(pointer, "/{}", name.replace('~', "~0").replace('/', "~1"));
            }
            (Name::Item(name), Value::Seq(items)) => {
                let is = |&item: &Id| model::is_named(&Val::of(doc, item), name, dataset);
                let index = items.iter().position(is)?;
                here = items[index];
                let _ = write!(pointer, "/{index}");
            }
            _ => return None,
        }
    }
    Some((here, pointer))
}
