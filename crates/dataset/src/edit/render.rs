//! Values as YAML that PyYAML reads back as exactly them, in the manner of the file they go into.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::lint;
use crate::pyjson;
use crate::value::Val;
use crate::yaml::{Document, Limits, Style, Value, parse};

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// What ends its lines.
    pub eol: &'static str,
    /// How much deeper a mapping in a mapping stands.
    pub step: usize,
    /// How much deeper than its key a list stands.
    pub list_offset: usize,
    /// JSON: quotes around every text and key.
    pub json: bool,
    /// Whether a text of several lines may be written as `|`.
    pub literals: bool,
}

/// What a value in a block belongs to; the number is the column of the key or dash.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Under {
    /// A key.
    Key(usize),
    /// A dash.
    Dash(usize),
}

impl Under {
    fn column(self) -> usize {
        match self {
            Under::Key(column) | Under::Dash(column) => column,
        }
    }
}

impl Manner {
    /// What stands after the `:` or `-`: from the space or line break on, to the last character.
    /// `was` is how a text that it replaces was written.
    pub fn block(&self, value: &Val, under: Under, was: Option<Style>) -> String {
        match value {
            Val::Seq(items) if !items.is_empty() => {
                let (column, mut out) = match under {
                    Under::Key(column) => (column + self.list_offset, String::new()),
                    Under::Dash(column) => (column + 2, " ".to_owned()),
                };
                for item in items {
                    self.new_line(&mut out, column);
                    out.push('-');
                    out.push_str(&self.block(item, Under::Dash(column), None));
                }
                out
            }
            Val::Map(pairs) if !pairs.is_empty() => {
                let (column, mut out) = match under {
                    Under::Key(column) => (column + self.step, String::new()),
                    Under::Dash(column) => (column + 2, " ".to_owned()),
                };
                for (key, value) in pairs {
                    self.new_line(&mut out, column);
                    out.push_str(&self.key(key));
                    out.push(':');
                    out.push_str(&self.block(value, Under::Key(column), None));
                }
                out
            }
            Val::Leaf(Value::Str(text)) => {
                let literal = match was {
                    Some(Style::Single | Style::Double) => None,
                    _ => self.literal(text, under),
                };
                format!(" {}", literal.unwrap_or_else(|| self.quoted(text, was, false)))
            }
            other => format!(" {}", self.flow(other, None)),
        }
    }

    /// A line break and indentation, unless this is the first thing after a dash.
    fn new_line(&self, out: &mut String, column: usize) {
        if out != " " {
            out.push_str(self.eol);
            out.extend(std::iter::repeat_n(' ', column));
        }
    }

