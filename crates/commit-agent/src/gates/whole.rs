//! Whether a file was saved whole.

use baft_dataset::dataset::CONFIG_FILE;
use baft_dataset::dataset::Datasets;
use baft_dataset::dataset::Format;
use baft_dataset::extract::{parse_file, read};
use baft_dataset::rows::FileState;
use baft_dataset::yaml::ErrorKind;

use super::Policy;

/// Smaller files shrink to nearly nothing in ordinary work.
const WORTH_WATCHING: usize = 1024;

/// What is wrong with a file that was probably saved half.
///
/// A file of a declared dataset must parse. Other YAML and JSON must too, unless it did not before: then
/// it may be of a kind that we cannot judge.
pub(super) fn damage(policy: &Policy, path: &str, bytes: &[u8], previous: Option<&[u8]>) -> Option<String> {
    let before = previous.unwrap_or_default();
    if bytes.is_empty() && before.len() > 1 {
        return Some(format!("it is empty now and had {} bytes; if that is meant, release it", before.len()));
    }
    if before.len() >= WORTH_WATCHING && bytes.len() < before.len() / 10 {
        return Some(format!(
            "it has {} bytes now and had {}, more than 90 % are gone; if that is meant, release it",
            bytes.len(),
            before.len()
        ));
    }
    if path == CONFIG_FILE {
        let error = Datasets::parse(CONFIG_FILE, &String::from_utf8_lossy(bytes)).err()?;
        return Some(format!("line {}: {}", error.line, error.message));
    }
    if let Some(dataset) = policy.datasets.for_path(path) {
        if let Err(error) = read(bytes, dataset.format) {
            // Too large or too deep for the importer is no sign of a half-saved file.
            if error.kind == ErrorKind::Limit {
                return None;
            }
            return Some(format!("line {}: {}; it lands when it parses", error.line, error.message));
        }
        let shapeless = |bytes: &[u8]| parse_file(path, bytes, dataset, None);
        let now = shapeless(bytes);
        if now.state == FileState::Unparsable
            && previous.is_some_and(|before| shapeless(before).state != FileState::Unparsable)
        {
            let message = now.issues.first().map_or("it cannot be read", |issue| issue.message.as_str());
            return Some(format!("{message}; it had them before"));
        }
        return None;
    }
    let (line, message) = unreadable(path, bytes)?;
    if previous.is_some_and(|before| unreadable(path, before).is_some()) {
        return None;
    }
    Some(format!("line {line}: {message}; it lands when it parses"))
}

/// Where and why a file that no dataset declares cannot be read, if it is YAML or JSON at all.
///
/// It may hold several documents, tags of another program or a template's braces: only what no reader
/// could make sense of counts.
fn unreadable(path: &str, bytes: &[u8]) -> Option<(u32, String)> {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    let format = match extension.as_str() {
        "yaml" | "yml" => Format::Yaml,
        "json" => Format::Json,
        _ => return None,
    };
    let has = |piece: &str| bytes.windows(piece.len()).any(|window| window == piece.as_bytes());
    let lines = bytes.split_inclusive(|&b| b == b'\n');
    let starts = |line: &[u8], with: &str| line.trim_ascii_start().starts_with(with.as_bytes());
    let foreign = match format {
        Format::Json => lines.clone().any(|line| starts(line, "//") || starts(line, "/*")),
        _ => has("{{") || has("{%"),
    };
    if foreign || bytes.trim_ascii().is_empty() {
        return None;
    }
    // Document by document; a mark of an end or a start belongs to what follows it.
    let (mut from, mut at, mut before, mut line_number) = (0, 0, 0, 0u32);
    for line in lines.chain([&b"---\n"[..]]) {
        if format == Format::Yaml && line.starts_with(b"---") || at == bytes.len() {
            if let Err(error) = read(&bytes[from..at], format)
                && matches!(error.kind, ErrorKind::Syntax | ErrorKind::Encoding)
            {
                return Some((before + error.line, error.message));
            }
            (from, before) = (at, line_number);
        }
        at += line.len();
        line_number += 1;
    }
    None
}
