//! JSON into the same nodes, so that JSON files have line numbers too.
//!
//! Values are those of Python's `json.loads`; numbers too large for a float, `NaN` and `Infinity`
//! are read as Python reads them. Duplicate keys: the last wins, with a note.

use std::borrow::Cow;

use super::compose::Composer;
use super::cursor::Text;
use super::document::{Document, Id, Mark, Node, Value};
use super::scan::Scanner;
use super::{ErrorKind, Limits, YamlError, number};

type Result<T> = std::result::Result<T, YamlError>;

/// Reads one JSON document.
///
/// # Errors
/// When the bytes are not one JSON document, or go over a limit.
pub fn parse_json<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>> {
    let start = Mark::at(1, 1);
    if bytes.len() > limits.bytes {
        let message = format!("the file has {} bytes, more than the {} allowed; split it", bytes.len(), limits.bytes);
        return Err(YamlError::at(start, ErrorKind::Limit, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = super::cursor::mark_after(&bytes[..error.valid_up_to()]);
        YamlError::at(at, ErrorKind::Encoding, "this is not UTF-8; save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    // The composer brings the node store, its limits and its rules for equal keys.
    let store = Composer::new(Scanner::new(Text::EMPTY, 1, limits.depth), limits);
    let mut reader = Reader { text, pos: 0, line: 1, line_start: 0, store, depth: limits.depth };
    let root = reader.value(0)?;
    reader.skip_space();
    if reader.pos < text.len() {
        return Err(reader.error("only one value may stand in a JSON file"));
    }
    reader.store.doc.root = Some(root);
    Ok(reader.store.doc)
}

struct Reader<'a, 'l> {
    text: &'a str,
    pos: usize,
    line: u32,
    line_start: usize,
    store: Composer<'a, 'l>,
    depth: usize,
}

impl<'a> Reader<'a, '_> {
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.pos).copied().unwrap_or_default()
    }

    fn mark(&self) -> Mark {
        let before = self.text.get(self.line_start..self.pos).unwrap_or_default();
        let col = u32::try_from(before.chars().count()).unwrap_or(u32::MAX - 1) + 1;
        Mark::at(self.line, col)
    }

    fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError::at(self.mark(), ErrorKind::Syntax, message)
    }

    fn skip_space(&mut self) {
        loop {
            match self.peek() {
                b'\n' => {
                    self.line += 1;
                    self.line_start = self.pos + 1;
                }
                b' ' | b'\t' | b'\r' => {}
                _ => return,
            }
            self.pos += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Id> {
        self.skip_space();
        // Columns cost the length of the line; a minified file is one line of many values.
        let start = Mark::at(self.line, self.cheap_col());
        match self.peek() {
            b'[' | b'{' if depth >= self.depth => {
                let message = format!("nested deeper than {} levels; flatten the data", self.depth);
                Err(YamlError::at(start, ErrorKind::Limit, message))
            }
            b'[' => self.array(start, depth),
            b'{' => self.object(start, depth),
            b'"' => {
                let text = self.string()?;
                self.scalar(Value::Str(text), start)
            }
            b'-' | b'0'..=b'9' | b'N' | b'I' => {
                let value = self.number()?;
                self.scalar(value, start)
            }
            _ => {
                for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
                {
                    if self.text[self.pos..].starts_with(word) {
                        self.pos += word.len();
                        return self.scalar(value, start);
                    }
                }
                Err(self.error("a JSON value is expected here"))
            }
        }
    }

    fn cheap_col(&self) -> u32 {
        if self.pos - self.line_start > 4096 {
            return u32::try_from(self.pos - self.line_start).unwrap_or(u32::MAX - 1) + 1;
        }
        self.mark().col
    }

    fn scalar(&mut self, value: Value<'a>, start: Mark) -> Result<Id> {
        let text_bytes = match &value {
            Value::Str(text) => u32::try_from(text.len()).unwrap_or(u32::MAX),
            _ => 0,
        };
        let last_line = self.line;
        self.store.push(Node { value, start, last_line, plain: false, weight: 1, text_bytes, height: 0 })
    }

    fn array(&mut self, start: Mark, depth: usize) -> Result<Id> {
        let mut items = Vec::new();
        self.pos += 1;
        self.skip_space();
        if self.peek() != b']' {
            loop {
                items.push(self.value(depth + 1)?);
                self.skip_space();
                match self.peek() {
                    b',' => self.pos += 1,
                    b']' => break,
                    _ => return Err(self.error("',' or ']' is expected here")),
                }
            }
        }
        self.pos += 1;
        self.store.push_collection(Value::Seq(items), start, self.line)
    }

    fn object(&mut self, start: Mark, depth: usize) -> Result<Id> {
        let mut pairs = Vec::new();
        self.pos += 1;
        self.skip_space();
        if self.peek() != b'}' {
            loop {
                self.skip_space();
                if self.peek() != b'"' {
                    return Err(self.error("a key in double quotes is expected here"));
                }
                let key = self.value(depth + 1)?;
                self.skip_space();
                if self.peek() != b':' {
                    return Err(self.error("':' is expected here"));
                }
                self.pos += 1;
                pairs.push((key, self.value(depth + 1)?));
                self.skip_space();
                match self.peek() {
                    b',' => self.pos += 1,
                    b'}' => break,
                    _ => return Err(self.error("',' or '}' is expected here")),
                }
            }
        }
        self.pos += 1;
        self.store.mapping(pairs, start, self.line, None)
    }

    fn number(&mut self) -> Result<Value<'a>> {
        let rest = &self.text[self.pos..];
        for (word, value) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)] {
            if rest.starts_with(word) {
                self.pos += word.len();
                return Ok(Value::Float(value));
            }
        }
        let digits = |from: usize| rest.as_bytes().iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(rest.starts_with('-'));
        let whole = digits(sign);
        let bad = || self.error("this is not a JSON number");
        if whole == 0 || (whole > 1 && rest.as_bytes().get(sign) == Some(&b'0')) {
            return Err(bad());
        }
        let mut end = sign + whole;
        let mut is_float = false;
        if rest[end..].starts_with('.') {
            let fraction = digits(end + 1);
            if fraction == 0 {
                return Err(bad());
            }
            end += 1 + fraction;
            is_float = true;
        }
        if rest[end..].starts_with(['e', 'E']) {
            let signed = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let exponent = digits(end + 1 + signed);
            if exponent == 0 {
                return Err(bad());
            }
            end += 1 + signed + exponent;
            is_float = true;
        }
        let text = &rest[..end];
        let value = if is_float {
            Value::Float(text.parse().map_err(|_| bad())?)
        } else {
            number::int(text).map_err(|message| YamlError::at(self.mark(), ErrorKind::Value, message))?
        };
        self.pos += end;
        Ok(value)
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.pos += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let from = self.pos;
            while !matches!(self.peek(), b'"' | b'\\' | 0..=0x1F) {
                self.pos += 1;
            }
            let piece = &self.text[from..self.pos];
            if text.is_empty() {
                text = Cow::Borrowed(piece);
            } else {
                text.to_mut().push_str(piece);
            }
            match self.peek() {
                b'"' => {
                    self.pos += 1;
                    return Ok(text);
                }
                b'\\' => {
                    let c = self.escape()?;
                    text.to_mut().push(c);
                }
                _ => {
                    return Err(self.error(
                        "a line break or control character cannot stand in a text; close the \
                         quote or write it as an escape",
                    ));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let letter = self.text.as_bytes().get(self.pos + 1).copied().unwrap_or_default();
        let c = match letter {
            b'"' | b'\\' | b'/' => letter as char,
            b'b' => '\x08',
            b'f' => '\x0C',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex(self.pos + 2)?;
                self.pos += 6;
                let code = if (0xD800..0xDC00).contains(&high) && self.text[self.pos..].starts_with("\\u") {
                    let low = self.hex(self.pos + 2)?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return Err(self.half_pair());
                    }
                    self.pos += 6;
                    0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                } else {
                    high
                };
                return char::from_u32(code).ok_or_else(|| self.half_pair());
            }
            _ => return Err(self.error("there is no such escape in JSON")),
        };
        self.pos += 2;
        Ok(c)
    }

    fn half_pair(&self) -> YamlError {
        let message = "half of a surrogate pair is no character; write the character itself";
        YamlError::at(self.mark(), ErrorKind::Value, message)
    }

    fn hex(&self, at: usize) -> Result<u32> {
        self.text
            .get(at..at + 4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.error("\\u needs four hexadecimal digits"))
    }
}
