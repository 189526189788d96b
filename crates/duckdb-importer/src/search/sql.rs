//! Tables and macros of one search index.

use super::tokenize::{FOLD_FROM, FOLD_TO};

/// The index over entities; the stock extension would call it so for a table `entities`.
pub const SCHEMA_ENTITIES: &str = "fts_main_entities";
/// The index over sections of prose.
pub const SCHEMA_SECTIONS: &str = "fts_main_sections";

/// What an unknown English word may end in beyond a known stem.
const ENDINGS: &str = "'s','es','ies','ed','d','ing','ings','e','y','ly','er','ers','al','ion','ions','ment','ments','ning','ting'";

/// The statements that create one index: tables `docs`, `dict`, `terms`, `fields`, the view `stats`, and the macros
/// `tokenize` and `match_bm25`.
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
  WITH words AS (SELECT DISTINCT unnest({schema}.tokenize(query_string)) AS w),
  known AS (SELECT words.w, dict.stem AS s FROM words JOIN {schema}.dict AS dict ON dict.term = words.w),
  guesses AS (
    SELECT w, max_by(s, length(s)) AS s FROM (
      SELECT words.w AS w, dict.stem AS s FROM words, (SELECT DISTINCT stem FROM {schema}.dict) AS dict
      WHERE words.w NOT IN (SELECT known.w FROM known) AND length(dict.stem) > 2
        AND starts_with(words.w, dict.stem) AND substr(words.w, length(dict.stem) + 1) IN ({ENDINGS})) AS g
    GROUP BY w),
  tokens AS (SELECT DISTINCT s FROM (SELECT s FROM known UNION ALL SELECT s FROM guesses
    UNION ALL SELECT w FROM words WHERE w <> '' AND w NOT IN (SELECT known.w FROM known) AND w NOT IN (SELECT guesses.w FROM guesses)) AS u),
  forms AS (SELECT dict.termid AS termid, dict.stem AS s FROM {schema}.dict AS dict WHERE dict.stem IN (SELECT tokens.s FROM tokens)),
  hits AS (SELECT terms.docid AS docid, terms.fieldid AS fieldid, terms.tf AS tf, forms.s AS s
    FROM {schema}.terms AS terms JOIN forms ON terms.termid = forms.termid),
  dfs AS (SELECT s, count(DISTINCT docid) AS df FROM hits GROUP BY s),
  wanted AS (SELECT f.fieldid AS fieldid FROM {schema}.fields AS f
    WHERE fields IS NULL OR f.field IN (SELECT unnest(string_split(replace(CAST(fields AS VARCHAR), ' ', ''), ',')))),
  tfs AS (SELECT docid, s, sum(tf) AS tf FROM hits WHERE fieldid IN (SELECT wanted.fieldid FROM wanted) GROUP BY docid, s),
  stats AS (SELECT count(*) AS num_docs, avg(len) AS avgdl FROM {schema}.docs),
  scores AS (
    SELECT docs.name AS doc, count(*) AS found,
      sum(log((stats.num_docs - dfs.df + 0.5) / (dfs.df + 0.5) + 1) * tfs.tf * (k + 1) / (tfs.tf + k * (1 - b + b * docs.len / stats.avgdl))) AS score
    FROM tfs JOIN dfs ON dfs.s = tfs.s JOIN {schema}.docs AS docs ON docs.docid = tfs.docid, stats
    GROUP BY docs.name)
  SELECT scores.score FROM scores
  WHERE scores.doc = docname AND (NOT conjunctive OR scores.found = (SELECT count(*) FROM tokens)));
"
    )
}
