//! Markdown with YAML front matter: the fields, and the text below as the field `body`.

use std::borrow::Cow;

use crate::rows::SectionRow;
use crate::yaml::{Document, ErrorKind, Id, Limits, Mark, Node, Note, Value, YamlError, check_text, parse_at};

/// The field that holds the text.
pub(crate) const BODY: &str = "body";

pub(super) fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, YamlError> {
    if bytes.len() > limits.bytes {
        // Says the limit.
        check_text(bytes, limits)?;
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|&&b| b == b'\n').count() + 1;
        let at = Mark::at(to_u32(line), 1);
        YamlError::at(at, ErrorKind::Encoding, "this is not UTF-8; save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let Some((front, body, body_line)) = split(text)? else {
        return Ok(with_body(Document::default(), text, 1));
    };
    let front = check_text(front.as_bytes(), limits).map_err(|error| YamlError { line: error.line + 1, ..error })?;
    let doc = parse_at(front, 2, limits)?;
    if let Some(root) = doc.root()
        && !matches!(doc.value(root), Value::Map(_) | Value::Null)
    {
        let message = "front matter must be 'key: value' lines";
        return Err(YamlError::at(doc.node(root).start, ErrorKind::Syntax, message));
    }
    Ok(with_body(doc, body, body_line))
}

/// Where the front matter stands, without its fences; `None` when there is none.
pub(crate) fn front_matter(text: &str) -> Result<Option<std::ops::Range<usize>>, YamlError> {
    let bare = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mark = text.len() - bare.len();
    Ok(split(bare)?.map(|(front, _, _)| {
        let from = mark + bare.find('\n').map_or(0, |i| i + 1);
        from..from + front.len()
    }))
}

/// Front matter, body and the body's first line.
fn split(text: &str) -> Result<Option<(&str, &str, u32)>, YamlError> {
    let is_fence = |line: &str, fences: &[&str]| fences.contains(&line.trim_end());
    let Some(first_end) = text.find('\n') else { return Ok(None) };
    if !is_fence(&text[..first_end], &["---"]) {
        return Ok(None);
    }
    let mut pos = first_end + 1;
    for (line, whole) in (2..).zip(text[pos..].split_inclusive('\n')) {
        if is_fence(whole, &["---", "..."]) {
            return Ok(Some((&text[first_end + 1..pos], &text[pos + whole.len()..], line + 1)));
        }
        pos += whole.len();
    }
    let message = "the front matter that starts here is never closed; add a line '---' after it";
    Err(YamlError::at(Mark::at(1, 1), ErrorKind::Syntax, message))
}

/// Adds the body to the root mapping.
fn with_body<'a>(mut doc: Document<'a>, body: &'a str, line: u32) -> Document<'a> {
    let mut add = |value| {
        let start = Mark::at(line, 1);
        let id = Id(to_u32(doc.nodes.len()));
        let lines = to_u32(body.lines().count());
        let last_line = line + lines.saturating_sub(1);
        doc.nodes.push(Node { value, start, last_line, plain: false, weight: 1, text_bytes: 0, height: 0 });
        id
    };
    let key = add(Value::Str(Cow::Borrowed(BODY)));
    let body = add(Value::Str(Cow::Borrowed(body)));
    let last_line = doc.node(body).last_line;
    let root = match doc.root.filter(|&root| matches!(doc.value(root), Value::Map(_))) {
        Some(root) => root,
        None => {
            let root = Id(to_u32(doc.nodes.len()));
            let node = doc.node(key).clone();
            doc.nodes.push(Node { value: Value::Map(Vec::new()), ..node });
            doc.root = Some(root);
            root
        }
    };
    if let Some((key, _)) = doc.get_pair(root, BODY) {
        doc.notes.push(Note {
            at: doc.node(key).start,
            code: "duplicate-key",
            message: "the text below the front matter is the field 'body' and replaces this one; \
                      rename it"
                .to_owned(),
        });
    }
    let node = &mut doc.nodes[root.0 as usize];
    node.start = Mark::at(1, 1);
    node.last_line = last_line;
    if let Value::Map(pairs) = &mut node.value {
        let named = |pairs: &[(Id, Id)], nodes: &[Node<'_>]| {
            pairs.iter().position(|(k, _)| matches!(&nodes[k.0 as usize].value, Value::Str(text) if text == BODY))
        };
        let mut new = std::mem::take(pairs);
        match named(&new, &doc.nodes) {
            Some(at) => new[at].1 = body,
            None => new.push((key, body)),
        }
        doc.nodes[root.0 as usize].value = Value::Map(new);
    }
    doc
}

/// Sections between `#` headings. Text before the first heading is a section without a title.
pub(super) fn sections(body: &str, first_line: u32, kind: &str, doc_id: &str) -> Vec<SectionRow> {
    let mut rows: Vec<SectionRow> = Vec::new();
    // Levels and pointers of the sections that are open.
    let mut open: Vec<(i64, String)> = Vec::new();
    let mut fence: Option<&str> = None;
    for (line, text) in (first_line..).zip(body.split_inclusive('\n')) {
        let trimmed = text.trim();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        let heading = if fence.is_none() { heading(text) } else { None };
        if heading.is_some() || (rows.is_empty() && !trimmed.is_empty()) {
            let (level, title) = heading.map_or((None, ""), |(level, title)| (Some(level), title));
            let depth_level = level.unwrap_or(i64::MAX);
            open.retain(|(other, _)| *other < depth_level);
            let pointer = format!("/{BODY}/{}", rows.len());
            rows.push(SectionRow {
                doc_kind: kind.to_owned(),
                doc_id: doc_id.to_owned(),
                section_id: String::new(),
                parent_pointer: open.last().map(|(_, pointer)| pointer.clone()),
                ord: to_u32(rows.len()),
                depth: to_u32(open.len()) + 1,
                level,
                title: title.to_owned(),
                tags: Vec::new(),
                content: String::new(),
                line_start: line,
                pointer: pointer.clone(),
            });
            if level.is_some() {
                open.push((depth_level, pointer));
            }
        }
        if heading.is_none()
            && let Some(row) = rows.last_mut()
        {
            row.content.push_str(text);
        }
    }
    for row in &mut rows {
        row.content = row.content.trim().to_owned();
    }
    rows
}

/// Level and title of a `#` heading.
fn heading(line: &str) -> Option<(i64, &str)> {
    let text = line.trim_end();
    let indent = text.bytes().take_while(|&b| b == b' ').count();
    let hashes = text[indent..].bytes().take_while(|&b| b == b'#').count();
    let title = &text[indent + hashes..];
    if indent > 3 || !(1..=6).contains(&hashes) || !(title.is_empty() || title.starts_with(' ')) {
        return None;
    }
    let level = i64::try_from(hashes).ok()?;
    Some((level, title.trim().trim_end_matches('#').trim_end()))
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
