"""Blobs of a net over its data, as databases of Datums (Caffe's extract_features)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netc import proto
from netc.errors import NetcError
from netc.layers.base import format_shape
from netc.runtime.imageset.writer import Database
from netc.runtime.net.module import Net

Said = Callable[[int, str], None]
"""(images so far, blob): heard now and then, and at the end."""

EVERY = 1000


def extract(
    net: Net, databases: Mapping[str, str], batches: int, say: Said = lambda count, blob: None
) -> dict[str, int]:
    """Run `batches` passes and write the rows of each blob into the database of its name: {blob: path}.

    Returns how many rows each has. A key is the number of the row in ten digits; a row has the blob's channels, height
    and width. All databases are there at the end, or none.
    Raises NetcError O140 (a database exists), D561 (a blob of more than four axes, or none), R602 (no such blob).
    """
    counts = dict.fromkeys(databases, 0)
    with ExitStack() as stack:
        opened = {blob: stack.enter_context(Database(Path(path))) for blob, path in databases.items()}
        for _ in range(batches):
            for blob, values in _pass(net, list(databases)).items():
                for row in values:
                    opened[blob].put(f"{counts[blob]:010d}".encode(), _datum(row))
                    counts[blob] += 1
                    if counts[blob] % EVERY == 0:
                        say(counts[blob], blob)
        for database in opened.values():
            database.publish()
    for blob, count in counts.items():
        say(count, blob)
    return counts


def _pass(net: Net, blobs: Sequence[str]) -> dict[str, Any]:
    with torch.no_grad():
        found = net(blobs=blobs)
    return {blob: _as_rows(blob, found[blob].detach().cpu().numpy()) for blob in blobs}


def _as_rows(blob: str, values: Any) -> Any:
    """With four axes: those that are missing are 1."""
    if not 1 <= values.ndim <= 4:
        found = f'the blob "{blob}" is {format_shape(values.shape)}: a Datum has rows of at most three axes'
        raise NetcError("D561", found, None, "take a blob of one to four axes")
    return values.reshape(*values.shape, *[1] * (4 - values.ndim))


def _datum(row: Any) -> bytes:
    channels, height, width = row.shape
    datum = proto.Datum(channels=channels, height=height, width=width)
    datum.float_data.extend(np.asarray(row, np.float32).ravel().tolist())
    return bytes(datum.SerializeToString())
