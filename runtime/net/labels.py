"""Class numbers among what feeds a net, held against the layers that read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from netc.errors import NetcError
from netc.graph.ir import Graph, Node
from netc.runtime.data.byte_batch import ByteBatch


class LabelCheck:
    """Labels of one blob lie in [0, classes) or are the layer's ignore_label."""

    def __init__(self, node: Node, blob: str, classes: int) -> None:
        self.node, self.blob, self.classes, self.ignored = node, blob, classes, node.layer.ignore

    def __call__(self, tops: dict[str, Any], record: Callable[[str, int], str]) -> None:
        """`record(top, row)`: which record a row is, in words, "" where that is not known."""
        labels = tops.get(self.blob)
        if isinstance(labels, ByteBatch):
            labels = labels.to("cpu")
        if labels is None or labels.numel() == 0:
            return
        low, high = (float(x) for x in labels.aminmax())
        if low > -1 and high < self.classes:
            return
        for at, label in enumerate(labels.flatten().tolist()):
            if not -1 < label < self.classes and not (math.isfinite(label) and int(label) == self.ignored):
                raise self._error(label, record(self.blob, at * len(labels) // labels.numel()))

    def _error(self, label: float, record: str) -> NetcError:
        return NetcError(
            "R621",
            f'label {label:g} does not exist: layer "{self.node.name}" ({self.node.type}) has '
            f"{self.classes} classes, labels 0 to {self.classes - 1}" + (f"; it is that of {record}" if record else ""),
            self.node.place,
            "raise num_output of the layer below, or correct the labels (they count from 0)",
        )


def label_checks(graph: Graph) -> Iterator[LabelCheck]:
    """A check for every top of a source that a layer reads as class numbers."""
    seen: set[tuple[str, int]] = set()
    for index, node in enumerate(graph.nodes):
        classes = node.layer.class_count(node.bottom_shapes)
        source = graph.edges.maker(index, 1)
        if classes is None or source is None or not source.layer.is_source:
            continue
        blob = graph.edges.name(graph.edges.makers[index][1])
        if (blob, classes) not in seen:
            seen.add((blob, classes))
            yield LabelCheck(node, blob, classes)
