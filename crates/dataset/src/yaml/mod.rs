//! YAML as PyYAML's `safe_load` reads it, with a source position for every value.
//!
//! The data's authors validate with PyYAML, so PyYAML is the truth: YAML 1.1 scalars (`no` is a
//! boolean, `1:30` is ninety), its line breaks, its rules for tabs, keys and comments. No Rust
//! crate reads YAML that way (measured: on inputs that one of the two accepts, a YAML 1.2 parser
//! disagrees on one in four), so the grammar is here: `scan` makes tokens, `compose` makes
//! nodes, `resolve` types scalars. `docs/decisions/0006-yaml-as-pyyaml-reads-it.md` tells why.
//!
//! Unlike PyYAML it has a budget ([`Limits`]), refuses what JSON cannot hold, never recurses
//! deeper than the budget and never panics: every input gives a [`Document`] or a [`YamlError`]
//! in time linear in its length.

mod block_scalar;
mod collections;
mod compose;
mod cursor;
mod document;
mod flow_scalar;
mod indicators;
mod json_reader;
mod layout;
mod mapping;
mod number;
mod resolve;
mod scan;
mod tag;
mod time;
mod token;

pub use document::{Document, Id, Mark, Node, Note, Value};
pub use json_reader::parse_json;

/// What a file may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file.
    pub bytes: usize,
    /// Nested lists and mappings.
    pub depth: usize,
    /// Values, counted after aliases are expanded.
    pub nodes: usize,
    /// Uses of an alias.
    pub aliases: usize,
    /// Bytes of text, counted after aliases are expanded.
    pub expanded_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 8 << 20, depth: 64, nodes: 250_000, aliases: 1_000, expanded_bytes: 32 << 20 }
    }
}

/// Why a text cannot be read, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {col}: {message}")]
pub struct YamlError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub col: u32,
    /// What kind of trouble it is.
    pub kind: ErrorKind,
    /// What is wrong and what to do.
    pub message: String,
}

/// Kinds of [`YamlError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not UTF-8, or a character that YAML forbids.
    Encoding,
    /// Not well-formed.
    Syntax,
    /// Well-formed, but a value that cannot be built.
    Value,
    /// Over a limit.
    Limit,
}

impl ErrorKind {
    /// Stable code for reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::Encoding => "encoding",
            ErrorKind::Syntax => "syntax",
            ErrorKind::Value => "value",
            ErrorKind::Limit => "limit",
        }
    }
}

impl YamlError {
    pub(crate) fn at(mark: Mark, kind: ErrorKind, message: impl Into<String>) -> Self {
        YamlError { line: mark.line, col: mark.col, kind, message: message.into() }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// When the text is not one YAML document that PyYAML would load and JSON could hold, or goes over
/// a limit.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, YamlError> {
    let text = cursor::check_text(bytes, limits)?;
    parse_at(text, 1, limits)
}

/// Reads one YAML document that starts at line `first_line` of a larger file (front matter).
pub(crate) fn parse_at<'a>(
    text: cursor::Text<'a>,
    first_line: u32,
    limits: &Limits,
) -> Result<Document<'a>, YamlError> {
    compose::Composer::new(scan::Scanner::new(text, first_line, limits.depth), limits).document()
}

pub(crate) use cursor::check_text;
pub(crate) use layout::{Layout, Part, Place, Spot, Style, parse_with_layout};
pub(crate) use time::is_calendar_date;
