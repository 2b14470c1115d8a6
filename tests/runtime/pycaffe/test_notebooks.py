"""What BVLC's notebooks do: LeNet trained step by step, a net made fully convolutional."""

# ruff: noqa: C408 (dict(...) is how such nets are written)
from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

import netc.pycaffe as caffe
from netc.pycaffe import layers as L
from netc.pycaffe import params as P
from tests.runtime.pycaffe.nets import DEPLOY, written


def mnist(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """The 10,000 test images and their labels."""
    folder = shared / "zoo/images/mnist"
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(images, np.uint8).reshape(-1, 1, 28, 28), np.frombuffer(labels, np.uint8)


def database(path: Path, images: np.ndarray, labels: np.ndarray) -> str:
    """Written as people do: datums of caffe.io in an LMDB."""
    with lmdb.open(str(path), map_size=1 << 28) as env, env.begin(write=True) as txn:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            datum = caffe.io.array_to_datum(image, int(label))
            txn.put(f"{number:08}".encode(), datum.SerializeToString())
    return str(path)


def lenet(source: str, batch_size: int) -> str:
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        batch_size=batch_size, backend=P.Data.LMDB, source=source, transform_param=dict(scale=1.0 / 255), ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return str(n.to_proto())


@pytest.fixture
def solver(shared: Path, tmp_path: Path) -> Any:
    images, labels = mnist(shared)
    train = database(tmp_path / "train", images[:4000], labels[:4000])
    test = database(tmp_path / "test", images[5000:6000], labels[5000:6000])
    nets = [written(tmp_path, lenet(*db), f"{at}.prototxt") for at, db in enumerate([(train, 64), (test, 100)])]
    settings = f"""train_net: "{nets[0]}" test_net: "{nets[1]}" test_iter: 10 test_interval: 500 base_lr: 0.01
    momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 1000 max_iter: 10000
    snapshot: 5000 snapshot_prefix: "{tmp_path}/lenet" random_seed: 1"""
    return caffe.SGDSolver(written(tmp_path, settings, "solver.prototxt"))


def test_lenet_learns_step_by_step(solver: Any) -> None:
    """The loop of the notebook: a step, the loss, every 25 steps a test by hand, the filters."""
    assert [(k, v.data.shape) for k, v in solver.net.blobs.items()][:3] == [
        ("data", (64, 1, 28, 28)),
        ("label", (64,)),
        ("conv1", (64, 20, 24, 24)),
    ]
    solver.net.forward()
    solver.test_nets[0].forward()
    solver.step(1)
    assert solver.net.params["conv1"][0].diff[:, 0].reshape(4, 5, 5, 5).any()
    niter, test_interval = 75, 25
    train_loss, test_acc = np.zeros(niter), []
    output = np.zeros((niter, 8, 10))
    for it in range(niter):
        solver.step(1)
        train_loss[it] = solver.net.blobs["loss"].data
        solver.test_nets[0].forward(start="conv1")
        output[it] = solver.test_nets[0].blobs["score"].data[:8]
        if it % test_interval == test_interval - 1:
            correct = 0
            for _ in range(10):
                solver.test_nets[0].forward()
                test = solver.test_nets[0].blobs
                correct += int((test["score"].data.argmax(1) == test["label"].data).sum())
            test_acc.append(correct / 1000)
    assert solver.iter == niter + 1
    assert train_loss[-10:].mean() < 0.4 * train_loss[:5].mean()
    assert test_acc[-1] > 0.85
    assert (output[0] != output[-1]).any()


def test_a_classifier_becomes_fully_convolutional(tmp_path: Path) -> None:
    """Net surgery: the weights of the inner product, flat, as those of a convolution over the whole plane."""
    conv = DEPLOY.replace(
        """type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5""",
        """type: "Convolution" bottom: "conv" top: "fc"
  convolution_param { kernel_size: 2 num_output: 5""",
    ).replace('name: "fc"', 'name: "fc-conv"')
    net = caffe.Net(written(tmp_path, DEPLOY), caffe.TEST)
    net.save(tmp_path / "fc.caffemodel")
    full = caffe.Net(written(tmp_path, conv, "conv.prototxt"), str(tmp_path / "fc.caffemodel"), caffe.TEST)
    assert full.params["fc-conv"][0].data.shape == (5, 4, 2, 2)
    for new, old in zip(full.params["fc-conv"], net.params["fc"], strict=True):
        new.data.flat = old.data.flat
    full.params["fc-conv"][1].data[...] = net.params["fc"][1].data
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    full.blobs["data"].reshape(*x.shape)
    dense = full.forward(data=x)["prob"]
    assert dense.shape == (2, 5, 3, 3)
    for top in range(3):
        for left in range(3):
            window = x[:, :, top : top + 4, left : left + 4]
            np.testing.assert_allclose(dense[:, :, top, left], net.forward(data=window)["prob"], rtol=1e-5)


def transplant(new_net: Any, net: Any, suffix: str = "") -> None:
    """As FCN's surgery.py: layers by name, blobs of the same size whatever their shape, the rest left."""
    for p in net.params:
        p_new = p + suffix
        if p_new not in new_net.params:
            continue
        for i in range(len(net.params[p])):
            if i > len(new_net.params[p_new]) - 1:
                break
            if net.params[p][i].data.shape != new_net.params[p_new][i].data.shape:
                new_net.params[p_new][i].data.flat = net.params[p][i].data.flat
            else:
                new_net.params[p_new][i].data[...] = net.params[p][i].data
            new_net.params[p_new][i].data.flat = net.params[p][i].data.flat


def test_fcns_transplant_and_interpolation(tmp_path: Path) -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 3 dim: 3 } } }
    layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" param { lr_mult: 0 }
      convolution_param { num_output: 4 kernel_size: 4 stride: 2 group: 4 bias_term: false } }"""
    net = caffe.Net(written(tmp_path, text), caffe.TEST)
    for layer in [k for k in net.params if "up" in k]:
        m, k, h, w = net.params[layer][0].data.shape
        assert (m, k, h, w) == (4, 1, 4, 4)
        line = np.array([0.25, 0.75, 0.75, 0.25])
        net.params[layer][0].data[range(m), :, :, :] = np.outer(line, line)
    out = net.forward(data=np.ones((1, 4, 3, 3)))["up"]
    assert (out[:, :, 2:-2, 2:-2] == 1).all()
    other = caffe.Net(written(tmp_path, text.replace('"up"', '"up2"'), "2.prototxt"), caffe.TEST)
    transplant(other, net, "2")
    assert (other.params["up2"][0].data == net.params["up"][0].data).all()
