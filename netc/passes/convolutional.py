"""A classifier made to be applied to images of any size: its fully-connected layers become convolutions.

An InnerProduct over a whole blob of C × h × w is a convolution whose kernel is h × w: the same weights in the same
order, so that the file of the one is the file of the other. On a larger image the convolution gives a map of scores,
one for each place of the classifier's window (Simonyan and Zisserman, Sect. 3.2). At the compiled size the map has one.

Of each top it is known what it stands for (`_Form`). The Flatten before an InnerProduct has nothing left to do and
goes; what a layer computes from a vector of channels it computes at each place of the map.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netc.errors import NetcError, Place
from netc.errors.origin import Origin
from netc.graph.compile import compile_layers
from netc.graph.edges import Top, resolve
from netc.graph.filter import Layers
from netc.graph.ir import Graph, Node
from netc.layers.base import Shape, count, format_shape
from netc.prototxt.draft import Draft
from netc.prototxt.source import Source

STEP = 64
"""Pixels by which images are made larger to see whether a net takes them: the stride of most nets divides it."""


@dataclass(frozen=True, slots=True)
class Convolutional:
    """`layers`: of the net; `graph`: the same, compiled at the classifier's size. `converted`: names of the layers that
    are convolutions now, none where the net takes images of any size as it is. `dropped`: names of those that only
    reshaped. `image`: the input with the images."""

    layers: Layers
    graph: Graph
    image: str
    converted: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def sized(self, height: int, width: int) -> Graph:
        """The graph for images of another size, for one where so many as the net is made for are too large. Raises
        NetcError L302 where they are too small for it."""
        return _resized(self.layers, height, width)


def convolutional(graph: Graph, blobs: Sequence[str] = ()) -> Convolutional:
    """The convolutional form of a deployed net (netc.passes.deploy), which is not changed. `blobs`: those that are
    wanted of it, with all that they are made from; by default the whole net.

    Raises NetcError L308 where a layer has none, L309 where the net takes no images, or no images of other sizes.
    """
    image, needed = image_input(graph), made_by(graph, blobs)
    try:
        rewriting = _rewritten(graph, needed)
    except NetcError as error:
        try:  # what sees the whole image as one place (squeeze and excitation) may stay as it is
            rewriting = _rewritten(graph, needed, True)
        except NetcError:
            raise error from None
    layers = Layers(Draft(graph.header, [], Source("", graph.path)), graph.state, rewriting.params, rewriting.origins)
    compiled = compile_layers(layers)
    _check_other_sizes(layers, compiled, image)
    return Convolutional(layers, compiled, image, rewriting.converted, rewriting.dropped)


def image_input(graph: Graph) -> str:
    """The input that takes the images: the first of four axes. Raises NetcError L309 where there is none."""
    for name in graph.inputs:
        if len(graph.shapes[name]) == 4:
            return name
    listed = ", ".join(f"{name} {format_shape(graph.shapes[name])}" for name in graph.inputs) or "none"
    hint = "images are an input of four axes: batch, channels, height, width"
    raise NetcError("L309", f"the net takes no images; its inputs: {listed}", Place(graph.path), hint)


@dataclass(frozen=True, slots=True)
class _Form:
    """What a top is on the map: `plane` (channels, height, width) at the compiled size. `axes`: 4, or 2 where the
    classifier has all values of an image in a row."""

    plane: Shape
    axes: int

    @property
    def is_vector(self) -> bool:
        """Whether each place of the map has just this vector of channels."""
        return self.plane[1:] == (1, 1)


_Forms = Sequence[_Form | None]


def made_by(graph: Graph, blobs: Sequence[str]) -> set[int]:
    """The layers that these blobs are made by, in the end; without blobs, all."""
    if not blobs:
        return set(range(len(graph.nodes)))
    _, last = resolve((node.bottoms, node.tops) for node in graph.nodes)
    waiting, found = [last[blob][0] for blob in blobs], set()
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += [maker for maker, _ in graph.edges.writers[index]]
    return found


def _rewritten(graph: Graph, needed: Collection[int], keep_whole: bool = False) -> _Rewriting:
    rewriting = _Rewriting(graph, keep_whole)
    for index in sorted(needed):
        rewriting.add(index, graph.nodes[index])
    return rewriting


class _Rewriting:
    """The layers anew, one after the other. `keep_whole`: what is made from global pooling is left alone."""

    def __init__(self, graph: Graph, keep_whole: bool) -> None:
        self.keep_whole = keep_whole
        self.writers, self.outputs = graph.edges.writers, set(graph.outputs)
        self.params: list[Any] = []
        self.origins: list[Origin] = []
        self.converted: list[str] = []
        self.dropped: list[str] = []
        self.forms: dict[Top, _Form | None] = {}
        self.names: dict[Top, str] = {}
        """What each top of the old net is called now."""

    def add(self, index: int, node: Node) -> None:
        makers = self.writers[index]
        bottoms = [self.forms[top] for top in makers]
        tops = [(index, place) for place in range(len(node.tops))]
        if node.layer.copies_bottom and not self.outputs.intersection(node.tops):
            self._pass_on(tops, makers[0])
        elif node.layer.keeps_values and node.bottoms and self._is_needless(node, bottoms[0]):
            self._reshape(node, tops, makers[0])
        elif len(bottoms) == 1 and bottoms[0] and (slid := node.layer.slid(bottoms[0].plane)) is not None:
            self.converted.append(node.name)
            self._keep(node, slid, tops, makers, [_Form((shape[-1], 1, 1), 2) for shape in node.top_shapes])
        else:
            whole = self.keep_whole and node.layer.sees_whole_plane()
            forms = [None] * len(tops) if whole else _tops(node, bottoms)
            self._keep(node, _copied(node, bottoms), tops, makers, forms)

    def _keep(self, node: Node, param: Any, tops: Sequence[Top], makers: Sequence[Top], forms: _Forms) -> None:
        param.bottom[:] = [self.names[top] for top in makers]
        self.params.append(param)
        self.origins.append(node.layer.origin)
        self.names.update(zip(tops, node.tops, strict=True))
        self.forms.update(zip(tops, forms, strict=True))

    # -- layers that only pass values on -------------------------------------------------------------------------------

    def _pass_on(self, tops: Iterable[Top], source: Top) -> None:
        for top in tops:
            self.names[top], self.forms[top] = self.names[source], self.forms[source]

    def _is_needless(self, node: Node, form: _Form | None) -> bool:
        return form is not None and self._reshaped(node, form) is not None

    def _reshape(self, node: Node, tops: Sequence[Top], source: Top) -> None:
        form = self.forms[source]
        assert form is not None
        self.dropped.append(node.name)
        for top in tops:
            self.names[top], self.forms[top] = self.names[source], self._reshaped(node, form)

    def _reshaped(self, node: Node, form: _Form) -> _Form | None:
        """The form of a top that holds the same values: all of an image in a row, or the plane itself. A layer that
        makes anything else has no place on a map."""
        shape = node.top_shapes[0]
        if shape[1:] == form.plane:
            return _Form(form.plane, 4)
        if len(shape) == 2 and shape[1] == count(form.plane):
            return _Form(form.plane, 2)
        return None


# -- all other layers --------------------------------------------------------------------------------------------------


def _copied(node: Node, bottoms: _Forms) -> Any:
    """The layer as the map needs it."""
    param = type(node.layer.param)()
    param.CopyFrom(node.layer.param)
    if any(form is not None and form.axes == 2 for form in bottoms):
        _count_axes(param, node)
    return param


def _tops(node: Node, bottoms: _Forms) -> _Forms:
    """What the tops of a layer stand for that stays what it is. Raises NetcError L308 where it cannot stay."""
    if not node.tops or (bottoms and not any(bottoms)):  # it is given nothing of the image
        return [None] * len(node.tops)
    rows = [form for form in bottoms if form is not None and form.axes == 2]
    if not rows:  # it is given planes, as always
        return [_Form(shape[1:], 4) if len(shape) == 4 else None for shape in node.top_shapes]
    if len(rows) == len(bottoms):
        if all(form.is_vector for form in rows) and _works_on_channels(node):
            return [_Form((shape[1], 1, 1), 2) for shape in node.top_shapes]
        if node.layer.keeps_places and not node.layer.blobs and len(set(rows)) == 1:
            return rows[:1] * len(node.tops)
    shapes = ", ".join(map(format_shape, node.bottom_shapes))
    found = f"has no form on a map of places: its bottoms are {shapes}, all that is left of an image in a row"
    node.layer.fail(found, "", "layers behind an InnerProduct have to work channel by channel", "L308")


def _works_on_channels(node: Node) -> bool:
    """Whether a layer does with a vector of channels what it would do at each place of a map."""
    layer = node.layer
    if any(len(shape) != 2 for shape in node.top_shapes):
        return False
    return layer.works_at_places()


def _count_axes(param: Any, node: Node) -> None:
    """Settings of axes that count from the end, or to the end, mean the same with two axes more behind."""
    options, axes = _options(param, node), len(node.bottom_shapes[0])
    known = options.DESCRIPTOR.fields_by_name if options is not None else {}
    if "axis" in known and options.axis < 0:
        options.axis += axes
    if "num_axes" in known and options.num_axes == -1:
        options.num_axes = axes - (options.axis if "axis" in known else 0)


def _options(param: Any, node: Node) -> Any:
    return getattr(param, node.layer.param_field) if node.layer.param_field else None


# -- other sizes -------------------------------------------------------------------------------------------------------


def _resized(layers: Layers, height: int, width: int) -> Graph:
    """The net for images of that size: for as many as it is made for, or for one, where the blobs of so many large
    images are more than Caffe allows."""
    try:
        return compile_layers(_sized(layers, height, width))
    except NetcError as error:
        try:
            return compile_layers(_sized(layers, height, width, 1))
        except NetcError:
            raise error from None


def _sized(layers: Layers, height: int, width: int, batch: int | None = None) -> Layers:
    """The layers with inputs of planes of that size; inputs of single values per channel stay."""
    params = [_with_size(param, height, width, batch) for param in layers.params]
    return replace(layers, params=params)


def _with_size(param: Any, height: int, width: int, batch: int | None) -> Any:
    shapes = param.input_param.shape if param.HasField("input_param") else ()
    if not any(_is_plane(shape.dim) for shape in shapes):
        return param
    made = type(param)()
    made.CopyFrom(param)
    for shape in made.input_param.shape:
        if _is_plane(shape.dim):
            shape.dim[:] = [batch or shape.dim[0], shape.dim[1], height, width]
    return made


def _is_plane(dims: Sequence[int]) -> bool:
    return len(dims) == 4 and tuple(dims[2:]) != (1, 1)


def _check_other_sizes(layers: Layers, graph: Graph, image: str) -> None:
    """Nothing may hang on the size of the image: the net is set up for another one, and its parameters compared."""
    for node, other in zip(graph.nodes, _larger(layers, *graph.shapes[image][2:]).nodes, strict=True):
        for ref, grown in zip(node.params, other.params, strict=True):
            if ref.blob.shape != grown.blob.shape:
                sizes = f"{format_shape(ref.blob.shape)}, and on larger images {format_shape(grown.blob.shape)}"
                found = f"hangs on the size of the image: its {ref.blob.name} is {sizes}"
                node.layer.fail(found, "", "such a net sees images of its own size alone: take crops of them", "L309")


def _larger(layers: Layers, height: int, width: int) -> Graph:
    """The net on larger images. Some nets take only sizes that their strides divide well."""
    try:
        return _resized(layers, height + STEP, width + 2 * STEP)
    except NetcError as error:
        hint = "such a net does not see images of every size: take crops of them"
        raise NetcError("L309", f"on images of other sizes, {error.message}", error.place, hint) from None
