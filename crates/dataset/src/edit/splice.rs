//! One change of a text, made at the place where the value stands.

use std::ops::Range;

use super::manner::manner;
use super::plan::{Op, Step};
use super::render::{Manner, Under};
use crate::value::Val;
use crate::yaml::{
    Document, ErrorKind, Layout, Limits, Mark, Part, Place, Spot, Style, Value, YamlError, parse_json,
    parse_with_layout,
};

/// Why a change cannot be made: which line, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong and what to do.
    pub message: String,
}

pub(super) type Result<T> = std::result::Result<T, Refusal>;

/// A YAML text that was read with the places of its values.
pub(crate) struct Source<'t> {
    pub text: &'t str,
    pub doc: Document<'t>,
    pub layout: Layout,
    pub manner: Manner,
}

/// The way from the root to a value.
pub(super) struct Way {
    /// The places above it, from the root.
    pub above: Vec<Place>,
    pub here: Place,
    /// Which part of the last of `above` it is.
    pub part: usize,
}

impl<'t> Source<'t> {
    /// Reads a text.
    pub fn read(text: &'t str, json: bool) -> std::result::Result<Self, YamlError> {
        let limits = Limits::default();
        let (doc, layout) = parse_with_layout(text.as_bytes(), &limits)?;
        if json && Val::of_root(&doc) != Val::of_root(&parse_json(text.as_bytes(), &limits)?) {
            let message = "this JSON holds values that YAML reads differently (1e5, for example); edit it by hand";
            return Err(YamlError::at(Mark::at(1, 1), ErrorKind::Value, message));
        }
        let manner = manner(text, &layout, json);
        Ok(Source { text, doc, layout, manner })
    }

    /// The text with one change made. Whether it came out right is for the caller to see.
    pub fn apply(&self, op: &Op) -> Result<String> {
        match op {
            Op::Replace(path, value) => self.replace(path, value),
            Op::Add(path, key, value) => self.add(path, key, value),
            Op::Insert(path, index, value) => self.insert(path, *index, value),
            Op::Remove(path) => self.remove(path),
        }
    }

    // Finding.

    /// The places from the root down to the value; `None` when a step is not in the text.
    fn way(&self, path: &[Step]) -> Result<Option<Way>> {
        let Some(root) = self.layout.root else { return Ok(None) };
        let mut above = Vec::new();
        let (mut here, mut index) = (root, 0);
        for step in path {
            let spot = self.layout.spot(here);
            if spot.style == Style::Alias {
                return Err(self.refuse(
                    spot,
                    "this is an alias (*), so a change of it would change what it stands for everywhere; edit the \
                     value with the anchor (&), or write the value out here",
                ));
            }
            let part = match step {
                Step::Key(key) => spot.parts.iter().rposition(|part| self.key_is(part, key)),
                Step::Index(index) => (*index < spot.parts.len()).then_some(*index),
            };
            let Some(part) = part else { return Ok(None) };
            above.push(here);
            (here, index) = (spot.parts[part].value, part);
        }
        Ok(Some(Way { above, here, part: index }))
    }

    pub(super) fn key_is(&self, part: &Part, key: &Val) -> bool {
        part.key.is_some_and(|place| Val::of(&self.doc, self.layout.spot(place).node) == *key)
    }

    pub(super) fn found(&self, path: &[Step]) -> Result<Way> {
        self.way(path)?.ok_or_else(|| Refusal {
            line: 1,
            message: "the value comes from elsewhere in the file (a merge key '<<'); edit it there".to_owned(),
        })
    }

    /// The line that a change is about.
    pub fn line_of(&self, op: &Op) -> u32 {
        let (Op::Replace(path, _) | Op::Add(path, _, _) | Op::Insert(path, _, _) | Op::Remove(path)) = op;
        (0..=path.len())
            .rev()
            .find_map(|len| self.place(&path[..len]))
            .map_or(1, |(place, _)| self.layout.spot(place).start.line)
    }

    /// The place of a path, and in which part of the value above it is.
    pub fn place(&self, path: &[Step]) -> Option<(Place, Option<Part>)> {
        let way = self.way(path).ok()??;
        let part = way.above.last().map(|&parent| self.layout.spot(parent).parts[way.part]);
        Some((way.here, part))
    }

    pub(super) fn refuse(&self, spot: &Spot, message: &str) -> Refusal {
        Refusal { line: spot.start.line, message: message.to_owned() }
    }

    /// Refuses to touch a value that others refer to.
    pub(super) fn free_of_anchors(&self, spot: &Spot) -> Result<()> {
        let anchored =
            |spot: &Spot| spot.decorated && self.text[spot.start.pos as usize..spot.body as usize].contains('&');
        if !self.layout.decorated {
            return Ok(());
        }
        let mut todo = vec![spot];
        while let Some(spot) = todo.pop() {
            if anchored(spot) {
                return Err(self.refuse(
                    spot,
                    "this value has an anchor (&) that other places of the file may refer to; edit it by hand",
                ));
            }
            todo.extend(
                spot.parts
                    .iter()
                    .flat_map(|part| part.key.into_iter().chain([part.value]).map(|place| self.layout.spot(place))),
            );
        }
        Ok(())
    }

