from __future__ import annotations

from collections.abc import Sequence

from netc.layers.base import Shape, at_least, format_shape, layer
from netc.layers.sources import SourceLayer


@layer("Input")
class Input(SourceLayer):
    """Tops that whoever calls the net provides.

    Fields: `shape`, given once for all tops, once for each top, or not at all (the tops are then scalars until fed).
    Shapes: none → as given. Errors: another number of shapes than tops. Source: input_layer.cpp.
    """

    tops = at_least(1)
    is_input = True
    param_field = "input_param"
    is_input = True

    def summary(self) -> str | None:
        return " + ".join(format_shape(tuple(shape.dim)) for shape in self.options.shape)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        tops, shapes = len(self.param.top), [tuple(shape.dim) for shape in self.options.shape]
        if len(shapes) not in (0, 1, tops):
            self.fail(
                f"{len(shapes)} shapes for {tops} tops", "input_param.shape", "give one for all tops, or one for each"
            )
        return shapes if len(shapes) == tops else (shapes or [()]) * tops
