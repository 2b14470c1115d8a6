"""Weight files as real Caffe reads and writes them (goldens/models, goldens/solvers) and files from the wild (zoo)."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil

import numpy as np
import pytest
import torch

import netc
from netc import proto, weights
from netc.runtime.net.module import Net

CASES = [
    "v0_model",
    "v1_legacy_like_vgg16",
    "v1_shape_fields",
    "v2_double",
    "v2_duplicate_layer_last_wins",
    "v2_extra_layer",
    "v2_ip_without_blobs_error",
    "v2_legacy_dims",
    "v2_missing_bias_error",
    "v2_new_shape_1_1_4_27_error",
    "v2_shape",
    "v2_short_data_error",
    "v2_transposed_shape_error",
]
RUNS = ["bin_iter_10", "bin_iter_20", "bin_resumed_iter_20", "adam_iter_20", "ms_iter_10", "init"]


def load(shared, case):
    folder = shared / "goldens/models"
    net = netc.load_net(folder / "net.prototxt")
    return net, net.copy_from(folder / f"{case}.caffemodel")


@pytest.mark.parametrize("case", CASES)
def test_each_file_is_taken_or_refused_as_by_caffe(shared, case):
    said = json.loads((shared / "goldens/models/models.json").read_text())[case]
    if not said["ok"]:
        with pytest.raises(netc.NetcError) as caught:
            load(shared, case)
        assert caught.value.code in ("W704", "W720", "W721")
        assert "ip1" in caught.value.message
        assert caught.value.path.endswith(f"{case}.caffemodel")
        return
    net, plan = load(shared, case)
    ignored = [line.rpartition(" ")[2] for line in said["ignoring"]]
    assert [name for name in plan.unused if name in ignored] == [name for name in ignored if name != "input"]
    assert (plan.copied, plan.reshaped, list(plan.fresh)) == (["conv1", "ip1"], [], ["extra"])
    expected = np.load(shared / f"goldens/models/{case}.npz")
    keys = [key for key in expected if "/" in key]
    assert len(keys) == 6
    for key in keys:  # bit by bit: the doubles of v2_double came from float32
        layer, index = key.split("/")
        assert np.array_equal(net.params[layer][int(index)].detach().numpy(), expected[key])
    result = net(torch.from_numpy(np.load(shared / "goldens/models/x.npy")))
    # one convolution and two products in float32; BLAS sums in another order
    assert np.allclose(next(iter(result.values())).detach().numpy(), expected["out"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_caffes_own_upgrade_keeps_the_values(shared, case):
    """upgrade_net_proto_binary's output holds the same blobs in the same layers, behind a layer for the inputs."""
    folder = shared / "goldens/models"
    if "short_data" in case:
        pytest.skip("netc refuses the file, upgrade_net_proto_binary does not look at its values")
    before, after = (weights.read(folder / f"{case}{end}.caffemodel") for end in ("", ".upgraded"))
    assert [name for name in after if name != "input"] == list(before)
    assert set(before.legacy) == after.legacy
    for layer, arrays in before.items():
        for a, b in zip(arrays, after[layer], strict=True):
            assert a.shape == b.shape
            assert np.array_equal(a, b)


def test_every_case_is_listed(shared):
    assert sorted(json.loads((shared / "goldens/models/models.json").read_text())) == CASES


def test_hdf5_holds_what_the_binary_holds(shared):
    pytest.importorskip("h5py")
    folder = shared / "goldens/models"
    binary = weights.read(folder / "saved_by_caffe.caffemodel")
    hdf5 = weights.read(folder / "saved_by_caffe.caffemodel.h5")
    assert set(binary) == set(hdf5)
    for layer, arrays in binary.items():
        assert all(np.array_equal(a, b) and a.shape == b.shape for a, b in zip(arrays, hdf5[layer], strict=True))


@pytest.mark.parametrize("name", [f"solvers/cli/{run}" for run in RUNS] + ["models/saved_by_caffe", "models/v2_double"])
def test_written_bytes_are_caffes(shared, name):
    path = shared / f"goldens/{name}.caffemodel"
    net = proto.NetParameter.FromString(path.read_bytes())
    file = io.BytesIO()
    weights.write_caffemodel(file, net, weights.read(path))
    assert file.getvalue() == path.read_bytes()


