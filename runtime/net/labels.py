"""Class numbers among what feeds a net, held against the layers that read them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from netc.errors import NetcError
from netc.graph.ir import Graph, Node

LABELLED = frozenset({"SoftmaxWithLoss", "Accuracy", "MultinomialLogisticLoss", "HingeLoss", "InfogainLoss"})
"""Layers whose second bottom holds class numbers."""


class LabelCheck:
    """Labels of one blob lie in [0, classes) or are the layer's ignore_label."""

    def __init__(self, node: Node, blob: str, classes: int) -> None:
        self.node, self.blob, self.classes = node, blob, classes
        options = node.layer.options if node.type == "Accuracy" else node.layer.param.loss_param
        self.ignored = options.ignore_label if options.HasField("ignore_label") else None

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


def label_checks(graph: Graph) -> Iterator[LabelCheck]:
    """A check for every top of a source that a layer reads as class numbers."""
    origin = {top: node.bottoms[0] for node in graph.nodes if node.type == "Split" for top in node.tops}
    sources = {top for node in graph.nodes if node.layer.is_source for top in node.tops}
    seen: set[tuple[str, int]] = set()
    for node in graph.nodes:
        if node.type not in LABELLED or len(node.bottoms) < 2:
            continue
        blob, shape = origin.get(node.bottoms[1], node.bottoms[1]), node.bottom_shapes[0]
        axis = _class_axis(node)
        if blob in sources and -len(shape) <= axis < len(shape) and (blob, shape[axis]) not in seen:
            seen.add((blob, shape[axis]))
            yield LabelCheck(node, blob, shape[axis])


def _class_axis(node: Node) -> int:
    if node.type == "Accuracy":
        return int(node.layer.param.accuracy_param.axis)
    return int(node.layer.param.softmax_param.axis) if node.type in {"SoftmaxWithLoss", "InfogainLoss"} else 1
