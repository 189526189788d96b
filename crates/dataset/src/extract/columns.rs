//! Values of the typed table's columns.

use std::borrow::Cow;

use super::Extraction;
use super::entity::{calendar_date, shorten};
use crate::dataset::{ColumnType, Sections};
use crate::pyjson;
use crate::rows::{Severity, TypedValue};
use crate::yaml::{Document, Id, Value};

/// How well a value fits its column.
enum Fit {
    /// The column holds all of it.
    Whole(TypedValue),
    /// The column holds a part of it or none, by design.
    Part(TypedValue),
    /// It is of another type.
    Mismatch,
}

/// Values of all columns, and the rest as JSON.
pub(super) fn typed(
    extraction: &mut Extraction<'_, '_>,
    entity: Id,
    pointer: &str,
    id: &str,
    id_field: Option<&str>,
) -> (Vec<TypedValue>, Option<String>) {
    let dataset = extraction.dataset;
    if dataset.columns.is_empty() {
        return (Vec::new(), None);
    }
    let mut values = Vec::with_capacity(dataset.columns.len());
    let mut held: Vec<&str> = id_field.into_iter().collect();
    if let Some(Sections::List(pointer, _)) = &dataset.sections
        && let Some(field) = pointer.strip_prefix('/')
        && !field.contains('/')
    {
        // Sections have a table of their own.
        held.push(field);
    }
    let mut not_held: Vec<&str> = Vec::new();
    for column in &dataset.columns {
        let source = column.source.as_str();
        let Some(value) = extraction.doc.get(entity, source) else {
            values.push(TypedValue::Null);
            continue;
        };
        match fit(extraction.doc, value, &column.column_type) {
            Fit::Whole(value) => {
                held.push(source);
                values.push(value);
            }
            Fit::Part(value) => values.push(value),
            Fit::Mismatch => {
                not_held.push(source);
                values.push(TypedValue::Null);
                let message = format!(
                    "'{}' does not fit column {} ({}); the column is null, the value is in extra",
                    shorten(&pyjson::to_str(extraction.doc, value)),
                    column.name,
                    type_name(&column.column_type)
                );
                let at = extraction.doc.node(value).start;
                let pointer = format!("{pointer}/{source}");
                let severity = Severity::Warning;
                extraction.issue(at, severity, "column-type", &pointer, Some(id), message);
            }
        }
    }
    held.retain(|field| !not_held.contains(field));
    (values, extra(extraction.doc, entity, &held))
}

fn extra(doc: &Document<'_>, entity: Id, held: &[&str]) -> Option<String> {
    let Value::Map(pairs) = doc.value(entity) else { return None };
    let mut out = String::new();
    for &(key, value) in pairs {
        if doc.text(key).is_some_and(|name| held.contains(&name)) {
            continue;
        }
        out.push_str(if out.is_empty() { "{" } else { ", " });
        pyjson::quote(&pyjson::key_text(doc.value(key)), &mut out);
        out.push_str(": ");
        pyjson::dump(doc, value, &mut out);
    }
    if out.is_empty() {
        return None;
    }
    out.push('}');
    Some(out)
}

fn fit(doc: &Document<'_>, id: Id, column: &ColumnType) -> Fit {
    let value = doc.value(id);
    if matches!(value, Value::Null) {
        return Fit::Whole(TypedValue::Null);
    }
    let whole = |value| Fit::Whole(value);
    match (column, value) {
        (ColumnType::Text, value) if is_scalar(value) => whole(TypedValue::Text(pyjson::to_str(doc, id))),
        (ColumnType::Integer, Value::Int(i)) => whole(TypedValue::Integer(*i)),
        #[allow(clippy::cast_precision_loss)]
        (ColumnType::Number, Value::Int(i)) => whole(TypedValue::Number(*i as f64)),
        (ColumnType::Number, Value::Float(f)) => whole(TypedValue::Number(*f)),
        (ColumnType::Boolean, Value::Bool(b)) => whole(TypedValue::Boolean(*b)),
        (ColumnType::Date, value) => match (calendar_date(value), value) {
            // The time of day is kept in extra.
            (Some(date), Value::DateTime(_)) => Fit::Part(TypedValue::Date(date)),
            (Some(date), _) => whole(TypedValue::Date(date)),
            (None, _) => Fit::Mismatch,
        },
        (ColumnType::TextList, Value::Seq(items)) => {
            whole(TypedValue::TextList(items.iter().map(|&item| element(doc, item).into_owned()).collect()))
        }
        (ColumnType::TextList, value) if is_scalar(value) => whole(TypedValue::TextList(vec![pyjson::to_str(doc, id)])),
        (ColumnType::Json, _) => {
            let mut json = String::new();
            pyjson::dump(doc, id, &mut json);
            whole(TypedValue::Json(json))
        }
        (ColumnType::Records(fields), Value::Seq(items)) => records(doc, items, fields),
        (ColumnType::PercentLow, value) => Fit::Part(percent(doc, id, value, |range| range.0)),
        (ColumnType::PercentHigh, value) => Fit::Part(percent(doc, id, value, |range| range.1)),
        _ => Fit::Mismatch,
    }
}

