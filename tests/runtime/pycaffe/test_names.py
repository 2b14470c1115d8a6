"""The small names of pycaffe, one by one; and every submodule under both of its names."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc.pycaffe as caffe
from netc.errors import NetcError
from netc.pycaffe import doors
from netc.pycaffe import layers as L
from netc.pycaffe import params as P
from netc.pycaffe.proto import caffe_pb2
from netc.runtime.pycaffe import machine
from tests.runtime.pycaffe.nets import DEPLOY, written
from tests.runtime.pycaffe.test_solver_goldens import caffe_net, difference, param
from tests.runtime.solver.test_goldens import TOLERANCE, with_logged_net

SUBMODULES = [name.removeprefix("caffe.") for name in doors.HOMES if name != "caffe"]


# -- modules -----------------------------------------------------------------------------------------------------------


def test_every_submodule_is_imported_by_both_spellings() -> None:
    """Each in a process of its own order: as a statement, and out of the package above it."""
    lines = []
    for door, first in (("netc.pycaffe", "import netc.pycaffe"), ("caffe", "netc.pycaffe.install()")):
        lines.append(first)
        for name in reversed(SUBMODULES):
            above, _, last = f"{door}.{name}".rpartition(".")
            lines += [f"import {door}.{name}", f"import {door}.{name} as it", f"from {above} import {last} as again"]
            lines += [f"assert it is again is {door}.{name}, '{name}'"]
    lines += ["import netc.runtime.pycaffe.draw as home, netc.pycaffe.draw, caffe.draw"]
    lines += ["assert home is netc.pycaffe.draw is caffe.draw and home.__name__ == 'netc.runtime.pycaffe.draw'"]
    lines += ["from caffe.proto import caffe_pb2", "import caffe.proto.caffe_pb2 as pb", "assert pb is caffe_pb2"]
    lines += ["from caffe import *", "assert Net is caffe.Net and SGDSolver is caffe.SGDSolver"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""


def test_a_submodule_that_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("netc.pycaffe.nothing")


def test_what_caffes_own_module_shows() -> None:
    """The names of `dir(caffe)` in BVLC's 1.0."""
    theirs = """Net SGDSolver NesterovSolver AdaGradSolver RMSPropSolver AdaDeltaSolver AdamSolver NCCL Timer
    init_log log set_mode_cpu set_mode_gpu set_device Layer get_solver layer_type_list set_random_seed solver_count
    set_solver_count solver_rank set_solver_rank set_multiprocess has_nccl __version__ TRAIN TEST Classifier Detector
    io layers params NetSpec to_proto net_spec proto pycaffe classifier detector"""
    assert set(theirs.split()) <= set(dir(caffe))
    assert (caffe.TRAIN, caffe.TEST, caffe.__version__) == (caffe_pb2.TRAIN, caffe_pb2.TEST, "1.0.0")
    assert caffe_pb2.Phase.Name(caffe.TEST) == "TEST"


# -- the machine -------------------------------------------------------------------------------------------------------


def test_timer_counts_from_start_to_stop() -> None:
    timer = caffe.Timer()
    before = time.perf_counter()
    timer.start()
    time.sleep(0.01)
    timer.stop()
    assert 0.01 <= timer.seconds <= time.perf_counter() - before
    assert timer.ms == pytest.approx(1e3 * timer.seconds)
    assert timer.us == pytest.approx(1e6 * timer.seconds)


def test_the_log_goes_to_stderr_in_glogs_form(capsys: pytest.CaptureFixture[str]) -> None:
    caffe.init_log()
    caffe.init_log(0, "file")
    assert capsys.readouterr().err == ""
    caffe.log("a line")
    assert capsys.readouterr().err.endswith("] a line\n")


def test_one_process_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    caffe.set_multiprocess(True)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setitem(machine._settings, "device", 0)
    with pytest.raises(NetcError, match="no GPU 2"):
        caffe.set_device(2)
    caffe.set_device(1)
    monkeypatch.setitem(machine._settings, "gpu", True)
    assert machine.device() == "cuda:1"
    caffe.set_mode_cpu()
    assert machine.device() == "cpu"


def test_a_seed_repeats_first_values_and_masks() -> None:
    net = DEPLOY.replace('type: "ReLU"', 'type: "Dropout"')
    found = []
    for _ in range(2):
        caffe.set_random_seed(7)
        made = caffe.Net(net, caffe.TRAIN)
        made.blobs["data"].data[...] = 1
        made.forward()
        found.append((made.params["fc"][0].data.copy(), made.blobs["conv"].data.copy()))
    for one, other in zip(*found, strict=True):
        assert (one == other).all()
        assert one.any()
    caffe.set_random_seed(8)
    assert (caffe.Net(net, caffe.TRAIN).params["fc"][0].data != found[0][0]).any()