    pub(super) fn in_flow(&self, places: &[Place]) -> bool {
        places
            .iter()
            .any(|&place| matches!(self.layout.spot(place).style, Style::FlowList | Style::FlowMap | Style::FlowPair))
    }

    // Changing.

    pub(super) fn replace(&self, path: &[Step], value: &Val) -> Result<String> {
        let Some(way) = self.way(path)? else {
            // A value that a merge key brings in is replaced by a key of its own.
            return match path {
                [above @ .., Step::Key(key)] => self.add(above, key, value),
                _ => self.found(path).map(|_| self.text.to_owned()),
            };
        };
        let spot = self.layout.spot(way.here);
        self.free_of_anchors(spot)?;
        let was = (!spot.decorated).then_some(spot.style);
        let Some(&parent) = way.above.last() else { return Ok(self.replace_root(spot, value, was)) };
        let part = &self.layout.spot(parent).parts[way.part];
        if self.in_flow(&way.above) {
            let text = self.manner.flow(value, was);
            let text = match (spot.style, part.key) {
                (Style::Empty, Some(key)) => {
                    let key = self.layout.spot(key);
                    let colon = if spot.end > key.end { " " } else { ": " };
                    format!("{colon}{text}")
                }
                (Style::Empty, None) => format!(" {text}"),
                _ => text,
            };
            return Ok(self.splice(spot.start.pos as usize..spot.end as usize, &text));
        }
        let (from, under) = self.indicator(part)?;
        let new = self.manner.block(value, under, was);
        self.put(from, spot, &new, ends_with_break(value))
    }

    /// Puts what `block` rendered between the `:` or `-` that ends at `from` and the end of the value
    /// that stood there. A comment on the line stays on it.
    fn put(&self, from: usize, spot: &Spot, new: &str, breaks: bool) -> Result<String> {
        let (start, end) = (spot.start.pos as usize, spot.end as usize);
        let first_line = &self.text[from..self.line_end(from)];
        let is_block = matches!(spot.style, Style::BlockList | Style::BlockMap);
        let below = is_block && start > from + first_line.len();
        let one_line = |text: &str| !text.contains(['\n', '\r']);
        let scalar = matches!(spot.style, Style::Plain | Style::Single | Style::Double | Style::Alias);
        if scalar && one_line(new) {
            // The space or line break before the value stays as it is.
            return Ok(self.splice(start..end, new.trim_start_matches(' ')));
        }
        let (range, comment) = if below {
            (from..end, comment_in(first_line))
        } else if matches!(spot.style, Style::Literal | Style::Folded) {
            let header = self.line_end(spot.body as usize);
            (from..end, comment_in(&self.text[spot.body as usize + 1..header]))
        } else if is_block {
            (from..end, "")
        } else {
            let rest = &self.text[end..self.line_end(end)];
            (from..end + rest.len(), rest.trim_end())
        };
        if !below && start > from + first_line.len() && self.text[from..start].contains('#') {
            return Err(self.refuse(spot, "comments stand between the key and its value; edit it by hand"));
        }
        let (line, rest) = match new.find(['\n', '\r']) {
            Some(at) => new.split_at(at),
            None => (new, ""),
        };
        let mut text = format!("{line}{comment}{rest}");
        if breaks && range.end == self.text.len() {
            text.push_str(self.manner.eol);
        }
        Ok(self.splice(range, &text))
    }

    fn replace_root(&self, spot: &Spot, value: &Val, was: Option<Style>) -> String {
        let range = spot.start.pos as usize..spot.end as usize;
        let Val::Map(pairs) = value else { return self.splice(range, &self.manner.flow(value, was)) };
        if self.manner.json || pairs.is_empty() {
            return self.splice(range, &self.manner.flow(value, was));
        }
        let line = |(key, value): &(Val, Val)| {
            format!("{}:{}", self.manner.key(key), self.manner.block(value, Under::Key(0), None))
        };
        self.splice(range, &pairs.iter().map(line).collect::<Vec<_>>().join(self.manner.eol))
    }

    /// Where the `:` or `-` of a part in a block ends, and what its value is under.
    fn indicator(&self, part: &Part) -> Result<(usize, Under)> {
        let at = part.at.pos as usize;
        let column = part.at.col as usize - 1;
        let Some(key) = part.key else { return Ok((at + 1, Under::Dash(column))) };
        let key = self.layout.spot(key);
        let after = &self.text[key.end as usize..];
        let blank = after.len() - after.trim_start_matches(' ').len();
        if key.start.pos as usize != at || !after[blank..].starts_with(':') {
            return Err(self.refuse(key, "this key is written with '?'; edit it by hand"));
        }
        Ok((key.end as usize + blank + 1, Under::Key(column)))
    }

