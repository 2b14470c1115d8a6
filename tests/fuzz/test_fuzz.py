"""A short run of the fuzzer: the corpus, then seeded mutations of it; `python -m tools.fuzz` runs the long ones.

Any exception but NetcError (Undecodable for records), two seconds or half a gigabyte fail the test with the input.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.fuzz import fuzz, main
from tools.fuzzing import guard
from tools.fuzzing.guard import Finding, limits, watched
from tools.fuzzing.mutations import encoded, mutate_message, split
from tools.fuzzing.targets import ROOT, TARGETS, Target

RUNS = {
    "text": 400,
    "fmt": 200,
    "binary": 4000,
    "message": 400,
    "safetensors": 400,
    "npz": 300,
    "hdf5": 60,
    "datum": 400,
    "lmdb": 400,
    "leveldb": 300,
    "lists": 300,
    "windows": 400,
    "hdf5data": 60,
    "metrics": 200,
    "manifests": 400,
    "cards": 300,
}
"""Mutations beyond the corpus; a second or less each."""


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_mutations(name: str) -> None:
    target = TARGETS[name]
    runs = len(target.seeds) + RUNS[name]
    outcomes = fuzz(target, runs, seed=2026)
    assert outcomes.total() == runs
    assert len(outcomes) >= 4


def test_the_corpus_is_small() -> None:
    files = (ROOT / "tests/fuzz/corpus").rglob("*")
    assert sum(path.stat().st_size for path in files if path.is_file()) < 1 << 20


def test_the_corpus_reaches_the_errors_of_the_binary_reader() -> None:
    target = TARGETS["binary"]
    outcomes = " ".join(fuzz(target, len(target.seeds), seed=1))
    found = set(re.findall(r"W\d{3}", outcomes))
    assert {"W701", "W702", "W703", "W704", "W705", "W741", "W742"} <= found


# -- the fuzzer itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch):
    """Puts a target in the place of the target "text": `run`, which gets "a" and longer inputs."""

    def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
        return data + rng.randbytes(1)

    def put(run) -> Target:
        target = Target(run, mutate, "none")
        vars(target)["seeds"] = [b"a"]
        monkeypatch.setitem(TARGETS, "text", target)
        return target

    return put


def crash(data: bytes) -> str:
    raise KeyError(data)


def spin(data: bytes) -> str:
    while True:
        try:
            pow(3, 10**5)
        except Exception:
            return "swallowed"


def hoard(data: bytes) -> str:
    return str(len(bytes(1 << 30)))


@pytest.mark.parametrize("run, why", [(crash, "KeyError"), (spin, "took more than"), (hoard, "MemoryError")])
def test_what_must_not_be_is_found(run, why: str, targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SECONDS", 0.3)
    assert fuzz(targets(run), 1, 1, tmp_path) == {"finding": 1}
    (note,) = tmp_path.glob("*.why")
    assert why in note.read_text()
    assert note.with_suffix("").read_bytes() == b"a"
    with limits(), pytest.raises(Finding, match=why):
        watched(run, b"a")


def test_the_command(targets, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets(lambda data: "ok" if len(data) < 4 else crash(data))
    command = ["text", "--engine", "plain", "--findings", str(tmp_path), "--runs"]
    assert main([*command, "1"]) == 0
    assert '"findings": 0' in capsys.readouterr().out
    assert main([*command, "100"]) == 1
    found, *_ = (path for path in (tmp_path / "text").iterdir() if path.suffix != ".why")
    assert main(["text", "--replay", str(found)]) == 1
    assert "KeyError" in capsys.readouterr().out


def test_a_process_that_dies_leaves_its_input(tmp_path: Path) -> None:
    script = """if True:
        import os, pathlib, sys
        from tools.fuzz import fuzz
        from tools.fuzzing.targets import Target
        target = Target(lambda data: "ok" if len(data) < 4 else os.abort(), lambda data, *_: data + b"b", "none")
        vars(target)["seeds"] = [b"a"]
        fuzz(target, 1000, 7, pathlib.Path(sys.argv[1]))
    """
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode < 0
    assert (tmp_path / "running.7").read_bytes().startswith(b"abbb")


def test_messages_are_taken_apart_and_stay_messages() -> None:
    net = (ROOT / "tests/fuzz/corpus/message/floats").read_bytes()
    assert b"".join(encoded(*field) for field in split(net)) == net
    rng = random.Random(3)
    changed = [mutate_message(net, net, rng) for _ in range(500)]
    assert sum(split(data) != [] for data in changed) > 250
    assert len({len(data) for data in changed}) > 30
