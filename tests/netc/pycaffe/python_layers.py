"""Layers as people write them for pycaffe: they are run unchanged, and so import caffe."""

import caffe
import numpy as np
from caffe.proto import caffe_pb2


class EuclideanLossLayer(caffe.Layer):
    """The loss of EuclideanLoss, in numpy."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        self.difference = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for i, sign in ((0, 1), (1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.difference / bottom[i].num


class Affine(caffe.Layer):
    """y = a x + b with a learned a for each channel, b from param_str; doubles b in TEST."""

    def setup(self, bottom, top):
        assert caffe_pb2.NetParameter is not None
        self.shift = float(self.param_str) * (2 if self.phase == caffe.TEST else 1)
        self.blobs.add_blob(1, bottom[0].channels, 1)
        self.blobs[0].data[...] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data + self.shift

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(axis=(0, 2), keepdims=True)
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data * top[0].diff


class Counter(caffe.Layer):
    """A source: each pass one row more, whatever was compiled."""

    def setup(self, bottom, top):
        self.passes = 0

    def reshape(self, bottom, top):
        top[0].reshape(1 + self.passes, 2)
        top[1].reshape(1 + self.passes)

    def forward(self, bottom, top):
        top[0].data[...] = self.passes
        top[1].data[...] = 7
        self.passes += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Mean(caffe.Layer):
    """Keeps a sum in a parameter, and spoils its bottom's values."""

    def setup(self, bottom, top):
        self.blobs.add_blob()

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        self.blobs[0].data[...] += bottom[0].data.sum()
        top[0].data[...] = self.blobs[0].data
        bottom[0].data[...] = 0


class Doubled(caffe.Layer):
    """Fit to work in place."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


class Faulty(caffe.Layer):
    """Fails where param_str says."""

    def setup(self, bottom, top):
        self.stumble("setup")

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.stumble("forward")

    def backward(self, top, propagate_down, bottom):
        self.stumble("backward")

    def stumble(self, where):
        if self.param_str == where:
            raise ValueError("stumbled in " + where)


class Shapeless(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass
