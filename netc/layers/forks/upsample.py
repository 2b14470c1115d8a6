from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, check_planes, format_shape, layer
from netc.layers.code import Code, Site, call, tuple_of
from netc.layers.losses import check_range

if TYPE_CHECKING:
    from torch import Tensor


@layer("Upsample")
class Upsample(Layer):
    """Enlarges a feature map. The number of bottoms tells which fork's layer is meant.

    Two bottoms (SegNet): values and, from the second top of a Pooling layer, the position h · W + w that each had;
    there it goes, all else is 0. The size is `upsample_h` × `upsample_w`, or `scale` (2) times the bottom's, or
    `scale_h` and `scale_w` times; `pad_out_h` and `pad_out_w` take one row or column away.
    One bottom (MobileNet-YOLO): each value becomes `scale` (1) × `scale` equal ones.
    Shapes: (N, C, H, W) → (N, C, upsample_h, upsample_w). Errors: bottoms that differ in shape; sizes given twice; a
    position beyond the top (L305). Source: SegNet (Badrinarayanan et al., 2015); upsample_layer.cpp of
    alexgkendall/caffe-segnet and eric612/MobileNet-YOLO.
    """

    fork = "SegNet (alexgkendall/caffe-segnet)"
    bottoms = between(1, 2)
    in_place = False
    no_gradient = (1,)
    lenient = True
    param_field = "upsample_param"
    kind = "pooling"
    fixed: tuple[int, int] | None
    scale: tuple[int, int]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottoms[0]
        check_planes(self, shape)
        if len(bottoms) > 1 and bottoms[1] != shape:
            listed = f"{format_shape(shape)} and {format_shape(bottoms[1])}"
            self.fail(f"its bottoms differ in shape: {listed}", "bottom[1]", code="L302")
        self._check_settings(len(bottoms))
        self._read_size(2 if len(bottoms) > 1 else 1)
        size = self._size(shape)
        if min(size) < 1:
            self.fail(f"the top would be {format_shape(size)}", "upsample_param", code="L302")
        return [(*shape[:2], *size)]

    def whole_numbers(self, bottoms: Sequence[Shape]) -> Mapping[int, Sequence[int]]:
        rows, columns = self._size(bottoms[0])
        return {1: (rows * columns,)} if len(bottoms) > 1 else {}

    def _check_settings(self, bottoms: int) -> None:
        has = self.options.HasField
        for a, b in (("upsample_h", "upsample_w"), ("scale_h", "scale_w")):
            if has(a) != has(b):
                self.fail(f"gives only {a if has(a) else b}", f"upsample_param.{a if has(a) else b}", "give both")
        if has("scale") and has("scale_h") and not has("upsample_h"):
            self.fail("gives scale and scale_h", "upsample_param.scale_h", "keep one of the two")
        if bottoms == 1:
            for name in ("upsample_h", "scale_h", "pad_out_h", "pad_out_w"):
                if has(name):
                    hint = "give the mask of the Pooling layer as second bottom"
                    self.fail(f"{name} needs a second bottom", f"upsample_param.{name}", hint, "L350")

    def _read_size(self, default: int) -> None:
        o = self.options
        self.fixed = (o.upsample_h, o.upsample_w) if o.HasField("upsample_h") else None
        both = o.scale if o.HasField("scale") else default
        self.scale = (o.scale_h, o.scale_w) if o.HasField("scale_h") else (both, both)

    def _size(self, shape: Shape) -> tuple[int, int]:
        if self.fixed is not None:
            return self.fixed
        rows, columns = (size * scale for size, scale in zip(shape[2:], self.scale, strict=True))
        return rows - int(self.options.pad_out_h), columns - int(self.options.pad_out_w)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        x = bottoms[0]
        if len(bottoms) == 1:
            return [x.repeat_interleave(self.scale[0], 2).repeat_interleave(self.scale[1], 3)]
        from netc.layers.functions.rearranging import unpool

        size = self._size(tuple(x.shape))
        positions = bottoms[1].detach().long()
        check_range(self, positions, size[0] * size[1], "bottom[1]", "position", "the top has {} positions")
        return [unpool(x, positions, size)]

    def emit(self, site: Site) -> Code:
        x, (rows, columns) = site.x, self.scale
        if len(site.bottoms) == 1:
            return Code(f"{x}.repeat_interleave({rows}, dim=2).repeat_interleave({columns}, dim=3)")
        size: Sequence[object] = self.fixed or (
            f"{rows} * {x}.shape[2]" + " - 1" * self.options.pad_out_h,
            f"{columns} * {x}.shape[3]" + " - 1" * self.options.pad_out_w,
        )
        return Code(call("unpool", *site.bottoms, tuple_of(size)))
