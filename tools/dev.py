#!/usr/bin/env python3
"""From a fresh clone to a running netc, with nothing but Python.

    python3 tools/dev.py demo     make .venv, install netc, run `netc demo`
    python3 tools/dev.py test     make .venv, install netc with what its developers need, run pytest
    python3 tools/dev.py lint     the same, and run ruff check, ruff format --check and mypy
    python3 tools/dev.py install  the same, and stop there

Words after the task go to what it runs: `python3 tools/dev.py test -k pooling`. The venv is made once and made ready
again only when pyproject.toml, setup.py or constraints.txt changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
EXTRAS = {"demo": {"fast"}, "test": {"dev"}, "lint": {"dev"}, "install": {"dev"}}
COVERS = {"dev": {"fast", "features", "hdf5", "onnx"}}
EVERY_CORE = ["-n", "auto", "--maxprocesses", "8"]
LINTERS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))


def main() -> int:
    options = arguments()
    if sys.version_info < OLDEST:
        return fail(f"netc needs Python 3.11 or newer, and this is {sys.version.split()[0]}. {newer_python()}")
    venv = Path(options.venv).resolve()
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    status = ready(venv, python, EXTRAS[options.task], options.gpu)
    if status or options.task == "install":
        return status
    if options.task == "lint":
        return max([call([str(python), "-m", *linter]) for linter in LINTERS])
    if options.task == "test":
        os.chdir(ROOT)
    return become([str(python), "-m", {"demo": "netc", "test": "pytest"}[options.task], *words(options)])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", default=ROOT / ".venv", metavar="DIR", help="where the venv is (default: .venv)")
    gpu = os.environ.get("NETC_TORCH", "").lower() == "gpu"
    gpu_help = "take pip's newest torch instead of the tested set in constraints.txt (also NETC_TORCH=gpu)"
    parser.add_argument("--gpu", action="store_true", default=gpu, help=gpu_help)
    parser.add_argument("task", choices=list(EXTRAS))
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="words for netc demo or pytest")
    return parser.parse_args()


def words(options: argparse.Namespace) -> list[str]:
    """Those of `netc demo` or pytest; without any, all tests run, on every core."""
    if options.task == "demo":
        return ["demo", *options.rest]
    return list(options.rest) or EVERY_CORE


def newer_python() -> str:
    for minor in range(20, 10, -1):
        if shutil.which(f"python3.{minor}"):
            return f"This machine has a newer one: python3.{minor} {' '.join(sys.argv)}"
    return "Install one, then run this again with it."


def ready(venv: Path, python: Path, extras: set[str], gpu: bool) -> int:
    """Make the venv and install into it, unless that was done from the same files before."""
    stamp = venv / "netc-installed.json"
    key, has = fingerprint(gpu), set[str]()
    if python.exists() and stamp.exists():
        before = json.loads(stamp.read_text())
        has = set(before["extras"]) if before["key"] == key else set()
    if extras <= has:
        return 0
    extras = extras | has
    status = make(venv, python) or install(python, extras, gpu)
    if status == 0:
        stamp.write_text(json.dumps({"key": key, "extras": sorted(extras | covered(extras))}))
    return status


def fingerprint(gpu: bool) -> str:
    files = [ROOT / name for name in ("pyproject.toml", "setup.py", "constraints.txt")]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files) + repr((ROOT, sys.version, gpu)).encode()).hexdigest()


def covered(extras: set[str]) -> set[str]:
    return set[str]().union(*(COVERS.get(extra, set()) for extra in extras))


def make(venv: Path, python: Path) -> int:
    if python.exists():
        return 0
    try:
        import ensurepip
    except ImportError:
        return fail("this Python cannot make a venv. On Debian or Ubuntu: apt-get install python3-venv, then again.")
    print(f"dev: making {venv} with pip {ensurepip.version()}", flush=True)
    return call([sys.executable, "-m", "venv", str(venv)])


def install(python: Path, extras: set[str], gpu: bool) -> int:
    limits = [] if gpu else ["-c", str(ROOT / "constraints.txt")]
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    what = f"{ROOT}[{','.join(sorted(extras))}]"
    return call([str(python), "-m", "pip", "install", *quiet, *limits, "-e", what])


def call(command: Sequence[str]) -> int:
    say(command)
    status = subprocess.call(command, cwd=ROOT)
    return status if status >= 0 else 128 - status


def become(command: Sequence[str]) -> int:
    """Run `command` in this process's place: its exit status and every signal are its own."""
    say(command)
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(command[0], list(command))


def say(command: Sequence[str]) -> None:
    print("dev:", " ".join(command), flush=True)


def fail(message: str) -> int:
    print(f"dev: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
