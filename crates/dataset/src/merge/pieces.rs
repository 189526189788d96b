//! A block mapping or list cut into pieces, one for each key or item, down to the comments around it.

use std::ops::Range;

use super::model::{key_name, places};
use crate::edit::{Source, break_len};
use crate::value::Val;
use crate::yaml::{Part, Place, Spot, Style};

/// A mapping or list in block style, cut into pieces.
pub(super) struct Block {
    /// Where the first piece starts, what stands before it included.
    pub start: usize,
    /// Whether the first piece starts behind something else on its line.
    pub compact: bool,
    pub style: Style,
    pub column: usize,
    /// Names of the keys; items are named later, by all three versions.
    pub keys: Vec<String>,
    pub pieces: Vec<Piece>,
}

/// A key with its value, or an item.
#[derive(Clone)]
pub(super) struct Piece {
    /// Line break, comments and indentation before it.
    pub lead: Range<usize>,
    /// From its key or dash to the end of its last line, without the break.
    pub body: Range<usize>,
    pub part: Part,
}

/// One version of the file.
pub(super) struct Side<'s> {
    pub source: &'s Source<'s>,
}

impl<'s> Side<'s> {
    pub fn text(&self, range: &Range<usize>) -> &'s str {
        &self.source.text[range.clone()]
    }

    pub fn spot(&self, place: Place) -> &'s Spot {
        self.source.layout.spot(place)
    }

    pub fn value(&self, place: Place) -> Val {
        Val::of(&self.source.doc, self.spot(place).node)
    }

    /// Cuts a block into pieces; `from` is where the `:` or `-` it belongs to ends, nothing at the root.
    pub fn block(&self, place: Place, from: Option<usize>) -> Option<Block> {
        let spot = self.spot(place);
        if !matches!(spot.style, Style::BlockMap | Style::BlockList) || spot.decorated {
            return None;
        }
        let first = spot.parts.first()?;
        let (at, column) = (first.at.pos as usize, first.at.col as usize - 1);
        let line_end = from.map(|from| self.source.line_end(from));
        let compact = line_end.is_none_or(|end| end > at);
        let start = line_end.filter(|_| !compact).unwrap_or(at);
        let mut keys = Vec::new();
        let mut pieces = Vec::with_capacity(spot.parts.len());
        let mut end = start;
        for part in &spot.parts {
            let at = part.at.pos as usize;
            if part.at.col as usize - 1 != column || at < end {
                return None;
            }
            if let Some(key) = part.key {
                if self.spot(key).start.pos as usize != at {
                    return None;
                }
                keys.push(key_name(&self.value(key)));
            }
            let lead = end..at;
            end = self.piece_end(part);
            pieces.push(Piece { lead, body: at..end, part: *part });
        }
        let unique = keys.is_empty() || places(&keys).len() == keys.len();
        unique.then_some(Block { start, compact, style: spot.style, column, keys, pieces })
    }

    /// Where the last line of a part ends, comments that stand deeper than it included.
    fn piece_end(&self, part: &Part) -> usize {
        let value = self.spot(part.value);
        let inner = match (value.style, value.parts.last()) {
            (Style::BlockMap | Style::BlockList, Some(last)) => self.piece_end(last),
            _ => value.end as usize,
        };
        let text = self.source.text;
        let mut end = self.source.line_end(inner);
        loop {
            let next = end + break_len(&text[end..]);
            let line = &text[next..self.source.line_end(next)];
            let indent = line.len() - line.trim_start_matches(' ').len();
            if next == end || !line[indent..].starts_with('#') || indent < part.at.col as usize {
                return end;
            }
            end = next + line.len();
        }
    }

    /// The lines of a piece, and of what stands before it, that hold a comment (or what looks like one).
    pub fn remarks(&self, piece: &Piece) -> impl Iterator<Item = String> + use<'s> {
        let all = self.text(&(piece.lead.start..piece.body.end));
        all.lines().filter(|line| line.contains('#')).map(|line| line.trim().to_owned())
    }

    /// Where the `:` or `-` of a part ends.
    pub fn indicator(&self, part: &Part) -> usize {
        match part.key {
            None => part.at.pos as usize + 1,
            Some(key) => {
                let end = self.spot(key).end as usize;
                self.source.text[end..].find(':').map_or(end, |colon| end + colon + 1)
            }
        }
    }
}

/// Whether taking one text instead of another loses a comment that the base did not have.
pub(super) fn loses(winner: &str, loser: &str, base: Option<&str>) -> bool {
    let has = |text: &str, line: &str| text.lines().any(|other| other.trim() == line);
    let known = |line: &str| has(winner, line) || base.is_some_and(|base| has(base, line));
    loser.lines().map(str::trim).filter(|line| line.contains('#')).any(|line| !known(line))
}

/// Whether a piece has other comments than it had; its value is the same.
pub(super) fn says_more(base: &Side<'_>, was: &Piece, side: &Side<'_>, now: &Piece) -> bool {
    let (before, after) = (base.text(&was.body), side.text(&now.body));
    let in_body = before != after && (before.contains('#') || after.contains('#'));
    in_body || base.text(&was.lead).trim() != side.text(&now.lead).trim()
}
