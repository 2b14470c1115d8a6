"""A short run of the fuzzer: the corpus, then seeded mutations of it; `python -m tools.fuzz` runs the long ones.

Any exception but NetcError (Undecodable for records), two seconds or half a gigabyte fail the test with the input.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tools.fuzzing import guard, wire
from tools.fuzzing.engine import fuzz, fuzz_in
from tools.fuzzing.guard import Finding, limits, watched
from tools.fuzzing.lines import coverage
from tools.fuzzing.targets import CORPUS, TARGETS, Target

RUNS = {
    "text": 400,
    "fmt": 200,
    "binary": 4000,
    "message": 400,
    "safetensors": 400,
    "npz": 300,
    "hdf5": 60,
    "datum": 400,
}
"""Mutations beyond the corpus; a second or less each."""


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_mutations(name: str) -> None:
    target = TARGETS[name]
    seen: list[bytes] = []
    stats = fuzz(target, len(target.seeds) + RUNS[name], seed=2026, pool=seen)
    assert stats.runs == len(target.seeds) + RUNS[name]
    assert len(stats.outcomes) >= 4


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1 << 20


def test_the_corpus_reaches_the_binary_reader() -> None:
    target = TARGETS["binary"]
    reached, lines = map(sum, zip(*coverage(target, target.seeds).values(), strict=True))
    assert reached / lines > 0.8  # the modules write, too: a sixth of their lines


# -- the fuzzer itself -------------------------------------------------------------------------------------------------


def target(run) -> Target:
    def mutate(data: bytes, rng: random.Random, others: object) -> bytes:
        return data + rng.randbytes(1)

    return Target(run, mutate, lambda: [b"a"], "none", ())


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
def test_what_must_not_be_is_found(run, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SECONDS", 0.3)
    assert fuzz(target(run), 1, 1, tmp_path).findings == 1
    (note,) = tmp_path.glob("*.why")
    assert why in note.read_text()
    assert note.with_suffix("").read_bytes() == b"a"
    with limits(), pytest.raises(Finding, match=why):
        watched(run, b"a")


def test_a_process_that_dies_leaves_its_input(tmp_path: Path) -> None:
    def die(data: bytes) -> str:
        return "ok" if len(data) < 4 else str(os.kill(os.getpid(), signal.SIGKILL))

    stats = fuzz_in(1, target(die), 1000, 1, tmp_path, None)
    (found,) = (path for path in tmp_path.iterdir() if path.suffix != ".why")
    assert stats.findings == 1
    assert len(found.read_bytes()) > 3


def test_messages_are_taken_apart_and_stay_messages() -> None:
    net = TARGETS["message"].seeds[0]
    assert b"".join(wire.split(net)) == net
    rng = random.Random(3)
    changed = [wire.mutate(net, rng) for _ in range(500)]
    assert sum(wire.split(data) != [] for data in changed) > 250
    assert len({len(data) for data in changed}) > 30
