//! Tokens of one or a few characters: indicators, anchors and aliases.

use super::scan::Scanner;
use super::token::{Kind, Token};
use super::{ErrorKind, Mark, YamlError};

impl<'a> Scanner<'a> {
    pub(super) fn push_indicator(&mut self, kind: Kind<'a>) {
        let start = self.cursor.mark();
        self.cursor.forward(1);
        self.push(kind, start);
    }

    pub(super) fn fetch_end(&mut self) -> Result<(), YamlError> {
        self.leave_blocks()?;
        self.possible_keys.fill(None);
        self.push(Kind::StreamEnd, self.cursor.mark());
        self.done = true;
        Ok(())
    }

    pub(super) fn fetch_document_indicator(&mut self, kind: Kind<'a>) -> Result<(), YamlError> {
        self.leave_blocks()?;
        let start = self.cursor.mark();
        self.cursor.forward(3);
        self.push(kind, start);
        Ok(())
    }

    pub(super) fn fetch_flow_start(&mut self, kind: Kind<'a>) -> Result<(), YamlError> {
        self.save_key()?;
        if self.indents.len() + self.flow_level >= self.max_depth {
            return Err(self.too_deep());
        }
        self.flow_level += 1;
        if self.possible_keys.len() <= self.flow_level {
            self.possible_keys.push(None);
        }
        self.allow_simple_key = true;
        self.push_indicator(kind);
        Ok(())
    }

    pub(super) fn fetch_flow_end(&mut self, kind: Kind<'a>) -> Result<(), YamlError> {
        self.forget_key()?;
        let Some(level) = self.flow_level.checked_sub(1) else {
            return Err(self.error(format!("{} closes nothing; remove it or put the value in quotes", kind.describe())));
        };
        self.flow_level = level;
        self.allow_simple_key = false;
        self.push_indicator(kind);
        Ok(())
    }

    pub(super) fn fetch_block_entry(&mut self) -> Result<(), YamlError> {
        if self.flow_level == 0 {
            if !self.allow_simple_key {
                return Err(self.error("a '- ' list cannot start here; put it on its own line"));
            }
            if self.open_block(self.cursor.column)? {
                self.push(Kind::BlockSequenceStart, self.cursor.mark());
            }
        }
        self.allow_simple_key = true;
        self.forget_key()?;
        self.push_indicator(Kind::BlockEntry);
        Ok(())
    }

    pub(super) fn fetch_key(&mut self) -> Result<(), YamlError> {
        if self.flow_level == 0 {
            if !self.allow_simple_key {
                return Err(self.error("a '? ' key cannot start here; put it on its own line"));
            }
            if self.open_block(self.cursor.column)? {
                self.push(Kind::BlockMappingStart, self.cursor.mark());
            }
        }
        self.allow_simple_key = self.flow_level == 0;
        self.forget_key()?;
        self.push_indicator(Kind::Key);
        Ok(())
    }

    pub(super) fn fetch_value(&mut self) -> Result<(), YamlError> {
        if let Some(key) = self.possible_keys[self.flow_level].take() {
            let at = key.token_number - self.taken;
            self.insert(at, Kind::Key, key.mark);
            if self.flow_level == 0 && self.open_block(key.column)? {
                self.insert(at, Kind::BlockMappingStart, key.mark);
            }
            self.allow_simple_key = false;
        } else {
            if self.flow_level == 0 {
                if !self.allow_simple_key {
                    return Err(self.error(
                        "a second ': ' cannot stand here; if it belongs to the value, put the \
                         value in quotes",
                    ));
                }
                if self.open_block(self.cursor.column)? {
                    self.push(Kind::BlockMappingStart, self.cursor.mark());
                }
            }
            self.allow_simple_key = self.flow_level == 0;
            self.forget_key()?;
        }
        self.push_indicator(Kind::Value);
        Ok(())
    }

    fn insert(&mut self, at: usize, kind: Kind<'a>, mark: Mark) {
        self.tokens.insert(at, Token { kind, start: mark, last_line: mark.line, end: mark.pos });
    }

    pub(super) fn fetch_named(&mut self, kind: fn(&'a str) -> Kind<'a>) -> Result<(), YamlError> {
        self.save_key()?;
        self.allow_simple_key = false;
        let start = self.cursor.mark();
        self.cursor.forward(1);
        let name = self.take_word();
        let ends = self.cursor.blank_at(0)
            || matches!(self.cursor.peek(), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return Err(YamlError::at(
                start,
                ErrorKind::Syntax,
                "an anchor or alias name is made of letters, digits, '-' and '_'; if this is \
                 text, put it in quotes",
            ));
        }
        self.push(kind(name), start);
        Ok(())
    }

    /// Goes over letters, digits, `-` and `_`.
    pub(super) fn take_word(&mut self) -> &'a str {
        let from = self.cursor.pos;
        let mut len = 0;
        while matches!(self.cursor.at(len), b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_') {
            len += 1;
        }
        self.cursor.forward(len);
        self.cursor.since(from)
    }

    /// Names the character at the cursor.
    pub(super) fn found(&self) -> String {
        match self.cursor.peek_char() {
            None => "the end of the file".to_owned(),
            Some('\n' | '\r') => "a line break".to_owned(),
            Some(c) if c.is_control() || c.is_whitespace() => format!("U+{:04X}", u32::from(c)),
            Some(c) => format!("'{c}'"),
        }
    }
}
