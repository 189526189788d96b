//! Values of a query's result, as JSON and as text.

use duckdb::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, MapArray, StringArray, StructArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use duckdb::arrow::datatypes::DataType;
use duckdb::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Number, Value};

/// The value of a row of a column. Numbers that JSON can hold exactly are numbers, lists are arrays, structs and maps
/// are objects; all else (decimals, dates, times, blobs) is a string.
#[must_use]
pub fn json(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    let any = column.as_any();
    macro_rules! number {
        ($type:ty) => {
            any.downcast_ref::<$type>().map(|array| Value::from(array.value(row)))
        };
    }
    let value = match column.data_type() {
        DataType::Null => Some(Value::Null),
        DataType::Boolean => any.downcast_ref::<BooleanArray>().map(|array| Value::from(array.value(row))),
        DataType::Int8 => number!(Int8Array),
        DataType::Int16 => number!(Int16Array),
        DataType::Int32 => number!(Int32Array),
        DataType::Int64 => number!(Int64Array),
        DataType::UInt8 => number!(UInt8Array),
        DataType::UInt16 => number!(UInt16Array),
        DataType::UInt32 => number!(UInt32Array),
        DataType::UInt64 => number!(UInt64Array),
        // Through text, so that a float keeps the digits it has.
        DataType::Float32 => any.downcast_ref::<Float32Array>().map(|array| float(&array.value(row).to_string())),
        DataType::Float64 => any.downcast_ref::<Float64Array>().map(|array| float(&array.value(row).to_string())),
        DataType::Decimal128(_, 0) => text(column, row).map(|digits| whole(&digits)),
        DataType::Utf8 => any.downcast_ref::<StringArray>().map(|array| Value::from(array.value(row))),
        DataType::Struct(_) => any.downcast_ref::<StructArray>().map(|array| object(array, row)),
        DataType::List(_) => column.as_list_opt::<i32>().map(|array| list(&array.value(row))),
        DataType::LargeList(_) => column.as_list_opt::<i64>().map(|array| list(&array.value(row))),
        DataType::FixedSizeList(..) => any.downcast_ref::<FixedSizeListArray>().map(|array| list(&array.value(row))),
        DataType::Map(..) => any.downcast_ref::<MapArray>().map(|array| map(&array.value(row))),
        _ => None,
    };
    value.or_else(|| text(column, row).map(Value::String)).unwrap_or(Value::Null)
}

/// The value as text for a table or CSV; nothing for NULL. Lists, structs and maps are JSON.
#[must_use]
pub fn shown(column: &ArrayRef, row: usize) -> Option<String> {
    match json(column, row) {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn text(column: &ArrayRef, row: usize) -> Option<String> {
    let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
    formatter.value(row).try_to_string().ok()
}

/// JSON knows no infinity.
fn float(digits: &str) -> Value {
    digits
        .parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .map_or_else(|| Value::String(digits.to_owned()), Value::Number)
}

/// `sum(…)` of integers is a 128-bit number, of which most fit 64.
fn whole(digits: &str) -> Value {
    digits.parse::<i64>().map_or_else(|_| Value::String(digits.to_owned()), Value::from)
}

fn list(items: &ArrayRef) -> Value {
    Value::Array((0..items.len()).map(|row| json(items, row)).collect())
}

fn object(array: &StructArray, row: usize) -> Value {
    let fields = array.column_names().into_iter().zip(array.columns());
    Value::Object(fields.map(|(name, column)| (name.to_owned(), json(column, row))).collect())
}

/// A map's keys can be anything; as JSON they are strings.
fn map(entries: &StructArray) -> Value {
    let [keys, values] = entries.columns() else { return Value::Null };
    let pair = |row| (shown(keys, row).unwrap_or_default(), json(values, row));
    Value::Object((0..entries.len()).map(pair).collect::<Map<_, _>>())
}
