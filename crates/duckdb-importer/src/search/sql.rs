//! Tables and macros of one search index.

use super::postings::OWN;
use super::tokenize::{FOLD_FROM, FOLD_TO};

/// The index over entities; the stock extension would call it so for a table `entities`.
pub const SCHEMA_ENTITIES: &str = "fts_main_entities";
/// The index over sections of prose.
pub const SCHEMA_SECTIONS: &str = "fts_main_sections";

/// What an unknown English word may end in beyond a known stem.
const ENDINGS: &str =
    "'s','es','ies','ed','d','ing','ings','e','y','ly','er','ers','al','ion','ions','ment','ments','ning','ting'";

/// The statements that create one index: tables `docs`, `dict`, `terms`, `fields`, the view `stats`, and the macros
/// `tokenize` and `match_bm25`.
///
/// A query also looks for the document that it names as a whole: `Obs-51` finds observation 51 before everything that
/// mentions it.
///
/// Stored macros are read by every DuckDB from 1.1 on, so they use no lambdas (`x -> …` is gone in 2.0, `lambda x:` is new
/// in 1.3) and no function of an extension.
#[must_use]
pub fn schema_ddl(schema: &str) -> String {
    format!(
        r"
CREATE SCHEMA {schema};
CREATE TABLE {schema}.docs (docid INTEGER, name VARCHAR, len INTEGER);
CREATE TABLE {schema}.dict (termid INTEGER, term VARCHAR, stem VARCHAR);
CREATE TABLE {schema}.terms (docid INTEGER, fieldid TINYINT, termid INTEGER, tf SMALLINT);
CREATE TABLE {schema}.fields (fieldid TINYINT, field VARCHAR);
INSERT INTO {schema}.fields VALUES (0, 'title'), (1, 'tags'), (2, 'content');
CREATE VIEW {schema}.stats AS SELECT count(*) AS num_docs, avg(len) AS avgdl FROM {schema}.docs;
CREATE MACRO {schema}.tokenize(s) AS string_split(trim(regexp_replace(
  translate(lower(strip_accents(CAST(s AS VARCHAR))), '{FOLD_FROM}', '{FOLD_TO}'), '[^\p{{L}}\p{{N}}]+', ' ', 'g')), ' ');
CREATE MACRO {schema}.match_bm25(docname, query_string, fields := NULL, k := 1.2, b := 0.75, conjunctive := false) AS (
  WITH words AS (
    SELECT DISTINCT unnest({schema}.tokenize(query_string)) AS w
    UNION ALL SELECT '{OWN}' || array_to_string({schema}.tokenize(query_string), '')),
  found AS (
    SELECT w, arg_min(s, n) AS s FROM (
      SELECT words.w AS w, dict.stem AS s, 0 AS n FROM words JOIN {schema}.dict AS dict ON dict.term = words.w
      UNION ALL
      SELECT p.w, dict.stem, p.n FROM (SELECT w, unnest(range(0, 6)) AS n FROM words WHERE NOT starts_with(w, '{OWN}')) AS p
      JOIN {schema}.dict AS dict ON dict.stem = left(p.w, CAST(length(p.w) - p.n AS BIGINT))
      WHERE length(dict.stem) > 2 AND right(p.w, CAST(p.n AS BIGINT)) IN ('', {ENDINGS})) AS f
    GROUP BY w),
  tfs AS (
    SELECT terms.docid AS docid, forms.s AS s, sum(CASE WHEN fields IS NULL OR list_contains(
        string_split(replace(CAST(fields AS VARCHAR), ' ', ''), ','),
        CASE terms.fieldid WHEN 0 THEN 'title' WHEN 1 THEN 'tags' ELSE 'content' END) THEN terms.tf ELSE 0 END) AS tf
    FROM {schema}.terms AS terms
    JOIN (SELECT dict.termid AS termid, dict.stem AS s FROM {schema}.dict AS dict
          WHERE dict.stem IN (SELECT found.s FROM found)) AS forms ON terms.termid = forms.termid
    GROUP BY terms.docid, forms.s),
  dfs AS (SELECT docid, s, tf, count(*) OVER (PARTITION BY s) AS df FROM tfs),
  scores AS (
    SELECT docs.name AS doc, count(CASE WHEN NOT starts_with(dfs.s, '{OWN}') THEN 1 END) AS matched,
      sum(log((stats.num_docs - dfs.df + 0.5) / (dfs.df + 0.5) + 1) * dfs.tf * (k + 1) / (dfs.tf + k * (1 - b + b * docs.len / stats.avgdl))) AS score
    FROM dfs JOIN {schema}.docs AS docs ON docs.docid = dfs.docid, {schema}.stats AS stats
    WHERE dfs.tf > 0
    GROUP BY docs.name)
  SELECT scores.score FROM scores
  WHERE scores.doc = docname AND (NOT conjunctive OR (
    scores.matched = (SELECT count(DISTINCT s) FROM found WHERE NOT starts_with(s, '{OWN}'))
    AND (SELECT count(*) FROM words) - 1 = (SELECT count(*) FROM found WHERE NOT starts_with(s, '{OWN}')))));
"
    )
}
