//! Rows of which only the place, the past or a flag changed.

use std::collections::BTreeMap;

use duckdb::types::Value;
use duckdb::{Connection, appender_params_from_iter};

use super::among::among_numbers;
use super::{finish, run, temp_appender, wrote};
use crate::ImporterError;
use crate::engine::DatedRow;
use crate::tables::literal;

/// So many statements cost less than one with a join, whose hash table costs more than a few rows.
const STATEMENTS: usize = 8;

/// New values of the columns that are not content.
#[derive(Debug)]
pub struct Touch {
    /// Which row.
    pub docid: i32,
    /// Its file.
    pub path: String,
    /// Its place, past and flags.
    pub dated: DatedRow,
    /// By how much its first and its last line moved.
    pub moved: (i64, i64),
    /// Which of them changed.
    pub different: Vec<Touched>,
}

/// Columns that change together, without the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// Where in its file the row is.
    Lines,
    /// Which file it is in.
    File,
    /// The commit it is from.
    Past,
    /// Whether it is valid and of the newest version.
    Flags,
}

impl Touched {
    const ALL: [Self; 4] = [Self::Lines, Self::File, Self::Past, Self::Flags];

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Lines => &["line_start", "line_end"],
            Self::File => &["source_path"],
            Self::Past => &["blob_oid", "commit_oid", "updated_date"],
            Self::Flags => &["schema_valid", "stale"],
        }
    }

    /// The new values of its columns.
    fn values(self, touch: &Touch) -> Vec<Value> {
        let DatedRow { row, since, stale } = &touch.dated;
        match self {
            Self::Lines => vec![Value::UInt(row.line_start), Value::UInt(row.line_end)],
            Self::File => vec![Value::Text(touch.path.clone())],
            Self::Past => {
                vec![Value::Text(since.blob.clone()), Value::Text(since.commit.clone()), Value::Date32(since.day)]
            }
            Self::Flags => vec![Value::Boolean(row.schema_valid), Value::Boolean(*stale)],
        }
    }

    /// The same as SQL. Lines that move together are said alike.
    fn assignment(self, touch: &Touch) -> String {
        let DatedRow { row, since, stale } = &touch.dated;
        match self {
            Self::Lines => {
                let (start, end) = touch.moved;
                format!("line_start = line_start + ({start}), line_end = line_end + ({end})")
            }
            Self::File => format!("source_path = {}", literal(&touch.path)),
            Self::Past => format!(
                "blob_oid = {}, commit_oid = {}, updated_date = DATE '1970-01-01' + ({})",
                literal(&since.blob),
                literal(&since.commit),
                since.day
            ),
            Self::Flags => format!("schema_valid = {}, stale = {stale}", row.schema_valid),
        }
    }
}

/// Writes what changed. Columns that do not change are not written again.
pub(super) fn touch_rows(connection: &Connection, touched: &[Touch]) -> Result<(), ImporterError> {
    for what in Touched::ALL {
        let touched: Vec<_> = touched.iter().filter(|touch| touch.different.contains(&what)).collect();
        let mut alike: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for touch in &touched {
            alike.entry(what.assignment(touch)).or_default().push(touch.docid);
        }
        if alike.len() > STATEMENTS {
            one_by_one(connection, &touched, what)?;
            continue;
        }
        for (assignment, docids) in alike {
            let docids = among_numbers(connection, "stage_docids", &docids)?;
            run(connection, "updating rows", &format!("UPDATE entities SET {assignment} WHERE docid IN {docids}"))?;
        }
    }
    Ok(())
}

/// Gives each row its own values, by a join.
fn one_by_one(connection: &Connection, touched: &[&Touch], what: Touched) -> Result<(), ImporterError> {
    let columns = what.columns();
    let sql = format!(
        "CREATE OR REPLACE TEMP TABLE stage_touched AS SELECT docid, {} FROM entities LIMIT 0",
        columns.join(", ")
    );
    run(connection, "making a staging table", &sql)?;
    let mut stage = temp_appender(connection, "stage_touched")?;
    for touch in touched {
        let values = std::iter::once(Value::Int(touch.docid)).chain(what.values(touch));
        stage.append_row(appender_params_from_iter(values)).map_err(wrote)?;
    }
    finish(stage)?;
    let set = columns.iter().map(|column| format!("{column} = s.{column}")).collect::<Vec<_>>().join(", ");
    let sql = format!("UPDATE entities AS t SET {set} FROM temp.stage_touched AS s WHERE t.docid = s.docid");
    run(connection, "updating rows", &sql)
}
