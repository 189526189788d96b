//! The part of a text that shows why it was found.

use std::collections::HashSet;
use std::ops::Range;

use baft_duckdb_importer::search::{fold, stem, tokenize};
use serde_json::Value;

/// How many characters of a text are shown.
const WIDTH: usize = 160;

/// The words looked for, as the index compares them.
#[derive(Debug, Clone)]
pub struct Wanted {
    stems: HashSet<String>,
}

/// A piece of text and where the words looked for are in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snippet {
    /// The field it is from; empty for plain text.
    pub field: String,
    /// The piece, on one line, with `…` where it was cut.
    pub text: String,
    /// Where the words are, as byte ranges of `text`.
    pub hits: Vec<Range<usize>>,
}

impl Wanted {
    /// Of a query.
    #[must_use]
    pub fn new(query: &str) -> Self {
        Self { stems: tokenize(query).iter().map(|word| stem(word).into_owned()).collect() }
    }

    /// Where the words are in a text, as byte ranges.
    #[must_use]
    pub fn hits(&self, text: &str) -> Vec<Range<usize>> {
        words(text).filter(|range| self.wants(&text[range.clone()])).collect()
    }

    fn wants(&self, word: &str) -> bool {
        // A word of the text is one word of the index, but for letters that fold to nothing.
        tokenize(word).iter().any(|word| self.stems.contains(stem(word).as_ref()))
    }

    /// The best piece of a text: the one with most different words.
    #[must_use]
    pub fn of_text(&self, text: &str) -> Snippet {
        self.best(text, String::new()).1
    }

    /// The best piece of the strings in an entity's content, with the field it stands in. Its own id is shown anyway.
    #[must_use]
    pub fn of_json(&self, content: &str, own_id: &str) -> Snippet {
        let Ok(value) = serde_json::from_str::<Value>(content) else { return self.of_text(content) };
        let mut leaves = Vec::new();
        strings(&value, "", &mut leaves);
        let mut best: (usize, Snippet) = (0, Snippet::default());
        leaves.retain(|(_, text)| !text.eq_ignore_ascii_case(own_id));
        for (field, text) in leaves {
            let found = self.best(text, field);
            // The first of equals; before anything is found, the longest text says most about the entity.
            let better = found.0 > best.0 || (found.0 == 0 && best.0 == 0 && found.1.text.len() > best.1.text.len());
            if better {
                best = found;
            }
        }
        best.1
    }

    /// How many different words the best piece has, and the piece.
    fn best(&self, text: &str, field: String) -> (usize, Snippet) {
        let text = crate::output::one_line(text);
        let hits = self.hits(&text);
        let mut best: (usize, usize) = (0, 0);
        for (index, first) in hits.iter().enumerate() {
            let end = ahead(&text, first.start, WIDTH * 3 / 4);
            let inside = hits[index..].iter().take_while(|hit| hit.end <= end);
            let different: HashSet<String> =
                inside.flat_map(|hit| tokenize(&text[hit.clone()])).map(|word| stem(&word).into_owned()).collect();
            if different.len() > best.0 {
                best = (different.len(), first.start);
            }
        }
        let start = if best.0 == 0 { 0 } else { word_start(&text, behind(&text, best.1, WIDTH / 4)) };
        (best.0, self.cut(&text, start, field))
    }

    fn cut(&self, text: &str, start: usize, field: String) -> Snippet {
        let mut end = ahead(text, start, WIDTH);
        if end < text.len() {
            // Not in the middle of a word.
            end = text[start..end].rfind(' ').map_or(end, |space| start + space);
        }
        let lead = if start > 0 { "…" } else { "" };
        let trail = if end < text.len() { "…" } else { "" };
        let text = format!("{lead}{}{trail}", text[start..end].trim());
        let hits = self.hits(&text);
        Snippet { field, text, hits }
    }
}

impl Snippet {
    /// The text with every hit changed by `mark`.
    #[must_use]
    pub fn marked(&self, mark: impl Fn(&str) -> String) -> String {
        marked(&self.text, &self.hits, mark)
    }
}

/// A text with some ranges changed by `mark`.
#[must_use]
pub fn marked(text: &str, hits: &[Range<usize>], mark: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut done = 0;
    for hit in hits {
        out.push_str(&text[done..hit.start]);
        out.push_str(&mark(&text[hit.clone()]));
        done = hit.end;
    }
    out.push_str(&text[done..]);
    out
}

/// The words of a text: letters and digits, and marks that belong to the letter before.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_word = |c: char| c.is_alphanumeric() || fold(c.encode_utf8(&mut [0; 4])).is_empty();
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        while rest.peek().is_some_and(|(_, c)| !is_word(*c)) {
            rest.next();
        }
        let (start, first) = rest.next()?;
        let mut end = start + first.len_utf8();
        while let Some((at, c)) = rest.next_if(|(_, c)| is_word(*c)) {
            end = at + c.len_utf8();
        }
        Some(start..end)
    })
}

fn strings<'a>(value: &'a Value, path: &str, out: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => out.push((path.to_owned(), text)),
        Value::Array(items) => items.iter().for_each(|item| strings(item, path, out)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                strings(value, &path, out);
            }
        }
        _ => {}
    }
}

/// The position `chars` characters after `from`.
fn ahead(text: &str, from: usize, chars: usize) -> usize {
    text[from..].char_indices().nth(chars).map_or(text.len(), |(at, _)| from + at)
}

/// The position `chars` characters before `to`.
fn behind(text: &str, to: usize, chars: usize) -> usize {
    text[..to].char_indices().rev().take(chars).last().map_or(to, |(at, _)| at)
}

/// The beginning of the first word that begins at or after `from`.
fn word_start(text: &str, from: usize) -> usize {
    if from == 0 {
        return 0;
    }
    text[from..].find(' ').map_or(from, |space| from + space + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bracketed(query: &str, text: &str) -> String {
        Wanted::new(query).of_text(text).marked(|hit| format!("[{hit}]"))
    }

    #[test]
    fn every_form_of_a_word_is_a_hit_and_nothing_else() {
        assert_eq!(bracketed("sanctions", "Sanctioned, not sanctimonious"), "[Sanctioned], not sanctimonious");
        assert_eq!(bracketed("G28-01", "see g28-01."), "see [g28]-[01].");
        assert_eq!(bracketed("آب‌انبار", "در آب انبار قديم"), "در [آب] [انبار] قديم");
        assert_eq!(bracketed("قدیم", "در آب انبار قديم"), "در آب انبار [قديم]");
        assert_eq!(bracketed("", "nothing wanted"), "nothing wanted");
    }

    #[test]
    fn the_piece_shown_is_where_most_words_are() {
        let filler = "lorem ipsum dolor sit amet ".repeat(20);
        let text = format!("{filler}night here {filler}the night flow there {filler}");
        let shown = bracketed("night flow", &text);
        assert!(shown.contains("[night] [flow]") && shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() < WIDTH + 10);
    }

    #[test]
    fn of_an_entity_the_field_is_named_and_keys_are_no_text() {
        let content = r#"{"id":"G1","status":"flow","notes":[{"flow":"none"},{"text":"night flow\nis high"}]}"#;
        let snippet = Wanted::new("night flow").of_json(content, "G1");
        assert_eq!((snippet.field.as_str(), snippet.text.as_str()), ("notes.text", "night flow is high"));
        assert_eq!(Wanted::new("G1").of_json(content, "G1").field, "notes.text");
    }
}
