from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netc.layers.base import Shape, at_least, layer
from netc.layers.code import Code, Site, literal, number
from netc.layers.fillers import filled
from netc.layers.sources import FILLERS, SourceLayer

_LEGACY = ("num", "channels", "height", "width")


@layer("DummyData")
class DummyData(SourceLayer):
    """Tops made up by fillers: constants once, random ones anew for each batch.

    Fields: `dummy_data_param { shape, data_filler }`, each given once or once for each top (no filler: zeros), or the
    older `num`, `channels`, `height`, `width`, each once or once for each top.
    Shapes: none → as given. Errors: another count than 1 or the number of tops; both ways of giving the shape.
    Source: dummy_data_layer.cpp.
    """

    tops = at_least(1)
    param_field = "dummy_data_param"
    feed = FILLERS

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        tops = len(self.param.top)
        self._check_count("data_filler", (0, 1, tops))
        shapes = self._shapes(tops)
        fillers = list(self.options.data_filler)
        for index, shape in enumerate(shapes if fillers else ()):
            given = index % len(fillers)
            self._check_filler(fillers[given], shape, f"dummy_data_param.data_filler[{given}]")
        return shapes

    def _shapes(self, tops: int) -> list[Shape]:
        legacy = any(len(getattr(self.options, name)) for name in _LEGACY)
        if legacy and self.options.shape:
            self.fail(
                "gives its shape twice, as shape and as num/channels/height/width", "dummy_data_param", "keep `shape`"
            )
        if legacy:
            axes = [self._sizes(name, tops) for name in _LEGACY]
            return list(zip(*axes, strict=True))
        self._check_count("shape", (1, tops))
        shapes = [tuple(shape.dim) for shape in self.options.shape]
        return shapes if len(shapes) == tops else shapes * tops

    def _sizes(self, name: str, tops: int) -> list[int]:
        self._check_count(name, (1, tops))
        sizes = list(getattr(self.options, name))
        return sizes if len(sizes) == tops else sizes * tops

    def _check_count(self, name: str, allowed: tuple[int, ...]) -> None:
        found = len(getattr(self.options, name))
        if found not in allowed:
            self.fail(
                f"{found} {name} for {len(self.param.top)} tops",
                f"dummy_data_param.{name}",
                "give one for all tops, or one for each",
            )

    def constant_tops(self) -> Sequence[str]:
        fillers = list(self.options.data_filler)
        given = [fillers[index % len(fillers)].type if fillers else "constant" for index in range(len(self.param.top))]
        return [top for top, filler in zip(self.param.top, given) if filler == "constant"]

    def convention(self, top: int, shape: Shape) -> str:
        return "made up where it is not given"

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        fillers = list(self.options.data_filler)
        if len(self.constant_tops()) < len(self.param.top):
            return None
        values = [fillers[place % len(fillers)].value if fillers else 0.0 for place in range(len(self.param.top))]
        made = zip(values, self._shapes(len(values)), strict=True)
        return [op.Expand(op.numbers(value), op.ints(shape)) for value, shape in made]

    def emit(self, site: Site) -> Code:
        """What makes the tops where the caller gives none; `device` is a variable of the emitted code."""
        fillers = list(self.options.data_filler) or [None]
        shapes = self._shapes(site.tops)
        return Code(tuple(_made(fillers[index % len(fillers)], shape) for index, shape in enumerate(shapes)))


def _made(filler: Any, shape: Shape) -> str:
    if filler is None or filler.type == "constant":
        value = filler.value if filler is not None else 0.0
        filling = f"full({literal(shape)}, {float(number(value))!r}" if value else f"zeros({literal(shape)}"
        return f"torch.{filling}, device=device)"
    return filled(f"torch.empty({literal(shape)}, device=device)", filler, shape)
