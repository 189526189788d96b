//! Finding mentions of entities in prose: `Obs 010/034`, `Traps 9-11`, `G28-01`.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

/// Ranges longer than this are taken for something else.
const MAX_RANGE: u64 = 50;

/// A pattern and the id its matches stand for.
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    regex: Regex,
    template: Vec<Part>,
}

/// A part of an id template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `{1}`: the captured text.
    Captured,
    /// `{n}`, `{n2}`: the captured number, at least this many digits.
    Number(usize),
}

/// A mention in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<'t> {
    pub raw: &'t str,
    pub target: String,
    at: usize,
}

impl Mention {
    /// # Errors
    /// What is wrong with the pattern or the template.
    pub fn new(pattern: &str, template: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(pattern).unicode(false).size_limit(1 << 20).build().map_err(|error| {
            let last = error.to_string().lines().last().unwrap_or_default().to_owned();
            format!("pattern is no regular expression: {last}")
        })?;
        if regex.captures_len() != 2 {
            return Err("pattern needs exactly one (group) around the id or number".to_owned());
        }
        Ok(Mention { regex, template: parse_template(template)? })
    }

    fn is_numbered(&self) -> bool {
        self.template.iter().any(|part| matches!(part, Part::Number(_)))
    }

    fn id(&self, captured: &str) -> Option<String> {
        let mut id = String::new();
        for part in &self.template {
            match part {
                Part::Literal(text) => id.push_str(text),
                Part::Captured => id.push_str(captured),
                Part::Number(width) => {
                    let number: u64 = captured.parse().ok()?;
                    id.push_str(&format!("{number:0width$}"));
                }
            }
        }
        Some(id)
    }
}

fn parse_template(template: &str) -> Result<Vec<Part>, String> {
    let bad = || format!("id \"{template}\" may use {{1}}, {{n}} and {{n2}} to {{n9}} only");
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(bad)?;
        parts.push(Part::Literal(before.to_owned()));
        parts.push(match name.as_bytes() {
            b"1" => Part::Captured,
            b"n" => Part::Number(1),
            [b'n', width @ b'2'..=b'9'] => Part::Number(usize::from(width - b'0')),
            _ => return Err(bad()),
        });
        rest = after;
    }
    if parts.is_empty() {
        return Err(bad());
    }
    parts.push(Part::Literal(rest.to_owned()));
    Ok(parts)
}

/// All patterns of a declaration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mentions(pub Vec<Mention>);

impl Mentions {
    /// All mentions in a text, in reading order.
    pub fn find<'t>(&self, text: &'t str) -> Vec<Found<'t>> {
        let mut found = Vec::new();
        for mention in &self.0 {
            for captures in mention.regex.captures_iter(text.as_bytes()) {
                let (Some(all), Some(group)) = (captures.get(0), captures.get(1)) else { continue };
                // Byte patterns could match inside a character; such a match is not text.
                let Some(word) = text.get(group.range()) else { continue };
                let numbers = if mention.is_numbered() {
                    numbers(text, word, group.range())
                } else {
                    vec![(word.to_owned(), all.end())]
                };
                for (number, end) in numbers {
                    let raw = text.get(all.start()..end);
                    if let (Some(raw), Some(target)) = (raw, mention.id(&number)) {
                        found.push(Found { raw, target, at: all.start() });
                    }
                }
            }
        }
        found.sort_by_key(|found| found.at);
        found
    }
}

/// The number a mention starts with and those that follow it in a list or range, each with the
/// end of the words that name it.
fn numbers(text: &str, first: &str, at: Range<usize>) -> Vec<(String, usize)> {
    let mut numbers = vec![(first.to_owned(), at.end)];
    let mut last = first;
    let mut end = at.end;
    loop {
        let rest = &text[end..];
        let Some((separator, next)) =
            ["/", "+", "-", "\u{2013}", ", "].iter().find_map(|s| rest.strip_prefix(s).map(|next| (*s, next)))
        else {
            return numbers;
        };
        let len = next.bytes().take_while(u8::is_ascii_digit).count();
        let number = &next[..len];
        // `Trap 9, 2026` is no list: a comma must be followed by a number written alike.
        let alike = separator != ", " || (last.len() > 1 && number.len() == last.len());
        let ends = !next[len..].starts_with(|c: char| c.is_alphanumeric() || c == '%');
        let (Ok(from), Ok(to)) = (last.parse::<u64>(), number.parse::<u64>()) else {
            return numbers;
        };
        if !alike || !ends {
            return numbers;
        }
        end += separator.len() + len;
        if matches!(separator, "-" | "\u{2013}") {
            if to <= from || to - from > MAX_RANGE {
                return numbers;
            }
            numbers.extend((from + 1..to).map(|n| (n.to_string(), end)));
        }
        numbers.push((number.to_owned(), end));
        last = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mentions = Mentions(vec![
            Mention::new(r"\bObs (\d+)", "Obs-{n}").unwrap(),
            Mention::new(r"\bTraps? (\d+)", "Trap-{n}").unwrap(),
            Mention::new(r"\bBrief #?(\d+)", "B{n2}").unwrap(),
            Mention::new(r"\b(G\d+-\d+)\b", "{1}").unwrap(),
        ]);
        mentions.find(text).into_iter().map(|found| found.target).collect()
    }

    #[test]
    fn numbers_lose_leading_zeros_and_ids_stay_as_they_are() {
        assert_eq!(found("see Obs 007, G28-01 and Brief #3"), ["Obs-7", "G28-01", "B03"]);
        assert_eq!(found("— «Obs 7»، G1-2"), ["Obs-7", "G1-2"]);
    }

    #[test]
    fn lists_and_ranges_name_every_member() {
        assert_eq!(found("Obs 010/034/048"), ["Obs-10", "Obs-34", "Obs-48"]);
        assert_eq!(found("Traps 9-11"), ["Trap-9", "Trap-10", "Trap-11"]);
        assert_eq!(found("Traps 9+10, x"), ["Trap-9", "Trap-10"]);
        assert_eq!(found("Obs 010, 014 and"), ["Obs-10", "Obs-14"]);
    }

    #[test]
    fn years_percents_and_sizes_after_a_mention_are_not_members() {
        assert_eq!(found("Trap 9, 2026"), ["Trap-9"]);
        assert_eq!(found("Trap 9-4000"), ["Trap-9"]);
        assert_eq!(found("Obs 010/20%"), ["Obs-10"]);
    }

    #[test]
    fn a_pattern_without_its_one_group_is_refused() {
        assert!(Mention::new(r"\d+", "{n}").unwrap_err().contains("one (group)"));
        assert!(Mention::new(r"(\d+", "{n}").unwrap_err().contains("regular expression"));
        assert!(Mention::new(r"(\d+)", "x{m}").unwrap_err().contains("{n2}"));
    }
}
