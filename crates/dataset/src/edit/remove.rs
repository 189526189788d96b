//! Taking a key or an item out of a text.

use super::plan::Step;
use super::splice::{Refusal, Result, Source, break_len};
use crate::value::Val;
use crate::yaml::Style;

impl Source<'_> {
    pub(super) fn remove(&self, path: &[Step]) -> Result<String> {
        let [above @ .., step] = path else {
            return Err(Refusal { line: 1, message: "a whole file is not removed by an edit; delete it".to_owned() });
        };
        let way = self.found(path)?;
        let Some(&parent) = way.above.last() else { return Ok(self.text.to_owned()) };
        let parent = self.layout.spot(parent);
        let (part, spot) = (&parent.parts[way.part], self.layout.spot(way.here));
        self.free_of_anchors(spot)?;
        if let Step::Key(key) = step
            && parent.parts.iter().filter(|part| self.key_is(part, key)).count() > 1
        {
            return Err(self.refuse(spot, "this key is set twice in its mapping; remove one of them by hand first"));
        }
        if parent.parts.len() == 1 {
            let empty = if part.key.is_some() { Val::Map(Vec::new()) } else { Val::Seq(Vec::new()) };
            return self.replace(above, &empty);
        }
        let (at, end) = (part.at.pos as usize, spot.end as usize);
        let next = parent.parts.get(way.part + 1).map(|part| part.at.pos as usize);
        if !matches!(parent.style, Style::BlockMap | Style::BlockList) {
            let previous = way.part.checked_sub(1).map(|i| self.layout.spot(parent.parts[i].value).end as usize);
            return Ok(match (previous, next) {
                (Some(previous), _) => self.splice(previous..end, ""),
                (None, Some(next)) => self.splice(at..next, ""),
                (None, None) => self.splice(at..end, ""),
            });
        }
        let line = self.line_start(at);
        let own_line = self.text[line..at].trim_start_matches('\u{FEFF}').trim().is_empty();
        let line_end = self.line_end(end);
        if own_line && line_end < self.text.len() {
            let from = line + if self.text[line..at].starts_with('\u{FEFF}') { 3 } else { 0 };
            return Ok(self.splice(from..line_end + break_len(&self.text[line_end..]), ""));
        }
        if own_line && line > 0 {
            let before = self.text[..line].trim_end_matches(['\n', '\r']);
            let break_before = break_len(&self.text[before.len()..]);
            return Ok(self.splice(line - break_before.min(line)..line_end, ""));
        }
        // It follows a dash on its line; what comes next moves up to its place.
        match next {
            Some(next) if !self.text[line_end..next].contains('#') => Ok(self.splice(at..next, "")),
            _ => Err(self.refuse(spot, "comments follow this; remove it by hand")),
        }
    }
}
