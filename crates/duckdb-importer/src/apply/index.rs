//! Writing the search index, whole or document by document.

use std::collections::HashMap;

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

/// Fills an empty index.
pub(super) struct IndexBuilder<'c> {
    connection: &'c Connection,
    schema: &'static str,
    words: HashMap<String, i32>,
    docs: Appender<'c>,
    terms: Appender<'c>,
}

impl<'c> IndexBuilder<'c> {
    pub(super) fn new(connection: &'c Connection, schema: &'static str) -> Result<Self, ImporterError> {
        let docs = open(connection, schema, "docs")?;
        let terms = open(connection, schema, "terms")?;
        Ok(Self { connection, schema, words: HashMap::new(), docs, terms })
    }

    pub(super) fn add(&mut self, docid: i32, name: &str, document: Document) -> Result<(), ImporterError> {
        self.docs.append_row(params![docid, name, document.len]).map_err(wrote)?;
        for posting in document.postings {
            let next = i32::try_from(self.words.len() + 1).unwrap_or(i32::MAX);
            let term = *self.words.entry(posting.word).or_insert(next);
            for (field, times) in (0_i8..).zip(posting.counts).filter(|(_, times)| *times > 0) {
                self.terms.append_row(params![docid, field, term, count(times)]).map_err(wrote)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), ImporterError> {
        finish(self.docs)?;
        finish(self.terms)?;
        let mut dict = open(self.connection, self.schema, "dict")?;
        let mut words: Vec<_> = self.words.into_iter().collect();
        words.sort_unstable_by_key(|(_, term)| *term);
        for (word, term) in &words {
            dict.append_row(params![term, word, &*stem(word)]).map_err(wrote)?;
        }
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
