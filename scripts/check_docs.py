#!/usr/bin/env python3
"""Checks what documents claim about the repository.

* every relative link and its #anchor resolves;
* every path in `code` that begins with a folder of the repository exists;
* every `make target` exists;
* every --flag and every BAFT_ or GITSYNC_ variable is known to a program, that is, stands in
  docs/configuration.md, which is generated from the code, or in scripts and tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("crates/", "docs/", "examples/", "scripts/", "tests/", "bench/", ".ci/", "charts/", "docker/")
# Flags of other people's programs that documents may show.
FOREIGN = {
    "cargo", "git", "curl", "pip", "uv", "nats", "kubectl", "helm", "docker", "python3", "duckdb", "npm", "apt-get", "make", "nats-server",
}
PROGRAMS = ("baft", "git-sync", "commit-agent", "duckdb-importer", "preflight-probe", "baft-bench")

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
VARIABLE = re.compile(r"\b(?:BAFT|GITSYNC)_[A-Z0-9_]+\b")
MAKE = re.compile(r"(?:^|[\s`;&(])make ([a-z][a-z-]*)", re.MULTILINE)


def git_files(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    return sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()})


def slug(heading: str) -> str:
    """The anchor a heading gets, by the rule of the usual git hosts."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@lru_cache(maxsize=None)
def anchors(path: Path) -> frozenset[str]:
    found: list[str] = []
    for line in FENCE.sub("", path.read_text(encoding="utf-8")).splitlines():
        if match := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            name = slug(match.group(1))
            found.append(f"{name}-{found.count(name)}" if name in found else name)
    return frozenset(found)


def sources() -> str:
    files = git_files("*.py", "*.sh", "Makefile", ".ci/run", ".cargo/config.toml", "bench/src/*.rs", "tests/*.rs",
                      "crates/git-sync/src/compat.rs")  # the flags of kubernetes/git-sync that are refused
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def check_links(path: Path, text: str, problems: list[str]) -> None:
    prose = FENCE.sub(lambda m: "\n" * m.group(0).count("\n"), text)
    for match in LINK.finditer(prose):
        target = match.group(1)
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        where = f"{path.relative_to(ROOT)}:{prose[:match.start()].count(chr(10)) + 1}"
        to = (path.parent / file).resolve() if file else path
        if not to.exists():
            problems.append(f"{where}: link to {target}, which does not exist")
        elif anchor and to.suffix == ".md" and anchor not in anchors(to):
            problems.append(f"{where}: link to {target}, but there is no such heading")


def check_claims(path: Path, text: str, known: str, targets: set[str], problems: list[str]) -> None:
    name = path.relative_to(ROOT)
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{name}:{number}"
        for code in CODE.findall(line):
            claimed = code.split(" ")[0].rstrip("/").split(":")[0]
            if claimed.startswith(FOLDERS) and not re.search(r"[*<…{$]|NNNN", claimed) and not (ROOT / claimed).exists():
                problems.append(f"{where}: `{claimed}` does not exist")
        for target in MAKE.findall(line):
            # "make up" in prose is a target only when it stands in code.
            in_code = any(f"make {target}" in code for code in CODE.findall(line)) or re.match(r"\s*make ", line)
            if in_code and target not in targets:
                problems.append(f"{where}: `make {target}` is no target of the Makefile")
        for variable in VARIABLE.findall(line):
            if not variable.endswith("_") and variable not in known:
                problems.append(f"{where}: no program knows the variable {variable}")
        words = re.split(r"[\s`|;&(]+", line)
        if any(word in FOREIGN for word in words) and not any(word in PROGRAMS for word in words):
            continue
        for flag in FLAG.findall(line):
            if not re.search(rf"{re.escape(flag)}(?![\w-])", known):
                problems.append(f"{where}: no program knows the flag {flag}")


def main() -> int:
    generated = ROOT / "docs" / "configuration.md"
    configuration = generated.read_text(encoding="utf-8") if generated.exists() else ""
    # What the daemons take is listed there; scripts, the Makefile and the bench spell their flags out.
    known = f"{configuration}\n{sources()}\n--help --version"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    problems: list[str] = []
    documents = git_files("*.md")
    for path in documents:
        text = path.read_text(encoding="utf-8")
        check_links(path, text, problems)
        if path != generated:
            check_claims(path, text, known, targets, problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"docs: {len(documents)} documents, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
