"""What feeds a net: databases and images → batches. Importing this package does not import torch.

A feed is a function of the number of the forward pass, `batch(k)`; it keeps no position, so a run that is stopped and
resumed sees the same batches. What it does between two calls (decoding ahead) cannot be seen from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from netc.errors import NetcError
from netc.layers.base import Layer, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from netc.runtime.data.records import Opened


class Feed(Protocol):
    """The data of one source layer.

    `shapes`: of the tops. `size`: records in the source, None where it has no end.
    """

    shapes: list[Shape]
    batch_size: int
    size: int | None

    def batch(self, k: int, stop: int | None = None) -> list[Tensor]:
        """The tops of forward pass `k`: records [k·B, (k+1)·B) of the endless sequence, cut off at position `stop`."""
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
    if param.type == "HDF5Data":
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
    return param.type in ("Data", "ImageData", "HDF5Data")


def has_feed(type: str) -> bool:
    """Whether `open_feed` knows this type of layer; others are given their tops in the call."""
    return type in ("Data", "ImageData", "DummyData", "HDF5Data", "WindowData")


def open_feed(layer: Layer, phase: int, seed: int, workers: int | None = None, opened: Opened | None = None) -> Feed:
    """The feed of a source layer. `seed` and the layer's name key every random draw; `workers` (default: one a core)
    threads decode ahead and do not change the result. `opened`: what `look` has found open. Raises NetcError D501 for
    a type that is given its data in the call."""
    if layer.type in ("Data", "ImageData"):
        from netc.runtime.data.record_feed import RecordFeed

        return RecordFeed(layer, phase, seed, workers, opened)
    if layer.type == "DummyData":
        from netc.runtime.data.dummy_feed import DummyFeed

        return DummyFeed(layer, seed)
    if layer.type == "HDF5Data":
        from netc.runtime.data.hdf5_feed import HDF5Feed

        return HDF5Feed(layer, seed)
    if layer.type == "WindowData":
        from netc.runtime.data.window_feed import WindowFeed

        return WindowFeed(layer, phase, seed, workers)
    raise NetcError(
        "D501",
        f'layer "{layer.name}": {layer.type} has no source of its own',
        layer.origin.start,
        f"give {', '.join(layer.param.top)} in the call, net({layer.param.top[0]}=…)"
        + (", or net.set_input_arrays(data, labels)" if layer.type == "MemoryData" else ""),
    )
