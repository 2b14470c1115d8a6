"""The nets that others have written, for what has to hold of every net."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from netc import NetcError
from netc.graph.read import BinaryFile, TextFile, open_file

ROOT = Path(__file__).parents[3]


def files(shared: Path, step: int) -> Iterator[TextFile | BinaryFile]:
    """Every shared net, of the zoo one of so many; those that cannot be parsed are left out."""
    with (shared / "zoo/manifest.tsv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["kind"] == "net"]
    own = [*(ROOT / "tests/goldens/nets").glob("*.prototxt"), *(ROOT / "models").glob("*/*.prototxt")]
    goldens = [*(shared / "goldens/nets").glob("*.prototxt"), *(shared / "goldens/structure").glob("*.prototxt")]
    for path in [*(shared / "zoo" / row["file"] for row in rows[::step]), *sorted(own), *sorted(goldens)]:
        with suppress(NetcError):
            opened = open_file(path)
            if opened.kind == "net":
                yield opened