    fn add(&self, path: &[Step], key: &Val, value: &Val) -> Result<String> {
        let way = self.found(path)?;
        let spot = self.layout.spot(way.here);
        match (spot.style, spot.parts.last()) {
            (Style::BlockMap, Some(last)) => {
                let column = last.at.col as usize - 1;
                let text = self.manner.block(value, Under::Key(column), None);
                let text = format!("{}:{text}", self.manner.key(key));
                self.after(spot, last, &text, ends_with_break(value))
            }
            (Style::FlowMap, Some(last)) => {
                let pair = format!("{}: {}", self.manner.key(key), self.manner.flow(value, None));
                Ok(self.after_in_flow(last, &pair))
            }
            (_, None) => self.replace(path, &Val::Map(vec![(key.clone(), value.clone())])),
            _ => Err(self.refuse(spot, "a key cannot be added here; edit the file by hand")),
        }
    }

    fn insert(&self, path: &[Step], index: usize, value: &Val) -> Result<String> {
        let way = self.found(path)?;
        let spot = self.layout.spot(way.here);
        let before = index.checked_sub(1).and_then(|i| spot.parts.get(i));
        match (spot.style, before, spot.parts.first()) {
            (Style::BlockList, Some(before), _) => {
                let column = before.at.col as usize - 1;
                let item = self.manner.block(value, Under::Dash(column), None);
                self.after(spot, before, &format!("-{item}"), ends_with_break(value))
            }
            (Style::BlockList, None, Some(first)) => {
                let (at, column) = (first.at.pos as usize, first.at.col as usize - 1);
                let item = self.manner.block(value, Under::Dash(column), None);
                Ok(self.splice(at..at, &format!("-{item}{}{}", self.manner.eol, " ".repeat(column))))
            }
            (Style::FlowList, Some(before), _) => Ok(self.after_in_flow(before, &self.manner.flow(value, None))),
            (Style::FlowList, None, Some(first)) => {
                let at = first.at.pos as usize;
                Ok(self.splice(at..at, &format!("{}, ", self.manner.flow(value, None))))
            }
            (_, None, None) => self.replace(path, &Val::Seq(vec![value.clone()])),
            _ => Err(self.refuse(spot, "an item cannot be added here; edit the file by hand")),
        }
    }

    /// A new line after the last line of a part in a block.
    fn after(&self, spot: &Spot, part: &Part, new: &str, breaks: bool) -> Result<String> {
        if self.text[self.line_start(part.at.pos as usize)..part.at.pos as usize].contains('\t') {
            return Err(self.refuse(spot, "a tab stands before this; edit the file by hand"));
        }
        let end = self.line_end(self.layout.spot(part.value).end as usize);
        let (eol, indent) = (self.manner.eol, " ".repeat(part.at.col as usize - 1));
        let mut text = format!("{eol}{indent}{new}");
        if breaks && end == self.text.len() {
            text.push_str(eol);
        }
        Ok(self.splice(end..end, &text))
    }

    /// After a part in brackets: on the same line, or on a line of its own if each has one.
    fn after_in_flow(&self, part: &Part, new: &str) -> String {
        let at = part.at.pos as usize;
        let lead = &self.text[self.line_start(at)..at];
        let end = self.layout.spot(part.value).end as usize;
        let new = match lead.trim().is_empty() && !lead.is_empty() {
            true => format!(",{}{lead}{new}", self.manner.eol),
            false => format!(", {new}"),
        };
        self.splice(end..end, &new)
    }

    // Text.

    pub(super) fn splice(&self, range: Range<usize>, new: &str) -> String {
        let mut text = String::with_capacity(self.text.len() + new.len());
        text.push_str(&self.text[..range.start]);
        text.push_str(new);
        text.push_str(&self.text[range.end..]);
        text
    }

    pub fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind(['\n', '\r']).map_or(0, |i| i + 1)
    }

    /// Where the line of a place ends, before its break.
    pub fn line_end(&self, at: usize) -> usize {
        self.text[at..].find(['\n', '\r']).map_or(self.text.len(), |i| at + i)
    }
}

/// Whether a value's text ends with a line break of its own when it is written as `|`.
fn ends_with_break(value: &Val) -> bool {
    match value {
        Val::Leaf(Value::Str(text)) => text.ends_with('\n'),
        Val::Leaf(_) => false,
        Val::Seq(items) => items.last().is_some_and(ends_with_break),
        Val::Map(pairs) => pairs.last().is_some_and(|(_, value)| ends_with_break(value)),
    }
}

/// Bytes of the line break a text starts with.
pub(crate) fn break_len(text: &str) -> usize {
    match text.as_bytes() {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => 0,
    }
}

/// The comment at the end of a line, with the spaces before it.
fn comment_in(line: &str) -> &str {
    match line.find(" #") {
        Some(at) => line[line[..at].trim_end().len()..].trim_end(),
        None => "",
    }
}
