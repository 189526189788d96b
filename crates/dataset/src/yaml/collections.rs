//! Lists and mappings, in blocks and in brackets.

use super::YamlError;
use super::compose::{Composer, Place, Result};
use super::document::{Id, Mark, Value};
use super::layout::Style;
use super::resolve::{CORE, value_error, wrong_tag};
use super::token::Kind;

impl<'a> Composer<'a, '_> {
    pub(super) fn block_list(&mut self, start: Mark, tag: Option<&str>) -> Result<Id> {
        self.scanner.next()?;
        let mut items = Vec::new();
        loop {
            match self.peek()? {
                Kind::BlockEntry => {
                    let entry = self.scanner.next()?;
                    self.trace.entry(entry.start);
                    let item = match self.peek()? {
                        Kind::BlockEntry | Kind::BlockEnd => self.empty(entry.start)?,
                        _ => self.node(Place::Block)?,
                    };
                    items.push(item);
                }
                Kind::BlockEnd => {
                    self.scanner.next()?;
                    return self.list(items, start, start.line, tag);
                }
                _ => {
                    return Err(self.unexpected(&format!(
                        "the list that starts on line {} continues with '- ' at its indentation",
                        start.line
                    )));
                }
            }
        }
    }

    pub(super) fn indentless_list(&mut self, start: Mark, tag: Option<&str>) -> Result<Id> {
        let mut items = Vec::new();
        while *self.peek()? == Kind::BlockEntry {
            let entry = self.scanner.next()?;
            self.trace.entry(entry.start);
            let item = match self.peek()? {
                Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd => self.empty(entry.start)?,
                _ => self.node(Place::Block)?,
            };
            items.push(item);
        }
        self.list(items, start, start.line, tag)
    }

    pub(super) fn block_mapping(&mut self, start: Mark, tag: Option<&str>) -> Result<Id> {
        self.scanner.next()?;
        let mut pairs = Vec::new();
        loop {
            let at = match self.peek()? {
                Kind::Key => self.scanner.next()?.start,
                Kind::BlockEnd => {
                    self.scanner.next()?;
                    return self.mapping(pairs, start, start.line, tag);
                }
                _ => {
                    return Err(self.unexpected(&format!(
                        "the mapping that starts on line {} continues with a key at its \
                         indentation",
                        start.line
                    )));
                }
            };
            self.trace.entry(at);
            let key = self.pair_part(at)?;
            let value = if *self.peek()? == Kind::Value {
                let at = self.scanner.next()?.start;
                self.pair_part(at)?
            } else {
                self.empty(at)?
            };
            pairs.push((key, value));
        }
    }

    fn pair_part(&mut self, at: Mark) -> Result<Id> {
        match self.peek()? {
            Kind::Key | Kind::Value | Kind::BlockEnd => self.empty(at),
            _ => self.node(Place::BlockPair),
        }
    }

    pub(super) fn flow_list(&mut self, start: Mark, tag: Option<&str>) -> Result<Id> {
        self.scanner.next()?;
        let mut items = Vec::new();
        loop {
            if *self.peek()? != Kind::FlowSequenceEnd && !items.is_empty() {
                if *self.peek()? != Kind::FlowEntry {
                    return Err(self.unclosed("[", "]", start));
                }
                self.scanner.next()?;
            }
            match self.peek()? {
                Kind::FlowSequenceEnd => {
                    let end = self.scanner.next()?;
                    return self.list(items, start, end.last_line, tag);
                }
                Kind::Key => {
                    // `[a: b]` is a list with a mapping of one pair.
                    let at = self.scanner.next()?.start;
                    self.trace.open(Style::FlowPair, at, at.pos, false);
                    let pair = self.flow_pair(at, &Kind::FlowSequenceEnd)?;
                    let item = self.mapping(vec![pair], at, at.line, None)?;
                    self.trace.close(item, self.scanner.last_end);
                    items.push(item);
                }
                _ => items.push(self.node(Place::Flow)?),
            }
        }
    }

    pub(super) fn flow_mapping(&mut self, start: Mark, tag: Option<&str>) -> Result<Id> {
        self.scanner.next()?;
        let mut pairs = Vec::new();
        loop {
            if *self.peek()? != Kind::FlowMappingEnd && !pairs.is_empty() {
                if *self.peek()? != Kind::FlowEntry {
                    return Err(self.unclosed("{", "}", start));
                }
                self.scanner.next()?;
            }
            match self.peek()? {
                Kind::FlowMappingEnd => {
                    let end = self.scanner.next()?;
                    return self.mapping(pairs, start, end.last_line, tag);
                }
                Kind::Key => {
                    let at = self.scanner.next()?.start;
                    self.trace.entry(at);
                    pairs.push(self.flow_pair(at, &Kind::FlowMappingEnd)?);
                }
                _ => {
                    self.trace.entry(self.scanner.peek()?.start);
                    let key = self.node(Place::Flow)?;
                    let at = self.doc.node(key).start;
                    pairs.push((key, self.empty(at)?));
                }
            }
        }
    }

    /// A key and a value after their Key token, up to `,` or the closing bracket.
    fn flow_pair(&mut self, at: Mark, end: &Kind<'static>) -> Result<(Id, Id)> {
        let next = self.peek()?;
        let key = if matches!(next, Kind::Value | Kind::FlowEntry) || next == end {
            self.empty(at)?
        } else {
            self.node(Place::Flow)?
        };
        if *self.peek()? != Kind::Value {
            return Ok((key, self.empty(at)?));
        }
        let at = self.scanner.next()?.start;
        let next = self.peek()?;
        let value = if *next == Kind::FlowEntry || next == end { self.empty(at)? } else { self.node(Place::Flow)? };
        Ok((key, value))
    }

    fn unclosed(&mut self, open: &str, close: &str, start: Mark) -> YamlError {
        self.unexpected(&format!(
            "the '{open}' of line {} needs ',' between values and '{close}' at the end",
            start.line
        ))
    }

    fn list(&mut self, items: Vec<Id>, start: Mark, end_line: u32, tag: Option<&str>) -> Result<Id> {
        for &item in &items {
            self.check_value(item)?;
        }
        match tag.map(|tag| (tag, tag.strip_prefix(CORE))) {
            None | Some(("!", _) | (_, Some("seq"))) => self.push_collection(Value::Seq(items), start, end_line),
            Some((_, Some("omap" | "pairs"))) => self.ordered_pairs(&items, start, end_line),
            Some((tag, _)) => Err(value_error(start, wrong_tag(tag, "a list"))),
        }
    }

    /// `!!omap` and `!!pairs`: a list of mappings of one pair each, which Python holds as tuples
    /// and JSON as lists of two.
    fn ordered_pairs(&mut self, items: &[Id], start: Mark, end_line: u32) -> Result<Id> {
        let mut tuples = Vec::with_capacity(items.len());
        for &item in items {
            let (key, value) = match self.doc.value(item) {
                Value::Map(pairs) if pairs.len() == 1 => pairs[0],
                _ => {
                    let at = self.doc.node(item).start;
                    let message = "with this tag each item is a mapping of one key";
                    return Err(value_error(at, message.to_owned()));
                }
            };
            let at = self.doc.node(item).start;
            tuples.push(self.push_collection(Value::Seq(vec![key, value]), at, at.line)?);
        }
        self.push_collection(Value::Seq(tuples), start, end_line)
    }
}
