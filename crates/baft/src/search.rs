//! `baft search`: what the database's own index finds, in entities and in sections of prose.

use serde::Serialize;

use crate::cli::SearchArgs;
use crate::database::{Database, plain};
use crate::failure::Failure;
use crate::output::{Out, Style, note, one_line, shorten};
use crate::snippet::{Snippet, Wanted, marked};
use crate::workspace::Workspace;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    query: String,
    commit: Option<String>,
    results: Vec<Hit>,
}

/// One entity or section.
#[derive(Debug, Serialize)]
struct Hit {
    kind: Kind,
    /// The entity's id; for a section that of its document.
    id: String,
    /// The entity's type; for a section the kind of its document.
    #[serde(rename = "type")]
    entity_type: String,
    /// Of a section: its place in the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// BM25; how well it fits compared with the other results.
    score: f64,
    path: String,
    line: Option<i64>,
    /// The file does not parse at the newest commit; this is its last good version.
    stale: bool,
    /// The field the snippet is from.
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    snippet: String,
    #[serde(skip)]
    hits: Snippet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Entity,
    Section,
}

/// An id or alias written exactly comes first, whatever its score. What is written as one word (`G28-01`) is looked for as
/// one: everything that shares a part of it would drown what was meant.
const ENTITIES: &str = "
SELECT id, type, coalesce(title, ''), nullif(status, ''), coalesce(source_path, ''), line_start::BIGINT, coalesce(stale, false),
    coalesce(content, ''), score,
    lower(id) = lower($1) OR id IN (SELECT id FROM aliases WHERE lower(alias) = lower($1)) AS exact
FROM (SELECT *, fts_main_entities.match_bm25(id, $1, conjunctive := $4) AS score FROM entities WHERE $2 IS NULL OR type = $2)
WHERE score IS NOT NULL OR exact
ORDER BY exact DESC, score DESC, id LIMIT $3";

const SECTIONS: &str = "
SELECT coalesce(doc_id, ''), coalesce(doc_kind, ''), coalesce(pointer, ''), coalesce(title, ''), coalesce(source_path, ''),
    line_start::BIGINT, coalesce(content, ''), score
FROM (SELECT *, fts_main_sections.match_bm25(key, $1, conjunctive := $3) AS score FROM sections)
WHERE score IS NOT NULL
ORDER BY score DESC, key LIMIT $2";

/// Searches and prints.
///
/// # Errors
/// There is no database, or the output cannot be written.
pub fn run(args: &SearchArgs, workspace: &Workspace) -> Result<(), Failure> {
    let query = args.query.join(" ");
    let query = query.trim();
    let database = Database::open(workspace)?;
    let results = find(&database, query, args)?;
    let mut out = Out::new();
    if args.json {
        out.json(&Answer { query: query.to_owned(), commit: database.meta("commit"), results })?;
        return out.flush();
    }
    for hit in &results {
        show(hit, query, &mut out)?;
    }
    out.flush()?;
    if results.is_empty() {
        note(&nothing_found(&database, query, args));
    }
    Ok(())
}

fn find(database: &Database, query: &str, args: &SearchArgs) -> Result<Vec<Hit>, Failure> {
    let wanted = Wanted::new(query);
    let limit = i64::try_from(args.limit).unwrap_or(i64::MAX);
    let sections_only = args.kind.as_deref() == Some("section");
    let mut results = Vec::new();
    let mut exact = 0;
    if !sections_only {
        (results, exact) =
            entities(database, query, args.kind.as_deref(), limit, &wanted).map_err(|error| wrong(&error))?;
    }
    if sections_only || args.kind.is_none() {
        results.extend(sections(database, query, limit, &wanted).map_err(|error| wrong(&error))?);
    }
    // Exact matches stay in front.
    results[exact..].sort_by(|a, b| b.score.total_cmp(&a.score));
    results.truncate(args.limit);
    Ok(results)
}

fn wrong(error: &duckdb::Error) -> Failure {
    Failure::new(format!("the search failed: {}", plain(error)))
        .hint("the database may be from another version; `baft import --full` rebuilds it")
}

