"""Nets damaged at random: the compiler answers with a graph or a NetcError, never with another exception.

The mutations keep most of a file legal, so that they reach the stages behind the parser: a number for a number, a
string for a string of the same file, lines dropped, doubled and moved. Seeded; `NETC_FUZZ=100000` asks for more.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc import NetcError, compile_net, proto
from netc.bind import bind
from netc.compile import locate_solver
from netc.prototxt import Source, parse
from netc.runtime.solver.settings import check

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("NETC_FUZZ", "400"))
NUMBERS = [
    *map(str, (0, 1, 2, 3, 5, -1, -2, 7, 64, 1000, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1, -(2**31), 2**63 - 1))
]
NUMBERS += ["0.5", "-0.5", "1e-45", "3.4e38", "1e39", "inf", "-inf", "nan", "1e400", "0x10", "017"]
WORDS = ["true", "false", "MAX", "AVE", "STOCHASTIC", "LMDB", "TRAIN", "TEST", "BATCH_SIZE", "NONE", "WITHIN_CHANNEL"]
SCRAPS = [
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    ":",
    ";",
    ",",
    '"',
    "'",
    "\\",
    "#",
    "-",
    ".",
    "\0",
    "\ufeff",
    "é",
    "\udce9",
    "{ }",
]
NUMBER, STRING, WORD = (re.compile(r) for r in (r"(?<=: )-?[0-9.][\w.+-]*", r'"[^"\n]*"', r"(?<=: )[A-Za-z]\w*"))


def compiles(text: str, phase: str) -> str:
    try:
        check(*locate_solver(Source(text))) if phase == "solver" else compile_net(Source(text), phase)
    except NetcError as error:
        return error.code if str(error) else "no message"
    return "ok"


def replace(text: str, pattern: re.Pattern[str], choices: list[str], rng: random.Random) -> str:
    spots = list(pattern.finditer(text))
    if not spots:
        return text
    spot = rng.choice(spots)
    return text[: spot.start()] + rng.choice(choices) + text[spot.end() :]


def mutate(text: str, rng: random.Random) -> str:
    kind = rng.choice(["number"] * 6 + ["string"] * 4 + ["word"] * 2 + ["drop", "double", "move", "scrap", "cut"])
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    match kind:
        case "number":
            return replace(text, NUMBER, NUMBERS, rng)
        case "string":
            return replace(text, STRING, STRING.findall(text) or ['""'], rng)
        case "word":
            return replace(text, WORD, WORDS, rng)
        case "drop":
            del lines[at]
        case "double":
            lines.insert(at, lines[at])
        case "move":
            lines.insert(rng.randrange(len(lines)), lines.pop(at))
        case "scrap":
            spot = rng.randrange(len(text) + 1)
            return text[:spot] + rng.choice(SCRAPS) + text[spot:]
        case "cut":
            spot = rng.randrange(len(text) + 1)
            return text[:spot] + text[spot + rng.randrange(1, 30) :]
    return "\n".join(lines)


def fuzz(texts: list[str], rounds: int, seed: int, phases: Sequence[str] = ("TRAIN", "TEST")) -> Counter[str]:
    rng = random.Random(seed)
    codes: Counter[str] = Counter()
    for _ in range(rounds):
        text = rng.choice(texts)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            text = mutate(text, rng)
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
