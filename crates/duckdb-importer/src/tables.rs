//! The tables of the published file. `entities` comes first, its first ten columns as the reference importer wrote them;
//! then one typed table per dataset, prose, references, and the importer's own books (names with a leading underscore).

use crate::search;
use baft_dataset::dataset::{ColumnType, Dataset, Datasets};

/// Part of what decides whether a published file can be carried on or must be rebuilt.
pub const SCHEMA_VERSION: u32 = 1;

/// All but the typed tables and the search indexes.
///
/// `entities.id` is unique but no primary key: an index makes DuckDB append into old row groups, which rewrites the
/// text of every row for one changed row (0.3 s at 17,000 rows), and is where its worst bugs are. The file is read-only
/// once published, and uniqueness is checked before that; see docs/decisions/0010-no-primary-key.md.
const FIXED: &str = r"
CREATE TABLE entities (
  id VARCHAR NOT NULL, type VARCHAR NOT NULL, title VARCHAR, status VARCHAR, epistemic_tag VARCHAR, confidence VARCHAR,
  content VARCHAR, tags VARCHAR, updated_date DATE, imported_at TIMESTAMP,
  local_id VARCHAR, docid INTEGER, source_path VARCHAR, line_start INTEGER, line_end INTEGER,
  blob_oid VARCHAR, commit_oid VARCHAR, row_hash VARCHAR, schema_valid BOOLEAN, stale BOOLEAN);
CREATE TABLE sections (
  doc_kind VARCHAR, doc_id VARCHAR, pointer VARCHAR, section_id VARCHAR, parent_pointer VARCHAR, ord INTEGER,
  depth INTEGER, level INTEGER, title VARCHAR, tags VARCHAR[], content VARCHAR, source_path VARCHAR, line_start INTEGER,
  key VARCHAR NOT NULL, docid INTEGER);
CREATE TABLE edges (src_id VARCHAR, field VARCHAR, raw VARCHAR, dst_id VARCHAR, resolved BOOLEAN, target VARCHAR);
CREATE TABLE aliases (alias VARCHAR, id VARCHAR);
CREATE TABLE _meta (key VARCHAR, value VARCHAR);
CREATE TABLE _files (
  path VARCHAR, blob_oid VARCHAR, bytes BIGINT, kind VARCHAR, rows INTEGER, state VARCHAR, good_blob_oid VARCHAR,
  since_commit VARCHAR);
CREATE TABLE _errors (
  path VARCHAR, line INTEGER, col INTEGER, pointer VARCHAR, entity_id VARCHAR, severity VARCHAR, code VARCHAR,
  message VARCHAR, commit_oid VARCHAR);
CREATE TABLE _changes (
  seq BIGINT, generation BIGINT, commit_oid VARCHAR, op VARCHAR, type VARCHAR, id VARCHAR, old_hash VARCHAR,
  new_hash VARCHAR, fields VARCHAR[], observed_at TIMESTAMP);
";

/// Every statement that makes an empty database for these datasets.
#[must_use]
pub fn ddl(datasets: &Datasets) -> String {
    let mut sql = FIXED.to_owned();
    for dataset in with_table(datasets) {
        sql.push_str(&typed_table(dataset));
    }
    sql.push_str(&search::schema_ddl(search::SCHEMA_ENTITIES));
    sql.push_str(&search::schema_ddl(search::SCHEMA_SECTIONS));
    sql
}

/// The datasets that have a typed table.
pub fn with_table(datasets: &Datasets) -> impl Iterator<Item = &Dataset> {
    datasets.all.iter().filter(|dataset| dataset.type_name.is_some() && !dataset.columns.is_empty())
}

fn typed_table(dataset: &Dataset) -> String {
    let columns =
        dataset.columns.iter().map(|column| format!("{} {}", ident(&column.name), sql_type(&column.column_type)));
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!("CREATE TABLE {} (id VARCHAR, {columns}, extra VARCHAR);\n", ident(dataset.id.as_str()))
}

/// The SQL type of a declared column.
#[must_use]
pub fn sql_type(column: &ColumnType) -> String {
    match column {
        ColumnType::Text | ColumnType::Json => "VARCHAR".to_owned(),
        ColumnType::Integer => "BIGINT".to_owned(),
        ColumnType::Number | ColumnType::PercentLow | ColumnType::PercentHigh => "DOUBLE".to_owned(),
        ColumnType::Boolean => "BOOLEAN".to_owned(),
        ColumnType::Date => "DATE".to_owned(),
        ColumnType::TextList => "VARCHAR[]".to_owned(),
        ColumnType::Records(fields) => {
            let fields = fields.iter().map(|field| format!("{} VARCHAR", ident(field))).collect::<Vec<_>>().join(", ");
            format!("STRUCT({fields})[]")
        }
    }
}

/// A name quoted for SQL.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text quoted for SQL. A NUL, which would end the statement, is spelled out.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    if text.contains('\0') { format!("({})", quoted.replace('\0', "' || chr(0) || '")) } else { quoted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_dataset_can_have_the_name_of_a_table_of_the_importers_own() {
        let declared = |name: &str| {
            let text = format!("version = 1\n[[dataset]]\nname = \"{name}\"\nfiles = [\"data/*.yaml\"]\n");
            Datasets::parse("baft-import.toml", &text)
        };
        assert!(declared("gaps").is_ok());
        let tables: Vec<&str> =
            FIXED.split("CREATE TABLE ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
        assert_eq!(tables.len(), 8, "{tables:?}");
        for table in tables {
            assert!(declared(table).is_err(), "{table}");
        }
    }
}