fn is_scalar(value: &Value<'_>) -> bool {
    !matches!(value, Value::Seq(_) | Value::Map(_) | Value::Bytes(_))
}

/// A list element as text: scalars as they are, the rest as JSON.
fn element<'d>(doc: &'d Document<'_>, id: Id) -> Cow<'d, str> {
    match doc.value(id) {
        Value::Str(text) => Cow::Borrowed(text),
        value if is_scalar(value) && !matches!(value, Value::Null) => Cow::Owned(pyjson::to_str(doc, id)),
        _ => {
            let mut json = String::new();
            pyjson::dump(doc, id, &mut json);
            Cow::Owned(json)
        }
    }
}

fn records(doc: &Document<'_>, items: &[Id], fields: &[String]) -> Fit {
    let mut rows = Vec::with_capacity(items.len());
    let mut all_held = true;
    for &item in items {
        let Value::Map(pairs) = doc.value(item) else { return Fit::Mismatch };
        all_held &= pairs.iter().all(|&(key, _)| doc.text(key).is_some_and(|name| fields.iter().any(|f| f == name)));
        let row = fields.iter().map(|field| {
            let value = doc.get(item, field).filter(|&id| !matches!(doc.value(id), Value::Null))?;
            Some(element(doc, value).into_owned())
        });
        rows.push(row.collect());
    }
    let rows = TypedValue::Records(rows);
    if all_held { Fit::Whole(rows) } else { Fit::Part(rows) }
}

fn percent(doc: &Document<'_>, id: Id, value: &Value<'_>, pick: impl Fn((f64, f64)) -> f64) -> TypedValue {
    let range = match value {
        Value::Str(text) => percent_range(text),
        Value::Int(_) | Value::Float(_) => percent_range(&format!("{}%", pyjson::to_str(doc, id))),
        _ => None,
    };
    range.map_or(TypedValue::Null, |range| TypedValue::Number(pick(range)))
}

/// `7-13%`, `7–13 %`, `7% to 13%` or `10%` at the start of a text.
fn percent_range(text: &str) -> Option<(f64, f64)> {
    fn number(text: &str) -> Option<(f64, &str)> {
        let len = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        Some((text[..len].parse().ok()?, &text[len..]))
    }
    let text = text.trim_start_matches(['~', '<', '>', '≤', '≥', ' ']);
    let (low, rest) = number(text)?;
    let rest = rest.trim_start();
    let after_percent = rest.strip_prefix('%');
    let rest = after_percent.unwrap_or(rest).trim_start();
    let second = ["-", "\u{2013}", "to "]
        .iter()
        .find_map(|separator| rest.strip_prefix(separator))
        .and_then(|rest| number(rest.trim_start()))
        .filter(|(_, rest)| rest.trim_start().starts_with('%'));
    match (second, after_percent) {
        (Some((high, _)), _) => Some((low, high)),
        (None, Some(_)) => Some((low, low)),
        (None, None) => None,
    }
}

fn type_name(column: &ColumnType) -> &'static str {
    match column {
        ColumnType::Text => "text",
        ColumnType::Integer => "integer",
        ColumnType::Number => "number",
        ColumnType::Boolean => "boolean",
        ColumnType::Date => "date",
        ColumnType::TextList => "text[]",
        ColumnType::Json => "json",
        ColumnType::Records(_) => "records",
        ColumnType::PercentLow => "percent-low",
        ColumnType::PercentHigh => "percent-high",
    }
}

#[cfg(test)]
mod tests {
    use super::percent_range;

    #[test]
    fn percentages_are_read_as_ranges() {
        assert_eq!(percent_range("7-13%"), Some((7.0, 13.0)));
        assert_eq!(percent_range("7% to 13% (new)"), Some((7.0, 13.0)));
        assert_eq!(percent_range("~2.5–4 %"), Some((2.5, 4.0)));
        assert_eq!(percent_range("10%"), Some((10.0, 10.0)));
        assert_eq!(percent_range("N/A"), None);
        assert_eq!(percent_range("7-13"), None);
        assert_eq!(percent_range("5 of 7"), None);
        assert_eq!(percent_range("1.2.3%"), None);
    }
}
