//! Quoted and plain scalars.

use std::borrow::Cow;

use super::cursor::Break;
use super::scan::Scanner;
use super::token::{Kind, Token};
use super::{ErrorKind, Mark, YamlError};

/// Text that stays borrowed while it is one piece of the source.
struct Pieces<'a>(Cow<'a, str>);

impl<'a> Pieces<'a> {
    fn push(&mut self, piece: &'a str) {
        if self.0.is_empty() {
            self.0 = Cow::Borrowed(piece);
        } else if !piece.is_empty() {
            self.0.to_mut().push_str(piece);
        }
    }

    fn push_char(&mut self, c: char) {
        self.0.to_mut().push(c);
    }

    /// A folded line break: the first becomes a space unless empty lines follow, which stay.
    fn push_folded(&mut self, first: Break, more: &[Break]) {
        if first != Break::Line {
            self.push(first.as_str());
        } else if more.is_empty() {
            self.push(" ");
        }
        for line_break in more {
            self.push(line_break.as_str());
        }
    }
}

const QUOTED_STOP: [bool; 256] = stops(b"'\"\\\0 \t\r\n\xC2\xE2");
const PLAIN_STOP: [bool; 256] = stops(b"\0 \t\r\n:\xC2\xE2");
const PLAIN_FLOW_STOP: [bool; 256] = stops(b"\0 \t\r\n:\xC2\xE2,?[]{}");

const fn stops(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
}

