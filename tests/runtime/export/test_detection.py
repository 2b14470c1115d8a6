"""Nets that find things, as ONNX: onnxruntime against the running net, whose layers are tested against the papers'
rules in tests/netc/layers/test_forks.py, on inputs of other sizes than the model was made with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc import plugin
from netc.errors import NetcError
from netc.layers import registry
from netc.look.emit import emit
from netc.runtime.export.convert import Options, convert
from netc.weights import write_caffemodel

onnxruntime = pytest.importorskip("onnxruntime")

Inputs = dict[str, Any]


def made(tmp_path: Path, net: str, seed: int = 0, to: str = "onnx") -> tuple[Any, Any, Any]:
    """(the running net, the session, the conversion) with random weights."""
    draw = np.random.default_rng(seed)
    params = netc.load_net(net).params
    arrays = {
        name: [(draw.standard_normal(blob.shape) * (0.3 if blob.dim() > 1 else 1)).astype("f4") for blob in blobs]
        for name, blobs in params.items()
    }
    source = str(tmp_path / "net.caffemodel")
    write_caffemodel(source, netc.read_net(net), arrays)
    done = convert(source, str(tmp_path / f"net.{to}"), Options(net=net))
    session = onnxruntime.InferenceSession(str(done.out), providers=["CPUExecutionProvider"])
    return netc.load_net(net, weights=arrays or None), session, done


def same(net: Any, session: Any, given: Inputs) -> dict[str, Any]:
    """Both give the same: shapes exactly, numbers to the rounding of float32 (3e-5 of the largest). The net's."""
    names = [value.name for value in session.get_outputs()]
    found = dict(zip(names, session.run(names, given), strict=True))
    wanted = {name: value.detach().numpy() for name, value in net(**given).items()}
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        assert value.shape == found[name].shape
        np.testing.assert_allclose(found[name], value, atol=3e-5 * max(1, np.abs(value).max(initial=0)), err_msg=name)
    return wanted


# -- SSD ---------------------------------------------------------------------------------------------------------------


def ssd(shared: Path) -> str:
    return (shared / "cases/ssd_to_onnx_message/ssd.prototxt").read_text()


def test_ssd(shared: Path, tmp_path: Path) -> None:
    net, session, done = made(tmp_path, ssd(shared))
    assert "do" in {run.name for run in done.parity.runs}
    draw, found = np.random.default_rng(1), 0
    for batch, height, width in ((1, 30, 30), (2, 41, 36), (3, 30, 55)):
        given = {"data": (draw.standard_normal((batch, 3, height, width)) * 50).astype("f4")}
        found += same(net, session, given)["do"].shape[2]
    assert found > 30


def detections(settings: str, own: int) -> str:
    return f"""input: "loc" input_shape {{ dim: 2 dim: {40 * own} }} input: "conf" input_shape {{ dim: 2 dim: 40 }}
      input: "priors" input_shape {{ dim: 1 dim: 2 dim: 40 }}
      layer {{ name: "do" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "do"
        detection_output_param {{ num_classes: 4 {settings} }} }}"""


def predictions(draw: np.random.Generator, batch: int, own: int, ties: bool) -> Inputs:
    """Few boxes near one another, some inside out, some of no size; scores that are often equal."""
    low = draw.uniform(0, 0.4, (10, 2))
    priors = np.concatenate([low, low + draw.uniform(-0.05, 0.5, (10, 2))], 1).astype("f4")
    priors[0, 2:] = priors[0, :2]
    variances = np.broadcast_to(np.array([0.1, 0.1, 0.2, 0.2], "f4"), (10, 4))
    scores = draw.uniform(0, 1, (batch, 40))
    return {
        "loc": draw.standard_normal((batch, 40 * own)).astype("f4"),
        "conf": (np.round(scores * 5) / 5 if ties else scores).astype("f4"),
        "priors": np.stack([priors, variances])[None].reshape(1, 2, 40).astype("f4"),
    }