def test_written_diffs_are_caffes(shared):
    path = shared / "goldens/solvers/cli/bin_diff_iter_20.caffemodel"
    net = proto.NetParameter.FromString(path.read_bytes())
    shaped = {name: [a.shape for a in arrays] for name, arrays in weights.read(path).items()}
    diffs = {
        layer.name: [np.array(blob.diff, "<f4").reshape(s) for blob, s in zip(layer.blobs, shaped[layer.name])]
        for layer in net.layer
    }
    file = io.BytesIO()
    weights.write_caffemodel(file, net, weights.read(path), diffs)
    assert file.getvalue() == path.read_bytes()


def test_a_compiled_net_is_written_as_caffe_writes_it(shared):
    folder = shared / "goldens/models"
    graph = netc.compile_net(folder / "net.prototxt", phase="TEST")
    file = io.BytesIO()
    saved = folder / "saved_by_caffe.caffemodel"
    weights.write_caffemodel(file, weights.trained_net(graph.param), weights.read(saved))
    assert file.getvalue() == saved.read_bytes()


@pytest.mark.parametrize("run", [run for run in RUNS if run != "init"])
def test_solver_states_are_read_and_written_as_by_caffe(shared, run):
    path = shared / f"goldens/solvers/cli/{run}.solverstate"
    state = weights.read_solverstate(path)
    expected = proto.SolverState.FromString(path.read_bytes())
    assert (state.iteration, state.current_step) == (expected.iter, expected.current_step)
    assert [a.shape for a in state.history] == [tuple(blob.shape.dim) for blob in expected.history]
    assert all(np.array_equal(a.ravel(), blob.data) for a, blob in zip(state.history, expected.history))
    file = io.BytesIO()
    weights.write_solverstate(file, state)
    assert file.getvalue() == path.read_bytes()


def test_hdf5_solver_state_is_the_binary_one(shared):
    """The h5 and the bin run are the same run of Caffe."""
    pytest.importorskip("h5py")
    binary = weights.read_solverstate(shared / "goldens/solvers/cli/bin_iter_20.solverstate")
    hdf5 = weights.read_solverstate(shared / "goldens/solvers/cli/h5_iter_20.solverstate.h5")
    assert (hdf5.iteration, hdf5.current_step) == (binary.iteration, binary.current_step)
    assert hdf5.learned_net == "h5_iter_20.caffemodel.h5"
    assert all(np.array_equal(a, b) for a, b in zip(hdf5.history, binary.history, strict=True))


def zoo(shared):
    folder = shared / "zoo/caffemodel"
    with (folder / "index.tsv").open() as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if (folder / row["file"]).exists()]


def test_every_weight_file_of_the_zoo_has_the_known_number_of_parameters(shared):
    rows = [row for row in zoo(shared) if row["format"] in ("V1", "V2")]
    assert len(rows) > 10
    for row in rows:
        found = weights.read(shared / "zoo/caffemodel" / row["file"])
        assert sum(a.size for arrays in found.values() for a in arrays) == int(row["params"]), row["file"]
        assert sum(map(bool, found.values())) == int(row["layers_with_blobs"]), row["file"]
        assert bool(found.legacy) == (row["blob_shape_style"] != "shape"), row["file"]


def test_mean_image_of_the_zoo(shared):
    path = shared / "zoo/caffemodel/cifar10_quick/mean.binaryproto"
    mean = weights.read_blob(path)
    expected = proto.BlobProto.FromString(path.read_bytes())
    assert mean.shape == (1, 3, 32, 32)
    assert np.array_equal(mean.ravel(), np.array(expected.data, "<f4"))
    file = io.BytesIO()
    weights.write_blob(file, mean)
    assert sorted(file.getvalue()) == sorted(path.read_bytes())


def test_state_of_2014_has_four_axes(shared):
    state = weights.read_solverstate(shared / "zoo/caffemodel/everpeace_2014_lenet/lenet_iter_10000.solverstate")
    assert state.iteration == 10000
    assert state.history[4].shape == (1, 1, 500, 800)
    assert all(math.isfinite(a.sum()) for a in state.history)


# -- the zoo's weights in their nets -----------------------------------------------------------------------------------

NETS = {
    "bvlc_googlenet/bvlc_googlenet": "deploy",
    "cifar10_quick/cifar10_quick_iter_4000": "cifar10_quick",
    "cifar10_quick/cifar10_quick_iter_5000": "cifar10_quick",
    "cifar10_resnet20/ResNet_20": "res20_cifar_train_test",
    "danielhers_lenet_rmsprop/lenet_rmsprop_iter_10000": "../lenet_ethereon/lenet",
    "everpeace_2014_lenet/lenet_iter_10000": "lenet",
    "lenet_ethereon/lenet_iter_10000": "lenet",
    "mtcnn/det1": "det1",
    "mtcnn/det2": "det2",
    "mtcnn/det3": "det3",
    "mtcnn/det4": "det4",
    "parking_lenet/LeNet32x40_1": "LeNet32x40_1",
    "parking_lenet/lenet32x32_1_iter_10000": "",
    "parking_lenet/lenet32x32_1_iter_5000": "",
    "parking_lenet/lenet_iter_10000": "",
    "waifu2x_upconv7/1acb14b_scale2.0x_model.json": "184c049_scale2.0x_model",
    "waifu2x_upconv7/eb98838_scale2.0x_model.json": "184c049_scale2.0x_model",
}
"""Each file and the net beside it; "" where there is none, and the file's own is taken."""

