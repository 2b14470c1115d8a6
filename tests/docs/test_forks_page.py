"""docs/forks.md: of the nets that only a fork of Caffe accepts, how many netc reads and builds.

A net is read if its text binds to the schema. It is built if it compiles in every phase that makes sense for it: TEST,
and TRAIN where the file speaks of training. Sources that are not here (databases, lists) get their shapes from their
settings or, where those do not tell, are taken to hold images of a usual size. A net whose only fault is that the
modules of its Python layers are not here counts as built but for them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from netc import NetcError
from netc.check.examine import phases_of
from netc.graph.compile import compile_draft
from netc.graph.filter import filter_net, state_of
from netc.graph.read import open_file
from netc.layers import registry
from netc.prototxt.draft import Draft
from tests.zoo.shapes import shapes_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "forks.md"
HEAD = """\
| schema that accepts them | nets | read | built | built but for Python layers | why the others are not |
|---|---|---|---|---|---|
"""
NAMES = {
    "weiliu89+caffe@ssd": "SSD (weiliu89/caffe, ssd)",
    "weiliu89+caffe@fcn": "weiliu89/caffe, fcn",
    "eric612+MobileNet-YOLO": "MobileNet-YOLO (eric612)",
    "intel+caffe": "intel/caffe (Fast R-CNN and R-FCN too)",
    "alexgkendall+caffe-segnet": "SegNet (alexgkendall)",
    "hszhao+PSPNet": "PSPNet (hszhao)",
}

PYTHON = {"L330", "L331"}
"""Python layers whose module is not allowed or not here."""


@pytest.mark.slow
def test_the_table(shared: Path) -> None:
    forks: dict[str, list[str]] = {}
    for fork, file in nets(shared):
        forks.setdefault(fork, []).append(outcome(file))
    rows = [row(NAMES.get(name, name.replace("+", "/")), found) for name, found in forks.items()]
    rows.sort(key=lambda text: -int(text.split(" | ")[1]))
    everything = row("**all**", [one for found in forks.values() for one in found], reasons=0)
    table = HEAD + "\n".join([*rows, everything, ""])
    assert table in PAGE.read_text(encoding="utf-8"), f"the table is now:\n{table}"


def nets(shared: Path):
    """(fork, file) of each net that BVLC Caffe refuses and the schema of a fork accepts."""
    with (shared / "zoo/manifest.tsv").open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            fork = line["schema_that_accepts"].partition("__")[0]
            if line["kind"] == "net" and line["accepted_by_caffe"] != "ok" and fork != "none":
                yield fork, shared / "zoo" / line["file"]


def outcome(file: Path) -> str:
    """ "built", "python" (built but for Python layers), or why it is not, after "read: " where it is read."""
    try:
        draft = open_file(file).draft()
    except NetcError as error:
        return reason(error)
    try:
        build(draft)
    except NetcError as error:
        return "python" if {one.code for one in error.errors} <= PYTHON else f"read: {reason(error)}"
    return "built"


def build(draft: Draft) -> None:
    """Compile every phase; one that leaves no source in the net is none of its."""
    phases = [phase for phase in phases_of(draft) if has_source(draft, phase)]
    for phase in phases or phases_of(draft):
        compile_draft(draft, state_of(draft, phase), shapes_of)


def has_source(draft: Draft, phase: int) -> bool:
    types, layers = registry(), filter_net(draft, state_of(draft, phase)).params
    return any(layer.type in types and types[layer.type].is_source for layer in layers)


def reason(error: NetcError) -> str:
    """The first error that is not a Python layer's, in a few words."""
    first = next((one for one in error.errors if one.code not in PYTHON), error)
    text = re.sub(r"\"[^\"]*_split_\d+\"", "…", re.sub(r"^layer \"[^\"]*\":? ", "", first.message))
    return f"{text[:90]} [{first.code}]"


def row(name: str, outcomes: list[str], reasons: int = 3) -> str:
    built = outcomes.count("built")
    python = built + outcomes.count("python")
    read = python + sum(one.startswith("read: ") for one in outcomes)
    shares = (f"{n} ({n / len(outcomes):.0%})" for n in (read, built, python))
    failures = Counter(one.removeprefix("read: ") for one in outcomes if one not in ("built", "python"))
    why = (
        "; ".join(f"{n} × {text}" for text, n in failures.most_common(reasons)).replace("|", "\\|").replace("*", "\\*")
    )
    return f"| {name} | {len(outcomes)} | {' | '.join(shares)} | {why} |"
