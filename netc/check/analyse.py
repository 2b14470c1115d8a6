"""What a net costs and sees, worked out from its graph: parameters, multiply-adds, memory, receptive fields.

    analyse(graph) -> Analysis     one Row a layer, and the sums
    memory(analysis, batch)        bytes that training on a batch takes

Nothing is run, and neither torch nor numpy is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from netc.graph.ir import Graph, Node
from netc.layers.base import Shape, Window, count

FLOAT = 4
"""Bytes of a value."""

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The part of the input image that one value of a blob depends on, (height, width) in input pixels.

    `stride`: how far the field moves from one value to the next. `start`: the first pixel of the first value's field
    (negative: it lies in the padding). `plane`: the positions that are still apart, which a layer that looks at the
    whole plane brings together.
    """

    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    start: Pair = (0, 0)
    plane: Pair = (1, 1)

    def through(self, window: Window) -> ReceptiveField:
        """The field after a sliding window."""
        reach = [d * (k - 1) for k, d in zip(window.kernel, window.dilation)]
        return ReceptiveField(
            _pair(s + r * step for s, r, step in zip(self.size, reach, self.stride)),
            _pair(step * s for step, s in zip(self.stride, window.stride)),
            _pair(at - p * step for at, p, step in zip(self.start, window.pad, self.stride)),
            self.plane,
        )

    def over_plane(self) -> ReceptiveField:
        """The field of a layer that sees every position: a window as large as the plane."""
        return ReceptiveField(self.through(Window(self.plane)).size, self.stride, self.start)

    def on(self, shape: Shape) -> ReceptiveField:
        """The same field in a blob of that shape."""
        plane = (shape[2], shape[3]) if len(shape) == 4 else self.plane
        return ReceptiveField(self.size, self.stride, self.start, plane)

    def joined(self, other: ReceptiveField) -> ReceptiveField:
        """The smallest field that holds both (for layers with several bottoms)."""
        start = _pair(map(min, self.start, other.start))
        ends = [max(a + s, b + t) for a, s, b, t in zip(self.start, self.size, other.start, other.size)]
        return ReceptiveField(
            _pair(end - at for end, at in zip(ends, start)),
            _pair(map(max, self.stride, other.stride)),
            start,
            _pair(map(max, self.plane, other.plane)),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One layer. `params` counts the values it owns (0 where shared), `macs` and `values` are of one forward pass over
    the whole batch; `values` are those its tops hold beside what exists already (0 in place)."""

    node: Node
    params: int
    macs: int
    values: int
    field: ReceptiveField | None


@dataclass(frozen=True)
class Analysis:
    """A net's layers (splits left out) and sums. `images` is the batch of the graph."""

    graph: Graph
    rows: list[Row]
    images: int

    @cached_property
    def params(self) -> int:
        """Weights and biases, shared ones once."""
        return sum(row.params for row in self.rows)

    @cached_property
    def weights(self) -> int:
        """The same without biases (parameters of one axis)."""
        return sum(count(ref.blob.shape) for _, _, ref in self.graph.own_params() if len(ref.blob.shape) > 1)

    @cached_property
    def learnable(self) -> int:
        """Parameters whose lr_mult is not 0."""
        return sum(count(ref.blob.shape) for _, _, ref in self.graph.own_params() if ref.learnable)

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of one forward pass for one image."""
        return sum(row.macs for row in self.rows) // self.images

    @cached_property
    def activations(self) -> int:
        """Values that the tops of all layers hold for one image, the image itself included."""
        return sum(row.values for row in self.rows) // self.images

    @cached_property
    def largest(self) -> int:
        """Values of the largest blob for one image."""
        return max((count(shape) for shape in self.graph.shapes.values()), default=0) // self.images

    def row(self, name: str) -> Row:
        """The (last) layer of that name; KeyError if there is none."""
        for row in reversed(self.rows):
            if row.node.name == name:
                return row
        raise KeyError(name)

    def params_of(self, *types: str) -> int:
        """Parameters owned by layers of these types."""
        return sum(row.params for row in self.rows if row.node.type in types)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `weights`: the parameters. `gradients` and `history`: those of the learnable ones, and the update rule's.
    `activations`: the batch and what is kept of it for the backward pass. `in_flight`: the gradients of two blobs,
    which is what backward holds at a time. Work space of convolutions and the like is not counted.
    """

    weights: int
    gradients: int
    history: int
    activations: int
    in_flight: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.history + self.activations + self.in_flight


def analyse(graph: Graph) -> Analysis:
    """Work out every layer of a graph."""
    fields: dict[str, ReceptiveField | None] = {}
    rows = []
    for index, node in enumerate(graph.nodes):
        field = _field(node, [fields.get(blob) for blob in node.bottoms])
        fields.update((blob, field.on(shape)) for blob, shape in _planes(node) if field)
        if not node.layer.copies_bottom:
            own = sum(count(ref.blob.shape) for at, ref in enumerate(node.params) if ref.owner == (index, at))
            macs = node.layer.macs(node.bottom_shapes, node.top_shapes)
            rows.append(Row(node, own, macs, _values(node), field))
    return Analysis(graph, rows, _images(graph))


def memory(analysis: Analysis, batch: int, histories: int = 1) -> Memory:
    """What training on `batch` images takes, on one device; `histories`: values the update rule keeps a parameter
    (SGD 1, Adam 2)."""
    learned = FLOAT * analysis.learnable
    kept = FLOAT * batch * analysis.activations
    return Memory(FLOAT * analysis.params, learned, histories * learned, kept, 2 * FLOAT * batch * analysis.largest)


def _images(graph: Graph) -> int:
    """The batch: the first axis of the first image that enters the net, or of whatever else enters first."""
    sources = [node for node in graph.nodes if node.layer.brings_data()]
    shapes = [shape for node in sources for shape in node.top_shapes if shape]
    images = [shape for shape in shapes if len(shape) == 4] or shapes
    return images[0][0] if images else 1


def _values(node: Node) -> int:
    return sum(count(shape) for blob, shape in zip(node.tops, node.top_shapes) if blob not in node.bottoms)


def _field(node: Node, bottoms: Sequence[ReceptiveField | None]) -> ReceptiveField | None:
    if node.layer.is_source:
        return ReceptiveField()
    known = [field for field in bottoms if field]
    if not known:
        return None
    field = known[0]
    for other in known[1:]:
        field = field.joined(other)
    if node.layer.sees_whole_plane():
        return field.over_plane()
    window = node.layer.window()
    return field.through(window) if window else field


def _planes(node: Node) -> list[tuple[str, Shape]]:
    """The tops with a receptive field: of what enters the net, only images have one."""
    tops = list(zip(node.tops, node.top_shapes))
    return [(blob, shape) for blob, shape in tops if not node.layer.is_source or len(shape) == 4]


def _pair(values: Iterable[int]) -> Pair:
    height, width = values
    return height, width
