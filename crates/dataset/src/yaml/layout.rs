//! Where the values of a document stand in its text: what editing and merging splice at.
//!
//! The composer fills it in on request while it reads, so it describes exactly what was read. Unlike
//! the [`Document`](super::Document), which has values, it has places: an alias is a place of its own,
//! a key that is set twice is there twice, and `<<` is an ordinary pair.

use super::document::{Document, Id, Mark};
use super::token::Kind;
use super::{Limits, YamlError, compose, cursor, scan};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `*name`.
    Alias,
    /// Nothing at all, where a value could stand.
    Empty,
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
    /// `- …`.
    BlockList,
    /// `key: …`.
    BlockMap,
    /// `[…]`.
    FlowList,
    /// `{…}`.
    FlowMap,
    /// A pair without braces in a list with brackets: `[a: b]`.
    FlowPair,
}

/// Index of a place in its [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// A place where a value stands.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    /// The value.
    pub node: Id,
    /// How it is written.
    pub style: Style,
    /// Where it starts, anchor and tag included.
    pub start: Mark,
    /// Where it starts, after anchor and tag.
    pub body: u32,
    /// Where it ends; a line break after it is not part of it.
    pub end: u32,
    /// Whether it has an anchor or a tag.
    pub decorated: bool,
    /// Items or pairs, as written.
    pub parts: Vec<Part>,
}

/// An item of a list or a pair of a mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Where it starts: its `-` in a block list, its `?` or key in a mapping.
    pub at: Mark,
    /// The key, in a mapping.
    pub key: Option<Place>,
    /// The item or the value.
    pub value: Place,
}

/// All places of a document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    spots: Vec<Spot>,
    pub root: Option<Place>,
    /// Whether an anchor, an alias or a tag stands anywhere.
    pub decorated: bool,
}

impl Layout {
    pub fn spot(&self, place: Place) -> &Spot {
        &self.spots[place.0 as usize]
    }
}

/// Reads one YAML document and where everything in it stands. Places are counted from the start of `bytes`.
pub(crate) fn parse_with_layout<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Document<'a>, Layout), YamlError> {
    let text = cursor::check_text(bytes, limits)?;
    compose::Composer::new(scan::Scanner::new(text, 1, limits.depth), limits).document_with_layout()
}

/// A list or mapping that is being read.
#[derive(Debug)]
struct Open {
    start: Mark,
    body: u32,
    decorated: bool,
    style: Style,
    entries: Vec<Mark>,
    children: Vec<Place>,
}

/// Fills a [`Layout`] while the composer reads; does nothing unless asked to.
#[derive(Debug, Default)]
pub(super) struct Trace {
    layout: Option<Layout>,
    open: Vec<Open>,
}

impl Trace {
    pub fn on(&mut self) {
        self.layout = Some(Layout::default());
    }

    pub fn take(&mut self) -> Layout {
        self.layout.take().unwrap_or_default()
    }

    fn push(&mut self, spot: Spot) {
        let Some(layout) = &mut self.layout else { return };
        layout.decorated |= spot.decorated || spot.style == Style::Alias;
        let place = Place(u32::try_from(layout.spots.len()).unwrap_or(u32::MAX));
        layout.spots.push(spot);
        match self.open.last_mut() {
            Some(open) => open.children.push(place),
            None => layout.root = Some(place),
        }
    }

    /// A value without parts of its own between two places.
    pub fn leaf(&mut self, node: Id, style: Style, start: Mark, end: u32) {
        self.push(Spot { node, style, start, body: start.pos, end, decorated: false, parts: Vec::new() });
    }

    /// A value starts: at `start` with its anchor and tag, at `body` itself.
    pub fn open(&mut self, style: Style, start: Mark, body: u32, decorated: bool) {
        if self.layout.is_some() {
            self.open.push(Open { start, body, decorated, style, entries: Vec::new(), children: Vec::new() });
        }
    }

    /// An item or a pair of the innermost open value starts here.
    pub fn entry(&mut self, at: Mark) {
        if let Some(open) = self.open.last_mut() {
            open.entries.push(at);
        }
    }

    /// The innermost open value is complete; `end` is where the last token of it ends.
    pub fn close(&mut self, node: Id, end: u32) {
        let (Some(layout), Some(open)) = (&self.layout, self.open.pop()) else { return };
        let Open { start, body, decorated, style, entries, children } = open;
        let is_map = matches!(style, Style::BlockMap | Style::FlowMap | Style::FlowPair);
        let at = |i: usize, first: Place| entries.get(i).copied().unwrap_or(layout.spot(first).start);
        let parts: Vec<Part> = if is_map {
            let pairs = children.chunks_exact(2).enumerate();
            pairs.map(|(i, pair)| Part { at: at(i, pair[0]), key: Some(pair[0]), value: pair[1] }).collect()
        } else {
            children.iter().enumerate().map(|(i, &value)| Part { at: at(i, value), key: None, value }).collect()
        };
        let end = match (style, parts.last()) {
            (Style::BlockList | Style::BlockMap | Style::FlowPair, Some(last)) => layout.spot(last.value).end,
            _ => end,
        };
        self.push(Spot { node, style, start, body, end, decorated, parts });
    }
}

/// How the value that starts with this token is written; `first` is the byte it starts with.
pub(super) fn style_of(kind: &Kind<'_>, first: u8) -> Style {
    match kind {
        Kind::BlockEntry | Kind::BlockSequenceStart => Style::BlockList,
        Kind::BlockMappingStart => Style::BlockMap,
        Kind::FlowSequenceStart => Style::FlowList,
        Kind::FlowMappingStart => Style::FlowMap,
        Kind::Scalar { plain: true, .. } => Style::Plain,
        Kind::Scalar { .. } => match first {
            b'\'' => Style::Single,
            b'|' => Style::Literal,
            b'>' => Style::Folded,
            _ => Style::Double,
        },
        _ => Style::Empty,
    }
}
