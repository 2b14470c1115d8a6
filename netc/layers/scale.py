from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.affine import Affine, doubles, singles, spanning
from netc.layers.base import Layer, Run, Shape, between, canonical_axis, format_shape, layer
from netc.layers.code import Code, Site, call

if TYPE_CHECKING:
    from torch import Tensor


class Broadcast(Layer):
    """A factor or summand that spans some axes of bottom 0: a parameter, or bottom 1 where there is one."""

    bottoms = between(1, 2)
    keeps_places = fresh = True
    kind = "normalisation"
    axis: int

    def spanned(self, bottoms: Sequence[Shape]) -> Shape:
        """The shape of the factor; sets `axis`, where it starts."""
        return self._of_bottom(*bottoms) if len(bottoms) > 1 else self._of_settings(bottoms[0])

    def _of_settings(self, shape: Shape) -> Shape:
        field, axes = f"{self.param_field}.num_axes", self.options.num_axes
        self.axis = canonical_axis(self, self.options.axis, shape, f"{self.param_field}.axis")
        if axes < -1:
            self.fail(f"num_axes {axes}", field, "-1 means all axes from `axis` on")
        if axes >= 0 and self.axis + axes > len(shape):
            place = field if self.options.HasField("num_axes") else f"{self.param_field}.axis"
            self.fail(
                f"{axes} axes from axis {self.axis} on, but the bottom is {format_shape(shape)}", place, code="L302"
            )
        return shape[self.axis :] if axes == -1 else shape[self.axis : self.axis + axes]

    def _of_bottom(self, shape: Shape, other: Shape) -> Shape:
        self.axis = canonical_axis(self, self.options.axis, shape, f"{self.param_field}.axis") if other else 0
        if shape[self.axis : self.axis + len(other)] != other:
            found = f"bottom 1, {format_shape(other)}, does not match bottom 0, {format_shape(shape)}"
            self.fail(
                f"{found}, from axis {self.axis} on",
                "bottom[1]",
                f"set {self.param_field}.axis to where bottom 1 belongs",
                "L302",
            )
        return other

    def behind(self, x: int, factor: int) -> int:
        """How many of the `x` axes of bottom 0 follow those that a factor with `factor` axes spans."""
        return x - self.axis - factor

    def spread_in_onnx(self, op: Any, factor: Any, shapes: Sequence[Shape]) -> Any:
        """A factor of the shape of bottom 1, or of the first parameter, with axes of size 1 behind it."""
        axes = len(shapes[1] if len(shapes) > 1 else self.blobs[0].shape)
        behind = self.behind(len(shapes[0]), axes)
        return op.Unsqueeze(factor, op.ints(range(axes, axes + behind))) if behind and axes else factor

    def module(self, kind: str, site: Site, *settings: str) -> str:
        """`kind` with parameters of this layer's shape."""
        shape = self.blobs[0].shape
        behind = self.behind(len(site.shape), len(shape))
        size = shape[0] if len(shape) == 1 else shape
        return call(kind, size, *([f"axes_behind={behind}"] if behind != 2 else []), *settings)

    def spread(self, site: Site) -> str:
        """The second bottom with axes of size 1 behind it."""
        factor, shape = site.bottoms[1], site.shapes[1]
        behind = self.behind(len(site.shape), len(shape))
        return f"{factor}[..., {', '.join(['None'] * behind)}]" if behind and shape else factor


