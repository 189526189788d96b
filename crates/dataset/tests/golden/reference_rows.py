"""Prints the rows the reference importer would write, one JSON object per line.

The rules are those of the Python importer that readers of the database grew up with: plural file
names as types, prefixed ids, the first of title, name and description as title, the whole entry as
JSON. Usage: reference_rows.py REPOSITORY
"""

import json
import sys
from pathlib import Path

import yaml

LISTS = ["variables", "observations", "scenarios", "traps", "gaps", "modules", "sessions"]
PREFIXES = {"observations": "Obs-", "traps": "Trap-", "sessions": "Session-", "modules": "Mod-"}
TAGS = ["title", "name", "tags", "topics", "entities_mentioned", "cross_refs", "faction", "status"]


def first_true(item, *fields):
    return str(next((item[field] for field in fields if item.get(field)), ""))


def tags(item):
    parts = []
    for field in TAGS:
        value = item.get(field)
        if isinstance(value, str):
            parts.append(value)
        elif isinstance(value, list):
            parts.extend(str(element) for element in value)
    return " ".join(parts)


def row(kind, item):
    prefix = PREFIXES.get(kind, "")
    bare = first_true(item, "id", "code", "number")
    has_prefix = bare.startswith(prefix.rstrip("-"))
    return {
        "id": bare if not prefix or has_prefix else prefix + bare,
        "type": kind,
        "title": first_true(item, "title", "name", "description"),
        "status": first_true(item, "status"),
        "epistemic_tag": first_true(item, "epistemic_tag"),
        "confidence": first_true(item, "confidence"),
        "content": json.dumps(item, ensure_ascii=False, default=str),
        "tags": tags(item),
        "updated_date": first_true(item, "updated_date", "date"),
        "bare": bare,
    }


def load(path):
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file) or {}


def rows(root):
    for kind in LISTS:
        path = root / "data" / f"{kind}.yaml"
        for item in load(path).get("entries", []) if path.exists() else []:
            yield row(kind, item)
    for path in sorted((root / "data" / "briefs").glob("*.yaml")):
        item = load(path)
        item.setdefault("id", path.stem.upper())
        yield row("brief", item)


def sections(items):
    return sum(1 + sections(item.get("subsections") or []) for item in items or [])


def main():
    root = Path(sys.argv[1])
    sys.stdout.reconfigure(encoding="utf-8")
    for entity in rows(root):
        print(json.dumps(entity, ensure_ascii=False))
    counts = {
        kind: sum(
            sections(load(path).get("sections"))
            for path in sorted((root / "data" / kind).glob("*.yaml"))
        )
        for kind in ("briefs", "content")
    }
    print(json.dumps({"sections": counts}))


main()
