"""2,617 prototxts of public repositories: read to the message whose print is Caffe's, or refused where Caffe refuses
them for syntax.

Files that only a fork of Caffe reads are the business of tests/docs/test_forks_page.py.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netc import NetcError, proto
from netc.prototxt import Source, format, parse
from netc.prototxt.bind import bind

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
    """Compare one file with Caffe's answer: "equal", "refused", or "a fork's" for what a fork's Caffe reads."""
    found = read(shared, row)
    if row["accepted_by_caffe"] != "ok" and (row["schema_that_accepts"] != "none" or is_of_forks(row, found)):
        return "a fork's"  # tests/docs/test_forks_page.py counts how many of them netc reads
    if row["accepted_by_caffe"] != "ok":
        assert isinstance(found, NetcError), f"{row['file']} is read, but Caffe says {row['caffe_error']}"
        assert all(len(error.message) < 400 for error in found.errors), "a message is a sentence"
        return "refused"
    assert not isinstance(found, NetcError), str(found)
    canonical = gzip.decompress((shared / f"zoo/canonical/{row['sha256'][:16]}.txt.gz").read_bytes())
    assert format.canonical(found).encode() == canonical, row["file"]
    return "equal"


def is_of_forks(row: Row, found: Any) -> bool:
    """Read although Caffe refuses it: right where Caffe only does not know a name, which several forks together do."""
    unknown = 'has no field named ""' in row["caffe_error"] or "Unknown enumeration value of" in row["caffe_error"]
    return unknown and not isinstance(found, NetcError)


def test_a_sample(shared: Path) -> None:
    results = [check(shared, row) for row in list(manifest(shared))[::97]]
    assert set(results) == {"equal", "refused", "a fork's"}


@pytest.mark.slow
def test_all(shared: Path) -> None:
    results = [check(shared, row) for row in manifest(shared)]
    counts = {result: results.count(result) for result in set(results)}
    assert counts == {"equal": 1526, "refused": 441, "a fork's": 650}