    /// A value on one line, as it may stand in brackets.
    pub fn flow(&self, value: &Val, was: Option<Style>) -> String {
        match value {
            Val::Seq(items) => {
                let items: Vec<_> = items.iter().map(|item| self.flow(item, None)).collect();
                format!("[{}]", items.join(", "))
            }
            Val::Map(pairs) => {
                let pair = |(key, value): &(Val, Val)| format!("{}: {}", self.key(key), self.flow(value, None));
                format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Val::Leaf(Value::Str(text)) => self.quoted(text, was, true),
            Val::Leaf(Value::Null) => "null".to_owned(),
            Val::Leaf(Value::Bool(b)) => b.to_string(),
            Val::Leaf(Value::Float(f)) => self.float(*f),
            Val::Leaf(Value::Bytes(_)) => String::new(),
            Val::Leaf(leaf) => pyjson::key_text(leaf),
        }
    }

    /// YAML 1.1 wants a point before an exponent.
    fn float(&self, f: f64) -> String {
        let text = pyjson::float_repr(f);
        match text.split_once('e') {
            _ if self.json => text,
            Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
            _ if f.is_nan() => ".nan".to_owned(),
            _ if f.is_infinite() => text.replace("inf", ".inf"),
            _ => text,
        }
    }

    /// A key as it may stand before a `:`, in blocks and in brackets.
    pub fn key(&self, key: &Val) -> String {
        match key {
            Val::Leaf(Value::Str(text)) if self.json => self.quoted(text, None, true),
            Val::Leaf(Value::Str(text)) => {
                let plain =
                    |doc: &Document<'_>| matches!(Val::of_root(doc), Val::Map(p) if p.len() == 1 && p[0].0 == *key);
                let good = may_be_plain(text) && reads(&format!("{text}: v"), plain);
                if good { text.to_string() } else { self.quoted(text, Some(Style::Single), true) }
            }
            other => self.flow(other, None),
        }
    }

    /// A text on one line: plain if that reads back as it, otherwise in quotes.
    fn quoted(&self, text: &str, was: Option<Style>, in_flow: bool) -> String {
        if self.json {
            return Json::String(text.to_owned()).to_string();
        }
        let single = single_may_hold(text);
        match was {
            Some(Style::Double) => return double(text),
            Some(Style::Single) if single => return format!("'{}'", text.replace('\'', "''")),
            _ => {}
        }
        let same = |doc: &Document<'_>| matches!(Val::of_root(doc), Val::Seq(items) if items == [Val::text(text)]);
        let plain = may_be_plain(text)
            && reads(&format!("- {text}\n"), same)
            && reads(&format!("[{text}]"), same)
            && (!in_flow || reads(&format!("{{k: {text}}}"), |_| true))
            && reads(&format!("k: {text}\n"), |_| true);
        if plain {
            return text.to_owned();
        }
        if single { format!("'{}'", text.replace('\'', "''")) } else { double(text) }
    }

    /// A text of several lines as `|`, if that can hold it.
    fn literal(&self, text: &str, under: Under) -> Option<String> {
        let lines = text.strip_suffix('\n').unwrap_or(text);
        if self.json || !self.literals || !text.contains('\n') || !text.chars().all(|c| c == '\n' || is_plain_print(c))
        {
            return None;
        }
        let deeper = match under {
            Under::Key(_) => self.step.clamp(1, 9),
            Under::Dash(_) => 2,
        };
        let mut out = "|".to_owned();
        if text.starts_with([' ', '\n']) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{deeper}");
        }
        match text.len() - text.trim_end_matches('\n').len() {
            0 => out.push('-'),
            1 if !lines.is_empty() => {}
            _ => out.push('+'),
        }
        for line in lines.split('\n') {
            out.push_str(self.eol);
            if !line.is_empty() {
                out.extend(std::iter::repeat_n(' ', under.column() + deeper));
                out.push_str(line);
            }
        }
        let nested = match under {
            Under::Key(0) => format!("k: {out}{}z: 1\n", self.eol),
            Under::Dash(0) => format!("- {out}{}- 1\n", self.eol),
            // Deeper down it is the same text further to the right.
            Under::Key(_) | Under::Dash(_) => return Some(out),
        };
        reads(&nested, |_| true).then_some(out)
    }
}

/// Whether a text is read without anything odd (a date that PyYAML crashes on is read, but odd).
fn reads(text: &str, check: impl FnOnce(&Document<'_>) -> bool) -> bool {
    parse(text.as_bytes(), &Limits::default()).is_ok_and(|doc| doc.notes().is_empty() && check(&doc))
}

/// What the grammar alone does not tell: several lines, and what other readers of YAML take for
/// something else.
fn may_be_plain(text: &str) -> bool {
    let ambiguous = || lint::ambiguous(text, &Value::Str(text.into())).is_some();
    !text.is_empty() && text.chars().all(is_plain_print) && !text.contains('\t') && !ambiguous()
}

fn single_may_hold(text: &str) -> bool {
    text.chars().all(|c| is_plain_print(c) && c != '\t')
}

/// Printable on a line, by YAML 1.1.
fn is_plain_print(c: char) -> bool {
    matches!(c, '\t' | ' '..='~' | '\u{A0}'..='\u{2027}' | '\u{202A}'..='\u{D7FF}' | '\u{E000}'..='\u{FEFE}'
        | '\u{FF00}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

fn double(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\0' => out.write_str("\\0"),
            '\u{85}' => out.write_str("\\N"),
            '\u{2028}' => out.write_str("\\L"),
            '\u{2029}' => out.write_str("\\P"),
            c if is_plain_print(c) => out.write_char(c),
            c if u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c)),
            c => write!(out, "\\u{:04x}", u32::from(c)),
        };
    }
    out.push('"');
    out
}
