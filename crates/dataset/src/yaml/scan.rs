//! From characters to tokens, by PyYAML's rules: where keys may stand, how indentation opens and
//! closes blocks, what comments and directives look like.

use std::collections::VecDeque;

use super::cursor::{Cursor, Text};
use super::token::{Kind, Token};
use super::{ErrorKind, Mark, YamlError};

/// A token that turns out to be a key if a `:` follows on the same line, within 1,024 characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct PossibleKey {
    pub token_number: usize,
    /// Nothing but a key may stand here.
    required: bool,
    index: usize,
    line: u32,
    pub column: usize,
    pub mark: Mark,
}

/// Makes tokens.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) tokens: VecDeque<Token<'a>>,
    /// Tokens handed out so far.
    pub(super) taken: usize,
    pub(super) flow_level: usize,
    /// Column of the current block, -1 outside.
    pub(super) indent: isize,
    pub(super) indents: Vec<isize>,
    pub(super) allow_simple_key: bool,
    /// At most one per flow level.
    pub(super) possible_keys: Vec<Option<PossibleKey>>,
    pub(super) done: bool,
    pub(super) max_depth: usize,
    /// Where the last token handed out ends.
    pub(super) last_end: u32,
}

impl<'a> Scanner<'a> {
    pub fn new(text: Text<'a>, first_line: u32, max_depth: usize) -> Self {
        Scanner {
            cursor: Cursor::new(text, first_line),
            tokens: VecDeque::new(),
            taken: 0,
            flow_level: 0,
            indent: -1,
            indents: Vec::new(),
            allow_simple_key: true,
            possible_keys: vec![None],
            done: false,
            max_depth,
            last_end: 0,
        }
    }

