//! Writing the search index, whole or document by document.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use duckdb::arrow::array::{ArrayRef, Int8Array, Int16Array, Int32Array, StringArray};
use duckdb::arrow::record_batch::RecordBatch;
use duckdb::{Appender, Connection, Row, params};

use super::among::{among, among_numbers};
use super::columns::append_batch;
use super::{finish, run, wrote};
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
    fn add(&mut self, docid: i32, term: i32, counts: [u16; 3]) {
        for (field, times) in (0_i8..).zip(counts).filter(|(_, times)| *times > 0) {
            self.docid.push(docid);
            self.field.push(field);
            self.term.push(term);
            self.times.push(count(times));
        }
    }

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
    append_batch(appender, RecordBatch::try_from_iter(columns))
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
            self.waiting.add(docid, term, posting.counts);
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
        let mut words: Vec<_> = self.words.iter().map(|(word, term)| (word.as_str(), *term)).collect();
        words.sort_unstable_by_key(|(_, term)| *term);
        write_words(self.connection, self.schema, &words)
    }
}

fn write_words(connection: &Connection, schema: &str, words: &[(&str, i32)]) -> Result<(), ImporterError> {
    let mut dict = open(connection, schema, "dict")?;
    let terms = Int32Array::from_iter_values(words.iter().map(|(_, term)| *term));
    let stems = StringArray::from_iter_values(words.iter().map(|(word, _)| stem(word)));
    let words = StringArray::from_iter_values(words.iter().map(|(word, _)| word));
    write(
        &mut dict,
        [("termid", Arc::new(terms) as _), ("term", Arc::new(words) as _), ("stem", Arc::new(stems) as _)],
    )?;
    finish(dict)
}

/// What an [`IndexChange`] writes; the list of fields is made once.
pub(super) const INDEX_TABLES: [&str; 3] = ["docs", "dict", "terms"];

/// Documents that leave an index, and others that come in.
pub(super) struct IndexChange<'a> {
    /// Which index.
    pub(super) schema: &'static str,
    /// The numbers of those that leave.
    pub(super) gone: Vec<i32>,
    /// Those that come, with number and name.
    pub(super) added: Vec<(i32, Cow<'a, str>, Document)>,
}

impl IndexChange<'_> {
    /// Writes which documents there are.
    pub(super) fn docs(&self, connection: &Connection) -> Result<(), ImporterError> {
        let schema = self.schema;
        if !self.gone.is_empty() {
            let gone = among_numbers(connection, "stage_gone_docs", &self.gone)?;
            run(connection, "updating the search index", &format!("DELETE FROM {schema}.docs WHERE docid IN {gone}"))?;
        }
        if self.added.is_empty() {
            return Ok(());
        }
        let mut docs = open(connection, schema, "docs")?;
        for (docid, name, document) in &self.added {
            docs.append_row(params![docid, name, document.len]).map_err(wrote)?;
        }
        finish(docs)
    }

    /// Writes which words they hold. A word that no document has any more leaves the dictionary.
    pub(super) fn postings(&self, connection: &Connection) -> Result<(), ImporterError> {
        let schema = self.schema;
        let mut unused: BTreeSet<i32> = BTreeSet::new();
        if !self.gone.is_empty() {
            let gone = among_numbers(connection, "stage_gone", &self.gone)?;
            let sql = format!("DELETE FROM {schema}.terms WHERE docid IN {gone} RETURNING termid");
            unused = read(connection, &sql, |row| row.get(0))?;
        }
        if !self.added.is_empty() {
            for term in self.add_postings(connection)? {
                unused.remove(&term);
            }
        }
        if !unused.is_empty() {
            let listed = among_numbers(connection, "stage_terms", &unused.iter().copied().collect::<Vec<_>>())?;
            // Without DISTINCT, whose hash table costs more than the rows.
            let sql = format!("SELECT termid FROM {schema}.terms WHERE termid IN {listed}");
            let used: BTreeSet<i32> = read(connection, &sql, |row| row.get(0))?;
            unused.retain(|term| !used.contains(term));
        }
        if !unused.is_empty() {
            let listed = among_numbers(connection, "stage_terms", &unused.into_iter().collect::<Vec<_>>())?;
            let sql = format!("DELETE FROM {schema}.dict WHERE termid IN {listed}");
            run(connection, "updating the search index", &sql)?;
        }
        Ok(())
    }

    /// Adds the postings, and the words that are new with them. Gives the numbers of all their words.
    fn add_postings(&self, connection: &Connection) -> Result<impl Iterator<Item = i32>, ImporterError> {
        let schema = self.schema;
        let postings = || self.added.iter().flat_map(|(_, _, document)| &document.postings);
        let words: BTreeSet<&str> = postings().map(|posting| posting.word.as_str()).collect();
        let listed = words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let listed = among(connection, "stage_words", &listed)?;
        let sql = format!("SELECT term, termid FROM {schema}.dict WHERE term IN {listed}");
        let mut terms: HashMap<String, i32> = read(connection, &sql, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let new: Vec<&str> = words.iter().filter(|word| !terms.contains_key(**word)).copied().collect();
        if !new.is_empty() {
            let sql = format!("SELECT coalesce(max(termid), 0) FROM {schema}.dict");
            let last: i32 = connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
            let new: Vec<_> = new.into_iter().zip(last + 1..).collect();
            write_words(connection, schema, &new)?;
            terms.extend(new.iter().map(|(word, term)| ((*word).to_owned(), *term)));
        }
        let mut waiting = Terms::default();
        for (docid, _, document) in &self.added {
            for posting in &document.postings {
                waiting.add(*docid, terms.get(&posting.word).copied().unwrap_or_default(), posting.counts);
            }
        }
        let mut appender = open(connection, schema, "terms")?;
        waiting.write(&mut appender)?;
        finish(appender)?;
        Ok(terms.into_values())
    }
}

fn failed(source: duckdb::Error) -> ImporterError {
    ImporterError::Database { what: "reading the search index", source }
}

fn read<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> Result<T, duckdb::Error>,
) -> Result<C, ImporterError> {
    let read = || connection.prepare(sql)?.query_map([], row)?.collect::<Result<C, duckdb::Error>>();
    read().map_err(failed)
}
