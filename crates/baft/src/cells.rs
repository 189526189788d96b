//! Values of a query's result, as JSON and as text.

use chrono::SecondsFormat;
use duckdb::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, MapArray, StringArray, StructArray, TimestampMicrosecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use duckdb::arrow::datatypes::{DataType, TimeUnit};
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
        // `sum(…)` of integers is a 128-bit number, of which most fit 64.
        DataType::Decimal128(_, 0) => any.downcast_ref::<Decimal128Array>().map(|array| {
            let whole = array.value(row);
            i64::try_from(whole).map_or_else(|_| Value::String(whole.to_string()), Value::from)
        }),
        DataType::Utf8 => any.downcast_ref::<StringArray>().map(|array| Value::from(array.value(row))),
        DataType::Struct(_) => any.downcast_ref::<StructArray>().map(|array| object(array, row)),
        DataType::List(_) => column.as_list_opt::<i32>().map(|array| list(&array.value(row))),
        DataType::LargeList(_) => column.as_list_opt::<i64>().map(|array| list(&array.value(row))),
        DataType::FixedSizeList(..) => any.downcast_ref::<FixedSizeListArray>().map(|array| list(&array.value(row))),
        DataType::Map(..) => any.downcast_ref::<MapArray>().map(|array| map(&array.value(row))),
        // Its text needs a table of time zones, which is not built in; so it is shown in UTC.
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => any
            .downcast_ref::<TimestampMicrosecondArray>()
            .and_then(|array| array.value_as_datetime(row))
            .map(|time| Value::String(time.and_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))),
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

#[cfg(test)]
mod tests {
    use duckdb::Connection;
    use serde_json::json;

    use super::*;

    fn row(sql: &str) -> Vec<Value> {
        let connection = Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        drop(statement.stream_arrow([]).unwrap());
        let batch = statement.step().unwrap().unwrap();
        batch.columns().iter().map(|column| json(column, 0)).collect()
    }

    #[test]
    fn every_type_has_a_form_in_json() {
        let values = row("SELECT NULL, true, 1::TINYINT, 9007199254740993::BIGINT, 1.5::DOUBLE, 'inf'::DOUBLE, 0.1::FLOAT,
            sum(x), 170141183460469231731687303715884105727::HUGEINT, 1.50::DECIMAL(10,2), 'آب', DATE '2026-11-21',
            TIMESTAMP '2026-11-21 10:00:00.5', TIME '10:00:00', uuid '6f1d1d4e-0000-4000-8000-000000000000',
            [1, NULL, 3], {'a': 1, 'b': ['x']}, MAP {'k': 1}, [1.0, 2.0]::DOUBLE[2], 'v'::ENUM('u', 'v') FROM range(5) t(x)");
        assert_eq!(
            Value::from(values),
            json!([
                null, true, 1, 9_007_199_254_740_993_i64, 1.5, "inf", 0.1, 10,
                "170141183460469231731687303715884105727", "1.50", "آب", "2026-11-21", "2026-11-21 10:00:00.500",
                "10:00:00", "6f1d1d4e-0000-4000-8000-000000000000", [1, null, 3], {"a": 1, "b": ["x"]}, {"k": 1},
                [1.0, 2.0], "v"
            ])
        );
    }

    #[test]
    fn odd_types_are_text_and_never_a_crash() {
        let values = row("SELECT INTERVAL 3 DAY, '\\xAA\\xBB'::BLOB, '101'::BIT, TIMESTAMPTZ '2026-11-21 10:00:00+00',
            union_value(n := 2), 1::UTINYINT, 18446744073709551615::UBIGINT, []::INTEGER[], NULL::INTEGER[]");
        assert!(values[..5].iter().all(Value::is_string), "{values:?}");
        assert_eq!(values[3], json!("2026-11-21T10:00:00Z"));
        assert_eq!(values[5..], [json!(1), json!(18_446_744_073_709_551_615_u64), json!([]), json!(null)]);
    }
}
