"""What real Caffe aborts on netc refuses, with the place; what Caffe accepts netc builds."""

from __future__ import annotations

import json
from typing import Any

import pytest

import netc
from netc import NetcError
from tests.netc.layers.goldens import FOLDER

ERRORS: dict[str, dict[str, Any]] = json.loads((FOLDER / "errors" / "errors.json").read_text())
NETS = sorted(name.removeprefix("net/") for name in ERRORS if name.startswith("net/"))
OTHERS = {"net_input_and_layers_ok"}
"""No matter of the layers: a file in the old format."""


@pytest.mark.parametrize("name", [name for name in NETS if name not in OTHERS])
def test_accepts_and_refuses_what_caffe_does(name: str) -> None:
    about = ERRORS[f"net/{name}"]
    path = str(FOLDER / "errors" / f"{name}.prototxt")
    if about["ok"]:
        netc.compile_net(path, about["phase"])
        return
    with pytest.raises(NetcError) as caught:
        netc.compile_net(path, about["phase"])
    assert all(error.path == path and error.line > 0 for error in caught.value.errors)


MESSAGES = {
    "accuracy_topk_big": ("L302", "9:27", "top_k 5 exceeds the 4 classes"),
    "argmax_topk_big": ("L302", "7:25", "top_k 5 of 4 values"),
    "bn_lr_mult_set": ("L301", "7:20", "param 0 has lr_mult 1"),
    "concat_axis_range": ("L301", "7:24", "axis 4 does not exist"),
    "concat_shape": ("L302", "7:11", "bottom 1 is 2×4×6×5, bottom 0 2×4×6×6"),
    "conv_bilinear_nonsquare": ("L321", "7:83", "the blob is 2×4×3×2"),
    "conv_group_not_dividing_in": ("L302", "7:59", "group 3 does not divide the bottom's 4 channels"),
    "conv_group_not_dividing_out": ("L301", "7:59", "group 2 does not divide num_output 5"),
    "conv_kernel_and_kernel_h": ("L301", "7:62", "gives kernel_size and kernel_h"),
    "conv_kernel_h_only": ("L301", "7:47", "gives only kernel_h"),
    "conv_kernel_too_big": ("L302", "7:50", "kernel 9 is larger than the bottom with its padding, 6 + 2·0"),
    "conv_kernel_too_big_by1": ("L302", "7:50", "kernel 7 is larger"),
    "conv_no_num_output": ("L301", "7:3", "num_output"),
    "conv_no_param": ("L301", "2:1", "has no kernel_size"),
    "conv_pad_h_on_3d": ("L301", "7:59", "pad_h is for two spatial axes; the bottom has 3"),
    "conv_stride_0": ("L301", "7:60", "stride is 0"),
    "conv_unknown_filler": ("L320", "7:74", 'unknown filler "he"'),
    "crop_offsets_count": ("L301", "8:32", "2 offsets for 3 axes"),
    "eltwise_shape": ("L302", "7:11", "bottom 1 is 2, bottom 0 2×4×6×6"),
    "exp_base0": ("L301", "7:21", "base 0 is not positive"),
    "filter_batch_mismatch": ("L302", "6:11", "bottom 0 is 2×4×6×6, the selector 3"),
    "hdf5_missing": ("L304", "6:3", "not known without looking at the data"),
    "imagedata_missing": ("L304", "6:3", "not known without looking at the data"),
    "input_shape_count": ("L301", "1:74", "2 shapes for 3 tops"),
    "ip_axis_out_of_range": ("L301", "7:45", "axis 5 does not exist"),
    "ip_no_num_output": ("L301", "2:1", "num_output"),
    "log_base1": ("L301", "7:21", "base 1 has no logarithm"),
    "lrn_2d": ("L302", "5:11", "4 axes (N, C, H, W), found 2×4"),
    "lrn_even": ("L301", "7:27", "local_size 4 is even"),
    "lstm_no_num_output": ("L301", "3:1", "num_output"),
    "pool_3d": ("L302", "5:11", "found 2×4×6"),
    "pool_global_with_kernel": ("L301", "7:53", "kernel_size is given"),
    "pool_global_with_stride": ("L301", "7:48", "stride makes no sense"),
    "pool_kernel_h_only": ("L301", "7:29", "gives only kernel_h"),
    "pool_pad_and_pad_h": ("L301", "7:48", "gives pad and pad_h and pad_w"),
    "pool_pad_ge_kernel": ("L301", "7:39", "pad 2 is not less than the kernel, 2"),
    "pool_pad_h_only": ("L301", "7:41", "gives only pad_h"),
    "pool_stochastic_cpu": ("L301", "7:25", "stochastic"),
    "pool_stride_and_stride_h": ("L301", "7:54", "gives stride and stride_h and stride_w"),
    "reshape_count": ("L302", "7:19", "2×4×6×6 (288) to 7 (7)"),
    "reshape_indivisible": ("L302", "7:19", "288 values are not a multiple of 7"),
    "reshape_two_neg1": ("L301", "7:19", "more than one dim is -1"),
    "reshape_zero_past_end": ("L302", "7:19", "a dim of 0 keeps axis 4"),
    "scale_axis_overflow": ("L302", "7:35", "2 axes from axis 3 on"),
    "scale_num_axes_neg2": ("L301", "7:27", "num_axes -2"),
    "slice_point_too_big": ("L302", "8:30", "the last slice_point, 5, leaves nothing of the 4 on axis 1"),
    "slice_points_count": ("L301", "8:30", "2 slice_point for 2 tops"),
    "slice_points_order": ("L301", "9:45", "slice_point 1 does not come after 2"),
    "softmax_axis": ("L301", "7:25", "axis 4 does not exist"),
    "swl_batch_mismatch": ("L302", "6:11", "3×4 and 2"),
    "swl_two_tops": ("L301", "9:8", "second top"),
    "tile_0": ("L301", "7:23", "tiles of at least 1"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_says_the_numbers_at_the_field(name: str) -> None:
    code, place, part = MESSAGES[name]
    with pytest.raises(NetcError) as caught:
        netc.compile_net(str(FOLDER / "errors" / f"{name}.prototxt"), ERRORS[f"net/{name}"]["phase"])
    error = caught.value
    assert (error.code, f"{error.line}:{error.column}") == (code, place)
    assert part in error.message


MORE = {
    "conv group 0": ("L301", "group is 0", "convolution_param { num_output: 2 kernel_size: 3 group: 0 }"),
    "conv dilation 0": ("L301", "dilation is 0", "convolution_param { num_output: 2 kernel_size: 3 dilation: 0 }"),
    "conv stride_w only": ("L301", "only stride_w", "convolution_param { num_output: 2 kernel_size: 3 stride_w: 2 }"),
    "conv kernel_w 0": (
        "L301",
        "kernel_w is 0",
        "convolution_param { num_output: 2 kernel_h: 3 kernel_w: 0 }",
    ),
    "conv three kernels": (
        "L301",
        "3 times for 2 spatial axes",
        "convolution_param { num_output: 2 kernel_size: 3 kernel_size: 3 kernel_size: 3 }",
    ),
    "conv too large dilated": (
        "L302",
        "kernel 4 (dilation 3: 10) is larger",
        "convolution_param { num_output: 2 kernel_size: 4 dilation: 3 pad: 1 }",
    ),
    "pool stride 0": ("L301", "stride is 0", "pooling_param { kernel_size: 2 stride: 0 }"),
    "pool kernel 0": ("L301", "kernel_size is 0", "pooling_param { kernel_size: 0 }"),
    "pool no kernel": ("L301", "no kernel_size", "pooling_param { stride: 2 }"),
    "pool too large": ("L302", "kernel 9 does not fit", "pooling_param { kernel_size: 9 }"),
    "dropout ratio": ("L301", "1.5 is not a probability", "dropout_param { dropout_ratio: 1.5 }"),
    "concat both": ("L301", "concat_dim", "concat_param { axis: 1 concat_dim: 1 }"),
    "flatten order": ("L301", "axis 3 comes after end_axis 1", "flatten_param { axis: 3 end_axis: 1 }"),
    "bias axes": ("L302", "5 axes from axis 1", "bias_param { num_axes: 5 }"),
}
TYPES = {
    "convolution_param": "Convolution",
    "pooling_param": "Pooling",
    "dropout_param": "Dropout",
    "concat_param": "Concat",
    "flatten_param": "Flatten",
    "bias_param": "Bias",
}


@pytest.mark.parametrize("name", MORE)
def test_more_settings_that_make_no_sense(name: str) -> None:
    code, part, text = MORE[name]
    kind = TYPES[text.split()[0]]
    source = f"""layer {{ name: "i" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 4 dim: 6 dim: 7 }} }} }}
layer {{ name: "l" type: "{kind}" bottom: "x" top: "y"
  {text}
}}"""
    with pytest.raises(NetcError) as caught:
        netc.compile_net(source)
    assert caught.value.code == code
    assert part in caught.value.message
    assert caught.value.line == 3


INPUTS = """layer { name: "i" type: "Input" top: "x" top: "y" top: "z"
  input_param { shape { dim: 2 dim: 4 dim: 6 dim: 7 } shape { dim: 2 dim: 3 } shape { dim: [5, 1, 3, 2, 9] } } }
"""
ACCEPTED = {
    "a ratio that nothing reads": ("Dropout", "x", "dropout_param { dropout_ratio: 1.5 }"),
    "a clip without its settings": ("Clip", "x", ""),
    "a clip of no width": ("Clip", "x", "clip_param { min: 2 max: 1 }"),
    "more labels than samples": ("HingeLoss", "x y", ""),
    "a reference with more axes": ("Crop", "x z", ""),
    "a kernel without spatial axes": ("Convolution", "y", "convolution_param { num_output: 2 kernel_size: 3 pad: 1 }"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_looks_wrong_and_caffe_accepts(name: str) -> None:
    """None of these has a CHECK in the layer's setup and reshape."""
    kind, bottoms, text = ACCEPTED[name]
    listed = " ".join(f'bottom: "{blob}"' for blob in bottoms.split())
    netc.compile_net(f'{INPUTS}layer {{ name: "l" type: "{kind}" {listed} top: "t" {text} }}', "TEST")


def test_they_compute_what_caffe_computes() -> None:
    import torch

    net = netc.load_net(INPUTS + 'layer { name: "l" type: "Crop" bottom: "x" bottom: "z" top: "t" }', "TEST")
    x, z = torch.randn(2, 4, 6, 7), torch.zeros(5, 1, 3, 2, 9)
    assert torch.equal(net(x=x, y=torch.zeros(2, 3), z=z)["t"], x[:, :, :3, :2])
    clip = netc.load_net(INPUTS + 'layer { name: "l" type: "Clip" bottom: "x" top: "t" clip_param { min: 2 max: 1 } }')
    assert set(clip(x=x, y=torch.zeros(2, 3), z=z)["t"].ravel().tolist()) == {2.0}
    hinge = netc.load_net(INPUTS + 'layer { name: "l" type: "HingeLoss" bottom: "x" bottom: "y" top: "t" }', "TEST")
    labels = torch.tensor([[3.0, 1, 0], [2, 5, 7]])  # the first two values are read: 3 and 1
    signs = torch.ones(2, 168).scatter(1, torch.tensor([[3], [1]]), -1)
    expected = (1 + signs * x.flatten(1)).relu().sum() / 2
    assert torch.allclose(hinge(x=x, y=labels, z=z)["t"], expected)


def test_only_training_needs_the_gradient_that_a_label_has_not() -> None:
    """Caffe aborts in the backward pass; a net that only tests has none."""
    source = (FOLDER / "errors" / "label_no_grad.prototxt").read_text()
    netc.compile_net(source, "TEST")
    with pytest.raises(NetcError) as caught:
        netc.compile_net(source, "TRAIN")
    assert caught.value.code == "G413"


def shared(*multipliers: str) -> str:
    layers = [
        f'layer {{ name: "{i}" type: "InnerProduct" bottom: "x" top: "t{i}" param {{ name: "w"\n {text} }}\n'
        "  inner_product_param { num_output: 3 bias_term: false } }\n"
        for i, text in enumerate(multipliers)
    ]
    return INPUTS + "".join(layers)


@pytest.mark.parametrize("name", ["lr_mult", "decay_mult"])
def test_multipliers_of_a_shared_parameter_agree_wherever_they_are_given(name: str) -> None:
    """Net::AppendParam compares with whichever layer gave it first, which need not be the owner."""
    graph = netc.compile_net(shared("", f"{name}: 2", "", f"{name}: 2"))
    assert {getattr(node.params[0], name) for node in graph.nodes if node.params} == {2}
    for given in (["", f"{name}: 2", f"{name}: 3"], [f"{name}: 1", f"{name}: 2"], [f"{name}: 2", "", f"{name}: 1"]):
        with pytest.raises(NetcError, match=name) as caught:
            netc.compile_net(shared(*given))
        assert (caught.value.code, caught.value.line) == ("G409", 1 + 3 * len(given))


def test_a_label_outside_the_classes() -> None:
    import torch

    source = """layer { name: "i" type: "Input" top: "x" top: "y"
  input_param { shape { dim: 2 dim: 4 } shape { dim: 2 } } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" }"""
    net = netc.load_net(source, "TRAIN")
    for wrong in (4, -1):
        with pytest.raises(NetcError) as caught:
            net(x=torch.zeros(2, 4), y=torch.tensor([1, wrong]))
        assert caught.value.code == "L305"
        assert f"label {wrong}, but the scores have 4 classes (0 to 3)" in caught.value.message


IGNORING = ["SoftmaxWithLoss", "InfogainLoss", "Accuracy"]


def labelled(kind: str, text: str = "") -> tuple[Any, list[Any]]:
    """A layer of scores of 4 classes and of 3 labels, and its bottoms; the last label is 3."""
    import torch

    from netc.runtime.net.conformance import Case, make

    bottoms = [torch.rand(3, 4), torch.tensor([1.0, 0.5, 3.0]), torch.ones(4, 4)][: 3 if kind == "InfogainLoss" else 2]
    return make(kind, Case(text, tuple(tuple(b.shape) for b in bottoms)))[0], bottoms


@pytest.mark.parametrize("wrong", [4, -1])
@pytest.mark.parametrize("kind", [*IGNORING, "SoftmaxWithLossOHEM", "HingeLoss", "MultinomialLogisticLoss"])
def test_each_layer_tells_a_label_outside_the_classes(kind: str, wrong: int) -> None:
    layer, bottoms = labelled(kind)
    bottoms[1][1] = wrong
    with pytest.raises(NetcError, match=f"label {wrong}, but the scores have 4 classes") as caught:
        layer.forward(None, bottoms, [])
    assert caught.value.code == "L305"


@pytest.mark.parametrize("kind", [*IGNORING, "SoftmaxWithLossOHEM", "HingeLoss", "MultinomialLogisticLoss"])
def test_in_a_compiled_graph_a_label_outside_the_classes_spoils_the_result(kind: str) -> None:
    """Nobody looks there, nor on a GPU: a loss is NaN, and the position counts as wrong."""
    import torch

    layer, bottoms = labelled(kind)
    bottoms[1][1] = 4
    found = torch.compile(lambda given: layer.forward(None, given, []), backend="eager")(bottoms)[0]
    assert found <= 2 / 3 if kind == "Accuracy" else found.isnan()


@pytest.mark.parametrize("kind", IGNORING)
def test_an_ignored_label_may_be_outside_the_classes_and_no_other(kind: str) -> None:
    field = "accuracy_param" if kind == "Accuracy" else "loss_param"
    layer, bottoms = labelled(kind, f"{field} {{ ignore_label: 255 }}")
    bottoms[1][1] = 255
    assert layer.forward(None, bottoms, [])[0].isfinite()
    bottoms[1][0] = 254
    with pytest.raises(NetcError, match="label 254, but the scores have 4 classes"):
        layer.forward(None, bottoms, [])


@pytest.mark.parametrize(
    ("filler", "field", "message"),
    [
        ('type: "uniform" min: 2 max: 1', "max: 1", "max 1 is below its min 2"),
        ('type: "gaussian" std: -0.5', "std: -0.5", "std -0.5 is not positive"),
        ('type: "gaussian" std: 0', "std: 0", "std 0 is not positive"),
        ('type: "gaussian" std: 1 sparse: -2', "sparse: -2", "sparse -2 in a gaussian filler"),
        ('type: "xavier" sparse: 3', "sparse: 3", "sparse 3 in a xavier filler"),
        ('type: "constant" sparse: 0', "sparse: 0", "sparse 0 in a constant filler"),
        ('type: "gaussian" std: 1 sparse: 7', "sparse: 7", "sparse 7 exceeds the first axis of 6×5"),
        ('type: "gaussian" std: nan', "std: nan", "std of the gaussian filler is nan"),
        ('type: "constant" value: nan', "value: nan", "value of the constant filler is nan"),
        ('type: "uniform" max: inf', "max: inf", "max of the uniform filler is inf"),
    ],
)
def test_numbers_of_a_filler_are_checked_where_they_stand(filler: str, field: str, message: str) -> None:
    net = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 5 } } }\n'
    net += 'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 6\n'
    text = f"weight_filler {{ {filler} }} }} }}"
    with pytest.raises(NetcError, match=message) as caught:
        netc.compile_net(net + text)
    error = caught.value.errors[0]
    assert (error.code, error.line) == ("L321", 3)
    assert error.place is not None
    assert text[error.place.column - 1 :].startswith(field.partition(": ")[2])
