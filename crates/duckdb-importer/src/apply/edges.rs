//! References between entities, and what they name.

use std::collections::{BTreeSet, HashMap};

use duckdb::{Connection, params};

use super::among::among;
use super::build::RESOLVE;
use super::{Delta, appender, finish, run, wrote};
use crate::ImporterError;

/// Adds the references of new rows, and lets those of others follow names that came or went.
pub(super) fn resolve_edges(connection: &Connection, delta: &Delta) -> Result<(), ImporterError> {
    let rows = || delta.rows.iter().filter(|new| !new.keeps_names).map(|new| &new.dated.row);
    let targets: BTreeSet<&String> = rows().flat_map(|row| &row.edges).map(|edge| &edge.target_id).collect();
    if !targets.is_empty() {
        let named = named(connection, &targets.into_iter().cloned().collect::<Vec<_>>())?;
        let mut edges = appender(connection, "edges")?;
        for row in rows() {
            for edge in &row.edges {
                let found = named.get(&edge.target_id);
                let target = found.unwrap_or(&edge.target_id);
                edges
                    .append_row(params![row.id, edge.field, edge.raw, target, found.is_some(), edge.target_id])
                    .map_err(wrote)?;
            }
        }
        finish(edges)?;
    }
    if !delta.names.is_empty() {
        let names = among(connection, "stage_names", &delta.names)?;
        let sql = format!(
            "UPDATE edges AS t SET dst_id = r.dst_id, resolved = r.resolved FROM (
               SELECT s.target, coalesce(e.id, a.id, s.target) AS dst_id, e.id IS NOT NULL OR a.id IS NOT NULL AS resolved
               FROM (SELECT DISTINCT target FROM edges WHERE target IN {names}) AS s {RESOLVE}) AS r
             WHERE t.target = r.target AND (t.dst_id IS DISTINCT FROM r.dst_id OR t.resolved IS DISTINCT FROM r.resolved)"
        );
        run(connection, "resolving references", &sql)?;
    }
    Ok(())
}

/// Which entities these names mean, by the same rule as [`RESOLVE`]: an id, else an alias (the first in order, should two
/// entities claim it). Without a join or a group, whose hash tables cost more than a few rows.
fn named(connection: &Connection, names: &[String]) -> Result<HashMap<String, String>, ImporterError> {
    let listed = among(connection, "stage_names", names)?;
    let sql = format!(
        "SELECT alias, id, false FROM aliases WHERE alias IN {listed} UNION ALL \
         SELECT id, id, true FROM entities WHERE id IN {listed}"
    );
    let read = || {
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<Result<Vec<(String, String, bool)>, duckdb::Error>>()
    };
    let mut found = read().map_err(ImporterError::db("resolving references"))?;
    // The last of a name stays: its id, else the first by its alias.
    found.sort_by(|(_, one, one_is), (_, other, other_is)| one_is.cmp(other_is).then(other.cmp(one)));
    Ok(found.into_iter().map(|(name, id, _)| (name, id)).collect())
}
