"""Nets damaged at random: the compiler answers with a graph or a NetcError, never with another exception.

The mutations are those of tools.fuzz, on the files of this repository and the zoo. Seeded; `NETC_FUZZ=100000` asks for
more, `python -m tools.fuzz text` for many more.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc import NetcError, compile_net, proto
from netc.graph.read import locate_solver
from netc.prototxt import Source, parse
from netc.prototxt.bind import bind
from netc.solver.settings import check
from tools.fuzzing.mutations import mutate_text

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = int(os.environ.get("NETC_FUZZ", "400"))


def compiles(text: str, phase: str) -> str:
    try:
        check(*locate_solver(Source(text))) if phase == "solver" else compile_net(Source(text), phase)
    except NetcError as error:
        return error.code if str(error) else "no message"
    return "ok"


def mutate(text: str, other: str, rng: random.Random) -> str:
    changed = mutate_text(*(each.encode("utf-8", "surrogateescape") for each in (text, other)), rng)
    return changed.decode("utf-8", "surrogateescape")


def fuzz(texts: list[str], rounds: int, seed: int, phases: Sequence[str] = ("TRAIN", "TEST")) -> Counter[str]:
    rng = random.Random(seed)
    codes: Counter[str] = Counter()
    for _ in range(rounds):
        text = rng.choice(texts)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            text = mutate(text, rng.choice(texts), rng)
        phase = rng.choice(phases)
        try:
            codes[compiles(text, phase)] += 1
        except Exception as error:
            raise AssertionError(f"{phase}:\n{text}") from error
    return codes


def test_shipped_nets() -> None:
    texts = [path.read_text() for path in sorted(ROOT.glob("models/mini_*/*.prototxt")) if path.stem != "solver"]
    codes = fuzz(texts, ROUNDS // 2, seed=1)
    assert len(codes) > 8, codes


def test_solvers() -> None:
    texts = [path.read_text() for path in sorted(ROOT.glob("models/*/solver.prototxt"))]
    codes = fuzz(texts, ROUNDS, seed=4, phases=["solver"])
    assert {"ok", "R612", "R613", "S202", "S205", "P101"} <= codes.keys()


def test_every_layer_type() -> None:
    texts = [path.read_text() for path in sorted((ROOT / "tests/goldens/layers").glob("*.prototxt"))]
    codes = fuzz(texts, 4 * ROUNDS, seed=2)
    assert codes["ok"] > ROUNDS / 4
    assert {"L301", "L302", "G402", "G403", "G411", "S202"} <= codes.keys()


@pytest.mark.slow
def test_nets_of_the_zoo(shared: Path) -> None:
    paths = sorted((shared / "zoo/prototxt").glob("*.prototxt"))
    texts = [path.read_text(errors="surrogateescape") for path in paths[::23] if path.stat().st_size < 20_000]
    fuzz(texts, 5 * ROUNDS, seed=3)


TOKENS = st.sampled_from(
    ["layer", "name", "type", "dim", "shape", ":", "{", "}", "<", ">", "[", "]", ",", ";", "-", "+", "1", "0x1F", "08"]
    + ["1.5e3f", ".5", "inf", "true", '"a"', "'b'", '"\\n"', '"\\q"', "# c\n", "\n", " ", "\t", "=", "$", "/", '"', "é"]
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TOKENS, max_size=30).map("".join))
def test_tokens_in_any_order(text: str) -> None:
    compiles(text, "TEST")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    compiles(text, "TRAIN")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_any_string_survives_its_escapes(data: bytes) -> None:
    """Bytes written as octal escapes come back as they were."""
    escaped = "".join(f"\\{byte:03o}" for byte in data)
    source = Source(f'channels: 1 data: "{escaped}"')
    assert bind(parse(source), proto.Datum, source).data == data
