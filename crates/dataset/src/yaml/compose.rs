//! From tokens to nodes: PyYAML's grammar as recursive descent, bounded by the scanner's depth.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::document::{Document, Id, Mark, Node, Note, Value};
use super::layout::{Layout, Style, Trace, style_of};
use super::resolve::{CORE, Scalar, by_looks, by_tag, value_error};
use super::scan::Scanner;
use super::token::Kind;
use super::{ErrorKind, Limits, YamlError};

/// Notes kept per document.
const MAX_NOTES: usize = 1_000;

/// Where a node stands, which decides what it may be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// In `[]` or `{}`.
    Flow,
    /// In a block.
    Block,
    /// The key or value of a block mapping, where a list needs no indentation of its own.
    BlockPair,
}

/// An anchor's node; `None` while it is still being read.
struct Anchor {
    node: Option<Id>,
    line: u32,
}

/// Builds one document.
pub(super) struct Composer<'a, 'l> {
    pub(super) scanner: Scanner<'a>,
    limits: &'l Limits,
    pub(super) doc: Document<'a>,
    anchors: HashMap<&'a str, Anchor>,
    aliases: usize,
    tag_handles: BTreeMap<&'a str, String>,
    /// Nodes that are only good as keys: `<<` (true) and `=` (false).
    pub(super) key_only: HashMap<Id, bool>,
    pub(super) trace: Trace,
}

pub(super) type Result<T> = std::result::Result<T, YamlError>;

impl<'a, 'l> Composer<'a, 'l> {
    pub fn new(scanner: Scanner<'a>, limits: &'l Limits) -> Self {
        let tag_handles = [("!", "!".to_owned()), ("!!", CORE.to_owned())].into();
        Composer {
            scanner,
            limits,
            doc: Document::default(),
            anchors: HashMap::new(),
            aliases: 0,
            tag_handles,
            key_only: HashMap::new(),
            trace: Trace::default(),
        }
    }

