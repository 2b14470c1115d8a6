"""Pictures with several labels, by a Python layer that has a loader of its own."""

import caffe
import numpy as np


class MultilabelDataLayerSync(caffe.Layer):
    def setup(self, bottom, top):
        self.top_names = ["data", "label"]
        params = eval(self.param_str)
        assert "batch_size" in params.keys(), "Params must include batch size."
        self.batch_size = params["batch_size"]
        self.batch_loader = BatchLoader(params, None)
        top[0].reshape(self.batch_size, 3, params["im_shape"][0], params["im_shape"][1])
        top[1].reshape(self.batch_size, 4)

    def forward(self, bottom, top):
        for itt in range(self.batch_size):
            im, multilabel = self.batch_loader.load_next_image()
            top[0].data[itt, ...] = im
            top[1].data[itt, ...] = multilabel

    def reshape(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


class BatchLoader:
    def __init__(self, params, result):
        self.im_shape = params["im_shape"]
        self._rng = np.random.RandomState({"train": 0, "val": 1}[params["split"]])

    def load_next_image(self):
        """Each quarter that is bright is a label."""
        multilabel = self._rng.randint(0, 2, 4)
        im = np.kron(multilabel.reshape(2, 2), np.ones((self.im_shape[0] // 2, self.im_shape[1] // 2)))
        return np.tile(im - 0.5, (3, 1, 1)) + 0.1 * self._rng.randn(3, *self.im_shape), multilabel.astype(np.float32)
