"""Write the table in docs/forks.md: of the nets that only a fork of Caffe accepts, how many netc reads and builds.

python tools/fork_table.py            measures ../shared/zoo (or NETC_SHARED) and writes docs/forks.md
python tools/fork_table.py --check    compares; exit status 1 if the committed table is stale
python tools/fork_table.py --failed   prints each net that is not built, with its first error

A net is read if its text binds to the schema. It is built if it compiles in every phase that makes sense for it: TEST,
and TRAIN where the file speaks of training. Sources that are not here (databases, lists) get their shapes from the
settings or, where those do not tell, are taken to hold images of 224 × 224 (DenseImageData: 360 × 480). A net whose
only fault is that the modules of its Python layers are not here counts as built but for them.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netc import NetcError
from netc.check.examine import phases_of
from netc.graph.compile import compile_draft
from netc.graph.filter import filter_net, state_of
from netc.graph.read import open_file
from netc.layers import registry
from netc.layers.base import Shape
from netc.prototxt.draft import Draft

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "forks.md"
BEGIN, END = "<!-- table: tools/fork_table.py -->\n", "<!-- end of table -->\n"
IMAGE, CAMVID = (224, 224), (360, 480)
"""Height and width of the images that are not here; SegNet's nets have the second one written into their layers."""

PYTHON = {"L330", "L331"}
"""Python layers whose module is not allowed or not here."""

NAMES = {
    "weiliu89+caffe@ssd": "SSD (weiliu89/caffe, ssd)",
    "weiliu89+caffe@fcn": "weiliu89/caffe, fcn",
    "eric612+MobileNet-YOLO": "MobileNet-YOLO (eric612)",
    "NVIDIA+caffe": "NVIDIA/caffe",
    "intel+caffe": "intel/caffe (Fast R-CNN and R-FCN too)",
    "alexgkendall+caffe-segnet": "SegNet (alexgkendall)",
    "hszhao+PSPNet": "PSPNet (hszhao)",
    "none": "none alone, several together",
}


@dataclass(slots=True)
class Fork:
    """Counts of one fork's nets. `failures`: why those that are not built are not, each net once."""

    nets: int = 0
    read: int = 0
    built: int = 0
    python: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure how much of the forks' nets netc reads and builds.")
    parser.add_argument("--check", action="store_true", help="compare with docs/forks.md instead of writing it")
    parser.add_argument("--failed", action="store_true", help="print each net that is not built")
    options = parser.parse_args(arguments)
    shared = Path(os.environ.get("NETC_SHARED") or ROOT.parent / "shared")
    if options.failed:
        print("\n".join(f"{file}\n    {error}" for file, error in failed(shared)))
        return 0
    page = PAGE.read_text(encoding="utf-8")
    text = with_table(page, "\n".join(rows(measure(shared))))
    if options.check:
        if text == page:
            return 0
        print(f"{PAGE} is stale: run python tools/fork_table.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


# -- measuring ---------------------------------------------------------------------------------------------------------


def nets(shared: Path) -> Iterator[tuple[str, Path]]:
    """(fork, file) of each net that BVLC Caffe refuses and the schema of a fork accepts."""
    with (shared / "zoo/manifest.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            fork = row["schema_that_accepts"].partition("__")[0]
            if row["kind"] == "net" and row["accepted_by_caffe"] != "ok" and fork != "none":
                yield fork, shared / "zoo" / row["file"]


def measure(shared: Path) -> dict[str, Fork]:
    forks: dict[str, Fork] = defaultdict(Fork)
    for name, file in nets(shared):
        fork = forks[name]
        fork.nets += 1
        draft = read(file)
        if isinstance(draft, NetcError):
            fork.failures[reason(draft)] += 1
            continue
        fork.read += 1
        error = build(draft)
        if error is None:
            fork.built += 1
        elif {one.code for one in error.errors} <= PYTHON:
            fork.python += 1
        else:
            fork.failures[reason(error)] += 1
    return forks


def failed(shared: Path) -> Iterator[tuple[Path, NetcError]]:
    for _, file in nets(shared):
        draft = read(file)
        error = draft if isinstance(draft, NetcError) else build(draft)
        if error is not None and not {one.code for one in error.errors} <= PYTHON:
            yield file, next(one for one in error.errors if one.code not in PYTHON)


def read(file: Path) -> Draft | NetcError:
    try:
        return open_file(file).draft()
    except NetcError as error:
        return error


def build(draft: Draft) -> NetcError | None:
    """The error of the first phase that is not built; a phase that leaves no source in the net is none of its."""
    phases = [phase for phase in phases_of(draft) if has_source(draft, phase)]
    for phase in phases or phases_of(draft):
        try:
            compile_draft(draft, state_of(draft, phase), shapes_of)
        except NetcError as error:
            return error
    return None


def has_source(draft: Draft, phase: int) -> bool:
    types, layers = registry(), filter_net(draft, state_of(draft, phase)).params
    return any(layer.type in types and types[layer.type].is_source for layer in layers)


def shapes_of(layer: Any, phase: int) -> Sequence[Shape]:
    """Shapes of a data layer: its settings' where they tell, else those of images of a usual size."""
    kind = registry()[layer.type]
    try:
        return kind(layer, phase).setup([])
    except NetcError as error:
        if error.code != "L304":
            raise
        if layer.type == "HDF5Data":
            raise
    options = getattr(layer, kind.param_field or "")
    batch = int((options if hasattr(options, "batch_size") else layer.data_param).batch_size)
    height, width = CAMVID if layer.type == "DenseImageData" else IMAGE
    labels = (batch, 1, height, width) if layer.type == "DenseImageData" else (batch,)
    return [(batch, 3, height, width), labels]


def reason(error: NetcError) -> str:
    """The first error that is not a Python layer's, in a few words."""
    first = next((one for one in error.errors if one.code not in PYTHON), error)
    text = re.sub(r"\"[^\"]*_split_\d+\"", "…", re.sub(r"^layer \"[^\"]*\":? ", "", first.message))
    return f"{text[:90]} [{first.code}]"


# -- the table ---------------------------------------------------------------------------------------------------------


def rows(forks: dict[str, Fork]) -> Iterator[str]:
    yield "| schema that accepts them | nets | read | built | built but for Python layers | why the others are not |"
    yield "|---|---|---|---|---|---|"
    for name, fork in sorted(forks.items(), key=lambda item: -item[1].nets):
        yield row(NAMES.get(name, name.replace("+", "/")), fork)
    yield row("**all**", total(forks), with_reasons=False)


def row(name: str, fork: Fork, with_reasons: bool = True) -> str:
    why = "; ".join(f"{n} × {escaped(text)}" for text, n in fork.failures.most_common(3)) if with_reasons else ""
    read_, built, python = (f"{n} ({n / fork.nets:.0%})" for n in (fork.read, fork.built, fork.built + fork.python))
    return f"| {name} | {fork.nets} | {read_} | {built} | {python} | {why} |"


def total(forks: dict[str, Fork]) -> Fork:
    values = forks.values()
    return Fork(*(sum(getattr(fork, name) for fork in values) for name in ("nets", "read", "built", "python")))


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def with_table(page: str, table: str) -> str:
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}{table}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(main())
