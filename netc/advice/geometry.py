"""Windows that do not do what one would think."""

from __future__ import annotations

from collections.abc import Iterator

from netc.advice.remark import Advice
from netc.ir import Graph, Node
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
    window = node.layer.window() if node.type == "Pooling" else None
    if window is None:
        return ()
    sides = list(zip(node.bottom_shapes[0][2:], window.kernel, window.stride, window.pad))
    floor = tuple((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in sides)
    return floor if floor != tuple(node.top_shapes[0][2:]) else ()


def skipping(graph: Graph) -> Iterator[Advice]:
    """Windows that step over values, and windows that lie in the padding alone."""
    for node in graph.nodes:
        window = node.layer.window() if node.type in {"Convolution", "Pooling"} else None
        if window is None:
            continue
        reach = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation)]
        place = node.layer.origin.place(node.layer.param_field or "")
        if any(1 < size < stride for size, stride in zip(reach, window.stride)):
            message = f'layer "{node.name}" steps over values: its stride is larger than its kernel'
            yield Advice("A831", message, place, "are kernel_size and stride swapped?")
        if node.type == "Convolution" and any(pad >= size for pad, size in zip(window.pad, reach)):
            message = f'layer "{node.name}" has windows that see nothing but padding: its pad is as large as its kernel'
            yield Advice("A832", message, place, "kernel_size 3 goes with pad 1, 5 with pad 2, 1 with none")
