"""caffe.Classifier: a net that takes pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.pycaffe import TEST, io
from netc.pycaffe.blob import Values
from netc.runtime.pycaffe.net import Net


class Classifier(Net):
    """A net with one input of pictures. `image_dims`: the size that they are brought to before they are cropped
    (default: that of the input). mean, input_scale, raw_scale, channel_swap: as of caffe.io.Transformer."""

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any,
        image_dims: Sequence[int] | None = None,
        mean: Values | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        shape = self.blobs[self.inputs[0]].shape
        self.transformer = transformer(self.inputs[0], shape, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs: Sequence[Values], oversample: bool = True) -> Values:
        """The net's first output for each picture (height × width × channels, from 0 to 1), a row a picture.

        `oversample`: the mean over ten crops, the corners and the middle and their mirror images; else the middle.
        """
        resized = np.stack([io.resize_image(picture, self.image_dims) for picture in inputs])
        crops = io.oversample(resized, self.crop_dims) if oversample else self._middle(resized)
        name = self.inputs[0]
        given = np.stack([self.transformer.preprocess(name, crop) for crop in crops]).astype(np.float32)
        found = self.forward_all(None, **{name: given})[self.outputs[0]]
        return found.reshape(len(found) // 10, 10, -1).mean(1) if oversample else found

    def _middle(self, pictures: Values) -> Values:
        (top, left), (height, width) = (self.image_dims / 2.0 - self.crop_dims / 2.0).astype(int), self.crop_dims
        return pictures[:, top : top + height, left : left + width]


def transformer(
    name: str,
    shape: Sequence[int],
    mean: Values | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> io.Transformer:
    """Of an input that takes pictures with their channels first."""
    made = io.Transformer({name: shape})
    made.set_transpose(name, (2, 0, 1))
    if mean is not None:
        made.set_mean(name, mean)
    if input_scale is not None:
        made.set_input_scale(name, input_scale)
    if raw_scale is not None:
        made.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        made.set_channel_swap(name, channel_swap)
    return made