# -- blobs -------------------------------------------------------------------------------------------------------------


def test_a_blob_of_ones_own() -> None:
    blob = caffe.Blob()
    blob.reshape(2, 3)
    blob.data[...] = [[0, 1, 2], [3, 4, 5]]
    blob.diff[0] += 1
    assert (blob.shape, blob.count, blob.num, blob.channels, blob.height, blob.width) == ((2, 3), 6, 2, 3, 1, 1)
    blob.reshape(3, 2)
    assert blob.data.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert blob.diff.ravel().tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(ValueError):
        blob.reshape(-1)
    vector = caffe.BlobVec()
    vector.add_blob(1, 2)
    assert [each.shape for each in vector] == [(1, 2)]
    assert not vector[0].data.any()


# -- dropout between passes --------------------------------------------------------------------------------------------

DROPS = """force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 30 } } }
layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }"""


@pytest.mark.parametrize("shapes", [[], [(2, 60)], [(9, 30), (4, 30)]])
def test_the_mask_is_that_of_the_pass_that_was(shapes: list[tuple[int, ...]]) -> None:
    """Caffe keeps it: whatever a program does to the blobs between the passes, and however often it goes back."""
    net = caffe.Net(DROPS, caffe.TRAIN)
    net.blobs["data"].data[...] = 1
    for _ in range(2):
        net.forward()
        mask = net.blobs["drop"].data.copy()
        assert sorted(set(mask.ravel())) == [0, 2]
        for shape in shapes:
            net.blobs["drop"].reshape(*shape)
        for _ in range(2):
            net.blobs["drop"].diff[...] = 1
            net.backward()
            assert (net.blobs["data"].diff == mask).all()
        net.reshape()


def test_a_layer_that_is_run_anew_has_the_mask_of_its_last_pass() -> None:
    """Where the batch has another size since, so that what torch recorded is of no use."""
    net = caffe.Net(DROPS, caffe.TRAIN)
    net.blobs["data"].data[...] = 1
    net.forward()
    mask = net.blobs["drop"].data.copy()
    for name in ("data", "drop"):
        net.blobs[name].reshape(2, 30)
    net.blobs["data"].data[...] = 1
    net.blobs["drop"].diff[...] = 1
    net.backward()
    assert (net.blobs["data"].diff == mask[:2]).all()
    net.forward()
    assert (net.blobs["drop"].data != mask[:2]).any(), "the next pass has the next mask"


def test_a_net_that_moves_between_its_passes_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by set_mode_gpu after a forward pass. There is no GPU here: the other device is the CPU by another name, so
    this holds that nothing recorded is used again, and not that a GPU computes it."""
    net = caffe.Net(DROPS, caffe.TRAIN)
    net.blobs["data"].data[...] = 1
    net.forward()
    mask = net.blobs["drop"].data.copy()
    net.blobs["drop"].diff[...] = 1
    monkeypatch.setattr(machine, "device", lambda: "cpu:0")
    net.backward()
    assert net.device == "cpu:0"
    assert (net.blobs["data"].diff == mask).all()


# -- solvers -----------------------------------------------------------------------------------------------------------

FIRST = {
    "SGD": "sgd_L2_it1_noclip",
    "Nesterov": "nesterov_L2_it1_noclip",
    "AdaGrad": "adagrad_L2_it1_noclip",
    "RMSProp": "rmsprop_defaults",
    "AdaDelta": "adadelta_L2_it1_noclip",
    "Adam": "adam_L2_it2_noclip",
}


@pytest.mark.parametrize("kind", FIRST)
def test_each_class_makes_caffes_steps(kind: str, shared: Path) -> None:
    """By the class's own name, with the update by hand: forward, backward, apply_update."""
    folder = shared / "goldens" / "solvers"
    golden, file = np.load(folder / f"{FIRST[kind]}.npz"), str(folder / f"{FIRST[kind]}.solver.prototxt")
    solver = getattr(caffe, f"{kind}Solver")(file if (folder / caffe_net(file)).exists() else with_logged_net(file))
    assert (solver.type, solver.iter) == (kind, 0)
    for key in (key for key in golden.files if key.startswith("init:")):
        param(solver, key[5:]).data[...] = golden[key]
    size, turn = solver.param.iter_size, 0
    for iteration in range(2):
        assert solver.lr == pytest.approx(golden["lr"][iteration], rel=1e-5)
        solver.net.clear_param_diffs()
        for _ in range(size):
            for name in ("data", "label"):
                solver.net.blobs[name].data[...] = golden[f"batches:{name}"][turn % 7]
            turn += 1
            solver.net.forward()
            solver.net.backward()
        solver.apply_update()
        for key in (key for key in golden.files if key.startswith(f"w@{iteration + 1}:")):
            assert difference(param(solver, key.partition(":")[2]).data, golden[key]) < TOLERANCE, key
    assert solver.iter == 2


