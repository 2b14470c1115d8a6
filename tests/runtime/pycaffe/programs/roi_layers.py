"""The layers of a detector with regions that are Python: its data, and proposals."""

import caffe
import numpy as np


class RoIDataLayer(caffe.Layer):
    def set_roidb(self, roidb):
        self._roidb = roidb
        self._cur = 0

    def setup(self, bottom, top):
        layer_params = eval(self.param_str_)
        self._num_classes = layer_params["num_classes"]
        self._name_to_top_map = {}
        for idx, (name, shape) in enumerate(
            [
                ("data", (1, 3, 32, 32)),
                ("rois", (1, 5)),
                ("labels", (1,)),
                ("bbox_targets", (1, 4 * self._num_classes)),
                ("bbox_inside_weights", (1, 4 * self._num_classes)),
                ("bbox_outside_weights", (1, 4 * self._num_classes)),
            ]
        ):
            self._name_to_top_map[name] = idx
            top[idx].reshape(*shape)
        assert len(top) == len(self._name_to_top_map)

    def forward(self, bottom, top):
        for blob_name, blob in self._minibatch().items():
            top_ind = self._name_to_top_map[blob_name]
            top[top_ind].reshape(*(blob.shape))
            top[top_ind].data[...] = blob.astype(np.float32, copy=False)

    def backward(self, top, propagate_down, bottom):
        pass

    def reshape(self, bottom, top):
        pass

    def _minibatch(self):
        entry = self._roidb[self._cur % len(self._roidb)]
        self._cur += 1
        rng = np.random.default_rng(entry["seed"])
        im = rng.normal(size=(1, 3, 32, 32 + 2 * entry["seed"]))
        boxes = entry["boxes"][: 2 + entry["seed"] % 2]
        labels = np.arange(len(boxes)) % self._num_classes
        for box, label in zip(boxes, labels):
            im[0, label, box[1] : box[3] + 1, box[0] : box[2] + 1] += 3
        targets = np.zeros((len(boxes), 4 * self._num_classes))
        for row, label in enumerate(labels):
            targets[row, 4 * label : 4 * label + 4] = 0.5
        inside = (targets != 0).astype(float)
        return {
            "data": im,
            "rois": np.hstack((np.zeros((len(boxes), 1)), boxes)),
            "labels": labels,
            "bbox_targets": targets,
            "bbox_inside_weights": inside,
            "bbox_outside_weights": np.array(inside > 0).astype(np.float32),
        }


class ProposalLayer(caffe.Layer):
    def setup(self, bottom, top):
        self.number = {"TRAIN": 8, "TEST": 4}[str("TRAIN" if self.phase == 0 else "TEST")]
        top[0].reshape(1, 5)

    def forward(self, bottom, top):
        assert bottom[0].data.shape[0] == 1, "Only single item batches are supported"
        height, width, _ = bottom[1].data[0, :]
        scores = bottom[0].data[:, 0].ravel()
        order = scores.argsort()[::-1][: self.number]
        y, x = np.unravel_index(order, bottom[0].data.shape[2:])
        boxes = np.stack([x, y, np.minimum(x + 8, width - 1), np.minimum(y + 8, height - 1)], axis=1)
        blob = np.hstack((np.zeros((len(boxes), 1), dtype=np.float32), boxes.astype(np.float32, copy=False)))
        top[0].reshape(*(blob.shape))
        top[0].data[...] = blob

    def backward(self, top, propagate_down, bottom):
        pass

    def reshape(self, bottom, top):
        pass
