"""Prints what PyYAML and json make of each case of a corpus, one JSON list per line.

The corpus is a file of JSON strings, one YAML text per line. A case gives ["ok", JSON text] or
["error"]. Dates as mapping keys, which json refuses, are printed as Python prints them: the
importer keeps such files. Usage: yaml_values.py CORPUS
"""

import datetime
import json
import sys

import yaml


class Pairs(dict):
    """A mapping that may hold the same key twice once keys are text."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs

    def items(self):
        return self.pairs


def text_keys(value):
    if isinstance(value, dict):
        return Pairs([
            (str(key) if isinstance(key, datetime.date) else key, text_keys(item))
            for key, item in value.items()
        ])
    if isinstance(value, (list, tuple)):
        return [text_keys(item) for item in value]
    return value


def result(text):
    try:
        value = yaml.safe_load(text)
        if isinstance(value, set):
            return ["error"]
        dumped = json.dumps(text_keys(value), ensure_ascii=False, default=str)
        dumped.encode("utf-8")
        return ["ok", dumped]
    except Exception:  # A crash of PyYAML on its input is a refusal too.
        return ["error"]


def main():
    sys.setrecursionlimit(2_000)
    for line in open(sys.argv[1], encoding="utf-8"):
        if line.strip():
            print(json.dumps(result(json.loads(line)), ensure_ascii=False))


sys.stdout.reconfigure(encoding="utf-8")
main()
