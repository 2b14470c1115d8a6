"""Windows that do not do what one would think."""

from __future__ import annotations

from collections.abc import Iterator

from netc.errors import Place, counted
from netc.errors.remark import Advice, listed
from netc.graph.ir import Graph, Node
from netc.layers.base import Shape, format_shape


def ceil_pooling(graph: Graph) -> Iterator[Advice]:
    """Poolings whose last window hangs over the edge: other frameworks round the size down by default."""
    found = [(node, floor) for node in graph.nodes if (floor := _rounded_down(node))]
    if not found:
        return
    node, floor = found[0]
    others = f" (and so do {len(found) - 1} more)" if len(found) > 1 else ""
    yield Advice(
        "A830",
        f'layer "{node.name}" gives {format_shape(node.top_shapes[0][2:])}{others}: Caffe rounds the size of a pooling '
        f"up, where rounding down would give {format_shape(floor)}",
        node.place,
        "right for a net from Caffe; for weights that were trained elsewhere, round_mode: FLOOR may be",
    )


def _rounded_down(node: Node) -> Shape:
    """What a pooling's plane would be with sizes rounded down, where that differs; otherwise ()."""
    window = node.layer.window() if node.layer.rounds_up else None
    if window is None:
        return ()
    sides = list(zip(node.bottom_shapes[0][-2:], window.kernel, window.stride, window.pad))
    floor = tuple((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in sides)
    return floor if floor != tuple(node.top_shapes[0][-2:]) else ()


MEANT = 16
"""A pad from here on is not a slip: segmentation nets (FCN) pad their input by 100, to crop it again."""


def skipping(graph: Graph) -> Iterator[Advice]:
    """Windows that step over values, and windows that lie in the padding alone."""
    step_over, blind = [], []
    for node in graph.nodes:
        window = None if node.layer.transposed else node.layer.window()
        if window is None:
            continue
        reach = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation)]
        if any(1 < size < stride for size, stride in zip(reach, window.stride)):
            step_over.append(node)
        if any(size <= pad < MEANT for pad, size in zip(window.pad, reach)):
            blind.append(node)
    if step_over:
        message = f"{_layers(step_over)} over values: the stride is larger than the kernel"
        yield Advice("A831", message, _window_place(step_over[0]), "are kernel_size and stride swapped?")
    if blind:
        have = "has" if len(blind) == 1 else "have"
        names = listed([node.name for node in blind])
        message = f"{counted(len(blind), 'layer')} ({names}) {have} windows that see nothing but padding"
        yield Advice(
            "A832", message, _window_place(blind[0]), "a kernel of 3 goes with pad 1, 5 with pad 2, 1 with none"
        )


def _layers(nodes: list[Node]) -> str:
    """ "2 layers (pool1, pool2) step"."""
    names = listed([node.name for node in nodes])
    return f"{counted(len(nodes), 'layer')} ({names}) step{'s' if len(nodes) == 1 else ''}"


def _window_place(node: Node) -> Place:
    field = node.layer.param_field or ""
    return node.layer.origin.place(field)
