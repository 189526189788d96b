//! Literal (`|`) and folded (`>`) scalars.

use std::borrow::Cow;

use super::YamlError;
use super::cursor::Break;
use super::scan::Scanner;
use super::token::{Kind, Token};

/// What happens to the line breaks at the end.
#[derive(Clone, Copy, PartialEq)]
enum Chomp {
    /// `-`: none stays.
    Strip,
    /// The first stays.
    Clip,
    /// `+`: all stay.
    Keep,
}

impl<'a> Scanner<'a> {
    pub(super) fn scan_block_scalar(&mut self, folded: bool) -> Result<Token<'a>, YamlError> {
        let start = self.cursor.mark();
        self.cursor.forward(1);
        let (chomp, increment, header_end) = self.block_header()?;
        let min_indent = usize::try_from(self.indent + 1).unwrap_or(0).max(1);
        let (indent, mut empty_lines) = match increment {
            Some(n) => {
                let indent = min_indent + n - 1;
                (indent, self.block_breaks(indent))
            }
            None => {
                let (breaks, deepest) = self.block_indentation();
                (min_indent.max(deepest), breaks)
            }
        };
        let mut text = String::new();
        let mut last_break = None;
        let mut last_line = start.line;
        // An empty text ends with its header, before the line break.
        let mut end = header_end;
        while self.cursor.column == indent && self.cursor.peek() != 0 {
            push_all(&mut text, &empty_lines);
            let flush = !matches!(self.cursor.peek(), b' ' | b'\t');
            let from = self.cursor.pos;
            self.cursor.skip_to_break();
            text.push_str(self.cursor.since(from));
            (last_line, end) = (self.cursor.line(), self.cursor.mark().pos);
            last_break = self.cursor.take_break();
            empty_lines = self.block_breaks(indent);
            if self.cursor.column != indent || self.cursor.peek() == 0 {
                break;
            }
            let folds =
                folded && last_break == Some(Break::Line) && flush && !matches!(self.cursor.peek(), b' ' | b'\t');
            if !folds {
                text.push_str(last_break.map_or("", Break::as_str));
            } else if empty_lines.is_empty() {
                text.push(' ');
            }
        }
        if chomp != Chomp::Strip {
            text.push_str(last_break.map_or("", Break::as_str));
        }
        if chomp == Chomp::Keep {
            push_all(&mut text, &empty_lines);
            if !empty_lines.is_empty() {
                end = self.cursor.before_last_break();
            }
        }
        let kind = Kind::Scalar { text: Cow::Owned(text), plain: false };
        Ok(Token { kind, start, last_line, end })
    }

    /// Reads `-`, `+` and an indentation digit in any order, and the rest of the line.
    fn block_header(&mut self) -> Result<(Chomp, Option<usize>, u32), YamlError> {
        let mut chomp = self.chomp_sign();
        let mut increment = None;
        if let digit @ b'0'..=b'9' = self.cursor.peek() {
            if digit == b'0' {
                return Err(self.error("the indentation after '|' or '>' is 1 to 9, not 0"));
            }
            increment = Some(usize::from(digit - b'0'));
            self.cursor.forward(1);
            if chomp.is_none() {
                chomp = self.chomp_sign();
            }
        }
        if !(self.cursor.peek() == b' ' || self.cursor.at_break_or_end()) {
            return Err(self.error(format!(
                "after '|' or '>' only '-', '+', a digit and a comment may stand, not {}; start \
                 the text on the next line",
                self.found()
            )));
        }
        let end = self.ignored_line("start the text on the next line")?;
        Ok((chomp.unwrap_or(Chomp::Clip), increment, end))
    }

    fn chomp_sign(&mut self) -> Option<Chomp> {
        let chomp = match self.cursor.peek() {
            b'-' => Chomp::Strip,
            b'+' => Chomp::Keep,
            _ => return None,
        };
        self.cursor.forward(1);
        Some(chomp)
    }

    /// Spaces and a comment to the end of the line; returns where the line break is.
    pub(super) fn ignored_line(&mut self, hint: &str) -> Result<u32, YamlError> {
        self.cursor.skip_spaces();
        if self.cursor.peek() == b'#' {
            self.cursor.skip_to_break();
        }
        if !self.cursor.at_break_or_end() {
            return Err(self.error(format!("only a comment may follow on this line, not {}; {hint}", self.found())));
        }
        let end = self.cursor.mark().pos;
        self.cursor.take_break();
        Ok(end)
    }

    /// Empty lines before the text, and the deepest indentation seen on the way to it.
    fn block_indentation(&mut self) -> (Vec<Break>, usize) {
        let mut breaks = Vec::new();
        let mut deepest = 0;
        loop {
            if self.cursor.skip_spaces() > 0 {
                deepest = deepest.max(self.cursor.column);
            }
            match self.cursor.take_break() {
                Some(line_break) => breaks.push(line_break),
                None => return (breaks, deepest),
            }
        }
    }

    /// Empty lines before the next text line; spaces are skipped up to `indent`.
    fn block_breaks(&mut self, indent: usize) -> Vec<Break> {
        let mut breaks = Vec::new();
        loop {
            while self.cursor.column < indent && self.cursor.peek() == b' ' {
                self.cursor.forward(1);
            }
            match self.cursor.take_break() {
                Some(line_break) => breaks.push(line_break),
                None => return breaks,
            }
        }
    }
}

fn push_all(text: &mut String, breaks: &[Break]) {
    for line_break in breaks {
        text.push_str(line_break.as_str());
    }
}
