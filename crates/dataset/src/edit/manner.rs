//! How a file is written, read off what it holds.

use super::render::Manner;
use crate::yaml::{Layout, Place, Style};

/// How the file is written: its line breaks and indentation, from the first places that show it.
pub(super) fn manner(text: &str, layout: &Layout, json: bool) -> Manner {
    let eol = match text.find(['\n', '\r']).map(|at| &text[at..]) {
        Some(rest) if rest.starts_with("\r\n") => "\r\n",
        Some(rest) if rest.starts_with('\r') => "\r",
        _ => "\n",
    };
    // How often each is seen; of two that are seen alike, the one deeper in the file.
    let (mut steps, mut offsets) = ([0u32; 17], [0u32; 17]);
    let mut todo: Vec<Place> = layout.root.into_iter().collect();
    while let Some(place) = todo.pop() {
        let spot = layout.spot(place);
        for part in &spot.parts {
            todo.push(part.value);
            let value = layout.spot(part.value);
            let (Some(_), Some(first), Style::BlockMap) = (part.key, value.parts.first(), spot.style) else { continue };
            let Some(deeper) = (first.at.col as usize).checked_sub(part.at.col as usize).filter(|&n| n < 17) else {
                continue;
            };
            match value.style {
                Style::BlockList => offsets[deeper] += 1,
                Style::BlockMap if deeper > 0 => steps[deeper] += 1,
                _ => {}
            }
        }
    }
    let usual = |seen: &[u32]| (0..seen.len()).filter(|&n| seen[n] > 0).max_by_key(|&n| seen[n]);
    let (step, list_offset) = (usual(&steps), usual(&offsets));
    Manner { eol, step: step.unwrap_or(2), list_offset: list_offset.unwrap_or(0), json, literals: true }
}