impl<'a> Scanner<'a> {
    pub(super) fn scan_quoted(&mut self, quote: u8) -> Result<Token<'a>, YamlError> {
        let start = self.cursor.mark();
        let mut pieces = Pieces(Cow::Borrowed(""));
        self.cursor.forward(1);
        self.quoted_words(quote, start, &mut pieces)?;
        while self.cursor.peek() != quote {
            self.quoted_spaces(start, &mut pieces)?;
            self.quoted_words(quote, start, &mut pieces)?;
        }
        self.cursor.forward(1);
        let here = self.cursor.mark();
        let kind = Kind::Scalar { text: pieces.0, plain: false };
        Ok(Token { kind, start, last_line: here.line, end: here.pos })
    }

    /// Everything up to a space, tab, line break, the closing quote or the end.
    fn quoted_words(&mut self, quote: u8, start: Mark, pieces: &mut Pieces<'a>) -> Result<(), YamlError> {
        loop {
            let from = self.cursor.pos;
            let mut len = 0;
            loop {
                let b = self.cursor.at(len);
                if QUOTED_STOP[b as usize] && (b < 0x80 || self.cursor.break_len(len) > 0) {
                    break;
                }
                len += 1;
            }
            self.cursor.forward(len);
            pieces.push(self.cursor.since(from));
            match self.cursor.peek() {
                b'\'' if quote == b'\'' && self.cursor.at(1) == b'\'' => {
                    pieces.push_char('\'');
                    self.cursor.forward(2);
                }
                c @ (b'\'' | b'"') if c != quote => {
                    pieces.push_char(c as char);
                    self.cursor.forward(1);
                }
                b'\\' if quote == b'\'' => {
                    pieces.push_char('\\');
                    self.cursor.forward(1);
                }
                b'\\' => self.escape(start, pieces)?,
                _ => return Ok(()),
            }
        }
    }

    fn escape(&mut self, start: Mark, pieces: &mut Pieces<'a>) -> Result<(), YamlError> {
        let at = self.cursor.mark();
        self.cursor.forward(1);
        if self.cursor.break_len(0) > 0 {
            self.cursor.take_break();
            for line_break in self.quoted_breaks(start)? {
                pieces.push(line_break.as_str());
            }
            return Ok(());
        }
        let digits = match self.cursor.peek() {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            letter => {
                let c = simple_escape(letter).ok_or_else(|| {
                    YamlError::at(
                        at,
                        ErrorKind::Syntax,
                        format!(
                            "'\\' followed by {} is no escape; double the backslash or use single \
                             quotes",
                            self.found()
                        ),
                    )
                })?;
                pieces.push_char(c);
                self.cursor.forward(1);
                return Ok(());
            }
        };
        self.cursor.forward(1);
        let mut code = 0u32;
        for i in 0..digits {
            let digit = (self.cursor.at(i) as char).to_digit(16).ok_or_else(|| {
                YamlError::at(at, ErrorKind::Syntax, format!("this escape needs {digits} hexadecimal digits"))
            })?;
            code = (code << 4) | digit;
        }
        let c = char::from_u32(code).ok_or_else(|| {
            let message = if (0xD800..0xE000).contains(&code) {
                "half of a surrogate pair is no character; write the character itself or one \\U \
                 escape with 8 digits"
            } else {
                "there is no such character; Unicode ends at \\U0010FFFF"
            };
            YamlError::at(at, ErrorKind::Value, message)
        })?;
        pieces.push_char(c);
        self.cursor.forward(digits);
        Ok(())
    }

    fn quoted_spaces(&mut self, start: Mark, pieces: &mut Pieces<'a>) -> Result<(), YamlError> {
        let from = self.cursor.pos;
        let mut len = 0;
        while matches!(self.cursor.at(len), b' ' | b'\t') {
            len += 1;
        }
        self.cursor.forward(len);
        if self.cursor.peek() == 0 {
            return Err(YamlError::at(start, ErrorKind::Syntax, "this quote is never closed; add the closing quote"));
        }
        let spaces = self.cursor.since(from);
        match self.cursor.take_break() {
            Some(first) => {
                let more = self.quoted_breaks(start)?;
                pieces.push_folded(first, &more);
            }
            None => pieces.push(spaces),
        }
        Ok(())
    }

    /// Empty lines inside quotes; the next text line's indentation does not matter.
    fn quoted_breaks(&mut self, start: Mark) -> Result<Vec<Break>, YamlError> {
        let mut breaks = Vec::new();
        loop {
            if self.cursor.at_document_indicator() {
                return Err(YamlError::at(
                    start,
                    ErrorKind::Syntax,
                    format!("this quote is not closed before the document ends on line {}", self.cursor.line()),
                ));
            }
            while matches!(self.cursor.peek(), b' ' | b'\t') {
                self.cursor.forward(1);
            }
            match self.cursor.take_break() {
                Some(line_break) => breaks.push(line_break),
                None => return Ok(breaks),
            }
        }
    }

    pub(super) fn scan_plain(&mut self) -> Token<'a> {
        let start = self.cursor.mark();
        let (mut last_line, mut end) = (start.line, start.pos);
        let indent = self.indent + 1;
        let in_flow = self.flow_level > 0;
        let table = if in_flow { &PLAIN_FLOW_STOP } else { &PLAIN_STOP };
        let mut pieces = Pieces(Cow::Borrowed(""));
        // Words on one line and the spaces between them are one borrowed piece.
        let mut from = self.cursor.pos;
        let mut len = self.plain_word(table, in_flow);
        while len > 0 {
            self.allow_simple_key = false;
            self.cursor.forward(len);
            (last_line, end) = (self.cursor.line(), self.cursor.mark().pos);
            let piece = self.cursor.since(from);
            let spaces = self.cursor.skip_spaces();
            if self.cursor.break_len(0) == 0 {
                len = match self.cursor.peek() {
                    b'#' => 0,
                    _ if spaces == 0 => 0,
                    _ => self.plain_word(table, in_flow),
                };
                if len == 0 {
                    pieces.push(piece);
                }
                continue;
            }
            pieces.push(piece);
            let Some((first, more)) = self.plain_breaks() else { break };
            let shallow = isize::try_from(self.cursor.column).unwrap_or(isize::MAX) < indent;
            if self.cursor.peek() == b'#' || (!in_flow && shallow) {
                break;
            }
            len = self.plain_word(table, in_flow);
            if len > 0 {
                pieces.push_folded(first, &more);
            }
            from = self.cursor.pos;
        }
        Token { kind: Kind::Scalar { text: pieces.0, plain: true }, start, last_line, end }
    }

    /// Bytes up to what ends a word of a plain scalar.
    #[inline]
    fn plain_word(&self, table: &[bool; 256], in_flow: bool) -> usize {
        let mut len = 0;
        loop {
            let b = self.cursor.at(len);
            if table[b as usize] {
                let ends = match b {
                    b':' => {
                        self.cursor.blank_at(len + 1)
                            || (in_flow && matches!(self.cursor.at(len + 1), b',' | b'[' | b']' | b'{' | b'}'))
                    }
                    0xC2 | 0xE2 => self.cursor.break_len(len) > 0,
                    _ => true,
                };
                if ends {
                    return len;
                }
            }
            len += 1;
        }
    }

    /// Line breaks between two lines of a plain scalar; `None` when a document indicator follows.
    fn plain_breaks(&mut self) -> Option<(Break, Vec<Break>)> {
        let first = self.cursor.take_break()?;
        self.allow_simple_key = true;
        if self.cursor.at_document_indicator() {
            return None;
        }
        let mut more = Vec::new();
        loop {
            self.cursor.skip_spaces();
            match self.cursor.take_break() {
                Some(line_break) => {
                    more.push(line_break);
                    if self.cursor.at_document_indicator() {
                        return None;
                    }
                }
                None => return Some((first, more)),
            }
        }
    }
}

fn simple_escape(letter: u8) -> Option<char> {
    Some(match letter {
        b'0' => '\0',
        b'a' => '\x07',
        b'b' => '\x08',
        b't' | b'\t' => '\t',
        b'n' => '\n',
        b'v' => '\x0B',
        b'f' => '\x0C',
        b'r' => '\r',
        b'e' => '\x1B',
        b' ' => ' ',
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'N' => '\u{85}',
        b'_' => '\u{A0}',
        b'L' => '\u{2028}',
        b'P' => '\u{2029}',
        _ => return None,
    })
}
