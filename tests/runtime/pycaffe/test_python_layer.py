"""Python layers in caffe.Net: on the blobs themselves, with the exceptions of the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.pycaffe as caffe
from netc.errors import NetcError
from tests.runtime.pycaffe.nets import written

MODULE = "layers_of_a_program"
HEADER = "name: 'pythonnet' force_backward: true input: 'data' input_shape { dim: 10 dim: 9 dim: 8 }"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def layer(name: str, kind: str, bottom: str, top: str = "", more: str = "") -> str:
    return (
        f"layer {{ type: 'Python' name: '{name}' bottom: '{bottom}' top: '{top or name}' {more} "
        f"python_param {{ module: '{MODULE}' layer: '{kind}' param_str: '{{}}' }} }}"
    )


@pytest.fixture
def net(tmp_path: Path) -> Any:
    layers = [layer("one", "SimpleLayer", "data"), layer("two", "SimpleLayer", "one")]
    layers.append(layer("three", "SimpleLayer", "two"))
    return caffe.Net(written(tmp_path, HEADER + "".join(layers)), caffe.TRAIN)


def one(tmp_path: Path, kind: str, text: str = "", phase: int = caffe.TRAIN, more: str = "") -> Any:
    body = layer("layer", kind, "data", "top", more).replace("{}", text)
    return caffe.Net(written(tmp_path, HEADER + body), phase)


def test_forward(net: Any) -> None:
    x = 8
    net.blobs["data"].data[...] = x
    net.forward()
    assert (net.blobs["three"].data == 10**3 * x).all()


def test_backward(net: Any) -> None:
    x = 7
    net.blobs["three"].diff[...] = x
    net.backward()
    assert (net.blobs["data"].diff == 10**3 * x).all()


def test_reshape(net: Any) -> None:
    s = 4
    net.blobs["data"].reshape(s, s, s, s)
    net.forward()
    assert {blob.data.shape for blob in net.blobs.values()} == {(s, s, s, s)}
    net.blobs["data"].reshape(2, 3)
    net.reshape()
    assert {blob.data.shape for blob in net.blobs.values()} == {(2, 3)}


def test_exceptions_come_out_as_they_were_raised(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="^as it was raised") as error:
        one(tmp_path, "ExceptionLayer")
    assert "layer \"layer\" (Python" in error.value.__notes__[0]  # fmt: skip
    net = one(tmp_path, "ForwardExceptionLayer")
    with pytest.raises(KeyError, match="in forward"):
        net.forward()


def test_a_parameter(tmp_path: Path) -> None:
    net = one(tmp_path, "ParameterLayer")
    net.forward()
    net.backward()
    own = net.layers[net._layer_names.index("layer")]
    assert own.blobs[0].data[0] == 0
    assert own.blobs[0].diff[0] == 1
    own.blobs[0].data[0] += own.blobs[0].diff[0]
    assert own.blobs[0].data[0] == 1
    assert net.params["layer"][0].data[0] == 1
    net.save(tmp_path / "a.caffemodel")
    other = one(tmp_path, "ParameterLayer")
    assert other.params["layer"][0].data[0] == 0
    other.copy_from(str(tmp_path / "a.caffemodel"))
    assert other.layers[1].blobs[0].data[0] == 1


def test_the_phase(tmp_path: Path) -> None:
    for phase in (caffe.TRAIN, caffe.TEST):
        assert one(tmp_path, "PhaseLayer", phase=phase).forward()["top"] == phase


def test_param_str(tmp_path: Path) -> None:
    net = one(tmp_path, "ParamStrLayer", "2.5")
    net.blobs["data"].data[...] = 8
    net.forward()
    assert (net.blobs["top"].data == 20).all()
    net.blobs["top"].diff[...] = 4
    net.backward()
    assert (net.blobs["data"].diff == 10).all()
    assert net.layers[1].param_str == "2.5"


def test_the_layers_of_a_net_are_the_programs_own_objects(tmp_path: Path) -> None:
    """As Fast R-CNN trains: `solver.net.layers[0].set_roidb(...)`."""
    net = f"""layer {{ name: "roi" type: "Python" top: "data" top: "labels"
      python_param {{ module: "{MODULE}" layer: "RoiDataLayer" }} }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
      inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "labels" top: "loss" }}"""
    settings = "base_lr: 0.5 lr_policy: 'fixed' momentum: 0.9 max_iter: 30"
    path = written(tmp_path, f"train_net: '{written(tmp_path, net)}' {settings}", "solver.prototxt")
    solver = caffe.SGDSolver(path)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 6, 3)).astype(np.float32)
    solver.net.layers[0].set_roidb([(rows[0], np.arange(6) % 4), (rows[1][:5], np.arange(5) % 4)])
    losses = []
    for _ in range(30):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert solver.net.layers[0].type == "Python"
    assert solver.net.blobs["data"].shape == (5, 3)
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_a_module_beside_the_prototxt_does_not_run_unasked(tmp_path: Path) -> None:
    """pycaffe looks where Python looks, and so does netc; a file that lies beside a net is not the program's."""
    (tmp_path / "beside_the_net.py").write_text("raise SystemExit('it ran')")
    body = layer("layer", "Anything", "data").replace(MODULE, "beside_the_net")
    with pytest.raises((NetcError, ModuleNotFoundError)):
        caffe.Net(written(tmp_path, HEADER + body), caffe.TEST)


def test_the_type_is_listed() -> None:
    types = caffe.layer_type_list()
    assert {"Python", "Convolution", "Data"} <= set(types)
    assert types == sorted(types)
