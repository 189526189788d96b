//! The checked text of a file and a position in it.

use super::{ErrorKind, Limits, Mark, YamlError};

/// Text that holds only characters YAML allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(super) text: &'a str,
    /// Whether it holds line breaks beyond CR and LF (U+0085, U+2028, U+2029).
    exotic_breaks: bool,
    /// Whether it holds a byte order mark anywhere.
    byte_order_mark: bool,
}

impl<'a> Text<'a> {
    /// No text.
    pub(super) const EMPTY: Text<'static> = Text { text: "", exotic_breaks: false, byte_order_mark: false };
}

/// Checks size, encoding and characters.
pub(crate) fn check_text<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Text<'a>, YamlError> {
    let start = Mark::at(1, 1);
    if bytes.len() > limits.bytes {
        let message = format!("the file has {} bytes, more than the {} allowed; split it", bytes.len(), limits.bytes);
        return Err(YamlError::at(start, ErrorKind::Limit, message));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let message = "the file is UTF-16; save it as UTF-8";
        return Err(YamlError::at(start, ErrorKind::Encoding, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        YamlError::at(
            mark_after(good),
            ErrorKind::Encoding,
            format!("byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"),
        )
    })?;
    let mut exotic_breaks = false;
    let mut byte_order_mark = false;
    for (i, &b) in bytes.iter().enumerate() {
        if PRINTABLE[b as usize] == 0 {
            continue;
        }
        let next = |n: usize| bytes.get(i + n).copied().unwrap_or_default();
        let bad = match b {
            0xC2 => match next(1) {
                0x85 => {
                    exotic_breaks = true;
                    false
                }
                second => second < 0xA0,
            },
            0xE2 => {
                exotic_breaks |= next(1) == 0x80 && matches!(next(2), 0xA8 | 0xA9);
                false
            }
            0xEF => {
                byte_order_mark |= next(1) == 0xBB && next(2) == 0xBF;
                next(1) == 0xBF && next(2) >= 0xBE
            }
            _ => true,
        };
        if bad {
            let found = text[i..].chars().next().map_or(0, u32::from);
            return Err(YamlError::at(
                mark_after(&bytes[..i]),
                ErrorKind::Encoding,
                format!(
                    "character U+{found:04X} is not allowed in YAML; remove it or write it as \
                     an escape in double quotes"
                ),
            ));
        }
    }
    Ok(Text { text, exotic_breaks, byte_order_mark })
}

/// 1 for bytes that need a closer look: controls, DEL and the lead bytes of special characters.
const PRINTABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 0x20 {
        table[b] = 1;
        b += 1;
    }
    table[b'\t' as usize] = 0;
    table[b'\n' as usize] = 0;
    table[b'\r' as usize] = 0;
    table[0x7F] = 1;
    table[0xC2] = 1;
    table[0xE2] = 1;
    table[0xEF] = 1;
    table
};

pub(super) fn mark_after(bytes: &[u8]) -> Mark {
    let line_start = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let line = bytes.iter().filter(|&&b| b == b'\n').count();
    Mark::at(to_u32(line) + 1, to_u32(count_chars(&bytes[line_start..])) + 1)
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn count_chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b & 0xC0 != 0x80).count()
}

/// A line break that scalars keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// CR, LF, CR LF or U+0085; read as LF.
    Line,
    /// U+2028.
    LineSeparator,
    /// U+2029.
    ParagraphSeparator,
}

impl Break {
    pub fn as_str(self) -> &'static str {
        match self {
            Break::Line => "\n",
            Break::LineSeparator => "\u{2028}",
            Break::ParagraphSeparator => "\u{2029}",
        }
    }
}