UNUSED = {"mtcnn/det2": 1}
"""Layers of the file that the net lacks (a loss that only training has)."""

IMAGES = {"cifar10_resnet20": (3, 32, 32), "lenet_iter": (1, 28, 28), "parking_lenet": (1, 32, 40)}
"""Shapes of the images of the nets that read a database."""


def image_of(name):
    return next(shape for part, shape in IMAGES.items() if part in name)


@pytest.mark.parametrize("name", NETS)
def test_every_weight_file_of_the_zoo_loads_into_its_net(shared, name):
    path = shared / "zoo/caffemodel" / f"{name}.caffemodel"
    own = not NETS[name]
    source = weights.read_net(path) if own else path.parent / f"{NETS[name]}.prototxt"

    def probe(layer, phase):
        return [(7, *image_of(name)), (7,)][: len(layer.top)]

    net = Net(netc.compile_net(source, "TRAIN" if own else "TEST", probe=probe))
    found = weights.read(path)
    plan = net.copy_from(path)
    assert (plan.fresh, len(plan.unused)) == ({}, UNUSED.get(name, 0))
    assert len(plan.copied) == len(net.params)
    for layer, tensors in net.params.items():
        for tensor, array in zip(tensors, found[layer], strict=True):
            assert np.array_equal(tensor.detach().numpy().ravel(), array.ravel())


def test_every_weight_file_of_the_zoo_is_among_them(shared):
    folder = shared / "zoo/caffemodel"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.caffemodel")} <= {
        f"{name}.caffemodel" for name in NETS
    }


# -- solver states of others -------------------------------------------------------------------------------------------

LENET = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 3 dim: 1 dim: SIZE dim: SIZE } shape { dim: 3 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_size: 5 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 50 kernel_size: 5 } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
"""Caffe's LeNet for training, in the current format."""

SOLVER = """net: "net.prototxt" base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005
lr_policy: "inv" gamma: 0.0001 power: 0.75 max_iter: 20000 snapshot_prefix: "again" """


def test_a_state_of_2014_is_resumed(shared, tmp_path, monkeypatch):
    """Weights, momentum and rate are those of the file; saved again, the state holds the same numbers."""
    folder = shared / "zoo/caffemodel/everpeace_2014_lenet"
    for name in ("lenet_iter_10000.caffemodel", "lenet_iter_10000.solverstate"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(LENET.replace("SIZE", "28"))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    run = netc.load_solver("solver.prototxt")
    run.restore("lenet_iter_10000.solverstate")
    assert run.iter == 10000
    assert run.lr == pytest.approx(0.01 * (1 + 0.0001 * 10000) ** -0.75)
    for layer, arrays in weights.read("lenet_iter_10000.caffemodel").items():
        for array, tensor in zip(arrays, run.net.params.get(layer, ()), strict=True):
            assert np.array_equal(array.ravel(), tensor.detach().numpy().ravel())
    before, again = (weights.read_solverstate(p) for p in ("lenet_iter_10000.solverstate", run.snapshot()))
    assert [a.size for a in before.history] == [20 * 25, 20, 50 * 20 * 25, 50, 500 * 800, 500, 5000, 10]
    assert all(np.array_equal(a.ravel(), b.ravel()) for a, b in zip(before.history, again.history, strict=True))
    feed = {"data": torch.rand(3, 1, 28, 28), "label": torch.tensor([1.0, 5, 9])}
    assert math.isfinite(run.step(2, feed=lambda k: feed))
    assert run.iter == 10002


def test_other_solver_states_of_the_zoo_are_read(shared):
    for path in sorted((shared / "zoo/caffemodel").rglob("*.solverstate")):
        state = weights.read_solverstate(path)
        expected = proto.SolverState.FromString(path.read_bytes())
        assert (state.iteration, state.learned_net) == (expected.iter, expected.learned_net)
        for array, blob in zip(state.history, expected.history, strict=True):
            assert np.array_equal(array.ravel(), np.array(blob.data, "<f4"))
