//! What an SQL `IN` compares with.

use duckdb::{Appender, Connection, ToSql, appender_params_from_iter};

use super::{finish, run, temp_appender, wrote};
use crate::ImporterError;
use crate::tables::literal;

/// So many values stand in the statement itself. More go through a temporary table, which costs three statements.
const INLINE: usize = 256;

/// A list of names for `IN`. `stage` is the temporary table that is used when there are many.
///
/// # Errors
/// When DuckDB refuses.
pub(crate) fn among(connection: &Connection, stage: &str, names: &[String]) -> Result<String, ImporterError> {
    list(connection, stage, "VARCHAR", names, |name| literal(name))
}

/// A list of numbers for `IN`.
pub(super) fn among_numbers(connection: &Connection, stage: &str, numbers: &[i32]) -> Result<String, ImporterError> {
    list(connection, stage, "INTEGER", numbers, i32::to_string)
}

fn list<T: ToSql>(
    connection: &Connection,
    stage: &str,
    sql_type: &str,
    values: &[T],
    write: impl Fn(&T) -> String,
) -> Result<String, ImporterError> {
    // An empty list is no SQL.
    if (1..=INLINE).contains(&values.len()) {
        return Ok(format!("({})", values.iter().map(write).collect::<Vec<_>>().join(", ")));
    }
    run(connection, "making a staging table", &format!("CREATE OR REPLACE TEMP TABLE {stage} (value {sql_type})"))?;
    let mut appender: Appender<'_> = temp_appender(connection, stage)?;
    for value in values {
        appender.append_row(appender_params_from_iter([value])).map_err(wrote)?;
    }
    finish(appender)?;
    Ok(format!("(FROM temp.{stage})"))
}
