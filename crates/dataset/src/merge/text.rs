//! The three-way merge of texts: pieces of the three versions put together, none written anew.
//!
//! A block mapping or list is cut into one piece for each key or item. A piece that one side left
//! alone is taken from the other; one that both changed is cut further, down to single values.
//! Comments and empty lines belong to what follows them, or, when they stand deeper, to what they
//! follow. Where the pieces do not fit the clash is noted and theirs stands in for the moment.

use std::cell::RefCell;
use std::collections::HashMap;

use super::align::{Pick, diff3, order};
use super::model::{Name, Units, Way, merge3, places};
use super::pieces::{Block, Piece, Side, loses, says_more};
use crate::edit::reach;
use crate::value::Val;
use crate::yaml::Style;

/// The three versions and what is known about them.
pub(super) struct Texts<'m, 's> {
    pub units: &'m Units<'m>,
    pub base: Option<Side<'s>>,
    pub ours: Side<'s>,
    pub theirs: Side<'s>,
    /// Where the pieces did not fit; an empty way stands for the comments around everything.
    pub misfits: RefCell<Vec<Way>>,
}

impl Texts<'_, '_> {
    /// The merged file; `None` when a version is not in block style or cannot be put together at the top.
    pub fn merge(&self) -> Option<String> {
        let root = |side: &Side<'_>| side.block(side.source.layout.root?, None);
        let (base, ours, theirs) = (self.base.as_ref().and_then(root), root(&self.ours)?, root(&self.theirs)?);
        let before = |side: &Side<'_>, block: &Block| side.source.text[..block.start].to_owned();
        let after = |side: &Side<'_>, block: &Block| {
            side.source.text[block.pieces.last().map_or(block.start, |piece| piece.body.end)..].to_owned()
        };
        let base_of = |part: &dyn Fn(&Side<'_>, &Block) -> String| {
            self.base.as_ref().zip(base.as_ref()).map(|(side, block)| part(side, block))
        };
        let mut way = Vec::new();
        let head =
            self.atom(&way, base_of(&before).as_deref(), &before(&self.ours, &ours), &before(&self.theirs, &theirs));
        let around = self.misfits.borrow().len();
        let body = self.blocks(&mut way, base.as_ref(), &ours, &theirs);
        if self.misfits.borrow().iter().skip(around).any(Vec::is_empty) {
            return None;
        }
        let tail =
            self.atom(&way, base_of(&after).as_deref(), &after(&self.ours, &ours), &after(&self.theirs, &theirs));
        Some(head + &body + &tail)
    }

    fn misfit(&self, way: &[Name]) {
        self.misfits.borrow_mut().push(way.to_vec());
    }

    /// Of three texts the one that was changed.
    fn atom(&self, way: &[Name], base: Option<&str>, ours: &str, theirs: &str) -> String {
        let blank = |text: &str| text.trim().is_empty();
        if base == Some(theirs) {
            return ours.to_owned();
        }
        if ours != theirs && base != Some(ours) && !(blank(ours) && blank(theirs)) {
            self.misfit(way);
        }
        theirs.to_owned()
    }

    fn blocks(&self, way: &mut Way, base: Option<&Block>, ours: &Block, theirs: &Block) -> String {
        let theirs_whole = || {
            let end = theirs.pieces.last().map_or(theirs.start, |piece| piece.body.end);
            self.theirs.source.text[theirs.start..end].to_owned()
        };
        let base = base.filter(|base| base.style == ours.style);
        let fits = ours.style == theirs.style && ours.column == theirs.column && ours.compact == theirs.compact;
        if !fits {
            self.misfit(way);
            return theirs_whole();
        }
        let Some([in_base, in_ours, in_theirs]) = self.names(way, base, ours, theirs) else {
            return self.nameless(way, base, ours, theirs).unwrap_or_else(|| {
                self.misfit(way);
                theirs_whole()
            });
        };
        let Some(names) = order(&in_base, &in_ours, &in_theirs) else {
            self.misfit(way);
            return theirs_whole();
        };
        let (at_base, at_ours, at_theirs) = (places(&in_base), places(&in_ours), places(&in_theirs));
        let mut out = String::new();
        let mut first = true;
        for name in &names {
            let of = |places: &HashMap<&str, usize>| places.get(name.as_str()).copied();
            let b = of(&at_base).and_then(|i| Some((i, self.base.as_ref()?, &base?.pieces[i])));
            let o = of(&at_ours).map(|i| (i, &self.ours, &ours.pieces[i]));
            let t = of(&at_theirs).map(|i| (i, &self.theirs, &theirs.pieces[i]));
            way.push(if ours.style == Style::BlockMap { Name::Key(name.clone()) } else { Name::Item(name.clone()) });
            let forced = self.units.forced.contains_key(way);
            let piece = match (b, o, t) {
                (_, _, Some((i, side, piece))) if forced => {
                    Some((self.lead(way, first, theirs, i, side), side.text(&piece.body).to_owned()))
                }
                (_, _, None) if forced => None,
                (_, Some(o), Some(t)) => {
                    let was = b.map(|(_, side, piece)| (side, piece));
                    let lead = self.shared_lead(way, first, was, (ours, o.0), (theirs, t.0));
                    Some((lead, self.piece(way, b.map(|b| b.2), o.2, t.2)))
                }
                (None, Some((i, side, piece)), None) => {
                    Some((self.lead(way, first, ours, i, side), side.text(&piece.body).to_owned()))
                }
                (None, None, Some((i, side, piece))) => {
                    Some((self.lead(way, first, theirs, i, side), side.text(&piece.body).to_owned()))
                }
                // Removed by one side; that the other left its value alone is the model's to say.
                (Some((_, base, was)), left, right) => {
                    let kept = left.or(right).map(|(_, side, piece)| (side, piece));
                    if kept.is_some_and(|(side, piece)| says_more(base, was, side, piece)) {
                        self.misfit(way);
                    }
                    None
                }
                (None, None, None) => None,
            };
            way.pop();
            if let Some((lead, body)) = piece {
                out.push_str(&lead);
                out.push_str(&body);
                first = false;
            }
        }
        out
    }

    /// What stands before a piece in the merged block, where it may have become the first or be it no more.
    fn lead(&self, way: &[Name], first: bool, block: &Block, index: usize, side: &Side<'_>) -> String {
        let lead = side.text(&block.pieces[index].lead);
        match (block.compact && first, block.compact && index == 0) {
            (true, false) => {
                if !lead.trim().is_empty() {
                    self.misfit(way);
                }
                String::new()
            }
            (false, true) => format!("{}{}", side.source.manner.eol, " ".repeat(block.column)),
            _ => lead.to_owned(),
        }
    }

    /// The names of all pieces in the three versions.
    fn names(&self, way: &[Name], base: Option<&Block>, ours: &Block, theirs: &Block) -> Option<[Vec<String>; 3]> {
        if ours.style == Style::BlockMap {
            let base = base.map(|base| base.keys.clone()).unwrap_or_default();
            return Some([base, ours.keys.clone(), theirs.keys.clone()]);
        }
        let [b, o, t] = self.items(base, ours, theirs);
        self.units.names(way, [&b, &o, &t])
    }

    /// The values of a list's items in the three versions.
    fn items(&self, base: Option<&Block>, ours: &Block, theirs: &Block) -> [Vec<Val>; 3] {
        let values = |side: &Side<'_>, block: &Block| -> Vec<Val> {
            block.pieces.iter().map(|piece| side.value(piece.part.value)).collect()
        };
        let base = self.base.as_ref().zip(base).map(|(side, base)| values(side, base));
        [base.unwrap_or_default(), values(&self.ours, ours), values(&self.theirs, theirs)]
    }

    /// A list whose items have no names: what the merge of values picks, in its order.
    fn nameless(&self, way: &mut Way, base: Option<&Block>, ours: &Block, theirs: &Block) -> Option<String> {
        let [b, o, t] = self.items(base, ours, theirs);
        let picks = diff3(&b, &o, &t)?;
        let taken = |pick: &Pick, ours: bool, index: usize| match *pick {
            Pick::Kept(_, o, t) => index == if ours { o } else { t },
            Pick::Ours(i) => ours && i == index,
            Pick::Theirs(i) => !ours && i == index,
        };
        let dropped = |side: &Side<'_>, block: &Block, ours: bool| -> Vec<String> {
            let left = block.pieces.iter().enumerate().filter(|(i, _)| !picks.iter().any(|pick| taken(pick, ours, *i)));
            left.flat_map(|(_, piece)| side.remarks(piece)).collect()
        };
        let known: Vec<String> = match self.base.as_ref().zip(base) {
            Some((side, block)) => block.pieces.iter().flat_map(|piece| side.remarks(piece)).collect(),
            None => Vec::new(),
        };
        // A comment that one side wrote to an item that the other changed has no place any more.
        let lost = [dropped(&self.ours, ours, true), dropped(&self.theirs, theirs, false)].concat();
        if lost.iter().any(|remark| !known.contains(remark)) {
            self.misfit(way);
        }
        let mut out = String::new();
        for (n, pick) in picks.iter().enumerate() {
            let (lead, body) = match *pick {
                Pick::Kept(b, o, t) => {
                    let was = self.base.as_ref().zip(base).map(|(side, base)| (side, &base.pieces[b]));
                    let body = self.piece(way, was.map(|was| was.1), &ours.pieces[o], &theirs.pieces[t]);
                    (self.shared_lead(way, n == 0, was, (ours, o), (theirs, t)), body)
                }
                Pick::Ours(i) => {
                    let body = self.ours.text(&ours.pieces[i].body).to_owned();
                    (self.lead(way, n == 0, ours, i, &self.ours), body)
                }
                Pick::Theirs(i) => {
                    let body = self.theirs.text(&theirs.pieces[i].body).to_owned();
                    (self.lead(way, n == 0, theirs, i, &self.theirs), body)
                }
            };
            out.push_str(&lead);
            out.push_str(&body);
        }
        Some(out)
    }

    /// What stands before a piece that both sides have.
    fn shared_lead(
        &self,
        way: &[Name],
        first: bool,
        base: Option<(&Side<'_>, &Piece)>,
        (ours, o): (&Block, usize),
        (theirs, t): (&Block, usize),
    ) -> String {
        let base = base.map(|(side, piece)| side.text(&piece.lead));
        let (in_ours, in_theirs) = (self.ours.text(&ours.pieces[o].lead), self.theirs.text(&theirs.pieces[t].lead));
        if !(theirs.compact && (first || o == 0 || t == 0)) {
            return self.atom(way, base, in_ours, in_theirs);
        }
        // Whichever came first has no lead.
        let lead = if t == 0 && o > 0 {
            self.lead(way, first, ours, o, &self.ours)
        } else {
            self.lead(way, first, theirs, t, &self.theirs)
        };
        if [in_ours, in_theirs].iter().any(|loser| loses(&lead, loser, base)) {
            self.misfit(way);
        }
        lead
    }

    /// A piece that both versions have.
    fn piece(&self, way: &mut Way, base: Option<&Piece>, ours: &Piece, theirs: &Piece) -> String {
        let base = self.base.as_ref().zip(base);
        let (o, t) = (self.ours.text(&ours.body), self.theirs.text(&theirs.body));
        let b = base.map(|(side, piece)| side.text(&piece.body));
        if o == t || b == Some(o) {
            return t.to_owned();
        }
        if b == Some(t) {
            return o.to_owned();
        }
        let block = |side: &Side<'_>, piece: &Piece| side.block(piece.part.value, Some(side.indicator(&piece.part)));
        let empty = |(side, piece): (&Side<'_>, &Piece)| match side.value(piece.part.value) {
            Val::Seq(items) => items.is_empty(),
            Val::Map(pairs) => pairs.is_empty(),
            Val::Leaf(_) => false,
        };
        let base_block = base.and_then(|(side, piece)| block(side, piece));
        let base_fits = base_block.is_some() || base.is_none_or(empty);
        match (block(&self.ours, ours), block(&self.theirs, theirs)) {
            (Some(in_ours), Some(in_theirs)) if base_fits => {
                let split = |side: &Side<'_>, piece: &Piece, block: &Block| {
                    let end = block.pieces.last().map_or(block.start, |piece| piece.body.end);
                    (
                        side.text(&(piece.body.start..block.start)).to_owned(),
                        side.text(&(end..piece.body.end)).to_owned(),
                    )
                };
                let b = base.zip(base_block.as_ref()).map(|((side, piece), block)| split(side, piece, block));
                let (o, t) = (split(&self.ours, ours, &in_ours), split(&self.theirs, theirs, &in_theirs));
                let head = match &b {
                    // The base had `[]` on the line; what both made of it is compared with each other.
                    None => self.atom(way, None, &o.0, &t.0),
                    Some(b) => self.atom(way, Some(&b.0), &o.0, &t.0),
                };
                let body = self.blocks(way, base_block.as_ref(), &in_ours, &in_theirs);
                let tail = self.atom(way, b.as_ref().map(|b| b.1.as_str()).or(Some("")), &o.1, &t.1);
                head + &body + &tail
            }
            (None, None) => self.single(way, base, ours, theirs),
            _ => self.whole_piece(way, base, ours, theirs),
        }
    }

    /// Two versions of a piece that have nothing in common: one of them, if the other only looks different.
    fn whole_piece(&self, way: &Way, base: Option<(&Side<'_>, &Piece)>, ours: &Piece, theirs: &Piece) -> String {
        let (o, t) = (self.ours.text(&ours.body), self.theirs.text(&theirs.body));
        let value = |side: &Side<'_>, piece: &Piece| side.value(piece.part.value);
        let b = base.map(|(side, piece)| value(side, piece));
        let (in_ours, in_theirs) = (value(&self.ours, ours), value(&self.theirs, theirs));
        let (winner, loser) = if b.as_ref() == Some(&in_theirs) && in_ours != in_theirs { (o, t) } else { (t, o) };
        let agree = in_ours == in_theirs || b.as_ref() == Some(&in_ours) || b.as_ref() == Some(&in_theirs);
        if !agree || loses(winner, loser, base.map(|(side, piece)| side.text(&piece.body))) {
            self.misfit(way);
        }
        winner.to_owned()
    }

    /// A piece whose value has no pieces of its own.
    fn single(&self, way: &mut Way, base: Option<(&Side<'_>, &Piece)>, ours: &Piece, theirs: &Piece) -> String {
        let split = |side: &Side<'_>, piece: &Piece| {
            let spot = side.spot(piece.part.value);
            let (start, end) = (spot.start.pos as usize, (spot.end as usize).max(spot.start.pos as usize));
            [piece.body.start..start, start..end, end..piece.body.end].map(|range| side.text(&range).to_owned())
        };
        let value = |side: &Side<'_>, piece: &Piece| side.value(piece.part.value);
        let b = base.map(|(side, piece)| (split(side, piece), value(side, piece)));
        let (o, t) = (split(&self.ours, ours), split(&self.theirs, theirs));
        let (in_ours, in_theirs) = (value(&self.ours, ours), value(&self.theirs, theirs));
        let in_base = b.as_ref().map(|(_, value)| value);
        let merged = if o[1] == t[1] || in_base == Some(&in_ours) || in_ours == in_theirs {
            t[1].clone()
        } else if in_base == Some(&in_theirs) {
            o[1].clone()
        } else {
            self.flow(way, in_base, &in_ours, &in_theirs, &t[1])
        };
        let base_part = |n: usize| b.as_ref().map(|(parts, _)| parts[n].as_str());
        if [&o[1], &t[1]].iter().any(|loser| loses(&merged, loser, base_part(1))) {
            self.misfit(way);
        }
        let head = self.atom(way, base_part(0), &o[0], &t[0]);
        let tail = self.atom(way, base_part(2), &o[2], &t[2]);
        if !tail.is_empty() && merged.contains(['\n', '\r']) && merged.starts_with(['|', '>']) {
            // A comment cannot follow the last line of such a text.
            self.misfit(way);
        }
        head + &merged + &tail
    }

    /// Two lists or mappings in brackets, both changed.
    fn flow(&self, way: &mut Way, base: Option<&Val>, ours: &Val, theirs: &Val, text: &str) -> String {
        let mut clashes = Vec::new();
        let merged = merge3(self.units, way, base, Some(ours), Some(theirs), &mut clashes);
        let spliced = merged.filter(|_| clashes.is_empty()).and_then(|merged| reach(text, &merged, false).ok());
        spliced.unwrap_or_else(|| {
            self.misfit(way);
            text.to_owned()
        })
    }
}