CASES = {
    "plain": "",
    "all settings": """nms_param { nms_threshold: 0.3 top_k: 6 } keep_top_k: 7 confidence_threshold: 0.2
      code_type: CENTER_SIZE""",
    "own offsets": "share_location: false background_label_id: 2 nms_param { nms_threshold: 0.1 } keep_top_k: 3",
    "no background": "background_label_id: -1 code_type: CORNER_SIZE confidence_threshold: 0.4",
    "nothing": "confidence_threshold: 2 code_type: CENTER_SIZE",
    "none kept": "keep_top_k: 0 variance_encoded_in_target: true nms_param { nms_threshold: 1.5 }",
}


@pytest.mark.parametrize(
    "case", [case if case == "all settings" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_detection_output(tmp_path: Path, case: str) -> None:
    own = 4 if "share_location: false" in CASES[case] else 1
    net, session, _ = made(tmp_path, detections(CASES[case], own))
    draw = np.random.default_rng(3)
    for number in range(40):
        same(net, session, predictions(draw, 2, own, number % 2 == 0))


# -- Faster R-CNN ------------------------------------------------------------------------------------------------------

HEAD = """
layer { name: "roi" type: "ROIPooling" bottom: "c" bottom: "rois" top: "roi"
  roi_pooling_param { pooled_w: 3 pooled_h: 2 spatial_scale: 0.0625 } }
layer { name: "fc" type: "InnerProduct" bottom: "roi" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "relu" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
layer { name: "cls" type: "InnerProduct" bottom: "fc" top: "cls" inner_product_param { num_output: 4 } }
layer { name: "prob" type: "Softmax" bottom: "cls" top: "prob" }
layer { name: "box" type: "InnerProduct" bottom: "fc" top: "box" inner_product_param { num_output: 16 } }
"""


def test_faster_rcnn(shared: Path, tmp_path: Path) -> None:
    """Regions whose number is known only when it runs, pooled, and through inner products."""
    text = (shared / "cases/ssd_to_onnx_message/proposal.prototxt").read_text()
    text = text.replace('top: "rois"', 'top: "rois" top: "scores"')
    net, session, _ = made(tmp_path, text + HEAD)
    draw = np.random.default_rng(1)
    for batch, height, width in ((1, 64, 80), (2, 50, 99)):
        given = {
            "data": (draw.standard_normal((batch, 3, height, width)) * 50).astype("f4"),
            "im_info": np.array([[height, width, 1.5]] * batch, "f4"),
        }
        found = same(net, session, given)
        assert len(found["prob"]) == len(found["scores"]) > batch


def test_roi_pooling(tmp_path: Path) -> None:
    text = """input: "x" input_shape { dim: 2 dim: 3 dim: 9 dim: 11 } input: "rois" input_shape { dim: 30 dim: 5 }
      layer { name: "p" type: "ROIPooling" bottom: "x" bottom: "rois" top: "p"
        roi_pooling_param { pooled_w: 3 pooled_h: 4 spatial_scale: 0.3 } }"""
    net, session, _ = made(tmp_path, text)
    draw = np.random.default_rng(2)
    for _ in range(20):
        rois = np.concatenate([draw.integers(0, 2, (30, 1)), draw.uniform(-9, 50, (30, 4))], 1).astype("f4")
        given = {"x": draw.standard_normal((2, 3, 9, 11)).astype("f4"), "rois": rois}
        np.testing.assert_array_equal(session.run(None, given)[0], net(**given)["p"].numpy())


# -- what has no form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (
            """layer { name: "ps" type: "PSROIPooling" bottom: "data" bottom: "rois" top: "ps"
              psroi_pooling_param { output_dim: 3 group_size: 2 spatial_scale: 0.5 } }""",
            'layer "ps" (PSROIPooling)',
        ),
        pytest.param(
            """layer { name: "yolo" type: "YoloDetectionOutput" bottom: "data" top: "yolo"
              yolo_detection_output_param { num_classes: 1 num_box: 2 biases: 1 biases: 2 biases: 2 biases: 1 } }""",
            'layer "yolo" (YoloDetectionOutput)',
            marks=pytest.mark.slow,
        ),
    ],
    ids=["PSROIPooling", "YoloDetectionOutput"],
)
def test_a_refusal_is_short_and_names_the_layer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], layer: str, says: str
) -> None:
    text = """input: "data" input_shape { dim: 1 dim: 12 dim: 6 dim: 6 } input: "rois" input_shape { dim: 2 dim: 5 }
      layer { name: "s" type: "Silence" bottom: "rois" }"""
    with pytest.raises(NetcError) as raised:
        made(tmp_path, text + layer)
    assert raised.value.code == "W773"
    assert says in raised.value.message
    assert len(str(raised.value)) < 700
    assert len("".join(capfd.readouterr())) < 100


