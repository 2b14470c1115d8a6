"""Forks of Caffe: their nets compile, what netc lacks is named as theirs, what would be lost silently is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc import NetcError, compile_net, forks, proto, read_net
from netc.layers import registry

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
    from netc.runtime.data.record_feed import _shuffles

    for settings, expected in (("", False), ("shuffle: true", True), ("sampling_param { shuffle: true }", True)):
        data = f'type: "Data" top: "d" data_param {{ batch_size: 2 {settings} }} transform_param {{ crop_size: 4 }}'
        text = f'layer {{ name: "d" {data} }}'
        assert _shuffles(compile_net(text, "TRAIN").nodes[0].layer) is expected


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
