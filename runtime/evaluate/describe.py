"""Deep features (Simonyan and Zisserman, appendix B): what a net holds below its classifier, averaged over all places.

A `Describer` looks at images as a `Classifier` does, at another blob; a `Description` says what becomes of its looks:
averaged over the two sides, over the sizes or with the sizes side by side, and brought to length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from netc.errors import NetcError, Place, did_you_mean
from netc.graph.edges import Top
from netc.graph.ir import Graph
from netc.layers.base import count
from netc.runtime.evaluate.classifier import Classifier, Posteriors
from netc.runtime.evaluate.dense import Dense, Scores, dense_of, scores_of
from netc.runtime.evaluate.protocol import DENSE, Look, Protocol, protocol

AVERAGE, STACK = COMBINATIONS = ("average", "stack")

ASK = 'name the blob: --blob NAME, or blob="NAME" in Python'


@dataclass(frozen=True)
class Description:
    """What becomes of an image's looks. `combine`: of several sizes, "average" or "stack"."""

    protocol: Protocol
    combine: str = AVERAGE
    normalise: bool = True

    def of(self, found: Mapping[Look, NDArray[Any]]) -> NDArray[np.float64]:
        """(…, D) of what each look found, (1, …, values). A descriptor of nothing but zeros stays as it is."""
        each = [self._scale(found, scale) for scale in self.protocol.scales]
        whole = np.mean(each, axis=0) if self.combine == AVERAGE else np.concatenate(each, axis=-1)
        if not self.normalise:
            return np.asarray(whole)
        length = np.linalg.norm(whole, axis=-1, keepdims=True)
        return np.asarray(whole / np.where(length > 0, length, 1))

    def _scale(self, found: Mapping[Look, NDArray[Any]], scale: int) -> NDArray[np.float64]:
        sides = [found[look][0] for look in self.protocol.looks() if look.scale == scale]
        return np.asarray(np.mean(sides, axis=0, dtype=np.float64))

    def size(self, values: int) -> int:
        """D, given how many values a place has."""
        return values * (len(self.protocol.scales) if self.combine == STACK else 1)


def description(scales: Any = (256,), combine: str = AVERAGE, flip: bool = True, normalise: bool = True) -> Description:
    """What a caller asks for. Raises NetcError R732."""
    if not isinstance(combine, str) or combine not in COMBINATIONS:
        raise NetcError("R732", f"combine is {combine!r}", None, f"one of {', '.join(COMBINATIONS)}")
    return Description(protocol(scales, DENSE, flip), combine, bool(normalise))


class Describer(Classifier):
    """A net in the TEST phase whose features are wanted: those of `blob`, by default what its last layer with weights
    reads. `classes` is how many a place has. Raises NetcError as `Classifier`, R741, R742."""

    kind = "features"

    def _values(self, blob: str | None) -> Scores:
        return features_of(self.graph, blob)

    @staticmethod
    def averaged(maps: Tensor) -> Posteriors:
        found: Posteriors = maps.flatten(2).double().mean(2)[None].cpu().numpy()
        return found

    @cached_property
    def dense(self) -> Dense:
        return dense_of(self.net, self.graph, self.blob)


def features_of(graph: Graph, blob: str | None = None) -> Scores:
    """The blob of a deployed net that features are taken from, and its channels.

    By default the one below the classifier, as that layer reads it: behind the ReLU; the dropout between them does
    nothing in TEST. A blob that only has another's values in a row stands for that one. Raises NetcError R602, R741
    (no single layer makes the scores), R742 (a blob that has no places).
    """
    if blob is not None and blob not in graph.shapes:
        raise NetcError("R602", f'the net has no blob "{blob}"{did_you_mean(blob, graph.shapes)}', Place(graph.path))
    top = graph.edges.last[blob] if blob is not None else _below_classifier(graph)
    top = _laid_out(graph, top)
    name = graph.edges.name(top)
    if graph.edges.last[name] != top:
        found = f'what the classifier reads in the blob "{name}" is worked over in place by another layer'
        raise NetcError("R741", found, graph.nodes[top[0]].place, ASK)
    shape = graph.shapes[name]
    if len(shape) not in (2, 4):
        found = f'the blob "{name}" of the shape {"×".join(map(str, shape))} has no channels of an image'
        hint = "features have two axes, or four of a map: images, channels, rows, columns"
        raise NetcError("R742", found, graph.nodes[top[0]].place, hint)
    return Scores(name, shape[1])


def _below_classifier(graph: Graph) -> Top:
    """What the last layer with weights reads, of those that the scores are made by one behind the other."""
    try:
        index, _ = graph.edges.last[scores_of(graph).blob]
    except NetcError as error:
        raise NetcError("R741", error.message, error.place, ASK) from None
    while True:
        node, reads = graph.nodes[index], graph.edges.makers[index]
        if len(reads) != 1:
            found = f'below the scores there is no classifier alone: "{node.name}" has {len(reads)} bottoms'
            raise NetcError("R741", found, node.place, ASK)
        if node.layer.multiplies and node.params:
            return reads[0]
        index = reads[0][0]


def _laid_out(graph: Graph, top: Top) -> Top:
    """The top in which the values of an image lie as a plane, where a Flatten has put them in a row."""
    node = graph.nodes[top[0]]
    while node.layer.keeps_values and node.bottoms and node.top_shapes[0][1:] == (count(node.bottom_shapes[0][1:]),):
        top = graph.edges.makers[top[0]][0]
        node = graph.nodes[top[0]]
    return top
