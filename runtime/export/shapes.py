"""Which axes of a net's inputs may have any size, and the inputs that a proof runs: fixed, seeded, not square."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from netc.errors import NetcError
from netc.graph.compile import compile_net
from netc.graph.ir import Graph
from netc.graph.meaning import whole_inputs
from netc.layers import registry
from netc.layers.base import Shape
from netc.layers.recurrent import Recurrent
from netc.weights import Array
from netc.weights.card import Preprocessing

Shapes = dict[str, Shape]

_SEED = 20140904
_BATCHES = (1, 2)
_SIZES = ((1, 2), (32, 64))
"""What is added to batch, and to height and width, to see whether the net still fits its weights."""


class Axes:
    """Of a compiled net's inputs, whether the batch and whether height and width are free: whether the same net with
    other sizes there compiles, with the same parameters."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        # what runs step by step is unrolled, and time is its first axis
        steps = any(isinstance(node.layer, Recurrent) for node in graph.nodes)
        self.batch = (
            not steps
            and len({shape[:1] for shape in self.shapes().values()}) == 1
            and all(self._fits(self._grown(batch=count)) for count in _BATCHES)
        )
        self.size = any(len(shape) == 4 for shape in self.shapes().values()) and all(
            self._fits(self._grown(size=size)) for size in _SIZES
        )

    def shapes(self) -> Shapes:
        return {name: self.graph.shapes[name] for name in self.graph.inputs}

    def free(self, name: str) -> list[int]:
        """The axes of an input that may have any size."""
        shape = self.graph.shapes[name]
        return ([0] if self.batch and shape else []) + ([2, 3] if self.size and len(shape) == 4 else [])

    def sample(self) -> Shapes:
        """Shapes to run: a batch of 2, and an image that is wider than high, wherever the net allows it."""
        return self._sample(2, (5, 12))

    def other_sample(self) -> Shapes:
        """Likewise, but other sizes: a number that was taken from the first ones does not go unnoticed."""
        return self._sample(3, (7, 16))

    def narrow(self) -> bool:
        """Take back height and width, or else the batch; whether there was anything to take back."""
        before = (self.batch, self.size)
        self.batch, self.size = self.batch and self.size, False
        return before != (self.batch, self.size)

    def _sample(self, batch: int, size: tuple[int, int]) -> Shapes:
        shapes = self.shapes()
        if self.batch:
            shapes = {name: (batch, *shape[1:]) for name, shape in shapes.items()}
        return self._with_size(shapes, size) if self.size else shapes

    def keep_only(self, free: Mapping[str, Collection[int]]) -> bool:
        """Take back what turned out to be fixed, given the free axes of each input; whether that changed anything."""
        before = (self.batch, self.size)
        wanted = {name: set(self.free(name)) for name in self.graph.inputs}
        self.batch = self.batch and all(0 in free[name] for name, axes in wanted.items() if 0 in axes)
        self.size = self.size and all({2, 3} <= set(free[name]) for name, axes in wanted.items() if 2 in axes)
        return before != (self.batch, self.size)

    def _grown(self, batch: int = 0, size: tuple[int, int] = (0, 0)) -> Shapes:
        shapes = {name: (shape[0] + batch, *shape[1:]) if shape else shape for name, shape in self.shapes().items()}
        return self._with_size(shapes, size)

    @staticmethod
    def _with_size(shapes: Shapes, size: tuple[int, int]) -> Shapes:
        return {
            name: (*shape[:2], shape[2] + size[0], shape[3] + size[1]) if len(shape) == 4 else shape
            for name, shape in shapes.items()
        }

    def compiled(self, shapes: Shapes) -> Graph:
        """The net for inputs of these shapes. Raises NetcError where it does not fit them."""
        return compile_net(_with_inputs(self.graph.param, shapes), self.graph.phase)

    def _fits(self, shapes: Shapes) -> bool:
        try:
            other = self.compiled(shapes)
        except NetcError:
            return False
        return _parameters(other) == _parameters(self.graph)


def _with_inputs(param: Any, shapes: Mapping[str, Shape]) -> Any:
    net = type(param)()
    net.CopyFrom(param)
    for layer in net.layer:
        if registry()[layer.type].is_input:
            del layer.input_param.shape[:]
            for top in layer.top:
                layer.input_param.shape.add(dim=shapes[top])
    return net


def _parameters(graph: Graph) -> list[Shape]:
    return [ref.blob.shape for node in graph.nodes for ref in node.params]


# -- inputs ------------------------------------------------------------------------------------------------------------


class Samples:
    """The same random inputs for a net and for its conversion: pictures, each preprocessed as it wants them, and whole
    numbers where layers read labels, indices or marks."""

    def __init__(self, graph: Graph, shapes: Shapes) -> None:
        random = np.random.default_rng(_SEED)
        self.whole = whole_inputs(graph)
        self.pixels = {
            name: random.integers(0, np.resize(self.whole.get(name, (256,)), shape)).astype("f8")
            for name, shape in shapes.items()
        }

    def inputs(self, shown: Preprocessing) -> dict[str, Array]:
        """The inputs by name, float32. Pixels are drawn in RGB; where a mean is not known, they are centred."""
        return {
            name: (pixels if name in self.whole else _preprocessed(pixels, shown)).astype("f4")
            for name, pixels in self.pixels.items()
        }


def _preprocessed(pixels: Array, shown: Preprocessing) -> Array:
    image = pixels.ndim == 4 and pixels.shape[1] == 3
    x = pixels[:, ::-1] if image and shown.channels == "BGR" else pixels
    values = len(shown.mean) if shown.mean else 0
    fits = pixels.ndim == 4 and values == pixels.shape[1]
    mean = np.array(shown.mean).reshape(-1, 1, 1) if fits else 128 * shown.range / 255
    std = np.array(shown.std).reshape(-1, 1, 1) if shown.std and fits else 1.0
    return (x * (shown.range / 255) - mean) * shown.scale / std
