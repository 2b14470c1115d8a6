"""A detector with regions as Fast and Faster R-CNN's scripts have it: training by a wrapper around the solver with data
from a Python layer and weights of another net, boxes normalised in a snapshot, then detection in pictures of any
size."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "caffe-fast-rcnn", "python"))

import caffe
import google.protobuf as pb2
import numpy as np
from caffe.proto import caffe_pb2

MEANS, STDS = np.tile((0.0, 0.1, 0.2, 0.3), 3), np.tile((0.1, 0.1, 0.2, 0.2), 3)


class SolverWrapper:
    def __init__(self, solver_prototxt, roidb, output_dir, pretrained_model=None):
        self.output_dir = output_dir
        self.solver = caffe.SGDSolver(solver_prototxt)
        if pretrained_model is not None:
            print(f"Loading pretrained model weights from {pretrained_model:s}")
            self.solver.net.copy_from(pretrained_model)
        self.solver_param = caffe_pb2.SolverParameter()
        with open(solver_prototxt) as f:
            pb2.text_format.Merge(f.read(), self.solver_param)
        self.solver.net.layers[0].set_roidb(roidb)

    def snapshot(self):
        net = self.solver.net
        orig_0 = net.params["bbox_pred"][0].data.copy()
        orig_1 = net.params["bbox_pred"][1].data.copy()
        net.params["bbox_pred"][0].data[...] = net.params["bbox_pred"][0].data * STDS[:, np.newaxis]
        net.params["bbox_pred"][1].data[...] = net.params["bbox_pred"][1].data * STDS + MEANS
        filename = self.solver_param.snapshot_prefix + f"_iter_{self.solver.iter:d}" + ".caffemodel"
        filename = os.path.join(self.output_dir, filename)
        net.save(str(filename))
        net.params["bbox_pred"][0].data[...] = orig_0
        net.params["bbox_pred"][1].data[...] = orig_1
        return filename

    def train_model(self, max_iters):
        last_snapshot_iter, losses = -1, []
        while self.solver.iter < max_iters:
            self.solver.step(1)
            losses.append(float(self.solver.net.blobs["loss_cls"].data))
            if self.solver.iter % 20 == 0:
                last_snapshot_iter = self.solver.iter
                self.snapshot()
        assert last_snapshot_iter == self.solver.iter
        return losses


def im_detect(net, im, boxes, rpn):
    blobs = {"data": im.transpose(2, 0, 1)[np.newaxis].astype(np.float32)}
    if rpn:
        blobs["im_info"] = np.array([[im.shape[0], im.shape[1], 1.0]], dtype=np.float32)
    else:
        blobs["rois"] = np.hstack((np.zeros((len(boxes), 1)), boxes))
    for name in blobs:
        net.blobs[name].reshape(*(blobs[name].shape))
    forward_kwargs = {name: blob.astype(np.float32, copy=False) for name, blob in blobs.items()}
    blobs_out = net.forward(**forward_kwargs)
    scores = blobs_out["cls_prob"]
    rois = net.blobs["rois"].data.copy()
    assert scores.shape[0] == rois.shape[0]
    return scores, blobs_out["bbox_pred"], rois[:, 1:5]


caffe.set_mode_cpu()
caffe.set_random_seed(3)
roidb = [{"boxes": np.array([[0, 0, 15, 15], [16, 0, 31, 15], [4, 4, 27, 27]]), "seed": seed} for seed in range(4)]
wrapper = SolverWrapper("roi_solver.prototxt", roidb, ".", "trunk.caffemodel")
losses = wrapper.train_model(40)
assert np.mean(losses[-5:]) < np.mean(losses[:5]), losses
print("trained", wrapper.solver.net.layers[0].__class__.__name__)

net = caffe.Net("roi_test.prototxt", "rois_iter_40.caffemodel", caffe.TEST)
net.name = os.path.splitext(os.path.basename("rois_iter_40.caffemodel"))[0]
rng = np.random.default_rng(0)
for height, width, number in ((40, 48, 5), (32, 64, 2)):
    boxes = np.array([[x, 0, x + 15, 15] for x in range(number)])
    scores, deltas, _ = im_detect(net, rng.normal(size=(height, width, 3)), boxes, rpn=False)
    assert scores.shape == (number, 3) and deltas.shape == (number, 12), (scores.shape, deltas.shape)
    assert np.allclose(scores.sum(1), 1, atol=1e-5)
rpn = caffe.Net("rpn_test.prototxt", "rois_iter_40.caffemodel", caffe.TEST)
scores, _, rois = im_detect(rpn, rng.normal(size=(40, 48, 3)), None, rpn=True)
assert len(rois) == 4 and (rois[:, 2] <= 47).all(), rois
print(net.name, "detects")
