#!/usr/bin/env python3
"""The plain way: read every YAML file with PyYAML, write every row with executemany, build the search index by SQL.

This is what `make bench` compares duckdb-importer with. It is written to be fair: one process, one transaction, no
needless work, the fastest index build that plain DuckDB offers (set-based SQL over the same tokenizer and the same
BM25 tables), a new file moved over the old one at the end. It does less than the importer: no typed tables, no cross
references, no schema validation, no change feed, no quarantine, no line numbers.

    import_plain.py REPOSITORY DATABASE [--loader python|c] [--write executemany|columns] [--no-search]

Prints one line of JSON with the seconds of each phase and the peak memory.
"""

import argparse
import datetime
import glob
import json
import os
import resource
import time

import duckdb
import yaml

PREFIX = {"observations": "Obs-", "traps": "Trap-", "sessions": "Session-", "modules": "Mod-"}
LISTS = ["variables", "gaps", "observations", "scenarios", "traps", "modules", "sessions"]
TAGS = ["title", "name", "tags", "topics", "entities_mentioned", "cross_refs", "faction", "status"]

TABLES = """
CREATE TABLE entities (id VARCHAR PRIMARY KEY, type VARCHAR NOT NULL, title VARCHAR, status VARCHAR,
  epistemic_tag VARCHAR, confidence VARCHAR, content VARCHAR, tags VARCHAR, updated_date DATE, imported_at TIMESTAMP);
CREATE TABLE sections (doc_kind VARCHAR, doc_id VARCHAR, pointer VARCHAR, section_id VARCHAR, title VARCHAR, content VARCHAR);
"""

SEARCH = r"""
CREATE SCHEMA fts_main_entities;
CREATE MACRO fts_main_entities.tokenize(s) AS string_split_regex(trim(regexp_replace(
  lower(strip_accents(translate(CAST(s AS VARCHAR), 'يكى', 'یکی'))), '[^\p{L}\p{N}]+', ' ', 'g')), '\s+');
CREATE TABLE fts_main_entities.fields AS
  SELECT * FROM (VALUES (0::BIGINT, 'title'), (1::BIGINT, 'tags'), (2::BIGINT, 'content')) v(fieldid, field);
CREATE TEMP TABLE words AS
  SELECT docid, fieldid, unnest(fts_main_entities.tokenize(text)) AS term FROM (
    SELECT rowid AS docid, 0::BIGINT AS fieldid, title AS text FROM entities
    UNION ALL SELECT rowid, 1, tags FROM entities
    UNION ALL SELECT rowid, 2, content FROM entities);
DELETE FROM words WHERE term = '';
CREATE TABLE fts_main_entities.dict AS
  SELECT row_number() OVER () AS termid, term, df FROM (SELECT term, count(DISTINCT docid) AS df FROM words GROUP BY term);
CREATE TABLE fts_main_entities.terms AS
  SELECT docid, fieldid, termid FROM words JOIN fts_main_entities.dict USING (term) ORDER BY termid;
CREATE TABLE fts_main_entities.docs AS
  SELECT e.rowid AS docid, e.id AS name, count(*) AS len FROM entities e JOIN words w ON w.docid = e.rowid GROUP BY ALL;
CREATE TABLE fts_main_entities.stats AS SELECT count(*) AS num_docs, avg(len) AS avgdl FROM fts_main_entities.docs;
DROP TABLE words;
"""


def load(path, loader):
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader=loader)


def text(value):
    return "" if value is None else str(value)


def entity(kind, key, item, now):
    prefix = PREFIX.get(kind, "")
    name = text(key)
    tags = []
    for field in TAGS:
        value = item.get(field)
        tags += [text(part) for part in value] if isinstance(value, list) else [text(value)] if value else []
    date = text(item.get("date") or item.get("updated_date"))[:10]
    try:
        date = datetime.date.fromisoformat(date)
    except ValueError:
        date = now.date()
    return (
        name if name.startswith(prefix) else prefix + name,
        kind,
        text(item.get("title") or item.get("name") or item.get("description")),
        text(item.get("status")),
        text(item.get("epistemic_tag")),
        text(item.get("confidence")),
        json.dumps(item, ensure_ascii=False, default=str),
        " ".join(tags),
        date,
        now,
    )


def sections(kind, document, items, pointer, rows):
    for number, item in enumerate(items or []):
        here = f"{pointer}/{number}"
        rows.append((kind, document, here, text(item.get("id")), text(item.get("title")), text(item.get("content"))))
        sections(kind, document, item.get("subsections"), here + "/subsections", rows)


def read(root, loader):
    now = datetime.datetime.now()
    rows, parts = {}, []
    for kind in LISTS:
        # One file in the usual layout, one in each folder of the synthetic repository.
        for path in sorted(glob.glob(f"{root}/data/{kind}.yaml") + glob.glob(f"{root}/data/part*/{kind}.yaml")):
            for item in load(path, loader)["entries"]:
                key = next((item[field] for field in ("id", "code", "number") if item.get(field) is not None), None)
                if key is not None:
                    row = entity(kind, key, item, now)
                    rows[row[0]] = row
    for path in sorted(glob.glob(f"{root}/data/briefs/*.yaml") + glob.glob(f"{root}/data/part*/briefs/*.yaml")):
        item = load(path, loader)
        stem = os.path.splitext(os.path.basename(path))[0].upper()
        rows[stem] = entity("brief", stem, item, now)
        sections("brief", stem, item.get("sections"), "/sections", parts)
    for path in sorted(glob.glob(f"{root}/data/content/*.yaml") + glob.glob(f"{root}/data/part*/content/*.yaml")):
        item = load(path, loader)
        sections("content", text(item.get("module_code")), item.get("sections"), "/sections", parts)
    return list(rows.values()), parts


def insert(connection, table, rows, how):
    marks = ["?"] * len(rows[0])
    if how == "executemany":
        connection.executemany(f"INSERT INTO {table} VALUES ({','.join(marks)})", rows)
    else:
        columns = [list(column) for column in zip(*rows)]
        connection.execute(f"INSERT INTO {table} SELECT {','.join(f'unnest({mark})' for mark in marks)}", columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("database")
    parser.add_argument("--loader", choices=["python", "c"], default="python", help="safe_load, or the same with libyaml")
    parser.add_argument("--write", choices=["executemany", "columns"], default="executemany",
                        help="row by row, or whole columns at once, as somebody who knows DuckDB would")
    parser.add_argument("--no-search", action="store_true")
    arguments = parser.parse_args()
    loader = yaml.SafeLoader if arguments.loader == "python" else yaml.CSafeLoader

    began = time.monotonic()
    rows, parts = read(arguments.repository, loader)
    parsed = time.monotonic()

    fresh = f"{arguments.database}.{os.getpid()}.tmp"
    with duckdb.connect(fresh) as connection:
        connection.execute(TABLES)
        connection.begin()
        insert(connection, "entities", rows, arguments.write)
        insert(connection, "sections", parts, arguments.write)
        connection.commit()
        written = time.monotonic()
        if not arguments.no_search:
            connection.execute(SEARCH)
        connection.execute("CHECKPOINT")
    os.replace(fresh, arguments.database)
    ended = time.monotonic()
    print(json.dumps({
        "entities": len(rows),
        "sections": len(parts),
        "parse_s": round(parsed - began, 4),
        "write_s": round(written - parsed, 4),
        "search_s": round(ended - written, 4),
        "total_s": round(ended - began, 4),
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }))


if __name__ == "__main__":
    main()
