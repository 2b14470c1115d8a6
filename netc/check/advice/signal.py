"""What the fillers make of the signal: whether a net can start to train from them.

The root mean square of the values is followed from the images to the losses, as independent weights of mean 0 and
independent inputs would give it (paper, Sect. 3.1 and docs/numerics.md, T1). Where a layer allows no such statement,
nothing is said of what lies below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from netc.check.advice.flow import trains
from netc.errors.remark import Advice
from netc.graph.ir import Graph, Node
from netc.layers.base import count

PIXELS, RAW = 60.0, 130.0
"""Root mean square of natural pixels minus their mean, and as they are."""
TOO_LARGE, TOO_SMALL = 1e3, 1e-5
"""Logits beyond these cannot be trained from: the first overflow the soft-max, the second carry no gradient."""
KEEPING = frozenset({"Pooling", "Dropout", "Split", "Flatten", "Reshape", "Permute", "ShuffleChannel", "Crop", "Slice"})

Sizes = Sequence[float | None]


def signal(graph: Graph) -> Iterator[Advice]:
    """Fillers whose spread makes the signal explode or die on its way to the scores of a loss."""
    sizes: dict[str, float] = {}
    path: dict[str, Node] = {}
    for node in graph.nodes if trains(graph) else ():
        if any(node.loss_weights):
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


def _through(node: Node, bottoms: Sizes) -> float | None:
    """The root mean square after a layer; None where it is not known."""
    if node.layer.is_source:
        return _pixels(node) if len(node.top_shapes[0]) == 4 else None
    if not bottoms or bottoms[0] is None:
        return None
    rule = RULES.get(node.type)
    if rule is not None:
        return rule(node, bottoms)
    return bottoms[0] if node.type in KEEPING else None


def _pixels(node: Node) -> float:
    if node.type not in {"Data", "ImageData"}:
        return PIXELS
    transform = node.layer.param.transform_param
    centred = bool(transform.mean_value) or transform.HasField("mean_file")
    return float(transform.scale) * (PIXELS if centred else RAW)


def _weights(node: Node, bottoms: Sizes) -> float | None:
    """Convolution and InnerProduct: each output is a sum of as many products as its filter has weights."""
    spread, known = _spread(node), bottoms[0]
    if spread is None or known is None:
        return None
    bias = node.params[1].blob.filler.value if len(node.params) > 1 and node.params[1].blob.filler is not None else 0.0
    return float(((known * spread) ** 2 + bias**2) ** 0.5)


def _spread(node: Node) -> float | None:
    """Factor that a layer's initial weights put on the signal; None where they have a mean, are all 0, or are set."""
    filler, shape = node.params[0].blob.filler, node.params[0].blob.shape
    inputs = count(shape, 1)
    if filler is None:
        return None
    if filler.type == "gaussian" and filler.mean == 0 and filler.sparse < 0 and filler.std > 0:
        return float(filler.std * inputs**0.5)
    if filler.type == "uniform" and filler.min == -filler.max != 0:
        return float(filler.max * (inputs / 3) ** 0.5)
    if filler.type in {"xavier", "msra"}:
        fan_out = count(shape) / shape[1] if len(shape) > 1 else count(shape)
        fan = (inputs, fan_out, (inputs + fan_out) / 2)[filler.variance_norm]
        return float(((2 if filler.type == "msra" else 1) * inputs / fan) ** 0.5)
    return None


def _lrn(node: Node, bottoms: Sizes) -> float | None:
    known, lrn = bottoms[0], node.layer.options
    return None if known is None else float(known * (lrn.k + lrn.alpha * known**2) ** -lrn.beta)


def _relu(node: Node, bottoms: Sizes) -> float | None:
    slope = node.layer.options.negative_slope
    return None if bottoms[0] is None else float(bottoms[0] * ((1 + slope * slope) / 2) ** 0.5)


def _batch_norm(node: Node, bottoms: Sizes) -> float | None:
    options = node.layer.options
    return None if options.HasField("use_global_stats") and options.use_global_stats else 1.0


def _scale(node: Node, bottoms: Sizes) -> float | None:
    filler = node.params[0].blob.filler if node.params else None
    constant = filler is not None and filler.type == "constant" and filler.value != 0
    return bottoms[0] * filler.value if constant and filler and bottoms[0] is not None else None


def _eltwise(node: Node, bottoms: Sizes) -> float | None:
    known = [size for size in bottoms if size is not None]
    if len(known) < len(bottoms) or node.layer.options.operation != 1:
        return None
    weights = list(node.layer.options.coeff) or [1.0] * len(known)
    return float(sum((w * size) ** 2 for w, size in zip(weights, known)) ** 0.5)


def _concat(node: Node, bottoms: Sizes) -> float | None:
    known = [size for size in bottoms if size is not None]
    return max(known) if len(known) == len(bottoms) else None


def _bounded(node: Node, bottoms: Sizes) -> float | None:
    return None if bottoms[0] is None else min(bottoms[0], 1.0)


RULES: dict[str, Callable[[Node, Sizes], float | None]] = {
    "Convolution": _weights,
    "InnerProduct": _weights,
    "LRN": _lrn,
    "ReLU": _relu,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "TanH": _bounded,
}


def _remark(last: Node, size: float, graph: Graph) -> Advice:
    first = next(node for node in graph.nodes if node.params and node.type in {"Convolution", "InnerProduct"})
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
