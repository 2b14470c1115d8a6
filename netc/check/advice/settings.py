"""Settings that have no effect, or another than one would think."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from netc.check.advice.flow import trains
from netc.errors.remark import Advice
from netc.graph.ir import Graph, Node
from netc.layers.sources import IMAGES


def moved(graph: Graph) -> Iterator[Advice]:
    """Old fields of a data layer, which Caffe no longer reads."""
    for node in graph.nodes:
        for name in node.layer.moved:
            if node.layer.options.HasField(name):
                field = f"{node.layer.param_field}.{name}"
                message = f'layer "{node.name}": {field} has no effect in the current format'
                yield Advice("A820", message, node.layer.origin.place(field), "move it to transform_param")


def unread(graph: Graph) -> Iterator[Advice]:
    """Blocks of settings that belong to another type of layer."""
    for node in graph.nodes:
        read = {node.layer.param_field, *node.layer.also_reads}
        read |= {"loss_param", "softmax_param"} if node.layer.is_loss else set()
        for field, _ in node.layer.param.ListFields():
            if field.name.endswith("_param") and field.name not in read and field.name not in UNUSED:
                message = f'layer "{node.name}" ({node.type}) does not read {field.name}'
                yield Advice("A821", message, node.layer.origin.place(field.name), "drop it, or check the layer's type")


UNUSED = {
    "quantization_param": "netc computes in floating point, whatever integers Intel's Caffe would take",
    "detection_output_param.save_output_param": "netc writes no detections to files: take them from the top",
    "detection_output_param.visualize": "netc draws no detections: take them from the top",
}
"""Settings of forks by their path in a layer, and what netc does where a fork looks at them."""


def unused(graph: Graph) -> Iterator[Advice]:
    """Settings of forks that netc reads, so that the net can be used, and that have no effect in it."""
    for node in graph.nodes:
        for path, what in UNUSED.items():
            *blocks, field = path.split(".")
            holder = reduce(getattr, blocks, node.layer.param)
            if holder.HasField(field) and getattr(holder, field):
                message = f'layer "{node.name}": {path} has no effect'
                yield Advice("A828", message, node.layer.origin.place(path), what)


def names(graph: Graph) -> Iterator[Advice]:
    """A layer with weights whose name another layer has: weights are copied by name."""
    first: dict[str, Node] = {}
    for node in graph.nodes:
        if node.layer.copies_bottom:
            continue
        other = first.setdefault(node.name, node)
        if other is node or not (node.params or other.params):
            continue
        both = bool(node.params and other.params)
        what = "two layers with weights have" if both else "a layer with weights has the name of another:"
        message = f'{what} the name "{node.name}"' if both else f'{what} "{node.name}"'
        hint = "weights are loaded by name, so the two cannot be told apart: rename one"
        if both and not any(spec.name for spec in node.layer.param.param):
            hint += "; to share parameters, give both the same param { name }"
        yield Advice("A822", message, node.layer.origin.place("name"), hint)


def raw_pixels(graph: Graph) -> Iterator[Advice]:
    """Pixels 0 to 255 that go into the first weights as they are."""
    for index, node in enumerate(graph.nodes if trains(graph) else ()):
        if node.layer.feed in IMAGES and not _prepared(node) and _feeds_weights(graph, index):
            message = (
                f'the images of layer "{node.name}" enter the net as they are, 0 to 255: neither mean nor scale is set'
            )
            place = node.layer.origin.place("transform_param")
            hint = "subtract the mean (mean_value or mean_file; netc image-mean computes it), or set scale: 0.00390625"
            yield Advice("A825", message, place, hint)


def transforms(node: Node) -> bool:
    """Whether a data layer that netc feeds does with its images what transform_param says."""
    return bool(node.layer.feed) and "transform_param" in node.layer.also_reads


def _prepared(node: Node) -> bool:
    transform = node.layer.param.transform_param
    return bool(transform.mean_value) or transform.HasField("mean_file") or transform.scale != 1


def _feeds_weights(graph: Graph, index: int) -> bool:
    """Whether the first top goes straight into weights, as an image does and a label map does not."""
    node = graph.nodes[index]
    images = len(node.top_shapes[0]) == 4 and node.top_shapes[0][1] in (1, 3)
    readers = [graph.nodes[reader] for reader, _ in graph.edges.readers.get((index, 0), ())]
    return images and any(reader.layer.linear for reader in readers)


def overwritten(graph: Graph) -> Iterator[Advice]:
    """A layer in place over a top that Caffe reads again for the gradient of the layer above."""
    for index, node in enumerate(graph.nodes if trains(graph) else ()):
        above = graph.edges.maker(index) if node.in_place else None
        if above is None or not above.layer.backward_reads_top or not above.needs_backward:
            continue
        if not (node.layer.keeps_values or (above.layer.is_positive and node.layer.keeps_positive)):
            yield Advice(
                "A827",
                f'layer "{node.name}" overwrites the output of "{above.name}" ({above.type}), which Caffe reads for '
                "that layer's gradient",
                node.layer.origin.place("top[0]"),
                "netc's gradient is right, Caffe's is not: give this layer a top of its own where Caffe is to train it",
            )
