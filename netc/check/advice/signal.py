"""What the fillers make of the signal: whether a net can start to train from them.

The root mean square of the values is followed from the images to the losses, as independent weights of mean 0 and
independent inputs would give it (paper, Sect. 3.1 and docs/numerics.md, T1). Where a layer allows no such statement,
nothing is said of what lies below it (`rms` of each layer type).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netc.check.advice.flow import trains
from netc.errors.remark import Advice
from netc.graph.ir import Graph, Node
from netc.layers.sources import IMAGES

PIXELS, RAW = 60.0, 130.0
"""Root mean square of natural pixels minus their mean, and as they are."""
TOO_LARGE, TOO_SMALL = 1e3, 1e-5
"""Logits beyond these cannot be trained from: the first overflow the soft-max, the second carry no gradient."""


def signal(graph: Graph) -> Iterator[Advice]:
    """Fillers whose spread makes the signal explode or die on its way to the scores of a loss."""
    sizes: dict[str, float] = {}
    path: dict[str, Node] = {}
    for node in graph.nodes if trains(graph) else ():
        if any(node.loss_weights) and node.bottoms:
            size, last = sizes.get(node.bottoms[0]), path.get(node.bottoms[0])
            if size is not None and last is not None and not TOO_SMALL <= size <= TOO_LARGE:
                yield _remark(last, size, graph)
                return
            continue
        found = _through(node, [sizes.get(blob) for blob in node.bottoms])
        for blob in node.tops:
            sizes.pop(blob, None)
            if found is not None:
                sizes[blob] = found
                last = node if node.params else next((path[b] for b in node.bottoms if b in path), None)
                path.update({blob: last} if last else {})


def _through(node: Node, bottoms: Sequence[float | None]) -> float | None:
    """The root mean square after a layer; None where it is not known."""
    if node.layer.is_source:
        return _pixels(node) if len(node.top_shapes[0]) == 4 else None
    if not bottoms or bottoms[0] is None:
        return None
    return node.layer.rms(bottoms[0], *bottoms[1:])


def _pixels(node: Node) -> float:
    if node.layer.feed not in IMAGES:
        return PIXELS
    transform = node.layer.param.transform_param
    centred = bool(transform.mean_value) or transform.HasField("mean_file")
    return float(transform.scale) * (PIXELS if centred else RAW)


def _remark(last: Node, size: float, graph: Graph) -> Advice:
    first = next(node for node in graph.nodes if node.params and node.layer.linear)
    filler = first.params[0].blob.filler
    gaussian = filler is not None and filler.type == "gaussian"
    field = f"{first.layer.param_field}.weight_filler" + (".std" if gaussian else "")
    what = "explode" if size > TOO_LARGE else "die out"
    hint = "xavier or msra fit the spread to each layer's size"
    if not gaussian:
        hint = "is a scale or a mean missing in the data layer?" if size > TOO_LARGE else "msra makes up for each ReLU"
    elif size > TOO_LARGE and filler is not None and abs(filler.std - 0.1) < 1e-6:
        hint = 'a paper\'s "variance 0.01" often means std: 0.01; ' + hint
    if size < TOO_SMALL:
        hint += "; or start from a shallower net's layers (transplant_param in the solver)"
    kind = "gaussian " if gaussian else ""
    message = f'with these {kind}fillers the signal will {what}: about {size:.0e} at layer "{last.name}"'
    return Advice("A810", message, first.layer.origin.place(field), hint)
