"""Data for a segmentation by a Python layer: one picture at a time, each of its own size."""

import random

import caffe
import numpy as np


class SegDataLayer(caffe.Layer):
    def setup(self, bottom, top):
        params = eval(self.param_str)
        self.split = params["split"]
        self.mean = np.array(params["mean"])
        self.served = 0
        if len(top) != 2:
            raise Exception("Need to define two tops: data and label.")
        if len(bottom) != 0:
            raise Exception("Do not define a bottom.")
        random.seed(params.get("seed", None))
        self.idx = 0

    def reshape(self, bottom, top):
        self.data, self.label = self.load(self.idx)
        top[0].reshape(1, *self.data.shape)
        top[1].reshape(1, *self.label.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.data
        top[1].data[...] = self.label
        self.served += 1
        self.idx = random.randint(0, 7) if "train" in self.split else self.idx + 1

    def backward(self, top, propagate_down, bottom):
        pass

    def load(self, idx):
        """Three stripes, of class 0, 1 and 2; a border of 255, which counts as nothing."""
        height, width = 18 + idx % 3, 24 + idx % 2
        label = np.tile((np.arange(width) * 3 // width).astype(np.uint8), (height, 1))
        image = np.stack([(label == channel) * 200 for channel in range(3)]).astype(np.float32)
        label[0] = 255
        return image[::-1] - self.mean[:, None, None], label[np.newaxis, ...]
