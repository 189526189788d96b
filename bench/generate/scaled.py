#!/usr/bin/env python3
"""Makes a repository with COPIES times the entities of another, each with an id of its own.

    scaled.py REPOSITORY TARGET COPIES [--layout parts|single]

parts: COPIES folders `data/part00` … with files of the original size, declared in baft-import.toml (a repository that
grew by getting more files). single: the original files with COPIES times the entries (one that grew by longer files).
"""

import argparse
import copy
import os
import shutil

import yaml

LISTS = {
    "variables": "id", "gaps": "id", "observations": "id", "scenarios": "id", "traps": "id", "modules": "code", "sessions": "number",
}


def read(path):
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader=yaml.CSafeLoader)


class Dumper(yaml.CSafeDumper):
    """Writes values out where the copies share them: people do not write aliases by the hundred."""

    def ignore_aliases(self, data):
        return True


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(value, file, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def renamed(entry, field, number):
    entry = copy.copy(entry)
    if number and entry.get(field) is not None:
        value = entry[field]
        entry[field] = value + 1000 * number if isinstance(value, int) else f"{value}-{number:02}"
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("target")
    parser.add_argument("copies", type=int)
    parser.add_argument("--layout", choices=["parts", "single"], default="parts")
    parser.add_argument("--content", action="store_true", help="copy the prose chapters too, not only once")
    arguments = parser.parse_args()
    source, target = f"{arguments.repository}/data", f"{arguments.target}/data"
    parts = arguments.layout == "parts"

    for name, field in LISTS.items():
        document = read(f"{source}/{name}.yaml")
        entries = document["entries"]
        every = []
        for number in range(arguments.copies):
            copies = [renamed(entry, field, number) for entry in entries]
            every += copies
            if parts:
                write(f"{target}/part{number:02}/{name}.yaml", {**document, "entries": copies})
        if not parts:
            write(f"{target}/{name}.yaml", {**document, "entries": every})
    for kind in ("briefs", "content"):
        for file in sorted(os.listdir(f"{source}/{kind}")):
            stem = file.removesuffix(".yaml")
            document = read(f"{source}/{kind}/{file}")
            for number in range(arguments.copies if kind == "briefs" or arguments.content else 1):
                folder = f"part{number:02}/{kind}" if parts else kind
                name = f"{stem}_{number:02}.yaml" if number else file
                field = "brief_id" if kind == "briefs" else "module_code"
                write(f"{target}/{folder}/{name}", renamed(document, field, number))
    shutil.copytree(f"{arguments.repository}/schemas", f"{arguments.target}/schemas", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
