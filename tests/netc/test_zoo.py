"""2,617 prototxts of public repositories: read to the message whose print is Caffe's, or refused where Caffe refuses
them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netc import NetcError, proto
from netc.bind import bind
from netc.prototxt import Source, format, parse

Row = dict[str, str]


def manifest(shared: Path) -> Iterator[Row]:
    with (shared / "zoo/manifest.tsv").open(newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def read(shared: Path, row: Row) -> Any:
    """The message in one file, or the NetcError."""
    message = proto.SolverParameter if row["kind"].startswith("solver") else proto.NetParameter
    try:
        source = Source.read(shared / "zoo" / row["file"])
        return bind(parse(source), message, source)
    except NetcError as error:
        return error


def check(shared: Path, row: Row) -> str:
    """Compare one file with Caffe's answer; "equal" or "refused"."""
    found = read(shared, row)
    if row["accepted_by_caffe"] != "ok":
        assert isinstance(found, NetcError), f"{row['file']} is read, but Caffe says {row['caffe_error']}"
        assert all(len(error.message) < 400 for error in found.errors), "a message is a sentence"
        return "refused"
    assert not isinstance(found, NetcError), str(found)
    canonical = gzip.decompress((shared / f"zoo/canonical/{row['sha256'][:16]}.txt.gz").read_bytes())
    assert format.canonical(found).encode() == canonical, row["file"]
    return "equal"


def test_a_sample(shared: Path) -> None:
    results = [check(shared, row) for row in list(manifest(shared))[::97]]
    assert set(results) == {"equal", "refused"}


@pytest.mark.slow
def test_all(shared: Path) -> None:
    results = [check(shared, row) for row in manifest(shared)]
    assert (results.count("equal"), results.count("refused")) == (1526, 1091)
