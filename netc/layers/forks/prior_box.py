from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netc.layers.base import Layer, Run, Shape, check_planes, exactly, layer
from netc.layers.code import Code, Site, call, literal

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[float, float]


@layer("PriorBox")
class PriorBox(Layer):
    """The default boxes of SSD: at each position of a feature map, boxes of several sizes and aspect ratios.

    At (row i, column j) the centre is ((j + offset) · step_w, (i + offset) · step_h) in pixels. For each min_size s, in
    this order: a square of side s; with its max_size m one of side sqrt(s · m); for each aspect ratio r other than 1
    (and for 1 / r with `flip`) a box of s · sqrt(r) × s / sqrt(r). Ratios that were there already are left out. s and m
    are whole pixels: the fork cuts 35.84 to 35, and nets are trained with that.
    Bottoms: the feature map, and the image (only their sizes count). Fields: `min_size` (required, may be repeated),
    `max_size` (none, or one for each), `aspect_ratio`, `flip` (true), `clip` (false: boxes may reach beyond the image),
    `variance` (0.1; one or four), `img_size` | `img_h`, `img_w`, `step` | `step_h`, `step_w`, `offset` (0.5).
    Shapes: (N, C, H, W), (N, C', H', W') → (1, 2, H · W · boxes · 4): row 0 xmin, ymin, xmax, ymax of each box, in
    shares of the image's size; row 1 their variances. Errors: sizes that do not go together. No gradient.
    Source: SSD (Liu et al., 2016), section 2.2; prior_box_layer.cpp of weiliu89/caffe.
    """

    fork = "SSD (weiliu89/caffe)"
    bottoms = exactly(2)
    in_place = False
    no_gradient = None
    lenient = True
    param_field = "prior_box_param"
    sizes: list[Size]
    variance: tuple[float, ...]
    image: tuple[int, int] | None
    """The image's height and width, where the file gives them."""
    settings: dict[str, Any]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        for place, shape in enumerate(bottoms):
            check_planes(self, shape, f"bottom[{place}]", "bottoms")
        self._check_sizes()
        self._check_pair("img_size", "img_h", "img_w")
        self._check_pair("step", "step_h", "step_w")
        self.sizes = self._box_sizes(self._ratios())
        self.variance = self._variances()
        o = self.options
        step = (o.step_h or o.step, o.step_w or o.step)
        self.image = (o.img_h or o.img_size, o.img_w or o.img_size) if o.img_h or o.img_size else None
        self.settings = ({"step": step} if all(step) else {}) | self.changed(offset="offset", clip="clip")
        return [self._top(bottoms[0])]

    # -- settings ------------------------------------------------------------------------------------------------------

    def _check_sizes(self) -> None:
        smaller, larger = list(self.options.min_size), list(self.options.max_size)
        if not smaller:
            self.fail("has no min_size", "prior_box_param", "add `min_size: 30`")
        if larger and len(larger) != len(smaller):
            found = f"{len(larger)} max_size for {len(smaller)} min_size"
            self.fail(found, "prior_box_param.max_size", "give one for each, or none")
        for place, size in enumerate(smaller):
            if size <= 0:
                self.fail(f"min_size {size:g} is not above 0", f"prior_box_param.min_size[{place}]")
            if larger and larger[place] <= size:
                found = f"max_size {larger[place]:g} is not above min_size {size:g}"
                self.fail(found, f"prior_box_param.max_size[{place}]")

    def _check_pair(self, both: str, height: str, width: str) -> None:
        has = self.options.HasField
        if has(both) and (has(height) or has(width)):
            self.fail(f"gives {both} and {height}", f"prior_box_param.{both}", "keep one of the two")
        if has(height) != has(width):
            self.fail(f"gives only one of {height} and {width}", "prior_box_param", "give both")
        for name in (both, height, width):
            if has(name) and getattr(self.options, name) <= 0:
                self.fail(f"{name} is not above 0", f"prior_box_param.{name}")

    def _ratios(self) -> list[float]:
        ratios = [1.0]
        for place, ratio in enumerate(self.options.aspect_ratio):
            if ratio <= 0:
                self.fail(f"aspect_ratio {ratio:g} is not above 0", f"prior_box_param.aspect_ratio[{place}]")
            if all(abs(ratio - other) >= 1e-6 for other in ratios):
                ratios += [ratio, 1 / ratio] if self.options.flip else [ratio]
        return ratios

    def _box_sizes(self, ratios: list[float]) -> list[Size]:
        """(width, height) in pixels of the boxes of a position."""
        smaller, larger = ([int(size) for size in given] for given in (self.options.min_size, self.options.max_size))
        sizes: list[Size] = []
        for place, s in enumerate(smaller):
            sizes.append((s, s))
            if larger:
                side = (s * larger[place]) ** 0.5
                sizes.append((side, side))
            sizes += [(s * r**0.5, s / r**0.5) for r in ratios if abs(r - 1) >= 1e-6]
        return sizes

    def _variances(self) -> tuple[float, ...]:
        given = tuple(self.options.variance) or (0.1,)
        if len(given) not in (1, 4):
            self.fail(f"{len(given)} variances", "prior_box_param.variance", "give one, or four")
        if any(value <= 0 for value in given):
            self.fail(f"variance {min(given):g} is not above 0", "prior_box_param.variance")
        return given * 4 if len(given) == 1 else given

    def _top(self, shape: Shape) -> Shape:
        return (1, 2, shape[2] * shape[3] * len(self.sizes) * 4)

    # -- boxes ---------------------------------------------------------------------------------------------------------

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.boxes import prior_boxes

        image = self.image or tuple(bottoms[1].shape[2:])
        return [prior_boxes(bottoms[0], self.sizes, self.variance, image, **self.settings)]

    def emit(self, site: Site) -> Code:
        image = self.image or f"{site.bottoms[1]}.shape[2:]"
        return Code(call("prior_boxes", site.x, literal(self.sizes), literal(self.variance), image, **self.settings))
