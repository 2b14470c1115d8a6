from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, between, check_planes, format_shape, layer
from netc.layers.code import Code, Site, call, tuple_of
from netc.layers.functions.sizes import zoomed

if TYPE_CHECKING:
    from torch import Tensor


@layer("Interp")
class Interp(Layer):
    """Bilinear resizing that puts the corners of the top onto those of the bottom.

    Fields: exactly one of: `height` and `width`; `zoom_factor` z: h + (h - 1)(z - 1) rows; `shrink_factor` s:
    (h - 1) / s + 1 rows, rounded down; both factors, shrinking first; or a second bottom, whose size is taken.
    `pad_beg` and `pad_end`, at most 0, cut rows and columns off first. Shapes: (N, C, H, W) → (N, C, height, width).
    Errors: no size or two; a pad above 0 or that leaves nothing; an interp_type other than "bilinear".
    Source: DeepLab (Chen et al., 2014); interp_layer.cpp of hszhao/PSPNet.
    """

    fork = "PSPNet (hszhao/PSPNet)"
    bottoms = between(1, 2)
    in_place = False
    no_gradient = (1,)
    lenient = True
    param_field = "interp_param"
    kind = "pooling"
    keeps_zeros = True
    fixed: tuple[int, int] | None
    zoom: dict[str, int]
    """How the factors and the rows cut off change a size; what changes nothing is left out."""

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        for place, shape in enumerate(bottoms):
            check_planes(self, shape, f"bottom[{place}]", "bottoms")
        if self.options.interp_type != "bilinear":
            self.fail(f'interp_type "{self.options.interp_type}" is not available', "interp_param.interp_type")
        self._check_factors()
        self.fixed = (self.options.height, self.options.width) if self.options.HasField("height") else None
        cut = -self.options.pad_beg - self.options.pad_end
        self.zoom = self.changed(zoom="zoom_factor", shrink="shrink_factor") | ({"cut": cut} if cut else {})
        size = self._size([tuple(shape) for shape in bottoms])
        if min(size) < 1:
            self.fail(f"nothing of {format_shape(bottoms[0])} is left", "interp_param", code="L302")
        return [(*bottoms[0][:2], *size)]

    def whole_numbers(self, bottoms: Sequence[Shape]) -> Mapping[int, Sequence[int]]:
        return {}  # of bottom 1 only the size counts

    def _check_factors(self) -> None:
        for name in ("pad_beg", "pad_end"):
            if getattr(self.options, name) > 0:
                self.fail(f"{name} is above 0", f"interp_param.{name}", "a negative one cuts off")
        height, width = map(self.options.HasField, ("height", "width"))
        if height != width:
            name = "height" if height else "width"
            self.fail(f"gives only {name}", f"interp_param.{name}", "give both")
        given = self._given()
        if len(given) != 1:
            found = "has no size" if not given else f"gives its size as {' and as '.join(given)}"
            hint = "give height and width, zoom_factor, shrink_factor, or a second bottom"
            self.fail(found, "interp_param", hint)
        for name in ("height", "width", "zoom_factor", "shrink_factor"):
            if self.options.HasField(name) and getattr(self.options, name) < 1:
                self.fail(f"{name} is {getattr(self.options, name)}", f"interp_param.{name}", "give at least 1")

    def _given(self) -> list[str]:
        has = self.options.HasField
        size = ["height and width"] if has("height") else []
        factors = ["a factor"] if has("zoom_factor") or has("shrink_factor") else []
        return size + factors + (["a second bottom"] if len(self.param.bottom) > 1 else [])

    def _size(self, shapes: Sequence[Shape]) -> tuple[int, int]:
        if len(shapes) > 1:
            return shapes[1][2], shapes[1][3]
        if self.fixed is not None:
            return self.fixed
        return zoomed(shapes[0][2:], **self.zoom)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        import torch.nn.functional as F

        x, (begin, end) = bottoms[0], self._cuts()
        size = self._size([tuple(b.shape) for b in bottoms])
        return [F.interpolate(x[:, :, begin:end, begin:end], size, mode="bilinear", align_corners=True)]

    def _cuts(self) -> tuple[int | None, int | None]:
        """Where the rows and columns that are left begin and end; the pads are not above 0."""
        return -self.options.pad_beg or None, self.options.pad_end or None

    def emit(self, site: Site) -> Code:
        x, (begin, end) = site.x, self._cuts()
        if begin or end:
            kept = f"{begin or ''}:{end or ''}"
            x = f"{x}[:, :, {kept}, {kept}]"
        if len(site.bottoms) > 1:
            size = f"{site.bottoms[1]}.shape[2:]"
        else:
            size = tuple_of(self.fixed) if self.fixed else call("zoomed", f"{site.x}.shape[2:]", **self.zoom)
        return Code(f'F.interpolate({x}, size={size}, mode="bilinear", align_corners=True)')
