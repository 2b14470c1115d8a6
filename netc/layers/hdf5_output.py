from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc.layers.base import Layer, Run, Shape, exactly, format_shape, layer

if TYPE_CHECKING:
    from torch import Tensor


@layer("HDF5Output")
class HDF5Output(Layer):
    """Writes its bottoms to an HDF5 file, as the datasets "data" and "label".

    Each has at least four axes, 1 for the missing ones. The file holds the rows of all passes, where Caffe aborts at
    the second. It lies below the working folder (or --output-dir, output_dir=), no link leads to it, and no file is
    overwritten that HDF5Output did not write. `netc train` and `netc test` give it its name at their end; a net that
    a program calls writes it at every pass while it is small, later when an eighth of it is new, and when the net goes.
    Fields: `file_name` (required). Shapes: (N, …), (N, …) → no top. Errors: no file_name, batch sizes that differ, a
    place that the net may not write to. Source: hdf5_output_layer.cpp.
    """

    bottoms = exactly(2)
    tops = exactly(0)
    no_gradient = None
    effect = True
    param_field = "hdf5_output_param"
    kind = "measure"
    no_code = "it writes a file"

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if not self.options.file_name:
            self.fail("names no file", "hdf5_output_param", 'add `file_name: "features.h5"`')
        self.output_file = self.options.file_name
        data, label = bottoms
        if (data or (1,))[0] != (label or (1,))[0]:
            listed = f"{format_shape(data)} and {format_shape(label)}"
            self.fail(f"its bottoms differ in batch size: {listed}", "bottom[1]", code="L302")
        return []

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        named = zip(("data", "label"), bottoms, strict=True)
        run.write(self, {name: _four_axes(x.detach()) for name, x in named})
        return []


def _four_axes(x: Tensor) -> Tensor:
    return x.reshape(*x.shape, *[1] * (4 - x.dim()))
