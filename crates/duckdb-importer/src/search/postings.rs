//! From the search text of one document to the rows of the index.

use std::collections::HashMap;

use super::tokenize::{MAX_WORD_CHARS, for_each_word};

/// What marks the name of a document itself; no word of a text begins so.
pub(super) const OWN: char = '=';
/// How often the id of a document itself counts: so often that the document's length does not matter.
const ID_WEIGHT: u16 = 1000;
/// The same for its other names: less, because another document may have one of them as its id.
const ALIAS_WEIGHT: u16 = 20;

/// How often one word occurs in each field of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The word, folded, as written.
    pub word: String,
    /// Occurrences in title, tags and content, in this order.
    pub counts: [u16; 3],
}

/// The words of one document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// One entry per word, in order of the words.
    pub postings: Vec<Posting>,
    /// All occurrences together.
    pub len: u32,
}

/// Counts the words of a document. `ids` are its id, if it has one, and then its other names.
#[must_use]
pub fn document(ids: &[&str], title: &str, tags: &str, content: &str) -> Document {
    let mut counts: HashMap<String, [u16; 3]> = HashMap::new();
    let mut len = 0_u32;
    let mut add = |word: &str, field: usize, times: u16| {
        if word.len() > MAX_WORD_CHARS && word.chars().count() > MAX_WORD_CHARS {
            return;
        }
        len = len.saturating_add(times.into());
        // Most words repeat, so most calls need no new key.
        match counts.get_mut(word) {
            Some(known) => known[field] = known[field].saturating_add(times),
            None => {
                let mut fresh = [0; 3];
                fresh[field] = times;
                counts.insert(word.to_owned(), fresh);
            }
        }
    };
    for (field, text) in [title, tags, content].into_iter().enumerate() {
        for_each_word(text, |word| add(word, field, 1));
    }
    let mut names = Vec::new();
    for id in ids {
        let mut name = OWN.to_string();
        for_each_word(id, |word| {
            add(word, 0, 1);
            name.push_str(word);
        });
        names.push(name);
    }
    let weights = std::iter::once(ID_WEIGHT).chain(std::iter::repeat(ALIAS_WEIGHT));
    for (name, weight) in names.into_iter().zip(weights).filter(|(name, _)| name.len() > OWN.len_utf8()) {
        counts.entry(name).or_insert([weight, 0, 0]);
    }
    let mut postings: Vec<_> = counts.into_iter().map(|(word, counts)| Posting { word, counts }).collect();
    postings.sort_unstable_by(|a, b| a.word.cmp(&b.word));
    Document { postings, len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_counts_its_words_by_field_and_carries_its_own_names() {
        let doc = document(&["G1-2", "g1"], "Water gap", "gap", "water, water");
        let counts: Vec<_> = doc.postings.iter().map(|p| (p.word.as_str(), p.counts)).collect();
        let expected = [
            ("2", [1, 0, 0]),
            ("=g1", [20, 0, 0]),
            ("=g12", [1000, 0, 0]),
            ("g1", [2, 0, 0]),
            ("gap", [1, 1, 0]),
            ("water", [1, 0, 2]),
        ];
        assert_eq!(counts, expected);
        assert_eq!(doc.len, 8);
    }

    #[test]
    fn absurdly_long_words_are_left_out() {
        assert_eq!(document(&[], &"x".repeat(65), &"ی".repeat(64), "").postings.len(), 1);
    }
}