@layer("Scale")
class Scale(Broadcast):
    """y = a · x (+ b), a and b spanning the axes `axis` … `axis + num_axes - 1` of x.

    Fields: `axis` (1), `num_axes` (1; -1 all that follow; 0 one factor for everything), `filler` (constant 1),
    `bias_term`, `bias_filler`. With a second bottom, a is that bottom and its shape counts.
    Shapes: any → the same; weight and bias (d_axis, …). Errors: axes beyond the bottom's. Source: scale_layer.cpp.
    """

    param_field = "scale_param"
    keeps_zeros = True
    starts = {"filler": 1.0}

    @classmethod
    def blob_names(cls, count: int, bottoms: int = 1) -> list[str]:
        return ["bias"] if (count, bottoms) == (1, 2) else super().blob_names(count, bottoms)

    def rms(self, bottom: float, *others: float | None) -> float | None:
        filler = None if others else self.blobs[0].filler
        constant = filler is not None and filler.type == "constant" and filler.value != 0
        return bottom * filler.value if filler is not None and constant else None

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = self.spanned(bottoms)
        if len(bottoms) == 1:
            self.add_param("weight", shape, "scale_param.filler")
        if self.options.bias_term:
            self.add_param("bias", shape, "scale_param.bias_filler")
        return [bottoms[0]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import scales

        x, factor, *bias = (*bottoms, *params)
        return [scales.affine(x, factor, bias[0] if bias else None, self.behind(x.dim(), factor.dim()))]

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        axis = "its factor is another blob" if len(bottoms) > 1 else spanning(self.axis, self.blobs[0].shape)
        if isinstance(axis, str):
            return axis
        factor, *bias = (array.reshape(-1) for array in doubles(*arrays))
        return Affine(axis, factor, bias[0] if bias else 0 * factor)

    def with_affine_before(self, arrays: Sequence[Any], affine: Affine, bottom: Shape) -> list[Any] | str:
        own = self.affine(arrays, [bottom])
        if isinstance(own, str) or own.axis is None or affine.axis not in (None, own.axis):
            return own if isinstance(own, str) and own else "they vary on different axes"
        shape = self.blobs[0].shape
        joined = Affine(own.axis, affine.factor * own.factor, affine.summand * own.factor + own.summand)
        bias = [joined.summand.reshape(shape)] if self.options.bias_term or joined.shifts else []
        return singles([joined.factor.reshape(shape), *bias])

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        factor, *bias = (*x[1:], *params)
        y = op.Mul(x[0], self.spread_in_onnx(op, factor, shapes))
        return [op.Add(y, self.spread_in_onnx(op, bias[0], shapes))] if bias else [y]

    def emit(self, site: Site) -> Code:
        bias, starts = self.options.bias_term, {"weight": 1.0, "bias": 0.0}
        if len(site.bottoms) == 1:
            return Code(site.call(), self.module("Scale", site, *([] if bias else ["bias=False"])), starts=starts)
        product = f"{site.x} * {self.spread(site)}"
        return Code(site.call(product), self.module("Bias", site), starts=starts) if bias else Code(product)


@layer("Bias")
class Bias(Broadcast):
    """y = x + b, b spanning the axes `axis` … `axis + num_axes - 1` of x.

    Fields: `axis` (1), `num_axes` (1; -1 all that follow; 0 one summand for everything), `filler` (constant 0). With a
    second bottom, b is that bottom. Shapes: any → the same; bias (d_axis, …). Source: bias_layer.cpp.
    """

    param_field = "bias_param"
    blob_lists = (("bias",),)

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = self.spanned(bottoms)
        if len(bottoms) == 1:
            self.add_param(self.blob_lists[0][0], shape, "bias_param.filler")
        return [bottoms[0]]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions import scales

        x, summand = (*bottoms, *params)
        return [x + scales.spread(summand, self.behind(x.dim(), summand.dim()))]

    def affine(self, arrays: Sequence[Any], bottoms: Sequence[Shape]) -> Affine | str:
        import numpy as np

        axis = "its summand is another blob" if len(bottoms) > 1 else spanning(self.axis, self.blobs[0].shape)
        if isinstance(axis, str):
            return axis
        (summand,) = (array.reshape(-1) for array in doubles(*arrays))
        return Affine(axis, np.ones_like(summand), summand)

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        (summand,) = (*x[1:], *params)
        return [op.Add(x[0], self.spread_in_onnx(op, summand, shapes))]

    def emit(self, site: Site) -> Code:
        if len(site.bottoms) == 1:
            return Code(site.call(), self.module("Bias", site), starts={"bias": 0.0})
        return Code(f"{site.x} + {self.spread(site)}")
