from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.affine import Affine, doubles, singles
from netc.layers.base import Layer, Run, Shape, canonical_axis, count, layer
from netc.layers.code import Code, Site, call
from netc.layers.convolution import Convolution

if TYPE_CHECKING:
    from torch import Tensor


@layer("InnerProduct")
class InnerProduct(Layer):
    """y = W x + b, x being all values from `axis` on.

    Fields: `num_output`, `bias_term`, `axis` (1), `transpose`, `weight_filler`, `bias_filler`.
    Shapes: (N, …) → (N, num_output); the axes before `axis` stay (axis 0: (num_output)). Weight (num_output, inputs),
    (inputs, num_output) with transpose; bias (num_output). Errors: no num_output, axis out of range.
    Source: inner_product_layer.cpp.
    """

    in_place = False
    param_field = "inner_product_param"
    kind = "full"
    linear = multiplies = overwritable = fresh = True
    weight_axes = 2
    axis: int

    def summary(self) -> str | None:
        return f"{self.options.num_output}" + ("" if self.options.bias_term else ", no bias")

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        out, shape = self.options.num_output, bottoms[0]
        if out < 1:
            self.fail("needs a num_output of at least 1", "inner_product_param.num_output", "add `num_output: 1000`")
        self.axis = canonical_axis(self, self.options.axis, shape, "inner_product_param.axis")
        inputs = count(shape, self.axis)
        self.add_param(
            "weight", (inputs, out) if self.options.transpose else (out, inputs), "inner_product_param.weight_filler"
        )
        if self.options.bias_term:
            self.add_param("bias", (out,), "inner_product_param.bias_filler")
        return [(*shape[: self.axis], out)]

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        weight, bias = params[0], params[1] if len(params) > 1 else None
        x = bottoms[0].flatten(self.axis)
        return [F.linear(x, weight.t() if self.options.transpose else weight, bias)]

    def with_affine_behind(self, arrays: Sequence[Any], affine: Affine, top: Shape) -> list[Any] | str:
        weight, *bias = doubles(*arrays)
        found = affine.on(self.axis, top)
        if found is None:
            return "it varies on an axis that is not that of the outputs"
        factor, summand = found
        shifted = [(bias[0] if bias else 0) * factor + summand] if bias or affine.shifts else []
        return singles([weight * (factor if self.options.transpose else factor[:, None]), *shifted])

    def with_affine_before(self, arrays: Sequence[Any], affine: Affine, bottom: Shape) -> list[Any] | str:
        weight, *bias = doubles(*arrays)
        found = affine.spread(bottom, self.axis)
        if found is None:
            return "it varies on an axis that is not multiplied"
        factor, summand = (side[:, None] if self.options.transpose else side for side in found)
        added = (weight * summand).sum(0 if self.options.transpose else 1)
        shifted = [(bias[0] if bias else 0) + added] if bias or affine.shifts else []
        return singles([weight * factor, *shifted])

    def onnx(self, op: Any, x: Sequence[Any], params: Sequence[Any], shapes: Sequence[Shape]) -> Sequence[Any] | None:
        if self.axis < 1:
            return None
        flat = x[0] if self.axis == 1 and len(shapes[0]) == 2 else op.Flatten(x[0], axis=self.axis)
        y = op.Gemm(flat, *params, transB=0 if self.options.transpose else 1)
        if self.axis == 1:
            return [y]
        return [op.Reshape(y, op.ints([-1, *shapes[0][1 : self.axis], self.options.num_output]))]

    def emit(self, site: Site) -> Code:
        x = site.x if self.axis == len(site.shape) - 1 else f"{site.x}.flatten({self.axis or ''})"
        kind = "TransposedLinear" if self.options.transpose else "nn.Linear"
        settings = {} if self.options.bias_term else {"bias": False}
        return Code(site.call(x), call(kind, count(site.shape, self.axis), self.options.num_output, **settings))

    def slid(self, plane: Shape) -> Any:
        given, convolution = self.options, type(self.param)()
        if self.axis != 1:
            found = f"has no form as a convolution: it multiplies from axis {self.axis} on, not whole images"
            self.fail(found, "inner_product_param.axis", code="L308")
        if given.transpose:
            found = "has no form as a convolution: its weights are transposed, and so no kernels as they lie"
            self.fail(found, "inner_product_param.transpose", "transpose those of the file, and drop this", "L308")
        convolution.CopyFrom(self.param)
        convolution.ClearField("inner_product_param")
        convolution.type = Convolution.type
        made = convolution.convolution_param
        made.num_output = given.num_output
        if plane[1] == plane[2]:
            made.kernel_size.append(plane[1])
        else:
            made.kernel_h, made.kernel_w = plane[1:]
        for name in ("bias_term", "weight_filler", "bias_filler"):
            if given.HasField(name):
                _copy(getattr(given, name), made, name)
        return convolution

    def macs(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return count(tops[0]) * count(bottoms[0], self.axis)

    def sees_whole_plane(self) -> bool:
        return True


def _copy(value: Any, message: Any, name: str) -> None:
    if isinstance(value, bool):
        setattr(message, name, value)
    else:
        getattr(message, name).CopyFrom(value)
