"""Training of a fully convolutional net as FCN's scripts have it: net_spec, data by a Python layer, surgery, scores."""

import os
import sys

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P
from caffe.coord_map import crop
from PIL import Image


def conv_relu(bottom, nout, ks=3, stride=1, pad=1):
    conv = L.Convolution(
        bottom,
        kernel_size=ks,
        stride=stride,
        num_output=nout,
        pad=pad,
        weight_filler=dict(type="xavier"),
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)],
    )
    return conv, L.ReLU(conv, in_place=True)


def fcn(split):
    n = caffe.NetSpec()
    settings = dict(split=split, mean=(104.00699, 116.66877, 122.67892), seed=1337)
    n.data, n.label = L.Python(module="picture_layers", layer="SegDataLayer", ntop=2, param_str=str(settings))
    n.conv1_1, n.relu1_1 = conv_relu(n.data, 4, pad=10)
    n.pool1 = L.Pooling(n.relu1_1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.fc6, n.relu6 = conv_relu(n.pool1, 6, ks=3, pad=0)
    n.drop6 = L.Dropout(n.relu6, dropout_ratio=0.5, in_place=True)
    n.score_fr = L.Convolution(n.drop6, num_output=3, kernel_size=1, pad=0, param=[dict(lr_mult=1), dict(lr_mult=2)])
    n.upscore = L.Deconvolution(
        n.score_fr,
        convolution_param=dict(num_output=3, kernel_size=4, stride=2, bias_term=False),
        param=[dict(lr_mult=0)],
    )
    n.score = crop(n.upscore, n.data)
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=dict(normalize=False, ignore_label=255))
    return n.to_proto()


def upsample_filt(size):
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 == 1 else factor - 0.5
    og = np.ogrid[:size, :size]
    return (1 - abs(og[0] - center) / factor) * (1 - abs(og[1] - center) / factor)


def interp(net, layers):
    for name in layers:
        m, k, h, w = net.params[name][0].data.shape
        assert m == k or k == 1
        assert h == w
        net.params[name][0].data[range(m), range(k), :, :] = upsample_filt(h)


def fast_hist(a, b, n):
    k = (a >= 0) & (a < n)
    return np.bincount(n * a[k].astype(int) + b[k], minlength=n**2).reshape(n, n)


def compute_hist(net, save_dir, count, layer="score", gt="label"):
    n_cl = net.blobs[layer].channels
    hist, loss = np.zeros((n_cl, n_cl)), 0
    for idx in range(count):
        net.forward()
        best = net.blobs[layer].data[0].argmax(0)
        hist += fast_hist(net.blobs[gt].data[0, 0].flatten(), best.flatten(), n_cl)
        Image.fromarray(best.astype(np.uint8)).save(os.path.join(save_dir, "%d.png" % idx))
        loss += net.blobs["loss"].data.flat[0]
    return hist, loss / count


def seg_tests(solver, save_dir, count):
    solver.test_nets[0].share_with(solver.net)
    hist, loss = compute_hist(solver.test_nets[0], save_dir, count)
    print(">>> Iteration", solver.iter, "loss", loss)
    print(">>> overall accuracy", np.diag(hist).sum() / hist.sum())
    iu = np.diag(hist) / (hist.sum(1) + hist.sum(0) - np.diag(hist))
    print(">>> mean IU", np.nanmean(iu))
    return loss


for part in ("train", "val"):
    with open(part + ".prototxt", "w") as f:
        f.write(str(fcn(part)))
with open("solver.prototxt", "w") as f:
    f.write("""train_net: "train.prototxt" test_net: "val.prototxt" test_iter: 3 test_interval: 999999999
    display: 20 average_loss: 20 lr_policy: "fixed" base_lr: 1e-5 momentum: 0.9 iter_size: 1 max_iter: 100000
    weight_decay: 0.0005 snapshot: 4000 snapshot_prefix: "snap" test_initialization: false""")
caffe.set_device(int(sys.argv[1]))
caffe.set_mode_cpu()
solver = caffe.SGDSolver("solver.prototxt")
interp(solver.net, [k for k in solver.net.params.keys() if "up" in k])
first = seg_tests(solver, ".", 3)
for _ in range(2):
    solver.step(30)
last = seg_tests(solver, ".", 3)
assert last < 0.6 * first, (first, last)
layer = solver.net.layers[0]
print(type(layer).__name__, layer.split, layer.served, solver.net.layers[0] is layer)
up = solver.net.params["upscore"][0].data
assert (up[0, 0] == up[2, 2]).all() and not up[0, 1].any(), "lr_mult 0 keeps the interpolation"
