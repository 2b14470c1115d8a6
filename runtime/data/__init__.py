"""What feeds a net: databases and images → batches. Importing this package does not import torch.

A feed is a function of the number of the forward pass, `batch(k)`; it keeps no position, so a run that is stopped and
resumed sees the same batches. What it does between two calls (decoding ahead) cannot be seen from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from netc.errors import NetcError
from netc.layers import Layer, registry
from netc.layers.base import Shape
from netc.layers.sources import ARRAYS, DATABASE, FILLERS, HDF5, IMAGES, LIST, WINDOWS
from netc.runtime.parallel.shards import WHOLE, Shard

if TYPE_CHECKING:
    from torch import Tensor

    from netc.runtime.data.records import Opened


class Feed(Protocol):
    """The data of one source layer.

    `shapes`: of the tops. `size`: records in the source, None where it has no end. `device`: where its batches will
    go; on another than the CPU, a top may be `ByteBatch`, which becomes a tensor there (`to`).
    """

    shapes: list[Shape]
    batch_size: int
    size: int | None
    device: str

    def batch(self, k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1) -> list[Tensor]:
        """The tops of forward pass `k`: records [k·B, (k+1)·B) of the endless sequence, cut off at position `stop`; of
        these, a shard alone. The passes that come next are expected to be k + step, k + 2·step, …"""
        ...

    def record(self, position: int) -> str:
        """What stands at a position of the endless sequence, in words: which record, row or line of which file."""
        ...

    def close(self) -> None: ...


def probe(param: Any, phase: int, path: str = "") -> Sequence[Shape]:
    """The top shapes of a data layer, found by looking at the first record of its source.

    `path`: the prototxt, for relative names. Raises NetcError as opening the feed would.
    """
    shapes, opened = look(param, phase, path)
    if opened is not None:
        opened.records.close()
    return shapes


def look(param: Any, phase: int, path: str = "") -> tuple[Sequence[Shape], Opened | None]:
    """What `probe` finds, and the source as it stands open with its first picture decoded, for `open_feed`."""
    if _feed_of(param) == HDF5:
        from netc.runtime.data import hdf5_feed

        return hdf5_feed.shapes(param, path), None
    from netc.runtime.data.records import Opened, open_records
    from netc.runtime.data.transform import Transform

    records = open_records(param, path)
    try:
        first = records.picture(0)
        return Transform(param, phase, path).shapes(first, len(param.top)), Opened(records, first)
    except NetcError:
        records.close()
        raise


def can_probe(param: Any) -> bool:
    """Whether `probe` knows this type of layer."""
    return _feed_of(param) in {HDF5, *IMAGES}


def _feed_of(param: Any) -> str:
    return registry()[param.type].feed


FEEDS = {
    DATABASE: ("record_feed", "RecordFeed"),
    LIST: ("record_feed", "RecordFeed"),
    HDF5: ("hdf5_feed", "HDF5Feed"),
    WINDOWS: ("window_feed", "WindowFeed"),
    FILLERS: ("dummy_feed", "DummyFeed"),
}
"""What a source declares as its `feed` → the module and the class that reads it, made as `open_feed` says."""


def has_feed(source: Layer | type[Layer]) -> bool:
    """Whether `open_feed` knows this source; others are given their tops in the call."""
    return source.feed in FEEDS


def open_feed(layer: Layer, phase: int, seed: int, workers: int | None = None, opened: Opened | None = None) -> Feed:
    """The feed of a source layer. `seed` and the layer's name key every random draw; `workers` (default: one a core)
    threads decode ahead and do not change the result. `opened`: what `look` has found open. Raises NetcError D501 for
    a type that is given its data in the call."""
    if layer.feed in FEEDS:
        module, name = FEEDS[layer.feed]
        feed: Feed = getattr(import_module(f"netc.runtime.data.{module}"), name)(layer, phase, seed, workers, opened)
        return feed
    raise NetcError(
        "D501",
        f'layer "{layer.name}": {layer.type} has no source of its own',
        layer.origin.start,
        f"give {', '.join(layer.param.top)} in the call, net({layer.param.top[0]}=…)"
        + (", or net.set_input_arrays(data, labels)" if layer.feed == ARRAYS else ""),
    )