    pub fn document(mut self) -> Result<Document<'a>> {
        self.read()?;
        Ok(self.doc)
    }

    pub fn document_with_layout(mut self) -> Result<(Document<'a>, Layout)> {
        self.trace.on();
        self.read()?;
        Ok((self.doc, self.trace.take()))
    }

    fn read(&mut self) -> Result<()> {
        let explicit = matches!(
            self.peek()?,
            Kind::VersionDirective { .. }
                | Kind::TagDirective { .. }
                | Kind::OtherDirective
                | Kind::DocumentStart
                | Kind::StreamEnd
        );
        if explicit {
            if *self.peek()? == Kind::StreamEnd {
                return Ok(());
            }
            self.directives()?;
            let end = self.scanner.next()?;
            let empty = matches!(
                self.peek()?,
                Kind::VersionDirective { .. }
                    | Kind::TagDirective { .. }
                    | Kind::OtherDirective
                    | Kind::DocumentStart
                    | Kind::DocumentEnd
                    | Kind::StreamEnd
            );
            let root = if empty { self.empty(end.start)? } else { self.node(Place::Block)? };
            self.doc.root = Some(root);
        } else {
            self.doc.root = Some(self.node(Place::Block)?);
        }
        if let Some(root) = self.doc.root {
            self.check_value(root)?;
        }
        while *self.peek()? == Kind::DocumentEnd {
            self.scanner.next()?;
        }
        if *self.peek()? == Kind::DocumentStart {
            return Err(self.unexpected("a second document starts; one file holds one document"));
        }
        if *self.peek()? != Kind::StreamEnd {
            return Err(self.unexpected("the document has ended; indent what belongs to it"));
        }
        Ok(())
    }

    fn directives(&mut self) -> Result<()> {
        let mut version_seen = false;
        let mut own: BTreeMap<&'a str, String> = BTreeMap::new();
        while *self.peek()? != Kind::DocumentStart {
            let token = self.scanner.next()?;
            let refused = match token.kind {
                Kind::VersionDirective { .. } if version_seen => Some("a second %YAML directive"),
                Kind::VersionDirective { major } if major != 1 => Some("only %YAML 1.x is read"),
                Kind::VersionDirective { .. } => {
                    version_seen = true;
                    None
                }
                Kind::TagDirective { handle, prefix } => {
                    own.insert(handle, prefix).map(|_| "this %TAG handle is declared twice")
                }
                Kind::OtherDirective => None,
                _ => Some("'---' must follow the directives"),
            };
            if let Some(message) = refused {
                return Err(YamlError::at(token.start, ErrorKind::Syntax, message));
            }
        }
        self.tag_handles.extend(own);
        Ok(())
    }

    pub(super) fn peek(&mut self) -> Result<&Kind<'a>> {
        self.scanner.peek().map(|token| &token.kind)
    }

    pub(super) fn unexpected(&mut self, message: &str) -> YamlError {
        match self.scanner.peek() {
            Ok(token) => {
                let message = format!("{} is unexpected here: {message}", token.kind.describe());
                YamlError::at(token.start, ErrorKind::Syntax, message)
            }
            Err(error) => error,
        }
    }

    pub(super) fn node(&mut self, place: Place) -> Result<Id> {
        let start = self.scanner.peek()?.start;
        if let Kind::Alias(name) = *self.peek()? {
            self.scanner.next()?;
            let id = self.alias(name, start)?;
            self.trace.leaf(id, Style::Alias, start, self.scanner.last_end);
            return Ok(id);
        }
        let (anchor, tag) = self.properties()?;
        if let Some(name) = anchor {
            let new = Anchor { node: None, line: start.line };
            if let Some(first) = self.anchors.insert(name, new) {
                let message = format!("the anchor '&{name}' is already set on line {}; rename one of them", first.line);
                return Err(YamlError::at(start, ErrorKind::Syntax, message));
            }
        }
        let tag = tag.as_deref();
        self.open_spot(start, anchor.is_some() || tag.is_some())?;
        let id = match self.peek()? {
            Kind::BlockEntry if place == Place::BlockPair => self.indentless_list(start, tag)?,
            Kind::Scalar { .. } => self.scalar(start, tag)?,
            Kind::FlowSequenceStart => self.flow_list(start, tag)?,
            Kind::FlowMappingStart => self.flow_mapping(start, tag)?,
            Kind::BlockSequenceStart if place != Place::Flow => self.block_list(start, tag)?,
            Kind::BlockMappingStart if place != Place::Flow => self.block_mapping(start, tag)?,
            _ if anchor.is_some() || tag.is_some() => {
                self.typed_scalar(Cow::Borrowed(""), true, tag, start, start.line)?
            }
            _ => return Err(self.unexpected("a value is missing before it")),
        };
        self.trace.close(id, self.scanner.last_end);
        if let Some(name) = anchor {
            self.anchors.insert(name, Anchor { node: Some(id), line: start.line });
        }
        Ok(id)
    }

    /// Notes where the value before the scanner starts.
    fn open_spot(&mut self, start: Mark, decorated: bool) -> Result<()> {
        let token = self.scanner.peek()?;
        let (mut style, mut body) = (style_of(&token.kind, 0), token.start.pos);
        if style == Style::Double {
            let kind = Kind::Scalar { text: Cow::Borrowed(""), plain: false };
            style = style_of(&kind, self.scanner.cursor.byte(body));
        }
        if style == Style::Empty {
            body = self.scanner.last_end;
        }
        self.trace.open(style, start, body, decorated);
        Ok(())
    }

    fn alias(&mut self, name: &'a str, start: Mark) -> Result<Id> {
        self.aliases += 1;
        if self.aliases > self.limits.aliases {
            let message = format!("more than {} aliases; write the values out", self.limits.aliases);
            return Err(YamlError::at(start, ErrorKind::Limit, message));
        }
        let message = match self.anchors.get(name) {
            Some(Anchor { node: Some(id), .. }) => return Ok(*id),
            Some(Anchor { line, .. }) => {
                format!("'*{name}' refers to the value it is part of (line {line}), which would never end")
            }
            None => format!("no anchor '&{name}' before this; if '*' is text, put it in quotes"),
        };
        Err(YamlError::at(start, ErrorKind::Syntax, message))
    }

    /// An anchor and a tag, in any order.
    fn properties(&mut self) -> Result<(Option<&'a str>, Option<String>)> {
        let mut anchor = None;
        let mut tag = None;
        loop {
            match self.peek()? {
                Kind::Anchor(name) if anchor.is_none() => {
                    anchor = Some(*name);
                    self.scanner.next()?;
                }
                Kind::Tag { .. } if tag.is_none() => {
                    let token = self.scanner.next()?;
                    let Kind::Tag { handle, suffix } = token.kind else { continue };
                    tag = Some(match handle {
                        None => suffix,
                        Some(handle) => match self.tag_handles.get(handle) {
                            Some(prefix) => format!("{prefix}{suffix}"),
                            None => {
                                let message = format!("the tag handle '{handle}' is not declared");
                                return Err(YamlError::at(token.start, ErrorKind::Syntax, message));
                            }
                        },
                    });
                }
                _ => return Ok((anchor, tag)),
            }
        }
    }

    fn scalar(&mut self, start: Mark, tag: Option<&str>) -> Result<Id> {
        let token = self.scanner.next()?;
        let Kind::Scalar { text, plain } = token.kind else {
            return Err(self.unexpected("a value is missing before it"));
        };
        self.typed_scalar(text, plain, tag, start, token.last_line)
    }

    fn typed_scalar(
        &mut self,
        text: Cow<'a, str>,
        plain: bool,
        tag: Option<&str>,
        start: Mark,
        last_line: u32,
    ) -> Result<Id> {
        let text_bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let typed = match tag {
            None if !plain => Ok(Scalar::Value(Value::Str(text))),
            None => self.plain_scalar(text, start),
            Some("!") => by_looks(text),
            Some(tag) => by_tag(tag, text),
        };
        let (value, key_only) = match typed.map_err(|message| value_error(start, message))? {
            Scalar::Value(value) => (value, None),
            Scalar::Merge => (Value::Str(Cow::Borrowed("<<")), Some(true)),
            Scalar::Default(text) => (Value::Str(text), Some(false)),
            Scalar::BadDate(text) => {
                self.note(Note {
                    at: start,
                    code: "invalid-date",
                    message: format!(
                        "there is no such date or time as {text}; PyYAML cannot read this file. \
                         Correct it, or put it in quotes to keep it as text"
                    ),
                });
                (Value::Str(text), None)
            }
        };
        let plain = plain && tag.is_none();
        let id = self.push(Node { value, start, last_line, plain, weight: 1, text_bytes, height: 0 })?;
        if let Some(merge) = key_only {
            self.key_only.insert(id, merge);
        }
        Ok(id)
    }

    fn plain_scalar(&mut self, text: Cow<'a, str>, start: Mark) -> std::result::Result<Scalar<'a>, String> {
        // Text over several lines is text to everybody.
        let Cow::Borrowed(raw) = text else { return by_looks(text) };
        let typed = by_looks(text)?;
        if let Scalar::Value(value) = &typed
            && let Some(message) = crate::lint::ambiguous(raw, value)
        {
            self.note(Note { at: start, code: "ambiguous-scalar", message });
        }
        Ok(typed)
    }

    /// Keeps a note, unless there are already more than anybody reads.
    pub(super) fn note(&mut self, note: Note) {
        if self.doc.notes.len() < MAX_NOTES {
            self.doc.notes.push(note);
        }
    }

    pub(super) fn empty(&mut self, at: Mark) -> Result<Id> {
        let id = self.typed_scalar(Cow::Borrowed(""), true, None, at, at.line)?;
        let end = self.scanner.last_end;
        self.trace.leaf(id, Style::Empty, Mark { pos: end, ..at }, end);
        Ok(id)
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<Id> {
        let over = if self.doc.nodes.len() >= self.limits.nodes || node.weight as usize > self.limits.nodes {
            format!("more than {} values", self.limits.nodes)
        } else if node.text_bytes as usize > self.limits.expanded_bytes {
            format!("more than {} bytes of text", self.limits.expanded_bytes)
        } else if node.height as usize > self.limits.depth {
            format!("nested deeper than {} levels", self.limits.depth)
        } else {
            let id = Id(u32::try_from(self.doc.nodes.len()).unwrap_or(u32::MAX));
            self.doc.nodes.push(node);
            return Ok(id);
        };
        let message = format!("{over}, aliases included; split the file");
        Err(YamlError::at(node.start, ErrorKind::Limit, message))
    }

    /// Adds a list or mapping whose parts are already there.
    pub(super) fn push_collection(&mut self, value: Value<'a>, start: Mark, end_line: u32) -> Result<Id> {
        let (mut weight, mut text_bytes, mut height, mut last_line) = (1u32, 0u32, 0, end_line);
        let mut add = |id: Id| {
            let part = self.doc.node(id);
            weight = weight.saturating_add(part.weight);
            text_bytes = text_bytes.saturating_add(part.text_bytes);
            height = height.max(part.height);
            last_line = last_line.max(part.last_line);
        };
        match &value {
            Value::Seq(items) => items.iter().for_each(|&id| add(id)),
            Value::Map(pairs) => pairs.iter().for_each(|&(key, value)| {
                add(key);
                add(value);
            }),
            _ => {}
        }
        self.push(Node { value, start, last_line, plain: false, weight, text_bytes, height: height + 1 })
    }

    /// Refuses `<<` and `=` where they are no keys.
    pub(super) fn check_value(&self, id: Id) -> Result<()> {
        match self.key_only.get(&id) {
            None => Ok(()),
            Some(merge) => {
                let sign = if *merge { "<<" } else { "=" };
                let message = format!("'{sign}' without quotes is no value in YAML; put it in quotes");
                Err(value_error(self.doc.node(id).start, message))
            }
        }
    }
}
