from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netc import proto
from netc.errors import NetcError
from netc.files.opening import read_bytes
from netc.files.paths import resolve
from netc.layers.base import Run, Shape, between, count, format_shape, layer
from netc.layers.code import Code, Site, literal
from netc.layers.losses import LabelLoss

if TYPE_CHECKING:
    from torch import Tensor


_HEAD_BYTES, _VALUE_BYTES = 1 << 16, 32
"""What a file has at most beside its values, and for each of them: as float and double, with gradients of both."""


@layer("InfogainLoss")
class InfogainLoss(LabelLoss):
    """loss = -1/M Σ_positions Σ_k H[label, k] · log softmax(x)_k, H being the infogain matrix.

    H is bottom 2 or the BlobProto file `infogain_loss_param.source`. M and ignore_label as for SoftmaxWithLoss. Each
    probability counts as at least 1e-20 in the loss; the gradient, p · Σ_k H[label, k] - H[label], is not cut. A second
    top gets the probabilities; it needs `loss_weight: 1 loss_weight: 0`, and no gradient goes back through it.
    Fields: `source`, `axis` (1), `loss_param`.
    Shapes: (N, C, …), labels for every position(, (C, C)) → scalar(, the first bottom's).
    Errors: no H or one of another size, label count, a label outside the classes. Source: infogain_loss_layer.cpp.
    """

    bottoms = between(2, 3)
    tops = between(1, 2)
    no_gradient = (1, 2)
    param_field = "infogain_loss_param"
    takes = "scores"
    contains = "Softmax"
    informative_tops = (1,)
    function = "infogain_loss"
    values = 2
    matrix: list[float]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(self.param.top) > 1 and not self.param.loss_weight:
            self.fail("two tops need two loss weights", "top[1]", "add `loss_weight: 1 loss_weight: 0`")
        self.read_labels(bottoms, self.options.axis, "infogain_loss_param.axis")
        self.matrix = [] if len(bottoms) > 2 else self._read(bottoms[0][self.axis])
        classes, values = bottoms[0][self.axis], count(bottoms[2]) if len(bottoms) > 2 else len(self.matrix)
        if values != classes * classes:
            given = format_shape(bottoms[2]) if len(bottoms) > 2 else f"{values} values"
            place = "bottom[2]" if len(bottoms) > 2 else "infogain_loss_param.source"
            self.fail(f"needs an infogain matrix of {classes}×{classes}, found {given}", place, code="L302")
        return self.first_tops([(), bottoms[0]])

    def _read(self, classes: int) -> list[float]:
        """The matrix of the source file, in rows. A file that is larger than one of so many classes is not read."""
        from google.protobuf.message import DecodeError

        field = "infogain_loss_param.source"
        if not self.options.source:
            self.fail("has no infogain matrix", "infogain_loss_param", "give a third bottom, or `source`")
        place = self.origin.place(field)
        path = resolve(self.options.source, self.origin.start.path, "infogain matrix", place)
        blob = proto.BlobProto()
        try:
            blob.ParseFromString(read_bytes(path, _HEAD_BYTES + _VALUE_BYTES * classes * classes, place))
        except OSError as error:
            raise NetcError("X900", f"cannot read {path}: {error.strerror}", place) from None
        except DecodeError:
            self.fail(
                f"{path} is not a BlobProto", field, "write the matrix as Caffe's io.array_to_blobproto does", "L306"
            )
        return list(blob.data or blob.double_data)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        matrix = [] if len(bottoms) > 2 else [bottoms[0].new_tensor(self.matrix)]
        return super().forward(run, [*bottoms, *matrix], params)

    def emit(self, site: Site) -> Code:
        """The matrix is the third bottom, or stands in the code, as the file that held it may not travel with it."""
        if len(site.bottoms) > 2:
            return super().emit(site)
        size = site.shape[self.axis]
        rows = [self.matrix[start : start + size] for start in range(0, size * size, size)]
        matrix = f"{site.x}.new_tensor({literal(rows)})"
        return super().emit(replace(site, bottoms=(*site.bottoms, matrix)))
