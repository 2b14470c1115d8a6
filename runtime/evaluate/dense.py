"""A net applied to whole images: its convolutional form on the same parameters, and where the places of a map lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from netc.check.analyse import analyse
from netc.errors import NetcError, Place
from netc.graph.compile import compile_layers
from netc.graph.filter import Layers
from netc.graph.ir import Graph
from netc.layers.base import Shape
from netc.layers.softmax import Softmax
from netc.passes.convolutional import Convolutional, convolutional
from netc.passes.deploy import deployed
from netc.prototxt.draft import Draft
from netc.prototxt.source import Source
from netc.runtime.evaluate.memory import LIMIT, check_memory
from netc.runtime.evaluate.tiles import Plan, plan
from netc.runtime.net.module import Net


def deployed_graph(net: Net) -> Graph:
    """The net without its losses, labels and data layers: images in, scores out."""
    graph = net.graph
    params, origins = [node.layer.param for node in graph.nodes], [node.layer.origin for node in graph.nodes]
    layers = Layers(Draft(graph.header, [], Source("", graph.path)), graph.state, params, origins)
    learned = {node.name for node in graph.nodes if node.params}

    def shapes(layer: Any) -> list[Shape | None]:
        return [graph.shapes.get(top) for top in layer.param.top]

    return compile_layers(deployed(layers, learned, shapes, judged=False).layers)


class Scores(NamedTuple):
    """The blob with the scores of a classifier (before any Softmax), and the number of its classes."""

    blob: str
    classes: int


def scores_of(graph: Graph, blob: str | None = None) -> Scores:
    """The scores of a deployed net: what its Softmax reads, else its output. `blob`: which of several outputs.

    Raises NetcError R730 (several outputs and none named, or none that are scores of classes), R602.
    """
    name = blob or _only_output(graph)
    if name not in graph.shapes:
        raise NetcError("R602", f'the net has no blob "{name}"; its outputs: {", ".join(graph.outputs)}')
    writer, _ = graph.edges.last[name]
    node = graph.nodes[writer]
    if isinstance(node.layer, Softmax):
        name = graph.edges.name(graph.edges.makers[writer][0])
    shape = graph.shapes[name]
    if len(shape) not in (2, 4):
        found = f'the blob "{name}" has no scores of classes, of the shape {"×".join(map(str, shape))}'
        raise NetcError(
            "R730", found, node.place, "scores have two axes, or four of a map: images, classes, rows, columns"
        )
    return Scores(name, shape[1])


def _only_output(graph: Graph) -> str:
    if len(graph.outputs) != 1:
        found = f"the net has {len(graph.outputs)} outputs: {', '.join(graph.outputs) or 'none'}"
        raise NetcError("R730", found, Place(graph.path), "say which has the scores: blob=, or --blob")
    return graph.outputs[0]


@dataclass(slots=True)
class Dense:
    """A classifier's convolutional form, on the classifier's own parameters.

    `image`: the input. `form`: the net as a graph. `stride`: (rows, columns) of pixels from a place to the next.
    `size`: (height, width) of the classifier's input, the window of a place.
    """

    net: Net
    form: Convolutional
    image: str
    blob: str
    stride: tuple[int, int]
    size: tuple[int, int]
    plans: dict[tuple[int, int], Plan] = field(default_factory=dict, repr=False)
    """Of the sizes so far."""

    @torch.no_grad()
    def map(self, images: Tensor) -> Tensor:
        """The map (N, K, rows, columns) of the scores of images (N, C, H, W). What has two axes is a map of one place.

        Raises NetcError L302 for images too small for the net, R750.
        """
        planned = self.plan(*images.shape[2:])
        if planned.bytes > LIMIT and images.device.type == "cpu":
            check_memory(planned.bytes, f"a picture of {images.shape[2]}×{images.shape[3]} pixels")
        if not planned.tiles:
            return self._on(images)
        found = images.new_empty(len(images), *planned.map)
        for rows, columns in planned.tiles:
            part = self._on(images[:, :, rows.pixels, columns.pixels].contiguous())
            found[:, :, rows.places, columns.places] = part[:, :, rows.kept, columns.kept]
        return found

    def _on(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net({self.image: images}, blobs=[self.blob])[self.blob]
        return as_map(scores)

    def plan(self, height: int, width: int) -> Plan:
        """How an image of that size goes through the net. Raises NetcError as the layers for one too small for it."""
        if (height, width) not in self.plans:
            self.plans[height, width] = plan(self.form, self.blob, height, width)
        return self.plans[height, width]

    def places(self, rows: int, columns: int) -> Tensor:
        """The windows of a map's places in pixels of the image: (rows, columns, 4), x1 y1 x2 y2, the last ones not
        included. Caffe's pooling rounds up, so the last windows may reach beyond the image."""
        top = torch.arange(rows) * self.stride[0]
        left = torch.arange(columns) * self.stride[1]
        y, x = torch.meshgrid(top, left, indexing="ij")
        return torch.stack([x, y, x + self.size[1], y + self.size[0]], -1)


def as_map(blob: Tensor) -> Tensor:
    """Scores (N, K) as a map of one place."""
    return blob if blob.dim() == 4 else blob.reshape(*blob.shape[:2], 1, 1)


def dense(net: Net, blob: str | None = None) -> Dense:
    """The convolutional form of a classifier. `blob`: that of the scores, where the net has several outputs.

    Parameters are shared, not copied. Raises NetcError as netc.passes.convolutional and `scores_of`.
    """
    graph = deployed_graph(net)
    return dense_of(net, graph, scores_of(graph, blob).blob)


def dense_of(net: Net, graph: Graph, blob: str) -> Dense:
    """The convolutional form of all that a blob of a deployed net is made from. Raises NetcError L308, L309."""
    form = convolutional(graph, [blob])
    twin = net.twin(form.graph, _all_tensors)
    twin.share_views(net)
    height, width = form.graph.shapes[form.image][2:]
    return Dense(twin, form, form.image, blob, _stride(form.graph, blob), (height, width))


def _all_tensors(net: Net) -> list[Tensor]:
    """Every parameter: none is filled, as all are replaced."""
    return [tensor for step in net.steps for tensor in step.held()]


def _stride(graph: Graph, blob: str) -> tuple[int, int]:
    """Pixels of the image between two neighbours on a blob's map."""
    writer, _ = graph.edges.last[blob]
    node = graph.nodes[writer]
    seen = next(row.field for row in analyse(graph).rows if row.node is node)
    return seen.stride if seen is not None else (1, 1)
