//! `baft query`: one query, as a table, JSON or CSV.

use std::io::Read;

use duckdb::arrow::array::{ArrayRef, StructArray};
use serde_json::{Map, Value};

use crate::cells;
use crate::cli::{Format, QueryArgs};
use crate::database::Database;
use crate::failure::Failure;
use crate::output::{Out, count, note, one_line, shorten};
use crate::workspace::Workspace;

/// Longest value shown in a table.
const WIDEST: usize = 80;

/// Runs the query and prints its rows as they come.
///
/// # Errors
/// There is no database, the query is wrong, forbidden or too slow, or the output cannot be written.
pub fn run(args: &QueryArgs, workspace: &Workspace) -> Result<(), Failure> {
    let sql = read_sql(&args.sql)?;
    let database = Database::open(workspace)?;
    let limit = database.limit(args.timeout);
    let wrong = |error: duckdb::Error| limit.explain(&error);
    let mut statement = database.prepare(&sql)?;
    // Streaming: a result without end neither fills the memory nor delays the first rows.
    drop(statement.stream_arrow([]).map_err(wrong)?);
    let names = distinct(statement.schema().fields().iter().map(|field| field.name().clone()).collect());
    let mut rows = Rows::new(args, names);
    let mut out = Out::new();
    rows.begin(&mut out)?;
    while let Some(batch) = statement.step().map_err(wrong)? {
        if rows.add(&batch, &mut out)? == Wanted::NoMore {
            break;
        }
    }
    rows.end(&mut out)?;
    out.flush()?;
    if rows.cut {
        note(&format!("Only the first {} are shown; --limit 0 shows all.", count(rows.printed as u64, "row")));
    }
    Ok(())
}

fn read_sql(given: &str) -> Result<String, Failure> {
    let mut sql = given.to_owned();
    if given == "-" {
        sql.clear();
        std::io::stdin()
            .read_to_string(&mut sql)
            .map_err(|error| Failure::new(format!("cannot read the query from standard input: {error}")))?;
    }
    if sql.trim().is_empty() {
        return Err(Failure::usage("the query is empty").hint("try: baft query 'SELECT * FROM entities LIMIT 5'"));
    }
    Ok(sql)
}

/// Two columns of one name would be one field of a JSON object: the second `n` becomes `n_1`.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let mut candidate = name.clone();
        let mut number = 0;
        while taken.contains(&candidate) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        taken.push(candidate);
    }
    taken
}

#[derive(PartialEq, Eq)]
enum Wanted {
    More,
    NoMore,
}

/// Prints rows in one of the formats.
struct Rows {
    format: Format,
    limit: usize,
    width: usize,
    names: Vec<String>,
    printed: usize,
    cut: bool,
    table: comfy_table::Table,
}

impl Rows {
    fn new(args: &QueryArgs, names: Vec<String>) -> Self {
        Self {
            format: args.output,
            limit: if args.limit == 0 { usize::MAX } else { args.limit },
            width: if args.full { usize::MAX } else { WIDEST },
            names,
            printed: 0,
            cut: false,
            table: table(),
        }
    }

    fn begin(&mut self, out: &mut Out) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                self.table.set_header(self.names.iter().map(|name| out.style().bold(&one_line(name))));
                Ok(())
            }
            Format::Json => Ok(()),
            Format::Csv => out.line(csv_line(self.names.iter().map(String::as_str))),
        }
    }

    fn add(&mut self, batch: &StructArray, out: &mut Out) -> Result<Wanted, Failure> {
        for row in 0..batch.columns().first().map_or(0, |column| column.len()) {
            if self.printed == self.limit {
                self.cut = true;
                return Ok(Wanted::NoMore);
            }
            self.row(batch.columns(), row, out)?;
            self.printed += 1;
        }
        Ok(Wanted::More)
    }

    fn row(&mut self, columns: &[ArrayRef], row: usize, out: &mut Out) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let cells = columns.iter().map(|column| match cells::shown(column, row) {
                    Some(text) => shorten(&one_line(&text), self.width),
                    None => out.style().dim("NULL"),
                });
                self.table.add_row(cells);
                Ok(())
            }
            Format::Json => {
                let fields =
                    self.names.iter().zip(columns).map(|(name, column)| (name.clone(), cells::json(column, row)));
                let object = Value::Object(fields.collect::<Map<_, _>>());
                // One row on each line: a valid document that line tools can read too.
                out.line(format!("{}{object}", if self.printed == 0 { "[" } else { "," }))
            }
            Format::Csv => {
                let cells: Vec<String> =
                    columns.iter().map(|column| cells::shown(column, row).unwrap_or_default()).collect();
                out.line(csv_line(cells.iter().map(String::as_str)))
            }
        }
    }

    fn end(&mut self, out: &mut Out) -> Result<(), Failure> {
        match self.format {
            Format::Table if self.names.is_empty() => Ok(()),
            Format::Table => {
                out.line(self.table.to_string())?;
                let number = count(self.printed as u64, "row");
                out.line(out.style().dim(&format!("({number})")))
            }
            Format::Json => out.line(if self.printed == 0 { "[]" } else { "]" }),
            Format::Csv => Ok(()),
        }
    }
}

/// An empty table in the look all tables have.
#[must_use]
pub fn table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table
}

fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells
        .map(|cell| {
            if cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.to_owned()
            }
        })
        .collect();
    cells.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_one_name_stay_apart() {
        let names = ["a", "b", "a", "a_1", "a"].map(str::to_owned).to_vec();
        assert_eq!(distinct(names), ["a", "b", "a_1", "a_1_1", "a_2"]);
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_column() {
        assert_eq!(
            csv_line(["a,b", "say \"x\"", "l1\nl2", "", "آب"].into_iter()),
            "\"a,b\",\"say \"\"x\"\"\",\"l1\nl2\",,آب"
        );
    }
}