@pytest.mark.slow
def test_nms_with_a_falling_threshold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match=r'layer "do" \(DetectionOutput\).*has no eta') as raised:
        made(tmp_path, detections("nms_param { eta: 0.9 }", 1))
    assert raised.value.code == "W773"


@pytest.mark.slow
def test_pt2_has_no_such_operators(shared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NetcError, match=r'layer "do" \(DetectionOutput\) cannot be exported') as raised:
        made(tmp_path, ssd(shared), to="pt2")
    assert raised.value.code == "W773"
    assert len("".join(capfd.readouterr())) < 100


@pytest.fixture
def types() -> Iterator[None]:
    """The registered types are this process's: they are put back."""
    before = dict(registry())
    yield
    plugin._loaded.clear()
    plugin._forget(before)


@pytest.mark.slow
@pytest.mark.usefixtures("types")
def test_a_layer_that_only_onnx_cannot_have_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """torch.export takes a plug-in's layer, torch.onnx has no form for what it calls."""
    file = tmp_path / "odd.py"
    file.write_text(
        "from netc.plugin import Layer, layer\n\n\n@layer('Odd')\nclass Odd(Layer):\n"
        "    def setup(self, bottoms):\n        return [bottoms[0]]\n\n"
        "    def forward(self, run, bottoms, params):\n        import torch\n\n"
        "        return [torch.special.bessel_j0(bottoms[0])]\n"
    )
    netc.load_plugin(str(file))
    text = """input: "data" input_shape { dim: 1 dim: 3 dim: 6 dim: 6 }
      layer { name: "a" type: "Power" bottom: "data" top: "a" power_param { scale: 2 } }
      layer { name: "odd" type: "Odd" bottom: "a" top: "odd" }
      layer { name: "b" type: "Power" bottom: "odd" top: "b" power_param { scale: 3 } }"""
    with pytest.raises(NetcError, match=r'layer "odd" \(Odd\) cannot be exported') as raised:
        made(tmp_path, text)
    assert raised.value.code == "W773"
    assert len(str(raised.value)) < 700
    assert len("".join(capfd.readouterr())) < 100


# -- as code -----------------------------------------------------------------------------------------------------------


def test_the_same_nets_are_emitted(shared: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    proposal = (shared / "cases/ssd_to_onnx_message/proposal.prototxt").read_text() + HEAD
    for text in (ssd(shared), proposal):
        net = netc.load_net(text)
        given = {"data": torch.from_numpy((draw.standard_normal((1, 3, 40, 40)) * 50).astype("f4"))}
        if "im_info" in text:
            given["im_info"] = torch.tensor([[40.0, 40, 1]])
        for blob in net.parameters():
            blob.detach().copy_(torch.from_numpy(draw.standard_normal(blob.shape).astype("f4")))
        space: dict[str, Any] = {}
        emission = emit(net.graph)
        exec(emission.code, space)
        module = space[emission.class_name]().eval()
        module.load_state_dict(net.state_dict())
        found, wanted = module(**given), net(**given)
        found = found if isinstance(found, dict) else {net.outputs[0]: found}
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)
