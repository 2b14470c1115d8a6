"""Which state of a net a conversion means, and how large its inputs are: as told, as the data show, as settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netc.errors import NetcError
from netc.graph.filter import Layers
from netc.layers import Layer, registry
from netc.layers.base import Shape
from netc.layers.convolution import Convolution
from netc.layers.sources import HDF5, IMAGES, RecordSource, told_shapes
from netc.weights.arrays import Weights

Look = Callable[[Any, int], Sequence[Shape] | None]
"""(LayerParameter, phase) → the shapes that a data layer's source shows; None where it is not here."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which state of a net is meant, and what is known of its data.

    Attributes:
        phase, level, stages: as `compile_net` takes them.
        shapes: of the images that data layers read, as they are before the crop, by top or under "" for all of them.
        look: what opens the sources of a net of the user's own; None to leave them alone.
    """

    phase: str = "TEST"
    level: int = 0
    stages: Sequence[str] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    look: Look | None = None

    @property
    def plain(self) -> bool:
        """Whether it is the state that a net is read for where nothing is said."""
        return (self.phase, self.level, len(self.stages)) == ("TEST", 0, 0)


def shapes_of(node: Layer, asked: Asked, layers: Layers, weights: Weights) -> Sequence[Shape | None]:
    """The shapes of the tops of a layer that brings data: as told, as its source shows, or as its settings say."""
    told, tops = asked.shapes, node.param.top[:]
    rows = ({tops[0]: told[""]} if "" in told and tops else {}) | dict(told)
    shapes: Sequence[Shape] | None = told_shapes(node, told) if node.feed != HDF5 else None
    settings = _by_settings(node, layers, weights) if node.feed != HDF5 and shapes is None else None
    seen: Sequence[Shape] | None = None
    if shapes is None and asked.look is not None and not rows.keys() >= set(tops):
        seen = asked.look(node.param, node.phase)
        if seen is not None and node.feed != HDF5:
            return seen
    shapes = shapes or settings
    if node.feed == HDF5 or shapes is None:  # only the data tell, each top by itself
        batch = node.positive("batch_size") if isinstance(node, RecordSource) else 1
        return [(batch, *rows[top]) if top in rows else seen[place] if seen else None for place, top in enumerate(tops)]
    later = zip(tops[1:], shapes[1:], strict=True)
    return [shapes[0], *[(*shape[:1], *told[top]) if top in told else shape for top, shape in later]]


def _by_settings(node: Layer, layers: Layers, weights: Weights) -> Sequence[Shape] | None:
    """The shapes that a data layer's settings tell; the weights of the first convolution know the channels. None where
    they tell none. Raises NetcError L301 (they contradict each other)."""
    if node.is_input and not node.options.shape:
        return None
    try:
        shapes = [tuple(shape) for shape in node.setup([])]
    except NetcError as error:
        if error.code == "L301":  # the settings contradict each other, whatever the data are
            raise
        return None
    channels = _channels(layers, node.param.top[0], weights) if node.feed in IMAGES else 0
    if channels:
        shapes[0] = (shapes[0][0], channels, *shapes[0][2:])
    return shapes


def _channels(layers: Layers, top: str, weights: Weights) -> int:
    """The channels that a convolution of `top` reads; 0 where there is none."""
    copies = {top}
    for layer in layers.params:
        kind, blobs = registry().get(layer.type, Layer), weights.get(layer.name, ())
        if kind.copies_bottom and not copies.isdisjoint(layer.bottom):
            copies.update(layer.top)
        elif kind is Convolution and not copies.isdisjoint(layer.bottom) and blobs and blobs[0].ndim == 4:
            return int(blobs[0].shape[1] * layer.convolution_param.group)
    return 0
