"""What feeds a net: one way from its sources to their tops, for whoever calls the net, trains it or tests it.

Batch number k of a source is a function of k alone (netc.runtime.data.Feed). The solver and the tester say which batch
they want; a net called without its inputs takes the next one, counted by `Feeding.position`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.layers._uncompiled import uncompiled
from netc.layers.sources import ARRAYS
from netc.runtime.data import Feed, has_feed, open_feed
from netc.runtime.net.clock import Clock
from netc.runtime.net.labels import label_checks
from netc.runtime.parallel.shards import WHOLE, Shard, positions

if TYPE_CHECKING:
    from netc.runtime.data.probing import DataProbe

FeedFunction = Callable[[int], Mapping[str, Tensor]]
"""Number of the forward pass → {top of a source: tensor}: what a program feeds a net with."""


class Feeding:
    """The sources of a graph, opened when they are first read.

    `position`: the number of the next batch, one more than that of the batch read last. `waited`: seconds spent in
    `batch`. `probe`: what told the graph its shapes; what it has opened for that is read on from, not opened again.
    Tensors are moved to where `clock` is.
    """

    def __init__(
        self, graph: Graph, clock: Clock, seed: int = 0, workers: int | None = None, probe: DataProbe | None = None
    ) -> None:
        self.position, self.waited = 0, 0.0
        self.sources = [node for node in graph.nodes if node.layer.is_source]
        self.tops = frozenset(top for node in self.sources for top in node.tops)
        self._clock, self._seed, self._workers, self._probe = clock, seed, workers, probe
        self._opened: dict[str, Feed] = {}
        self._arrays: dict[str, Feed] = {}
        self._start: dict[str, int] = {}
        """Where the batches of arrays begin to count."""
        self._checks = list(label_checks(graph))

    # -- reading -------------------------------------------------------------------------------------------------------

    def batch(
        self,
        k: int,
        function: FeedFunction | None = None,
        stop: int | None = None,
        shard: Shard = WHOLE,
        step: int = 1,
    ) -> dict[str, Tensor]:
        """The tops of pass `k`, or a shard of them: those that `function` gives, the others from their sources. Records
        end at position `stop`; the passes that come next are k + step, k + 2·step, …

        Raises NetcError R621 for a label that is not a class of the layer that reads it."""
        start = time.perf_counter()
        given = {top: _rows(tensor, shard) for top, tensor in function(k).items()} if function is not None else {}
        read = [node for node in self.fed if not given.keys() >= set(node.tops)]
        tops = {**self._read(read, k, stop, shard, step), **given}
        self.waited += time.perf_counter() - start
        self._check(tops, k, given, shard)
        self.position = k + 1
        return {top: tensor if top in given else self._moved(tensor) for top, tensor in tops.items()}

    @uncompiled
    def next(self, wanted: Collection[str]) -> dict[str, Tensor]:
        """The next batch of the sources that have tops among `wanted`. Raises NetcError R601 for one that has no data
        of its own, and what opening and reading the others raise."""
        read = [node for node in self.sources if not set(node.tops).isdisjoint(wanted)]
        for node in read:
            if not self._feeds(node):
                raise _not_given(next(top for top in node.tops if top in wanted), node)
        tops: dict[str, Tensor] = {}
        for node in read:
            needed = [top for top in node.tops if top in wanted]
            try:
                found = self._read([node], self.position)
            except NetcError as error:
                raise _or_given(error, needed) from None
            tops.update((top, found[top]) for top in needed)
        self._check(tops, self.position)
        self.position += 1
        return {top: self._moved(tensor) for top, tensor in tops.items()}

    def first(self, node: Node) -> list[Tensor]:
        """The tops of a source in its first batch; the next batch stays the next."""
        return [self._moved(tensor) for tensor in self._feed(node).batch(0)]

    def _read(
        self, nodes: Iterable[Node], k: int, stop: int | None = None, shard: Shard = WHOLE, step: int = 1
    ) -> dict[str, Tensor]:
        tops: dict[str, Tensor] = {}
        for node in nodes:
            start = self._start.get(node.layer.key, 0)
            tops.update(zip(node.tops, self._feed(node).batch(k - start, stop, shard, step), strict=True))
        return tops

    def _check(self, tops: dict[str, Tensor], k: int, given: Collection[str] = (), shard: Shard = WHOLE) -> None:
        for check in self._checks:
            check(tops, lambda top, row: "" if top in given else self.record(top, k, row, shard))

    def record(self, top: str, k: int, row: int, shard: Shard = WHOLE) -> str:
        """What row `row` of a source's top is in pass `k`, or in a shard of it, in words; "" where the caller gives
        it."""
        node = next((node for node in self.sources if top in node.tops), None)
        if node is None or not self._feeds(node):
            return ""
        feed = self._feed(node)
        first = positions(k - self._start.get(node.layer.key, 0), feed.batch_size, shard=shard).start
        return feed.record(first + row)

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the net's device; in double precision for such a net. (A label of half the bits would be another one.)
        A copy to a GPU goes on while others work, from memory that stays where it is."""
        device = self._clock.step.device
        if device.type == "cuda" and isinstance(tensor, Tensor) and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()
        moved = tensor.to(device, non_blocking=True)
        return moved.double() if self._clock.unit.dtype == torch.float64 and moved.is_floating_point() else moved

    # -- the sources ---------------------------------------------------------------------------------------------------

    def _feeds(self, node: Node) -> bool:
        """Whether the source has data of its own, or arrays that were handed over."""
        return has_feed(node.layer) or node.layer.key in self._arrays

    def _feed(self, node: Node) -> Feed:
        key, layer = node.layer.key, node.layer
        if key not in self._arrays and key not in self._opened:
            opened = self._probe.take(layer.param) if self._probe is not None else None
            self._opened[key] = open_feed(layer, layer.phase, self._seed, self._workers, opened)
            self._opened[key].device = str(self._clock.step.device)
        return self._arrays.get(key) or self._opened[key]

    def use_arrays(self, node: Node, feed: Feed) -> None:
        """Feed a source from arrays, beginning with the next pass."""
        self._arrays[node.layer.key], self._start[node.layer.key] = feed, self.position

    @property
    def fed(self) -> list[Node]:
        """The sources with data of their own."""
        return [node for node in self.sources if self._feeds(node)]

    @property
    def unfed(self) -> list[Node]:
        """The sources that the caller feeds: Input layers, and MemoryData layers without arrays."""
        return [node for node in self.sources if not self._feeds(node)]

    @property
    def size(self) -> int | None:
        """Records in one pass over the data; None where no source knows it. Raises NetcError R620 where they differ."""
        fed = self.fed
        sizes = {size for node in fed if (size := self._feed(node).size) is not None}
        if len(sizes) > 1:
            raise NetcError(
                "R620",
                f"the data layers have {' and '.join(map(str, sorted(sizes)))} records",
                fed[-1].place,
                "set test_iter",
            )
        return sizes.pop() if sizes else None

    @property
    def batch_size(self) -> int:
        """Records in a batch; 0 for a net without data layers."""
        return max((self._feed(node).batch_size for node in self.fed), default=0)

    # -- the end -------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """The next batch is every source's first one."""
        self.position = 0
        self._start.clear()

    def close(self) -> None:
        """End the threads that decode, and give back what is open; the next batch opens it again."""
        for feed in self._opened.values():
            feed.close()
        self._opened.clear()
        if self._probe is not None:
            self._probe.close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a net opens its sources itself."""
        return {**self.__dict__, "_opened": {}, "_probe": None}


def _rows(tensor: Tensor, shard: Shard) -> Tensor:
    if shard == WHOLE or not tensor.dim():
        return tensor
    rows = shard.of(len(tensor))
    return tensor[rows.start : rows.stop]


def _not_given(top: str, node: Node) -> NetcError:
    hint = f"call the net with {top}=…, or a solver with run.step(n, feed=…)"
    hint += "; net.set_input_arrays(data, labels) hands over arrays" if node.layer.feed == ARRAYS else ""
    return NetcError("R601", f'the input "{top}" is not given', node.place, hint)


def _or_given(error: NetcError, wanted: Iterable[str]) -> NetcError:
    """Where the data are not here, the caller may have them."""
    if error.code not in ("F120", "F130"):
        return error
    hint = f"or give {', '.join(wanted)} in the call"
    hint = f"{error.hint}; {hint}" if error.hint else hint.removeprefix("or ")
    return NetcError(error.code, error.message, error.place, hint, error.related)
