"""What the fillers make of the signal: whether a net can start to train from them.

The root mean square of the values is followed from the images to the losses, as independent weights of mean 0 and
independent inputs would give it (paper, Sect. 3.1 and docs/numerics.md, T1). Where a layer allows no such statement,
nothing is said of what lies below it (`rms` of each layer type).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netc.check.advice.flow import trains
from netc.errors.remark import Advice
from netc.graph.ir import Graph, Node
from netc.layers.sources import IMAGES, WINDOWS

PICTURES = IMAGES | {WINDOWS}
"""Feeds of pixels, of which transform_param tells the range."""
PIXELS, RAW = 60.0, 130.0
"""Root mean square of natural pixels minus their mean, and as they are."""
TOO_LARGE, TOO_SMALL = 1e3, 1e-5
"""Logits beyond these cannot be trained from: the first overflow the soft-max, the second carry no gradient."""
WIDE = 20.0
"""Scores this far apart make each soft-max 0 or 1 at the start. Of 352 losses of public nets that start from fillers on
images, two have wider ones, and all others 8 at most."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What arrives at a blob: its root mean square, the source it comes from, and the last layer with weights."""

    rms: float
    source: Node
    last: Node | None = None


def signal(graph: Graph) -> Iterator[Advice]:
    """Fillers whose spread makes the signal explode or die on its way to the scores of a loss, and images of a scale
    that the fillers hand on to the scores."""
    blobs: dict[str, Signal] = {}
    for node in graph.nodes if trains(graph) else ():
        if any(node.loss_weights) and node.bottoms:
            found = blobs.get(node.bottoms[0])
            remark = _remark(node, found, graph) if found is not None and found.last is not None else None
            if remark is not None:
                yield remark
                return
            continue
        found = _through(node, [blobs.get(blob) for blob in node.bottoms])
        for blob in node.tops:
            blobs.pop(blob, None)
            blobs.update({blob: found} if found is not None else {})


def _through(node: Node, bottoms: Sequence[Signal | None]) -> Signal | None:
    """What a layer makes of it; None where that is not known."""
    if node.layer.is_source:
        return Signal(_pixels(node), node) if len(node.top_shapes[0]) == 4 else None
    known = [found for found in bottoms if found is not None]
    if not bottoms or bottoms[0] is None:
        return None
    rms = node.layer.rms(bottoms[0].rms, *(None if found is None else found.rms for found in bottoms[1:]))
    last = node if node.params else next((found.last for found in known if found.last is not None), None)
    return None if rms is None else Signal(rms, bottoms[0].source, last)


def _pixels(node: Node) -> float:
    if node.layer.feed not in PICTURES:
        return PIXELS
    transform = node.layer.param.transform_param
    centred = bool(transform.mean_value) or transform.HasField("mean_file")
    return float(transform.scale) * (PIXELS if centred else RAW)


def _remark(loss: Node, found: Signal, graph: Graph) -> Advice | None:
    if not TOO_SMALL <= found.rms <= TOO_LARGE:
        return _fillers(found, graph)
    image = found.source.layer.feed in PICTURES and found.source.top_shapes[0][1] in (1, 3)
    return _scale(loss, found) if image and loss.layer.takes == "scores" and found.rms > WIDE else None


def _scale(loss: Node, found: Signal) -> Advice:
    """A819: one factor on the input brings the scores to about 1."""
    source, pixels = found.source, _pixels(found.source)
    transform = source.layer.param.transform_param
    fit = transform.scale / 2 ** round(math.log2(found.rms))
    message = (
        f'the scores of the loss "{loss.name}" will start at about ±{found.rms:.0f}, where ±1 is right: that is what '
        f'these fillers make of the pixels of layer "{source.name}", about ±{pixels:.0f}'
    )
    hint = f"scale: {fit:.3g} in the transform_param of every data layer makes them about ±1"
    return Advice("A819", message, source.layer.origin.place("transform_param"), hint)


def _fillers(found: Signal, graph: Graph) -> Advice:
    """A810: no scale of the input is meant to make up for this much."""
    size, last = found.rms, found.last or found.source
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
