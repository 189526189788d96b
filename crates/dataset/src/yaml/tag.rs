//! Tags (`!!str`) and directives (`%YAML`, `%TAG`).

use super::scan::Scanner;
use super::token::{Kind, Token};
use super::{ErrorKind, Mark, YamlError};

impl<'a> Scanner<'a> {
    pub(super) fn scan_tag(&mut self) -> Result<Token<'a>, YamlError> {
        let start = self.cursor.mark();
        let (handle, suffix) = match self.cursor.at(1) {
            b'<' => {
                self.cursor.forward(2);
                let uri = self.tag_uri(start)?;
                if self.cursor.peek() != b'>' {
                    return Err(tag_error(start, "a tag that starts with '!<' ends with '>'"));
                }
                self.cursor.forward(1);
                (None, uri)
            }
            _ if self.cursor.blank_at(1) => {
                self.cursor.forward(1);
                (None, "!".to_owned())
            }
            _ => {
                let handle = if self.second_bang() {
                    self.tag_handle(start)?
                } else {
                    self.cursor.forward(1);
                    "!"
                };
                (Some(handle), self.tag_uri(start)?)
            }
        };
        if !(self.cursor.peek() == b' ' || self.cursor.at_break_or_end()) {
            return Err(tag_error(start, "a space must follow a tag; if this '!' is text, put it in quotes"));
        }
        let here = self.cursor.mark();
        Ok(Token { kind: Kind::Tag { handle, suffix }, start, last_line: here.line, end: here.pos })
    }

    /// Whether another `!` stands before the next space.
    fn second_bang(&self) -> bool {
        let mut len = 1;
        loop {
            match self.cursor.at(len) {
                b'!' => return true,
                0 | b' ' => return false,
                _ if self.cursor.break_len(len) > 0 => return false,
                _ => len += 1,
            }
        }
    }

    /// `!` or `!word!`.
    fn tag_handle(&mut self, start: Mark) -> Result<&'a str, YamlError> {
        let from = self.cursor.pos;
        if self.cursor.peek() != b'!' {
            return Err(tag_error(start, "a tag handle starts with '!'"));
        }
        self.cursor.forward(1);
        if self.cursor.peek() != b' ' {
            self.take_word();
            if self.cursor.peek() != b'!' {
                return Err(tag_error(start, "a tag handle is '!', letters, digits, '-' or '_', and another '!'"));
            }
            self.cursor.forward(1);
        }
        Ok(self.cursor.since(from))
    }

    fn tag_uri(&mut self, start: Mark) -> Result<String, YamlError> {
        let mut uri = Vec::new();
        loop {
            match self.cursor.peek() {
                b'%' => {
                    let digit = |c: u8| (c as char).to_digit(16);
                    let (high, low) = (digit(self.cursor.at(1)), digit(self.cursor.at(2)));
                    let (Some(high), Some(low)) = (high, low) else {
                        return Err(tag_error(start, "'%' in a tag needs two hexadecimal digits"));
                    };
                    uri.push(u8::try_from((high << 4) | low).unwrap_or_default());
                    self.cursor.forward(3);
                }
                c @ (b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') => {
                    uri.push(c);
                    self.cursor.forward(1);
                }
                c if b"-;/?:@&=+$,_.!~*'()[]".contains(&c) => {
                    uri.push(c);
                    self.cursor.forward(1);
                }
                _ => break,
            }
        }
        if uri.is_empty() {
            return Err(tag_error(start, "a tag name is missing after '!'"));
        }
        String::from_utf8(uri).map_err(|_| tag_error(start, "the '%' escapes in this tag are not UTF-8"))
    }

    pub(super) fn scan_directive(&mut self) -> Result<Token<'a>, YamlError> {
        let start = self.cursor.mark();
        self.cursor.forward(1);
        let name = self.take_word();
        if name.is_empty() || !(self.cursor.peek() == b' ' || self.cursor.at_break_or_end()) {
            return Err(tag_error(
                start,
                "a '%' in the first column starts a directive; if it is text, put it in quotes",
            ));
        }
        let kind = match name {
            "YAML" => {
                self.cursor.skip_spaces();
                let major = self.version_number(start)?;
                if self.cursor.peek() != b'.' {
                    return Err(tag_error(start, "write the version as '%YAML 1.1'"));
                }
                self.cursor.forward(1);
                self.version_number(start)?;
                Kind::VersionDirective { major }
            }
            "TAG" => {
                self.cursor.skip_spaces();
                let handle = self.tag_handle(start)?;
                if self.cursor.peek() != b' ' {
                    return Err(tag_error(start, "write '%TAG !handle! prefix'"));
                }
                self.cursor.skip_spaces();
                Kind::TagDirective { handle, prefix: self.tag_uri(start)? }
            }
            _ => {
                self.cursor.skip_to_break();
                Kind::OtherDirective
            }
        };
        if !(self.cursor.peek() == b' ' || self.cursor.at_break_or_end()) {
            return Err(tag_error(start, "a space must follow the directive"));
        }
        let last_line = self.cursor.line();
        self.ignored_line("start the document on the next line")?;
        Ok(Token { kind, start, last_line, end: self.cursor.mark().pos })
    }

    fn version_number(&mut self, start: Mark) -> Result<u64, YamlError> {
        let from = self.cursor.pos;
        while self.cursor.peek().is_ascii_digit() {
            self.cursor.forward(1);
        }
        match self.cursor.since(from) {
            "" => Err(tag_error(start, "write the version as '%YAML 1.1'")),
            digits => Ok(digits.parse().unwrap_or(u64::MAX)),
        }
    }
}

fn tag_error(start: Mark, message: &str) -> YamlError {
    YamlError::at(start, ErrorKind::Syntax, message)
}
