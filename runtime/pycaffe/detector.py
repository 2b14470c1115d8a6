"""caffe.Detector: a net over windows of pictures, as R-CNN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from netc.errors import NetcError
from netc.pycaffe import TEST, io
from netc.pycaffe.blob import Values
from netc.runtime.pycaffe.classifier import transformer
from netc.runtime.pycaffe.net import Net


class Detector(Net):
    """A net with one input of pictures. `context_pad`: pixels of the input, on each side, that show what is around a
    window. mean, input_scale, raw_scale, channel_swap: as of caffe.io.Transformer."""

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any,
        mean: Values | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        shape = self.blobs[self.inputs[0]].shape
        self.transformer = transformer(self.inputs[0], shape, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[Any, Sequence[Any]]]) -> list[dict[str, Any]]:
        """For each (picture file, windows): one {"window", "prediction", "filename"} a window, the prediction that of
        the net's first output. A window is (ymin, xmin, ymax, xmax), in pixels."""
        pairs = [(filename, list(windows)) for filename, windows in images_windows]
        name, inputs = self.inputs[0], []
        for filename, windows in pairs:
            picture = io.load_image(filename).astype(np.float32)
            inputs += [self.transformer.preprocess(name, self.crop(picture, window)) for window in windows]
        if not inputs:
            return []
        found = iter(self.forward_all(None, **{name: np.stack(inputs).astype(np.float32)})[self.outputs[0]])
        return [
            {"window": window, "prediction": next(found), "filename": filename}
            for filename, windows in pairs
            for window in windows
        ]

    def detect_selective_search(self, image_fnames: Sequence[Any]) -> list[dict[str, Any]]:
        """pycaffe calls MATLAB here. Raises NetcError C221."""
        raise NetcError("C221", "selective search runs in MATLAB, which netc does not call", None, _WINDOWS)

    def crop(self, im: Values, window: Any) -> Values:
        """A window of a picture, with what is around it where there is a `context_pad`."""
        box = np.asarray(window)
        if not self.context_pad:
            return im[int(box[0]) : int(box[2]), int(box[1]) : int(box[3])]
        return self._with_context(im, box)

    def _with_context(self, im: Values, window: Values) -> Values:
        """The window made larger and resized so that it fills the input but for the pad; what lies outside the picture
        is the mean."""
        size = self.blobs[self.inputs[0]].width
        half = (window[2:] - window[:2] + 1) / 2.0
        wide = half * (size / (size - 2.0 * self.context_pad))
        box = np.round(np.concatenate([window[:2] + half - wide, window[:2] + half + wide]))
        scale = size / (box[2:] - box[:2] + 1)
        start = np.round(np.maximum(0, -box[:2]) * scale).astype(int)
        box = np.clip(box, 0, [*im.shape[:2], *im.shape[:2]]).astype(int)
        assert (box[2:] - box[:2] + 1 > 0).all(), f"the window {window.tolist()} lies outside the picture"
        shown = np.minimum(np.round((box[2:] - box[:2] + 1) * scale).astype(int), size - start)
        made = np.ones(self.crop_dims) * self.crop_mean
        part = im[box[0] : box[2], box[1] : box[3]]
        made[start[0] : start[0] + shown[0], start[1] : start[1] + shown[1]] = io.resize_image(part, shown.tolist())
        return made

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the pad, and the mean as pictures have it before they are transformed."""
        name = self.inputs[0]
        self.context_pad = context_pad or 0
        order = np.argsort(self.transformer.transpose[name])
        self.crop_dims = np.array(self.blobs[name].shape[1:])[order]
        self.crop_mean: Values = np.zeros(tuple(self.crop_dims), np.float32)
        mean = self.transformer.mean.get(name)
        if mean is not None:
            self.crop_mean = mean.transpose(order)
            if (swap := self.transformer.channel_swap.get(name)) is not None:
                self.crop_mean = self.crop_mean[:, :, np.argsort(swap)]
            self.crop_mean = self.crop_mean / self.transformer.raw_scale.get(name, 1)


_WINDOWS = "make windows with another program, and give them to detect_windows"
