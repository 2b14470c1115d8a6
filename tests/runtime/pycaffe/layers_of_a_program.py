"""Python layers as programs for pycaffe have them; the tests' nets name this module."""

import caffe


class SimpleLayer(caffe.Layer):
    """A layer that just multiplies by ten."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 10 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 10 * top[0].diff


class ExceptionLayer(caffe.Layer):
    """A layer for checking exceptions from Python."""

    def setup(self, bottom, top):
        raise RuntimeError("as it was raised")


class ForwardExceptionLayer(SimpleLayer):
    def forward(self, bottom, top):
        raise KeyError("in forward")


class ParameterLayer(caffe.Layer):
    """A layer with a parameter, whose diff it writes."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = 0

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] = 1


class PhaseLayer(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class ParamStrLayer(caffe.Layer):
    """A layer that multiplies by the number in its param_str."""

    def setup(self, bottom, top):
        self.value = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.value * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.value * top[0].diff


class RoiDataLayer(caffe.Layer):
    """A source of minibatches, as Fast R-CNN's: the program hands over what it reads."""

    def setup(self, bottom, top):
        self._name_to_top_map = {"data": 0, "labels": 1}
        top[0].reshape(1, 3)
        top[1].reshape(1)

    def set_roidb(self, roidb):
        self._roidb, self._cur = roidb, 0

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        rows, labels = self._roidb[self._cur % len(self._roidb)]
        self._cur += 1
        top[0].reshape(*rows.shape)
        top[1].reshape(*labels.shape)
        top[0].data[...] = rows
        top[1].data[...] = labels.astype("float32", copy=False)

    def backward(self, top, propagate_down, bottom):
        pass
