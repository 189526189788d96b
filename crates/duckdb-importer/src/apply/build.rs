//! Filling an empty database, file by file in path order.

use std::collections::HashMap;

use duckdb::{Appender, Connection, params};

use super::books::{append_errors, append_files};
use super::index::IndexBuilder;
use super::typed::{SectionRows, TypedRows};
use super::{
    ErrorRecord, FileRecord, Meta, Micros, append_entity, appender, finish, run, section_key, temp_appender, wrote,
};
use crate::ImporterError;
use crate::engine::DatedRow;
use crate::search::{Document, SCHEMA_ENTITIES, SCHEMA_SECTIONS};
use crate::tables::with_table;
use baft_dataset::dataset::Datasets;
use baft_dataset::rows::SectionRow;

/// How references find what they name: ids first, then aliases (the first in order, should two entities claim one).
pub(super) const RESOLVE: &str = "LEFT JOIN entities AS e ON e.id = s.target \
     LEFT JOIN (SELECT alias, min(id) AS id FROM aliases GROUP BY alias) AS a ON a.alias = s.target";

/// Writes all rows of a new database.
pub struct Builder<'c> {
    connection: &'c Connection,
    now: Micros,
    entities: Appender<'c>,
    aliases: Appender<'c>,
    edges: Appender<'c>,
    typed: HashMap<String, TypedRows<'c>>,
    sections: SectionRows<'c>,
    entity_index: IndexBuilder<'c>,
    section_index: IndexBuilder<'c>,
    next_docid: i32,
    next_section: i32,
}

impl std::fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Builder({} entities)", self.next_docid - 1)
    }
}

impl<'c> Builder<'c> {
    /// For the database in use, which has the tables and nothing in them.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn new(connection: &'c Connection, datasets: &Datasets, now: Micros) -> Result<Self, ImporterError> {
        run(
            connection,
            "making a staging table",
            "CREATE OR REPLACE TEMP TABLE stage_edges (src_id VARCHAR, field VARCHAR, raw VARCHAR, target VARCHAR)",
        )?;
        let typed = with_table(datasets)
            .map(|dataset| Ok((dataset.id.as_str().to_owned(), TypedRows::open(connection, dataset)?)))
            .collect::<Result<_, ImporterError>>()?;
        Ok(Self {
            connection,
            now,
            entities: appender(connection, "entities")?,
            aliases: appender(connection, "aliases")?,
            edges: temp_appender(connection, "stage_edges")?,
            typed,
            sections: SectionRows::open(connection)?,
            entity_index: IndexBuilder::new(connection, SCHEMA_ENTITIES)?,
            section_index: IndexBuilder::new(connection, SCHEMA_SECTIONS)?,
            next_docid: 1,
            next_section: 1,
        })
    }

    /// Adds an entity.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn entity(
        &mut self,
        dated: &DatedRow,
        document: Document,
        path: &str,
        dataset: &str,
    ) -> Result<(), ImporterError> {
        let docid = self.next_docid;
        self.next_docid += 1;
        let row = &dated.row;
        append_entity(&mut self.entities, dated, path, docid, self.now).map_err(wrote)?;
        for alias in &row.aliases {
            self.aliases.append_row(params![alias, row.id]).map_err(wrote)?;
        }
        for edge in &row.edges {
            self.edges.append_row(params![row.id, edge.field, edge.raw, edge.target_id]).map_err(wrote)?;
        }
        if let Some(typed) = self.typed.get_mut(dataset) {
            typed.add(row)?;
        }
        self.entity_index.add(docid, &row.id, document)
    }

    /// Adds a section.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn section(&mut self, section: &SectionRow, document: Document, path: &str) -> Result<(), ImporterError> {
        let docid = self.next_section;
        self.next_section += 1;
        let key = section_key(path, &section.pointer);
        self.sections.add(section, path, &key, docid)?;
        self.section_index.add(docid, &key, document)
    }

    /// Writes what is left: references, dictionaries, the books. Gives `meta` with the counters filled in.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn finish(self, files: &[FileRecord], errors: &[ErrorRecord], meta: Meta) -> Result<Meta, ImporterError> {
        finish(self.entities)?;
        finish(self.aliases)?;
        finish(self.edges)?;
        for typed in self.typed.into_values() {
            typed.finish()?;
        }
        self.sections.finish()?;
        self.entity_index.finish()?;
        self.section_index.finish()?;
        let sql = format!(
            "INSERT INTO edges SELECT s.src_id, s.field, s.raw, coalesce(e.id, a.id, s.target),
               e.id IS NOT NULL OR a.id IS NOT NULL, s.target FROM temp.stage_edges AS s {RESOLVE}"
        );
        run(self.connection, "resolving references", &sql)?;
        append_files(self.connection, files)?;
        append_errors(self.connection, errors)?;
        let meta = Meta { next_docid: self.next_docid, next_section: self.next_section, ..meta };
        meta.write(self.connection)?;
        Ok(meta)
    }
}
