"""What is legal but hardly meant: the remarks an experienced colleague would make on a net.

    advise(graph, initialised=False) -> list[Advice]

`RULES` lists them; each takes a graph and yields remarks with their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from netc.errors import Place, printable_lines
from netc.ir import Graph, Node
from netc.layers.base import count, format_shape

TRAIN = 0


@dataclass(frozen=True, slots=True)
class Advice:
    """A remark: what was found, where, and what could be done."""

    message: str
    place: Place
    hint: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.place}: warning: {printable_lines(self.message)}", self.place.excerpt()]
        lines += [f"  help: {self.hint}"] if self.hint else []
        return "\n".join(line for line in lines if line)


def advise(graph: Graph, initialised: bool = False) -> list[Advice]:
    """Every remark on a graph, in the order of the rules. `initialised`: weights will come from elsewhere, so the
    fillers do not matter."""
    rules = [rule for rule in RULES if not (initialised and rule is signal)]
    return [remark for rule in rules for remark in rule(graph)]


# -- losses and blobs --------------------------------------------------------------------------------------------------


def no_loss(graph: Graph) -> Iterator[Advice]:
    """A net to be trained that has nothing to minimise."""
    learns = any(ref.learnable for _, _, ref in graph.own_params())
    if graph.phase == TRAIN and learns and not any(any(node.loss_weights) for node in graph.nodes):
        yield Advice(
            "the TRAIN net has no loss, so nothing in it would learn",
            Place(graph.path),
            "add a loss layer such as SoftmaxWithLoss, or check this net with --phase TEST",
        )


def unused(graph: Graph) -> Iterator[Advice]:
    """Blobs of a net to be trained that nothing reads and that are neither losses nor measurements."""
    if graph.phase != TRAIN or not any(any(node.loss_weights) for node in graph.nodes):
        return
    for node in graph.nodes:
        measures = node.layer.no_gradient is None
        for position, blob in enumerate(node.tops):
            if blob in graph.outputs and not measures and not node.loss_weights[position]:
                place = node.layer.origin.place(f"top[{position}]")
                yield Advice(f'nothing reads the blob "{blob}" of layer "{node.name}"', place, _silence(node, blob))


def _silence(node: Node, blob: str) -> str:
    if node.layer.is_source:
        return "leave this top out" if node.tops.index(blob) else "is its reader missing?"
    return f'is its reader missing? If not, drop the layer, or add: layer {{ type: "Silence" bottom: "{blob}" }}'


# -- settings without effect -------------------------------------------------------------------------------------------

MOVED = {
    "Data": ("scale", "mean_file", "crop_size", "mirror"),
    "ImageData": ("scale", "mean_file", "crop_size", "mirror"),
    "WindowData": ("mean_file", "mirror"),
}
"""Fields that went to transform_param, and that current nets may still spell in the old place."""
TRANSFORMING = frozenset({"Data", "ImageData", "WindowData"})


def moved(graph: Graph) -> Iterator[Advice]:
    """Old fields of a data layer, which Caffe no longer reads."""
    for node in graph.nodes:
        for name in MOVED.get(node.type, ()):
            if node.layer.options.HasField(name):
                field = f"{node.layer.param_field}.{name}"
                message = f'layer "{node.name}": {field} has no effect in the current format'
                yield Advice(message, node.layer.origin.place(field), "move it to transform_param")


def unread(graph: Graph) -> Iterator[Advice]:
    """Blocks of settings that belong to another type of layer."""
    for node in graph.nodes:
        read = {node.layer.param_field}
        read |= {"transform_param"} if node.type in TRANSFORMING else set()
        read |= {"loss_param", "softmax_param"} if node.layer.is_loss else set()
        for field, _ in node.layer.param.ListFields():
            if field.name.endswith("_param") and field.name not in read:
                message = f'layer "{node.name}" ({node.type}) does not read {field.name}'
                yield Advice(message, node.layer.origin.place(field.name), "drop it, or check the layer's type")


# -- geometry ----------------------------------------------------------------------------------------------------------


def ceil_pooling(graph: Graph) -> Iterator[Advice]:
    """Poolings whose last window hangs over the edge: other frameworks round the size down by default."""
    for node in graph.nodes:
        window = node.layer.window() if node.type == "Pooling" else None
        if window is None:
            continue
        sides = list(zip(node.bottom_shapes[0][2:], window.kernel, window.stride, window.pad))
        floor = tuple((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in sides)
        found = node.top_shapes[0][2:]
        if tuple(found) != floor:
            yield Advice(
                f'layer "{node.name}" gives {format_shape(found)}: Caffe rounds the size of a pooling up, where '
                f"rounding down would give {format_shape(floor)}",
                node.place,
                "right for a net from Caffe; for weights that were trained elsewhere, round_mode: FLOOR may be",
            )


# -- initialisation ----------------------------------------------------------------------------------------------------

PIXELS = 60.0
"""Root mean square of natural pixels minus their mean."""
TOO_LARGE, TOO_SMALL = 1e3, 1e-5
"""Logits beyond these cannot be trained from: the first overflow the soft-max, the second carry no gradient."""


def signal(graph: Graph) -> Iterator[Advice]:
    """Gaussian fillers whose spread makes the signal explode or die on its way through the layers.

    Follows the root mean square through the first path of convolutions and inner products, as independent weights and
    inputs would give it (paper, Sect. 3.1 and docs/numerics.md, T1). Other layers that learn or normalise end it.
    """
    if graph.phase != TRAIN:
        return
    sizes: dict[str, float] = {}
    last: Node | None = None
    for node in graph.nodes:
        size = _signal_through(node, [sizes.get(blob) for blob in node.bottoms])
        if size is not None:
            sizes.update((blob, size) for blob in node.tops)
            last = node if node.params else last
    if last is None:
        return
    size = sizes[last.tops[0]]
    if not TOO_SMALL <= size <= TOO_LARGE:
        yield _signal_advice(last, size, graph)


def _signal_through(node: Node, bottoms: list[float | None]) -> float | None:
    """The root mean square after a layer; None where it is not known."""
    if node.layer.is_source:
        return PIXELS * _scale(node) if len(node.top_shapes[0]) == 4 else None
    known = bottoms[0] if bottoms else None
    if known is None or any(node.loss_weights):
        return None
    if node.params:
        spread = _spread(node)
        return None if spread is None else known * spread
    if node.type == "ReLU":
        return float(known * 0.5**0.5)
    if node.type == "LRN":
        lrn = node.layer.options
        return float(known * (lrn.k + lrn.alpha * known**2) ** -lrn.beta)
    return known if node.type in {"Pooling", "Dropout", "Split", "Flatten", "Reshape"} else None


def _scale(node: Node) -> float:
    return float(node.layer.param.transform_param.scale) if node.type != "Input" else 1.0


def _spread(node: Node) -> float | None:
    """Factor that a layer's gaussian weights put on the signal; None for other layers and fillers."""
    filler = node.params[0].blob.filler
    if node.type not in {"Convolution", "InnerProduct"} or filler is None or filler.type != "gaussian":
        return None
    inputs = count(node.params[0].blob.shape, 1)
    return float(filler.std * inputs**0.5)


def _signal_advice(last: Node, size: float, graph: Graph) -> Advice:
    first = next(node for node in graph.nodes if node.params)
    place = first.layer.origin.place(f"{first.layer.param_field}.weight_filler.std")
    std = first.params[0].blob.filler.std
    what = "explode" if size > TOO_LARGE else "die out"
    hint = "xavier or msra fit the spread to each layer's size"
    if size > TOO_LARGE and abs(std - 0.1) < 1e-6:
        hint = 'a paper\'s "variance 0.01" often means std: 0.01; ' + hint
    if size < TOO_SMALL:
        hint += "; or start from a shallower net's layers (transplant_param in the solver)"
    message = f'with these gaussian fillers the signal will {what}: about {size:.0e} at layer "{last.name}"'
    return Advice(message, place, hint)


RULES: tuple[Callable[[Graph], Iterator[Advice]], ...] = (no_loss, unused, moved, unread, ceil_pooling, signal)