fn entities(
    database: &Database,
    query: &str,
    kind: Option<&str>,
    limit: i64,
    wanted: &Wanted,
) -> duckdb::Result<(Vec<Hit>, usize)> {
    let mut statement = database.connection().prepare(ENTITIES)?;
    let mut rows = statement.query(duckdb::params![query, kind, limit, is_one_word(query)])?;
    let (mut results, mut exact) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let content: String = row.get(7)?;
        let title: String = row.get(2)?;
        let id: String = row.get(0)?;
        let hits = wanted.of_json(&content, &id);
        exact += usize::from(row.get::<_, bool>(9)?);
        results.push(Hit {
            kind: Kind::Entity,
            id,
            entity_type: row.get(1)?,
            pointer: None,
            title: one_line(&title),
            status: row.get(3)?,
            score: row.get::<_, Option<f64>>(8)?.unwrap_or_default(),
            path: row.get(4)?,
            line: row.get(5)?,
            stale: row.get(6)?,
            field: hits.field.clone(),
            snippet: hits.text.clone(),
            hits,
        });
    }
    Ok((results, exact))
}

fn sections(database: &Database, query: &str, limit: i64, wanted: &Wanted) -> duckdb::Result<Vec<Hit>> {
    let mut statement = database.connection().prepare(SECTIONS)?;
    let mut rows = statement.query(duckdb::params![query, limit, is_one_word(query)])?;
    let mut results = Vec::new();
    while let Some(row) = rows.next()? {
        let content: String = row.get(6)?;
        let title: String = row.get(3)?;
        let hits = wanted.of_text(&content);
        results.push(Hit {
            kind: Kind::Section,
            id: row.get(0)?,
            entity_type: row.get(1)?,
            pointer: Some(row.get(2)?),
            title: one_line(&title),
            status: None,
            score: row.get(7)?,
            path: row.get(4)?,
            line: row.get(5)?,
            stale: false,
            field: String::new(),
            snippet: hits.text.clone(),
            hits,
        });
    }
    Ok(results)
}

fn is_one_word(query: &str) -> bool {
    !query.contains(char::is_whitespace)
}

fn show(hit: &Hit, query: &str, out: &mut Out) -> Result<(), Failure> {
    let style = out.style();
    let wanted = Wanted::new(query);
    let mark = |text: &str| marked(text, &wanted.hits(text), |hit| style.hit(hit));
    let kind = match hit.kind {
        Kind::Entity => hit.entity_type.clone(),
        Kind::Section => format!("section of {}", hit.entity_type),
    };
    let status = hit.status.as_ref().map(|status| format!(", {}", shorten(&one_line(status), 40))).unwrap_or_default();
    let stale = if hit.stale { style.yellow(" stale") } else { String::new() };
    let place = hit.line.map_or_else(|| hit.path.clone(), |line| format!("{}:{line}", hit.path));
    let head = match style {
        Style::Colour => style.bold(&hit.id),
        Style::Plain => hit.id.clone(),
    };
    out.line(format!("{head}  {}{stale}  {}", style.dim(&format!("{kind}{status}")), style.dim(&place)))?;
    if !hit.title.is_empty() {
        out.line(format!("    {}", mark(&shorten(&hit.title, 120))))?;
    }
    // A snippet that only repeats the title says nothing.
    let repeats = hit.title.starts_with(hit.snippet.trim_end_matches('…')) && !hit.snippet.is_empty();
    if !hit.snippet.is_empty() && !repeats {
        let field = if hit.field.is_empty() { String::new() } else { style.dim(&format!("{}: ", hit.field)) };
        out.line(format!("    {field}{}", hit.hits.marked(|hit| style.hit(hit))))?;
    }
    Ok(())
}

fn nothing_found(database: &Database, query: &str, args: &SearchArgs) -> String {
    let mut text = format!("Nothing found for '{query}'");
    if let Some(kind) = &args.kind {
        let types = types(database).unwrap_or_default();
        if kind != "section" && !types.contains(kind) {
            return format!("There is no type '{kind}'; there are {} and section.", types.join(", "));
        }
        text.push_str(&format!(" among {kind}"));
    }
    text.push('.');
    text
}

fn types(database: &Database) -> duckdb::Result<Vec<String>> {
    let mut statement = database.connection().prepare("SELECT DISTINCT type FROM entities ORDER BY 1")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