# -- nets in Python ----------------------------------------------------------------------------------------------------


def test_names_of_messages() -> None:
    names = caffe.net_spec.param_name_dict()
    assert (names["InnerProduct"], names["Convolution"], names["ReLU"]) == ("inner_product", "convolution", "relu")
    assert caffe.draw.get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}
    layer = caffe_pb2.LayerParameter()
    caffe.net_spec.assign_proto(layer, "top", ["a", "b"])
    caffe.net_spec.assign_proto(layer, "pooling_param", {"pool": P.Pooling.AVE, "kernel_size": 3})
    assert (list(layer.top), layer.pooling_param.pool, layer.pooling_param.kernel_size) == (["a", "b"], 1, 3)
    assert isinstance(L.ReLU(L.Input()).fn, caffe.net_spec.Function)


def test_maps_of_coordinates_and_their_parts() -> None:
    """By hand: a 3×3 convolution, stride 2, pad 1, puts its first value over pixel 0: x/2."""
    conv = L.Convolution(L.Input(), kernel_size=3, stride=2, pad=1, num_output=1)
    axis, scale, shift = caffe.coord_map.coord_map(conv.fn)
    assert (axis, scale.tolist(), shift.tolist()) == (1, [0.5], [0])
    axis, stride, kernel, pad = caffe.coord_map.conv_params(conv.fn)
    assert (axis, stride.tolist(), kernel.tolist(), pad.tolist()) == (1, [2], [3], [1])
    axis, offset = caffe.coord_map.crop_params(L.Crop(conv, conv, axis=1, offset=[2, 5]).fn)
    assert (axis, offset.tolist()) == (1, [2, 5])
    ax, a, b = caffe.coord_map.inverse((1, 0.5, 3))
    assert (ax, a, b) == (1, 2, -6)
    assert caffe.coord_map.compose((1, 2, 3), (None, 5, 7)) == (1, 10, 17)
    with pytest.raises(caffe.coord_map.UndefinedMapException):
        caffe.coord_map.coord_map(L.InnerProduct(conv).fn)


@pytest.mark.parametrize("error", [KeyError, AttributeError])
def test_a_top_that_a_net_has_not(error: type[Exception]) -> None:
    with pytest.raises(error):
        _ = caffe.NetSpec().nothing
    assert not hasattr(caffe.NetSpec(), "nothing")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """pycaffe looks for the files of its constructors; what Caffe itself reads later would end the process."""
    net = written(tmp_path, DEPLOY)
    with pytest.raises(RuntimeError, match="Could not open file gone"):
        caffe.Net(net, caffe.TEST, weights="gone")
    with pytest.warns(UserWarning, match="deprecated"), pytest.raises(RuntimeError, match="Could not open file gone"):
        caffe.Net(net, "gone", caffe.TEST)
    for call in (lambda: caffe.SGDSolver("gone"), lambda: caffe.get_solver("gone")):
        with pytest.raises(RuntimeError, match="Could not open file gone"):
            call()
    with pytest.raises(NetcError):
        caffe.Net(net, caffe.TEST).copy_from("gone")


# -- detector ----------------------------------------------------------------------------------------------------------


def test_the_mean_around_a_window_is_that_of_the_pictures(tmp_path: Path) -> None:
    net = caffe.Net(written(tmp_path, DEPLOY), caffe.TEST)
    net.save(tmp_path / "a.caffemodel")
    made: Any = caffe.Detector(
        written(tmp_path, DEPLOY),
        str(tmp_path / "a.caffemodel"),
        mean=np.array([10.0, 20.0, 30.0]),
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    assert made.context_pad == 0
    made.configure_crop(1)
    assert made.context_pad == 1
    np.testing.assert_allclose(np.broadcast_to(made.crop_mean, (4, 4, 3))[0, 0] * 255, [30, 20, 10], rtol=1e-6)
