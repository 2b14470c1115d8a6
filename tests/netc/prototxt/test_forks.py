"""Forks of Caffe: their nets compile, what netc lacks is named as theirs, what would be lost silently is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from netc import NetcError, compile_net, proto, read_net
from netc.layers import registry
from netc.layers.functions.boxes import overlaps
from netc.prototxt import forks

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 3 dim: 6 dim: 7 } } }\n'


def layer(kind: str, settings: str = "") -> str:
    return f'{INPUT}layer {{ name: "x" type: "{kind}" bottom: "data" top: "x" {settings} }}'


def refused(text: str, phase: str = "TEST") -> NetcError:
    with pytest.raises(NetcError) as caught:
        compile_net(text, phase)
    return caught.value.errors[0]


# -- named -------------------------------------------------------------------------------------------------------------


def test_a_layer_type_that_netc_lacks_is_named_as_its_forks() -> None:
    error = refused(layer("RegionLoss"))
    assert (error.code, error.line) == ("G410", 2)
    assert "a layer of MobileNet-YOLO (eric612)" in error.message


def test_a_field_and_a_value_that_netc_lacks_are_named_as_their_forks() -> None:
    error = refused(layer("RegionLoss", "region_loss_param { side: 13 }"))
    assert error.code == "S201"
    assert "MobileNet-YOLO" in (error.hint or "")
    error = refused(layer("Convolution", "convolution_param { engine: MKL }"))
    assert error.code == "S204"
    assert "Intel" in (error.hint or "")
    error = refused('layers { name: "x" type: COLINEAR_CONVOLUTION }')
    assert error.code == "S204"
    assert "pl8787" in (error.hint or "")


ELSEWHERE = {"max_aspect_ratio", "nms_param"}
"""Fields that one message of the schema has, and which in another one are a fork's that netc lacks."""


def test_the_tables_name_only_what_netc_lacks() -> None:
    assert not set(forks.FORK_OF_TYPE) & set(registry())
    fields = {f.name for name in proto.messages() for f in proto.message(name).DESCRIPTOR.fields}
    assert set(forks.FORK_OF_FIELD) & fields <= ELSEWHERE
    blocks = set(proto.LayerParameter.DESCRIPTOR.fields_by_name)
    assert set(forks.TYPE_OF_BLOCK) <= blocks
    assert set(forks.TRANSFORMS) <= set(proto.TransformationParameter.DESCRIPTOR.fields_by_name)
    of_types = {cls.param_field: name for name, cls in registry().items() if cls.fork and cls.param_field}
    of_types = {block: name for block, name in of_types.items() if block not in ("convolution_param", "loss_param")}
    assert of_types.items() <= forks.TYPE_OF_BLOCK.items()


# -- refused, rather than lost -----------------------------------------------------------------------------------------


def test_a_block_of_a_fork_in_a_layer_that_does_not_read_it() -> None:
    error = refused(layer("BatchNorm", "bn_param { scale_filler { value: 1 } }"))
    assert (error.code, error.line) == ("L354", 2)
    assert "bn_param, which only BN layers" in error.message


def test_statistics_over_a_part_of_the_batch() -> None:
    text = "bn_stats_batch_size: 4\n" + layer("BatchNorm")
    assert refused(text, "TRAIN").code == "L355"
    assert compile_net(text, "TEST")
    assert compile_net("bn_stats_batch_size: 8\n" + layer("BatchNorm"), "TRAIN")


def test_label_smoothing() -> None:
    text = (
        INPUT + 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 8 dim: 42 } } }\n'
        'layer { name: "x" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" loss_param { label_smoothing: 0.1 } }'
    )
    assert refused(text).code == "L351"


def test_images_that_a_fork_would_transform(tmp_path: Path) -> None:
    from netc.runtime.data.transform import Transform

    param = read_net(
        'layer { name: "data" type: "Data" top: "data" data_param { batch_size: 2 }'
        " transform_param { crop_size: 4 random_resize_param { min_size: 5 } } }"
    ).layer[0]
    with pytest.raises(NetcError) as caught:
        Transform(param, 0)
    assert caught.value.code == "L356"
    assert "random_resize_param is of Intel's Caffe" in caught.value.message


def test_a_gradient_that_a_fork_ignores_is_no_error() -> None:
    """SSD nets ask for one of PriorBox, SegNet's of the mask: their backward passes leave those bottoms alone."""
    text = (
        INPUT + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2'
        ' kernel_size: 1 } }\nlayer { name: "p" type: "Pooling" bottom: "c" top: "p" top: "m" pooling_param {'
        ' kernel_size: 2 stride: 2 } }\nlayer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" }\n'
        'layer { name: "b" type: "PriorBox" bottom: "c" bottom: "data" top: "b" prior_box_param { min_size: 2 } }\n'
        'layer { name: "s" type: "Reduction" bottom: "u" top: "s" loss_weight: 1 }\n'
        'layer { name: "t" type: "Reduction" bottom: "b" top: "t" loss_weight: 1 }'
    )
    assert compile_net(text, "TRAIN").shapes["u"] == (8, 2, 6, 8)


# -- harmless fields ---------------------------------------------------------------------------------------------------


def test_fields_that_change_nothing_are_read_without_a_word() -> None:
    settings = (
        'engine: "MKLDNN" forward_type: FLOAT16 convolution_param { num_output: 2 kernel_size: 3 engine: MKL2017 }'
    )
    graph = compile_net("default_forward_type: FLOAT16 global_grad_scale: 1000\n" + layer("Convolution", settings))
    assert graph.shapes["x"] == (8, 2, 4, 5)


