"""Pictures with one bright box each, and where it is."""

import caffe
import numpy as np


def picture(index):
    """A box on the left half (class 1) or the right half (class 2)."""
    rng = np.random.default_rng(index)
    image, right = rng.normal(size=(3, 32, 32)) * 0.1, index % 2
    x, y = (18 if right else 2) + rng.integers(0, 3), 8 + rng.integers(0, 4)
    image[right, y : y + 12, x : x + 12] = 1
    return image.astype(np.float32), [0, 1 + right, 0, x / 32, y / 32, (x + 12) / 32, (y + 12) / 32, 0]


class Boxes(caffe.Layer):
    def setup(self, bottom, top):
        self.turn = 0

    def reshape(self, bottom, top):
        top[0].reshape(4, 3, 32, 32)
        top[1].reshape(1, 1, 4, 8)

    def forward(self, bottom, top):
        for item in range(4):
            image, row = picture(self.turn)
            top[0].data[item] = image
            top[1].data[0, 0, item] = [item, *row[1:]]
            self.turn += 1

    def backward(self, top, propagate_down, bottom):
        pass
