from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netc import proto
from netc.errors import NetcError
from netc.files.paths import resolve
from netc.layers.base import Run, Shape, between, canonical_axis, count, format_shape, layer
from netc.layers.losses import VALID, Loss, check_label_count, class_indices, ignored_label, normalization, normalizer

if TYPE_CHECKING:
    from torch import Tensor


SMALLEST = 1e-20


@layer("InfogainLoss")
class InfogainLoss(Loss):
    """loss = -1/M Σ_positions Σ_k H[label, k] · log softmax(x)_k, H being the infogain matrix.

    H is bottom 2 or the BlobProto file `infogain_loss_param.source`. M and ignore_label as for SoftmaxWithLoss. Each
    probability counts as at least 1e-20 in the loss; the gradient, p · Σ_k H[label, k] - H[label], is not cut. A second
    top gets the probabilities; it needs `loss_weight: 1 loss_weight: 0`. Fields: `source`, `axis` (1), `loss_param`.
    Shapes: (N, C, …), labels for every position(, (C, C)) → scalar(, the first bottom's).
    Errors: no H or one of another size, label count, a label outside the classes. Source: infogain_loss_layer.cpp.
    """

    bottoms = between(2, 3)
    tops = between(1, 2)
    no_gradient = (1, 2)
    param_field = "infogain_loss_param"
    takes = "scores"
    contains = "Softmax"
    axis: int
    mode: int
    with_probabilities: bool
    matrix: list[float]

    def setup(self, bottoms: Sequence[Shape]) -> Sequence[Shape]:
        if len(self.param.top) > 1 and not self.param.loss_weight:
            self.fail("two tops need two loss weights", "top[1]", "add `loss_weight: 1 loss_weight: 0`")
        self.check_batches(bottoms[:2])
        self.axis = self.class_axis = canonical_axis(self, self.options.axis, bottoms[0], "infogain_loss_param.axis")
        self.mode, self.ignore = normalization(self, VALID), ignored_label(self)
        self.with_probabilities = len(self.param.top) > 1
        check_label_count(self, bottoms[0], bottoms[1], self.axis)
        self.matrix = [] if len(bottoms) > 2 else self._read()
        classes, values = bottoms[0][self.axis], count(bottoms[2]) if len(bottoms) > 2 else len(self.matrix)
        if values != classes * classes:
            given = format_shape(bottoms[2]) if len(bottoms) > 2 else f"{values} values"
            place = "bottom[2]" if len(bottoms) > 2 else "infogain_loss_param.source"
            self.fail(f"needs an infogain matrix of {classes}×{classes}, found {given}", place, code="L302")
        return [(), bottoms[0]][: 1 + self.with_probabilities]

    def _read(self) -> list[float]:
        """The matrix of the source file, in rows."""
        from google.protobuf.message import DecodeError

        field = "infogain_loss_param.source"
        if not self.options.source:
            self.fail("has no infogain matrix", "infogain_loss_param", "give a third bottom, or `source`")
        place = self.origin.place(field)
        path = resolve(self.options.source, self.origin.start.path, "infogain matrix", place)
        blob = proto.BlobProto()
        try:
            with open(path, "rb") as file:
                blob.ParseFromString(file.read())
        except OSError as error:
            raise NetcError("X900", f"cannot read {path}: {error.strerror}", place) from None
        except DecodeError:
            self.fail(
                f"{path} is no BlobProto", field, "write the matrix as Caffe's io.array_to_blobproto does", "L306"
            )
        return list(blob.data or blob.double_data)

    def forward(self, run: Run, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> Sequence[Tensor]:
        from netc.layers.functions.gradients import through

        x, axis = bottoms[0], self.axis
        index, counted = class_indices(self, bottoms[1], x, axis, self.ignore)
        logs = x.log_softmax(axis)
        rows = self._matrix(bottoms, x.shape[axis])[index.squeeze(axis)].movedim(-1, axis)
        losses = -(rows * through(logs, logs.clamp(min=math.log(SMALLEST))))
        if counted is not None:
            losses = losses * counted
        loss = losses.sum() / normalizer(
            self.mode, index.numel(), x.shape[0], counted, self.param.loss_param.pre_fixed_normalizer
        )
        return [loss, logs.exp()][: 1 + self.with_probabilities]

    def _matrix(self, bottoms: Sequence[Tensor], classes: int) -> Tensor:
        given = bottoms[2].detach() if len(bottoms) > 2 else bottoms[0].new_tensor(self.matrix)
        return given.reshape(classes, classes)
