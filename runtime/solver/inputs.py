"""What a net's data layers deliver for forward pass number k: a pure function of k, with labels checked on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.runtime.data import has_feed


class Inputs(dict[str, Any]):
    """{layer key: feed} of a graph's data layers, opened when first used. `waited` is the time spent in `pull`."""

    def __init__(self, graph: Graph, seed: int, workers: int | None, device: str) -> None:
        super().__init__()
        sources = [node for node in graph.nodes if node.layer.is_source]
        self._sources = [node for node in sources if has_feed(node.layer)]
        self._unfed = [node for node in sources if not has_feed(node.layer)]
        self._open_args = (seed, workers)
        self._device = device
        self._labels = list(_label_checks(graph))
        self.waited = 0.0

    def __missing__(self, key: str) -> Any:
        from netc.runtime.data import open_feed

        node = next(node for node in self._sources if node.layer.key == key)
        feed = self[key] = open_feed(node.layer, node.layer.phase, *self._open_args)
        return feed

    def __setitem__(self, key: str, feed: Any) -> None:
        """A feed for a layer that has none of its own (`Net.set_input_arrays`) makes it one of those that have."""
        super().__setitem__(key, feed)
        taken = [node for node in self._unfed if node.layer.key == key]
        self._sources += taken
        self._unfed = [node for node in self._unfed if node not in taken]

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if any(node.layer.key == key for node in self._sources) else default

    @property
    def complete(self) -> bool:
        """Every source is a data layer: nothing has to be given by the caller."""
        return not self._unfed

    @property
    def given(self) -> tuple[str, ...]:
        """The tops that the caller gives: of Input layers, and of MemoryData layers without arrays."""
        return tuple(top for node in self._unfed for top in node.tops)

    @property
    def unfed(self) -> Node | None:
        """The first layer that the caller feeds."""
        return next(iter(self._unfed), None)

    @property
    def size(self) -> int | None:
        """Records in one pass over the data; None where no source knows it."""
        sizes = {self[node.layer.key].size for node in self._sources} - {None}
        if len(sizes) > 1:
            raise NetcError(
                "R620",
                f"the data layers have {' and '.join(map(str, sorted(sizes)))} records",
                self._sources[-1].place,
                "set test_iter",
            )
        return sizes.pop() if sizes else None

    @property
    def batch_size(self) -> int:
        """Records in a batch; 0 for a net without data layers."""
        return max((self[node.layer.key].batch_size for node in self._sources), default=0)

    def pull(self, k: int, stop: int | None = None) -> dict[str, Tensor]:
        """The tops of all data layers for pass k, on the net's device. With `stop`, records end at that position."""
        start = time.perf_counter()
        tops: dict[str, Tensor] = {}
        for node in self._sources:
            tops.update(zip(node.tops, self[node.layer.key].batch(k, stop)))
        self.waited += time.perf_counter() - start
        self.check(tops)
        return {name: tensor.to(self._device, non_blocking=True) for name, tensor in tops.items()}

    def check(self, tops: dict[str, Tensor]) -> None:
        """Raise R621 for a label that is no class of the layer that reads it."""
        for check in self._labels:
            check(tops)

    def close(self) -> None:
        for feed in self.values():
            feed.close()
        self.clear()


class _LabelCheck:
    """Labels of one blob lie in [0, classes) or are the layer's ignore_label."""

    def __init__(self, node: Node, blob: str, classes: int) -> None:
        self.node, self.blob, self.classes, self.ignored = node, blob, classes, node.layer.ignore

    def __call__(self, tops: dict[str, Tensor]) -> None:
        labels = tops.get(self.blob)
        if labels is None or labels.numel() == 0:
            return
        low, high = (float(x) for x in labels.aminmax())
        if low > -1 and high < self.classes:
            return
        bad = [x for x in labels.flatten().tolist() if not -1 < x < self.classes and int(x) != self.ignored]
        if bad:
            raise NetcError(
                "R621",
                f'label {bad[0]:g} does not exist: layer "{self.node.name}" ({self.node.type}) has '
                f"{self.classes} classes, labels 0 to {self.classes - 1}",
                self.node.place,
                "raise num_output of the layer below, or mend the labels (they count from 0)",
            )


def _label_checks(graph: Graph) -> Iterator[_LabelCheck]:
    seen: set[tuple[str, int]] = set()
    for index, node in enumerate(graph.nodes):
        classes = node.layer.class_count(node.bottom_shapes)
        source = graph.edges.maker(index, 1)
        if classes is None or source is None or not source.layer.is_source:
            continue
        blob = graph.edges.name(graph.edges.makers[index][1])
        if (blob, classes) not in seen:
            seen.add((blob, classes))
            yield _LabelCheck(node, blob, classes)
