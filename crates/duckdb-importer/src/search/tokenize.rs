//! Cutting text into words. The SQL twin is in [`super::sql`].

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Letters and digits that Persian and Arabic keyboards write differently: what `translate()` is given in SQL. A letter
/// without a partner (the last: tatweel, which only stretches a word) is dropped.
pub(super) const FOLD_FROM: &str = "يىكەة۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩ـ";
/// The letters they become.
pub(super) const FOLD_TO: &str = "ییکهه01234567890123456789";

/// Words longer than this are not indexed: nobody searches for them, and a base64 blob must not fill the dictionary.
pub(super) const MAX_WORD_CHARS: usize = 64;

/// Lower case, without accents, Arabic letters and digits as Persian and Latin ones: what two spellings of a word have
/// in common.
#[must_use]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|b| b.is_ascii_uppercase()) {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        };
    }
    let bare = text.nfd().filter(|&c| !is_combining_mark(c)).nfc();
    bare.map(lower).filter_map(fold_letter).collect::<String>().into()
}

/// DuckDB's `lower` maps one character to one character.
fn lower(c: char) -> char {
    let mut all = c.to_lowercase();
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn fold_letter(c: char) -> Option<char> {
    if !('\u{600}'..='\u{6ff}').contains(&c) {
        return Some(c);
    }
    match FOLD_FROM.chars().position(|from| from == c) {
        Some(at) => FOLD_TO.chars().nth(at),
        None => Some(c),
    }
}

/// `\p{L}` or `\p{N}`.
fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    // `is_alphabetic` is \p{L}, \p{Nl} and Other_Alphabetic: marks, and letters in circles and squares (\p{So}).
    let in_a_circle = matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f149}' | '\u{1f150}'..='\u{1f169}' | '\u{1f170}'..='\u{1f189}');
    c.is_numeric() || (c.is_alphabetic() && !is_combining_mark(c) && !in_a_circle)
}

/// Calls `word` with every word of a text, folded, in order.
pub(super) fn for_each_word(text: &str, mut word: impl FnMut(&str)) {
    // Folding looks no further than white space, and most pieces between it are ASCII.
    for piece in text.split_ascii_whitespace() {
        for part in fold(piece).split(|c| !is_word_char(c)) {
            if !part.is_empty() {
                word(part);
            }
        }
    }
}

/// The words of a text, folded, in order.
#[must_use]
pub fn tokenize(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for_each_word(text, |word| words.push(word.to_owned()));
    words
}

/// What the forms of an English word have in common (`sanctions`, `sanctioned` → `sanction`). Other words, numbers and
/// ids are their own stem.
#[must_use]
pub fn stem(word: &str) -> Cow<'_, str> {
    thread_local! {
        static ENGLISH: Stemmer = Stemmer::create(Algorithm::English);
    }
    if word.len() < 3 || !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return Cow::Borrowed(word);
    }
    ENGLISH.with(|english| english.stem(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_at_everything_but_letters_and_digits() {
        for (text, words) in [
            ("", &[][..]),
            ("  ", &[]),
            ("G28-01", &["g28", "01"]),
            ("Obs 051: the IRGC's role", &["obs", "051", "the", "irgc", "s", "role"]),
            ("%_'\";--", &[]),
            ("Ångström café", &["angstrom", "cafe"]),
            ("می\u{200c}خواهم", &["می", "خواهم"]),
            ("كتاب ي", &["کتاب", "ی"]),
            ("۱۲٣", &["123"]),
            ("آزادی", &["ازادی"]),
            ("ايـــران", &["ایران"]),
        ] {
            assert_eq!(tokenize(text), words, "{text:?}");
        }
    }

    #[test]
    fn only_english_words_have_another_stem() {
        for (word, expected) in [
            ("sanctions", "sanction"),
            ("economies", "economi"),
            ("g28", "g28"),
            ("01", "01"),
            ("کتاب", "کتاب"),
            ("is", "is"),
        ] {
            assert_eq!(stem(word), expected);
        }
    }
}
