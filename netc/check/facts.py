"""What the sources of a net's data layers hold, as far as a short look tells: how many records, which labels.

facts(graph) -> {key of the data layer: DataFacts}     layers whose data are not here, or cannot be read, are left out
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice

from netc import proto
from netc.check.advice import DataFacts
from netc.errors import NetcError
from netc.files.paths import resolve
from netc.graph.ir import Graph, Node
from netc.layers.sources import DATABASE, HDF5, LIST

MOST_RECORDS = 2000
"""Records looked at from each end of a database."""
SECONDS = 0.15
"""Time for one end: a database on a slow disk is looked at less."""
MOST_LINES = 200_000


def facts(graph: Graph) -> dict[str, DataFacts]:
    """Raises nothing: what cannot be read is reported by those who have to read it."""
    found = {}
    for node in graph.nodes:
        look = LOOKS.get(node.layer.feed)
        if look is None:
            continue
        try:
            path = resolve(node.layer.options.source, node.place.path)  # most are not here: then nothing is imported
            found[node.layer.key] = look(node, path)
        except (NetcError, OSError, ValueError, KeyError):
            continue
    return found


def _database(node: Node, path: str) -> DataFacts:
    from netc.runtime.data.lmdb import LMDB

    with LMDB(path) as database:
        size = len(database)
        first = _labels(database.values(), MOST_RECORDS)
        last = _labels(database.values(backwards=True), min(MOST_RECORDS, size - len(first)))
    complete = len(first) + len(last) >= size
    return DataFacts(path, size, {1: first + last[::-1]}, complete)


def _labels(values: Iterable[bytes], most: int) -> list[int]:
    """Labels of records (Datum messages), until there are `most` or time is up."""
    end = time.monotonic() + SECONDS
    found: list[int] = []
    for value in islice(values, max(most, 0)):
        try:
            found.append(int(proto.Datum.FromString(value).label))
        except Exception as error:  # protobuf's DecodeError has no public home in all its versions
            raise ValueError("not a Datum") from error
        if time.monotonic() > end:
            break
    return found


def _list(node: Node, path: str) -> DataFacts:
    from netc.runtime.data.image_list import read_image_list

    found = read_image_list(path)
    seen = found.labels[:MOST_LINES]
    one = seen.shape[1] == 1 and bool((seen == seen.round()).all())
    labels = {1: [int(label) for label in seen[:, 0]]} if one else {}
    return DataFacts(path, len(found), labels, len(seen) == len(found), found.unlabelled)


def _hdf5(node: Node, path: str) -> DataFacts:
    from netc.runtime.data.hdf5_feed import labels

    rows, by_top = labels(node.layer.param, node.place.path)
    return DataFacts(path, rows, by_top, all(len(seen) == rows for seen in by_top.values()))


LOOKS: dict[str, Callable[[Node, str], DataFacts]] = {DATABASE: _database, LIST: _list, HDF5: _hdf5}
