//! Writing the search index, whole or document by document.

use std::collections::HashMap;
use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, Int8Array, Int16Array, Int32Array, StringArray};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Appender, Connection, params};

use super::{finish, run, temp_appender, wrote};
use crate::ImporterError;
use crate::search::{Document, stem};

fn open<'c>(connection: &'c Connection, schema: &str, table: &str) -> Result<Appender<'c>, ImporterError> {
    connection.appender_to_db(table, schema).map_err(ImporterError::db("opening the search index"))
}

fn count(occurrences: u16) -> i16 {
    i16::try_from(occurrences).unwrap_or(i16::MAX)
}

/// So many rows of `terms` are collected before they are written: value by value would take ten times as long.
const BATCH: usize = 32_768;

/// Columns of `terms`, to be.
#[derive(Default)]
struct Terms {
    docid: Vec<i32>,
    field: Vec<i8>,
    term: Vec<i32>,
    times: Vec<i16>,
}

impl Terms {
    fn write(&mut self, appender: &mut Appender<'_>) -> Result<(), ImporterError> {
        let Self { docid, field, term, times } = std::mem::take(self);
        let columns: [(&str, ArrayRef); 4] = [
            ("docid", Arc::new(Int32Array::from(docid))),
            ("fieldid", Arc::new(Int8Array::from(field))),
            ("termid", Arc::new(Int32Array::from(term))),
            ("tf", Arc::new(Int16Array::from(times))),
        ];
        write(appender, columns)
    }
}

fn write<const N: usize>(
    appender: &mut Appender<'_>,
    columns: [(&'static str, ArrayRef); N],
) -> Result<(), ImporterError> {
    let batch = RecordBatch::try_from_iter(columns)
        .map_err(|error| wrote(duckdb::Error::ToSqlConversionFailure(Box::new(error))))?;
    appender.append_record_batch(batch).map_err(wrote)
}

/// Fills an empty index.
pub(super) struct IndexBuilder<'c> {
    connection: &'c Connection,
    schema: &'static str,
    words: HashMap<String, i32>,
    docs: Appender<'c>,
    terms: Appender<'c>,
    waiting: Terms,
}

impl<'c> IndexBuilder<'c> {
    pub(super) fn new(connection: &'c Connection, schema: &'static str) -> Result<Self, ImporterError> {
        let docs = open(connection, schema, "docs")?;
        let terms = open(connection, schema, "terms")?;
        Ok(Self { connection, schema, words: HashMap::new(), docs, terms, waiting: Terms::default() })
    }

    pub(super) fn add(&mut self, docid: i32, name: &str, document: Document) -> Result<(), ImporterError> {
        self.docs.append_row(params![docid, name, document.len]).map_err(wrote)?;
        for posting in document.postings {
            let next = i32::try_from(self.words.len() + 1).unwrap_or(i32::MAX);
            let term = *self.words.entry(posting.word).or_insert(next);
            for (field, times) in (0_i8..).zip(posting.counts).filter(|(_, times)| *times > 0) {
                self.waiting.docid.push(docid);
                self.waiting.field.push(field);
                self.waiting.term.push(term);
                self.waiting.times.push(count(times));
            }
        }
        if self.waiting.docid.len() >= BATCH {
            self.waiting.write(&mut self.terms)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), ImporterError> {
        self.waiting.write(&mut self.terms)?;
        finish(self.docs)?;
        finish(self.terms)?;
        let mut dict = open(self.connection, self.schema, "dict")?;
        let mut words: Vec<_> = self.words.into_iter().collect();
        words.sort_unstable_by_key(|(_, term)| *term);
        let terms = Int32Array::from_iter_values(words.iter().map(|(_, term)| *term));
        let stems = StringArray::from_iter_values(words.iter().map(|(word, _)| stem(word)));
        let words = StringArray::from_iter_values(words.iter().map(|(word, _)| word));
        write(
            &mut dict,
            [("termid", Arc::new(terms) as _), ("term", Arc::new(words) as _), ("stem", Arc::new(stems) as _)],
        )?;
        finish(dict)
    }
}

/// Takes documents out of an index and puts others in. A word that no document has any more leaves the dictionary.
pub(super) fn update_index(
    connection: &Connection,
    schema: &str,
    gone: &[i32],
    added: &[(i32, &str, Document)],
) -> Result<(), ImporterError> {
    if gone.is_empty() && added.is_empty() {
        return Ok(());
    }
    if !gone.is_empty() {
        run(connection, "updating the search index", "CREATE OR REPLACE TEMP TABLE stage_gone (docid INTEGER)")?;
        let mut stage = temp_appender(connection, "stage_gone")?;
        for docid in gone {
            stage.append_row(params![docid]).map_err(wrote)?;
        }
        finish(stage)?;
        run(
            connection,
            "updating the search index",
            &format!(
                "CREATE OR REPLACE TEMP TABLE stage_old_terms AS SELECT DISTINCT termid FROM {schema}.terms \
                   WHERE docid IN (SELECT docid FROM temp.stage_gone);
                 DELETE FROM {schema}.terms WHERE docid IN (SELECT docid FROM temp.stage_gone);
                 DELETE FROM {schema}.docs WHERE docid IN (SELECT docid FROM temp.stage_gone);"
            ),
        )?;
    }
    if !added.is_empty() {
        add(connection, schema, added)?;
    }
    if !gone.is_empty() {
        let sql = format!(
            "DELETE FROM {schema}.dict WHERE termid IN (FROM temp.stage_old_terms) AND termid NOT IN (
               SELECT termid FROM {schema}.terms WHERE termid IN (FROM temp.stage_old_terms));"
        );
        run(connection, "updating the search index", &sql)?;
    }
    Ok(())
}

fn add(connection: &Connection, schema: &str, added: &[(i32, &str, Document)]) -> Result<(), ImporterError> {
    run(
        connection,
        "updating the search index",
        "CREATE OR REPLACE TEMP TABLE stage_postings (docid INTEGER, fieldid TINYINT, term VARCHAR, stem VARCHAR, tf SMALLINT)",
    )?;
    let mut stage = temp_appender(connection, "stage_postings")?;
    let mut docs = open(connection, schema, "docs")?;
    for (docid, name, document) in added {
        docs.append_row(params![docid, name, document.len]).map_err(wrote)?;
        for posting in &document.postings {
            let stem = stem(&posting.word);
            for (field, times) in (0_i8..).zip(posting.counts).filter(|(_, times)| *times > 0) {
                stage.append_row(params![docid, field, posting.word, &*stem, count(times)]).map_err(wrote)?;
            }
        }
    }
    finish(stage)?;
    finish(docs)?;
    let sql = format!(
        "INSERT INTO {schema}.dict
           SELECT (SELECT coalesce(max(termid), 0) FROM {schema}.dict) + row_number() OVER (ORDER BY term), term, stem
           FROM (SELECT DISTINCT term, stem FROM temp.stage_postings) AS s
           WHERE term NOT IN (SELECT term FROM {schema}.dict WHERE term IN (SELECT term FROM temp.stage_postings));
         INSERT INTO {schema}.terms
           SELECT s.docid, s.fieldid, d.termid, s.tf FROM temp.stage_postings AS s JOIN {schema}.dict AS d ON d.term = s.term
           ORDER BY s.docid, d.termid, s.fieldid;"
    );
    run(connection, "updating the search index", &sql)
}