/// A position in a text. The end of the text reads as byte 0, which the text cannot hold.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: Text<'a>,
    bytes: &'a [u8],
    /// Byte offset.
    pub pos: usize,
    /// Characters before the position.
    pub index: usize,
    line: u32,
    /// Characters before the position on this line; byte order marks do not count.
    pub column: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: Text<'a>, first_line: u32) -> Self {
        Cursor { text, bytes: text.text.as_bytes(), pos: 0, index: 0, line: first_line, column: 0 }
    }

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { line: self.line, col: to_u32(self.column) + 1, pos: to_u32(self.pos) }
    }

    #[inline]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The byte at a place.
    pub fn byte(&self, pos: u32) -> u8 {
        self.bytes.get(pos as usize).copied().unwrap_or_default()
    }

    #[inline]
    pub fn peek(&self) -> u8 {
        self.at(0)
    }

    #[inline]
    pub fn at(&self, offset: usize) -> u8 {
        self.bytes.get(self.pos + offset).copied().unwrap_or_default()
    }

    #[inline]
    pub fn starts_with(&self, prefix: &[u8]) -> bool {
        self.bytes[self.pos..].starts_with(prefix)
    }

    /// The character at the position, for messages.
    pub fn peek_char(&self) -> Option<char> {
        self.text.text[self.pos..].chars().next()
    }

    /// The text from `from` to the position. Both are at character boundaries because the cursor
    /// stops only at ASCII bytes, lead bytes and the end.
    #[inline]
    pub fn since(&self, from: usize) -> &'a str {
        &self.text.text[from..self.pos]
    }

    /// Goes forward over `len` bytes that hold no line break.
    #[inline]
    pub fn forward(&mut self, len: usize) {
        let passed = &self.bytes[self.pos..self.pos + len];
        let chars = count_chars(passed);
        self.pos += len;
        self.index += chars;
        self.column += chars;
        if self.text.byte_order_mark {
            self.column -= passed.windows(3).filter(|w| w == b"\xEF\xBB\xBF").count();
        }
    }

    /// Goes forward over spaces and returns how many.
    #[inline]
    pub fn skip_spaces(&mut self) -> usize {
        let n = self.bytes[self.pos..].iter().take_while(|&&b| b == b' ').count();
        self.pos += n;
        self.index += n;
        self.column += n;
        n
    }

    /// Bytes of the line break at `offset` from the position, 0 if there is none.
    #[inline]
    pub fn break_len(&self, offset: usize) -> usize {
        match self.at(offset) {
            b'\n' => 1,
            b'\r' => 1 + usize::from(self.at(offset + 1) == b'\n'),
            0xC2 if self.text.exotic_breaks && self.at(offset + 1) == 0x85 => 2,
            0xE2 if self.text.exotic_breaks
                && self.at(offset + 1) == 0x80
                && matches!(self.at(offset + 2), 0xA8 | 0xA9) =>
            {
                3
            }
            _ => 0,
        }
    }

    /// Whether a line break or the end is at the position.
    #[inline]
    pub fn at_break_or_end(&self) -> bool {
        self.peek() == 0 || self.break_len(0) > 0
    }

    /// Whether a space, tab, line break or the end is at `offset` from the position.
    #[inline]
    pub fn blank_at(&self, offset: usize) -> bool {
        matches!(self.at(offset), 0 | b' ' | b'\t') || self.break_len(offset) > 0
    }

    /// Goes over a line break, if there is one.
    #[inline]
    pub fn take_break(&mut self) -> Option<Break> {
        let len = self.break_len(0);
        let kind = match (len, self.at(2)) {
            (0, _) => return None,
            (3, 0xA8) => Break::LineSeparator,
            (3, _) => Break::ParagraphSeparator,
            _ => Break::Line,
        };
        self.index += if len == 2 && self.peek() == b'\r' { 2 } else { 1 };
        self.pos += len;
        self.line += 1;
        self.column = 0;
        Some(kind)
    }

    /// Where the line before this one ends.
    pub fn before_last_break(&self) -> u32 {
        let before = self.text.text[..self.pos].trim_end_matches(' ');
        let cut =
            before.strip_suffix("\r\n").or_else(|| before.strip_suffix(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']));
        to_u32(cut.unwrap_or(before).len())
    }

    /// Goes to the next line break or the end.
    #[inline]
    pub fn skip_to_break(&mut self) {
        let rest = &self.bytes[self.pos..];
        let mut len = 0;
        while let Some(&b) = rest.get(len) {
            let stop = b == b'\n' || b == b'\r' || (self.text.exotic_breaks && b >= 0xC2 && self.break_len(len) > 0);
            if stop {
                break;
            }
            len += 1;
        }
        self.forward(len);
    }

    /// Goes over a byte order mark at the very start.
    pub fn skip_byte_order_mark(&mut self) {
        if self.index == 0 && self.starts_with(b"\xEF\xBB\xBF") {
            self.forward(3);
        }
    }

    /// Whether `---` or `...` stands here and ends the document (the caller knows the column).
    pub fn at_document_indicator(&self) -> bool {
        (self.starts_with(b"---") || self.starts_with(b"...")) && self.blank_at(3)
    }
}
