//! Whether a file was saved whole.

use baft_dataset::dataset::CONFIG_FILE;
use baft_dataset::dataset::Datasets;
use baft_dataset::dataset::Format;
use baft_dataset::extract::{parse_file, read};
use baft_dataset::rows::FileState;

use super::Policy;

/// Smaller files shrink to nearly nothing in ordinary work.
const WORTH_WATCHING: usize = 1024;

/// What is wrong with a file that was probably saved half.
///
/// A file of a declared dataset must parse. Other YAML and JSON must only go on to parse if it did
/// before: it may be a template, or hold several documents, which are not ours to judge.
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
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    let format = match extension.as_str() {
        "yaml" | "yml" => Format::Yaml,
        "json" => Format::Json,
        _ => return None,
    };
    let error = read(bytes, format).err()?;
    read(previous?, format).ok()?;
    Some(format!("line {}: {}; it lands when it parses", error.line, error.message))
}