def test_shuffle_of_nvidia_and_intel_is_netcs() -> None:
    for settings, expected in (("", False), ("shuffle: true", True), ("sampling_param { shuffle: true }", True)):
        data = f'type: "Data" top: "d" data_param {{ batch_size: 2 {settings} }} transform_param {{ crop_size: 4 }}'
        text = f'layer {{ name: "d" {data} }}'
        assert compile_net(text, "TRAIN").nodes[0].layer.shuffles() is expected


def test_old_nets_of_fast_r_cnn() -> None:
    net = read_net(
        'layers { name: "r" type: ROI_POOLING bottom: "a" bottom: "b" top: "r" roi_pooling_param { pooled_h: 6 } }'
        'layers { name: "l" type: SMOOTH_L1_LOSS bottom: "r" bottom: "t" top: "l" }'
        'layers { name: "n" type: BN bottom: "r" top: "n" bn_param { bn_mode: INFERENCE } }'
    )
    assert [one.type for one in net.layer] == ["ROIPooling", "SmoothL1Loss", "BN"]
    assert net.layer[0].roi_pooling_param.pooled_h == 6
    assert net.layer[2].bn_param.bn_mode == 1


# -- whole nets --------------------------------------------------------------------------------------------------------


def test_detectors_compile(shared: Path) -> None:
    """SSD's deploy files: (1, 1, K, 7) out, K open; and as many default boxes as the paper counts for SSD300."""
    files = sorted(
        file
        for file in (shared / "zoo/prototxt").iterdir()
        if "SSD" in file.name
        and file.name.endswith("deploy.prototxt")
        and "DetectionOutput" in file.read_text(errors="replace")
    )
    assert len(files) >= 8
    for file in files:
        graph = compile_net(file, "TEST")
        (node,) = [node for node in graph.nodes if node.type == "DetectionOutput"]
        assert graph.shapes[node.tops[0]] == (1, 1, 1, 7), file.name
        image = graph.shapes[graph.inputs[0]]
        boxes = graph.shapes[node.bottoms[2]][2] // 4
        if image[2:] == (300, 300) and "MobileNet" not in file.name and "VGG" in file.name:
            assert boxes == 8732, file.name


def test_mtcnn_compiles(shared: Path) -> None:
    nets = [file for file in (shared / "zoo").rglob("*.prototxt") if file.name.lower().endswith(("det1.prototxt",))]
    assert nets
    for file in nets:
        assert compile_net(file, "TEST").outputs, file


def test_faster_r_cnn_asks_for_its_python_layer(shared: Path) -> None:
    (file,) = (shared / "zoo/prototxt").glob("*intel__models__intel_optimized_models__benchmark__faster-rcnn__deploy*")
    with pytest.raises(NetcError) as caught:
        compile_net(file, "TEST")
    errors = caught.value.errors
    assert {error.code for error in errors} == {"L330"}
    assert "--allow-python-layers" in (errors[0].hint or "")


SMALL_SSD = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 24 dim: 24 } } }
layer { name: "label" type: "Input" top: "label" include { phase: TRAIN }
  input_param { shape { dim: 1 dim: 1 dim: 3 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 4 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "Normalize" bottom: "conv" top: "norm"
  norm_param { across_spatial: false channel_shared: false scale_filler { value: 5 } } }
layer { name: "loc" type: "Convolution" bottom: "norm" top: "loc"
  convolution_param { num_output: 12 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" }
layer { name: "conf" type: "Convolution" bottom: "norm" top: "conf"
  convolution_param { num_output: 9 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_perm" top: "conf_flat" }
layer { name: "prior" type: "PriorBox" bottom: "norm" bottom: "data" top: "prior"
  prior_box_param { min_size: 8 aspect_ratio: 2 clip: true variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: "loss" type: "MultiBoxLoss" bottom: "loc_flat" bottom: "conf_flat" bottom: "prior" bottom: "label"
  top: "loss" include { phase: TRAIN } propagate_down: true propagate_down: true propagate_down: false
  propagate_down: false multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE } }
layer { name: "reshape" type: "Reshape" bottom: "conf_flat" top: "scores" include { phase: TEST }
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "softmax" type: "Softmax" bottom: "scores" top: "softmax" include { phase: TEST }
  softmax_param { axis: 2 } }
layer { name: "flat" type: "Flatten" bottom: "softmax" top: "flat" include { phase: TEST } }
layer { name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "flat" bottom: "prior" top: "found"
  include { phase: TEST } detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 3
  confidence_threshold: 0.3 nms_param { nms_threshold: 0.45 top_k: 50 } } }
"""


def test_a_small_ssd_learns_where_things_are() -> None:
    """Trained on one batch, it finds the objects of that batch again: class right, overlap above one half."""
    import netc

    torch.manual_seed(3)
    pictures = torch.randn(2, 3, 24, 24)
    things = [[0, 1, 0, 0.1, 0.1, 0.5, 0.45, 0], [0, 2, 0, 0.55, 0.5, 0.95, 0.9, 0], [1, 2, 0, 0.3, 0.4, 0.7, 0.7, 0]]
    objects = torch.tensor(things)[None, None]
    net = netc.load_net(SMALL_SSD, "TRAIN")
    steps = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(100):
        steps.zero_grad()
        net.losses(net(data=pictures, label=objects)).backward()
        steps.step()
    tested = netc.load_net(SMALL_SSD, "TEST")
    tested.load_state_dict(net.state_dict())
    found = tested(data=pictures)["found"][0, 0].detach()
    for thing in objects[0, 0]:
        mine = found[(found[:, 0] == thing[0]) & (found[:, 1] == thing[1])]
        assert len(mine), f"nothing of class {thing[1]} in image {thing[0]}"
        assert float(overlaps(mine[:, 3:], thing[None, 3:7]).max()) > 0.5
