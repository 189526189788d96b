//! Tokens.

use std::borrow::Cow;

use super::Mark;

/// A token and where it starts and ends.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub kind: Kind<'a>,
    pub start: Mark,
    /// Last line that holds a part of it.
    pub last_line: u32,
    /// Bytes before its end in the text.
    pub end: u32,
}

/// Kinds of tokens, as in PyYAML.
#[derive(Debug, PartialEq)]
pub(super) enum Kind<'a> {
    StreamEnd,
    VersionDirective { major: u64 },
    TagDirective { handle: &'a str, prefix: String },
    OtherDirective,
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag { handle: Option<&'a str>, suffix: String },
    Scalar { text: Cow<'a, str>, plain: bool },
}

impl Kind<'_> {
    /// How to name it to a person.
    pub fn describe(&self) -> &'static str {
        match self {
            Kind::StreamEnd => "the end of the file",
            Kind::VersionDirective { .. } | Kind::TagDirective { .. } | Kind::OtherDirective => "a '%' directive",
            Kind::DocumentStart => "'---'",
            Kind::DocumentEnd => "'...'",
            Kind::BlockSequenceStart => "the start of a '- ' list",
            Kind::BlockMappingStart => "the start of a 'key: value' mapping",
            Kind::BlockEnd => "the end of an indented block",
            Kind::FlowSequenceStart => "'['",
            Kind::FlowSequenceEnd => "']'",
            Kind::FlowMappingStart => "'{'",
            Kind::FlowMappingEnd => "'}'",
            Kind::BlockEntry => "'- '",
            Kind::FlowEntry => "','",
            Kind::Key => "a key",
            Kind::Value => "':'",
            Kind::Alias(_) => "an alias",
            Kind::Anchor(_) => "an anchor",
            Kind::Tag { .. } => "a tag",
            Kind::Scalar { .. } => "a value",
        }
    }
}