    /// The next token, which stays.
    pub fn peek(&mut self) -> Result<&Token<'a>, YamlError> {
        self.fill()?;
        let here = self.cursor.mark();
        self.tokens.front().ok_or_else(|| past_the_end(here))
    }

    /// The next token.
    pub fn next(&mut self) -> Result<Token<'a>, YamlError> {
        self.fill()?;
        self.taken += 1;
        let here = self.cursor.mark();
        let token = self.tokens.pop_front().ok_or_else(|| past_the_end(here))?;
        self.last_end = token.end;
        Ok(token)
    }

    /// Fetches tokens until it is certain what the next one is.
    #[inline]
    fn fill(&mut self) -> Result<(), YamlError> {
        while !self.done {
            if !self.tokens.is_empty() {
                self.drop_stale_keys()?;
                let nearest = self.possible_keys.iter().flatten().map(|key| key.token_number).min();
                if nearest != Some(self.taken) {
                    break;
                }
            }
            self.fetch()?;
        }
        Ok(())
    }

    pub(super) fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError::at(self.cursor.mark(), ErrorKind::Syntax, message)
    }

    pub(super) fn push(&mut self, kind: Kind<'a>, start: Mark) {
        let last_line = self.cursor.line();
        self.tokens.push_back(Token { kind, start, last_line, end: self.cursor.mark().pos });
    }

    fn fetch(&mut self) -> Result<(), YamlError> {
        self.skip_to_token();
        self.drop_stale_keys()?;
        self.close_blocks(isize::try_from(self.cursor.column).unwrap_or(isize::MAX));
        let first_column = self.cursor.column == 0;
        let blank_next = || self.cursor.blank_at(1);
        match self.cursor.peek() {
            0 => self.fetch_end(),
            b'%' if first_column => {
                self.leave_blocks()?;
                let token = self.scan_directive()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'-' if first_column && self.cursor.at_document_indicator() => {
                self.fetch_document_indicator(Kind::DocumentStart)
            }
            b'.' if first_column && self.cursor.at_document_indicator() => {
                self.fetch_document_indicator(Kind::DocumentEnd)
            }
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => {
                self.allow_simple_key = true;
                self.forget_key()?;
                self.push_indicator(Kind::FlowEntry);
                Ok(())
            }
            b'-' if blank_next() => self.fetch_block_entry(),
            b'?' if self.flow_level > 0 || blank_next() => self.fetch_key(),
            b':' if self.flow_level > 0 || blank_next() => self.fetch_value(),
            b'*' => self.fetch_named(Kind::Alias),
            b'&' => self.fetch_named(Kind::Anchor),
            b'!' => {
                self.save_key()?;
                self.allow_simple_key = false;
                let token = self.scan_tag()?;
                self.tokens.push_back(token);
                Ok(())
            }
            style @ (b'|' | b'>') if self.flow_level == 0 => {
                self.allow_simple_key = true;
                self.forget_key()?;
                let token = self.scan_block_scalar(style == b'>')?;
                self.tokens.push_back(token);
                Ok(())
            }
            quote @ (b'\'' | b'"') => {
                self.save_key()?;
                self.allow_simple_key = false;
                let token = self.scan_quoted(quote)?;
                self.tokens.push_back(token);
                Ok(())
            }
            _ if self.plain_may_start() => {
                self.save_key()?;
                self.allow_simple_key = false;
                let token = self.scan_plain();
                self.tokens.push_back(token);
                Ok(())
            }
            b'\t' => Err(self.error("a tab cannot stand here; indent and separate with spaces")),
            b'%' | b'@' | b'`' | b'|' | b'>' => {
                Err(self.error(format!("a value cannot start with '{}'; put it in quotes", self.cursor.peek() as char)))
            }
            _ => Err(self.error(format!("{} cannot stand here; put the value in quotes", self.found()))),
        }
    }

    /// Skips spaces, comments and line breaks. Not tabs: PyYAML refuses them before a token.
    fn skip_to_token(&mut self) {
        self.cursor.skip_byte_order_mark();
        loop {
            self.cursor.skip_spaces();
            if self.cursor.peek() == b'#' {
                self.cursor.skip_to_break();
            }
            if self.cursor.take_break().is_none() {
                return;
            }
            if self.flow_level == 0 {
                self.allow_simple_key = true;
            }
        }
    }

    fn plain_may_start(&self) -> bool {
        match self.cursor.peek() {
            b'-' => !self.cursor.blank_at(1),
            b'?' | b':' => self.flow_level == 0 && !self.cursor.blank_at(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@'
            | b'`' => false,
            _ => !self.cursor.blank_at(0),
        }
    }

    // Keys without '?'.

    fn drop_stale_keys(&mut self) -> Result<(), YamlError> {
        let (line, index) = (self.cursor.line(), self.cursor.index);
        for slot in &mut self.possible_keys {
            if let Some(key) = slot
                && (key.line != line || index - key.index > 1024)
            {
                if key.required {
                    return Err(missing_colon(key.mark));
                }
                *slot = None;
            }
        }
        Ok(())
    }

    pub(super) fn save_key(&mut self) -> Result<(), YamlError> {
        if !self.allow_simple_key {
            return Ok(());
        }
        self.forget_key()?;
        let column = self.cursor.column;
        self.possible_keys[self.flow_level] = Some(PossibleKey {
            token_number: self.taken + self.tokens.len(),
            required: self.flow_level == 0 && usize::try_from(self.indent) == Ok(column),
            index: self.cursor.index,
            line: self.cursor.line(),
            column,
            mark: self.cursor.mark(),
        });
        Ok(())
    }

    pub(super) fn forget_key(&mut self) -> Result<(), YamlError> {
        match self.possible_keys[self.flow_level].take() {
            Some(key) if key.required => Err(missing_colon(key.mark)),
            _ => Ok(()),
        }
    }

    // Indentation.

    pub(super) fn close_blocks(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.indent = self.indents.pop().unwrap_or(-1);
            self.push(Kind::BlockEnd, self.cursor.mark());
        }
    }

    /// Opens a block at `column` if that is deeper than the current one.
    pub(super) fn open_block(&mut self, column: usize) -> Result<bool, YamlError> {
        let column = isize::try_from(column).unwrap_or(isize::MAX);
        if self.indent >= column {
            return Ok(false);
        }
        if self.indents.len() + self.flow_level >= self.max_depth {
            return Err(self.too_deep());
        }
        self.indents.push(self.indent);
        self.indent = column;
        Ok(true)
    }

    pub(super) fn too_deep(&self) -> YamlError {
        YamlError::at(
            self.cursor.mark(),
            ErrorKind::Limit,
            format!("nested deeper than {} levels; flatten the data", self.max_depth),
        )
    }

    pub(super) fn leave_blocks(&mut self) -> Result<(), YamlError> {
        self.close_blocks(-1);
        self.forget_key()?;
        self.allow_simple_key = false;
        Ok(())
    }
}

fn missing_colon(mark: Mark) -> YamlError {
    YamlError::at(
        mark,
        ErrorKind::Syntax,
        "a key is expected here, but no ':' follows it on the same line (within 1,024 \
         characters); add the ':' or indent the text to belong to the line above",
    )
}

fn past_the_end(mark: Mark) -> YamlError {
    YamlError::at(mark, ErrorKind::Syntax, "the file ends too early")
}
