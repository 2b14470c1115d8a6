"""At least one case for each layer type: its settings, the shapes of its bottoms, what they hold."""

from __future__ import annotations

from typing import Any

from netc.layers.base import Shape
from netc.runtime.net.conformance import TEST, TRAIN, Case


def one(text: str = "", *shapes: Shape, **rest: Any) -> Case:
    return Case(text, shapes or ((2, 3, 4, 5),), **rest)


def loss(text: str, *shapes: Shape, classes: int, **rest: Any) -> Case:
    return Case(text, shapes, ("normal", f"below {classes}"), **rest)


def conv(settings: str, *shapes: Shape, **rest: Any) -> Case:
    filler = 'weight_filler { type: "xavier" } bias_filler { value: 0.1 }'
    return Case(f"convolution_param {{ {settings} {filler} }}", shapes or ((2, 4, 7, 6),), **rest)


def pool(settings: str, shape: Shape = (2, 3, 7, 6), **rest: Any) -> Case:
    other = (3, 2, *(size + more for more, size in enumerate(shape[2:], 2)))
    return Case(f"pooling_param {{ {settings} }}", (shape,), other=(other,), **rest)


def found(*shapes: Shape) -> Any:
    return lambda param, phase: shapes


def python(kind: str, settings: str, *shapes: Shape, **rest: Any) -> Case:
    module = "tests.netc.pycaffe.python_layers"
    text = f'python_param {{ module: "{module}" layer: "{kind}" {settings} }}'
    return Case(text, shapes, opaque=True, modules=(module,), **rest)


GAUSSIAN = 'weight_filler { type: "gaussian" std: 0.5 }'
RECURRENT = f"recurrent_param {{ num_output: 5 {GAUSSIAN} bias_filler {{ value: 0.1 }} }}"
EXPOSED = f"recurrent_param {{ num_output: 5 {GAUSSIAN} expose_hidden: true }}"

CASES: dict[str, list[Case]] = {
    "AbsVal": [one()],
    "Accuracy": [
        loss("", (5, 7), (5,), classes=7),
        loss("accuracy_param { top_k: 2 ignore_label: 1 }", (2, 6, 3, 4), (2, 3, 4), classes=6, tops=2),
        loss("accuracy_param { axis: -1 }", (2, 3, 5), (2, 3), classes=5),
    ],
    "ArgMax": [
        one("argmax_param { top_k: 2 out_max_val: true }"),
        one("argmax_param { axis: -2 top_k: 3 }"),
        one("", (3, 7)),
    ],
    "BNLL": [one()],
    "BatchNorm": [
        one(phase=TRAIN),
        one(phase=TEST),
        one("batch_norm_param { use_global_stats: false }", (4, 3), phase=TEST),
        one("", (6,)),
    ],
    "BatchReindex": [Case("", ((5, 2, 3), (4,)), ("normal", "below 5"), other=((6, 3, 2), (7,)))],
    "Bias": [
        one('bias_param { filler { type: "gaussian" } }'),
        one("bias_param { axis: 0 num_axes: -1 }", other=((2, 3, 4, 5),)),
        one("bias_param { num_axes: 0 }"),
        one("bias_param { axis: 2 }", (2, 3, 4, 5), (4, 5), other=((3, 3, 4, 5), (4, 5))),
    ],
    "Clip": [one("clip_param { min: -0.5 max: 0.8 }")],
    "Concat": [
        one("", (2, 3, 4), (2, 5, 4)),
        one("concat_param { axis: -1 }", (2, 3, 4), (2, 3, 1), (2, 3, 2)),
        one("concat_param { concat_dim: 0 }", (2, 3), (4, 3)),
        one("", (2, 3)),
    ],
    "ContrastiveLoss": [
        Case("", ((6, 4), (6, 4), (6,)), ("normal", "normal", "below 2"), caffes_gradient=True),
        Case(
            "contrastive_loss_param { margin: 9 legacy_version: true }",
            ((6, 4), (6, 4), (6,)),
            ("normal", "normal", "below 2"),
        ),
    ],
    "Convolution": [
        conv("num_output: 6 kernel_size: 3 pad: 1", other=((3, 4, 9, 8),)),
        conv("num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0 group: 2"),
        conv("num_output: 4 kernel_size: 3 dilation: 2 bias_term: false group: 4"),
        conv("num_output: 3 kernel_size: 9 stride: 4", other=((1, 4, 12, 13),)),
        conv("num_output: 5 kernel_size: 1", (2, 4, 5, 3), (2, 4, 5, 3), tops=2),
        conv("num_output: 5 kernel_size: 3 pad: 1", (2, 4, 6)),
        conv("num_output: 5 kernel_size: 2 kernel_size: 1 kernel_size: 3", (2, 4, 3, 5, 6)),
        conv("num_output: 6 kernel_size: 2 stride: 2 pad: 1 dilation: 2 group: 2", (1, 4, 3, 2, 4, 5)),
        conv("num_output: 5 kernel_size: 2 axis: 2", (2, 3, 4, 6, 5)),
        conv("num_output: 5 kernel_size: 3 axis: 0", (4, 6, 5), other=((4, 7, 8),)),
        conv("num_output: 5", (3, 4)),
    ],
    "Crop": [
        one("", (2, 3, 7, 8), (1, 4, 5, 6), other=((3, 2, 9, 9), (2, 1, 4, 3))),
        one("crop_param { axis: 1 offset: 1 offset: 2 offset: 0 }", (2, 5, 7, 8), (2, 3, 4, 6)),
    ],
    "Data": [
        Case("data_param { batch_size: 3 } transform_param { crop_size: 5 }", tops=2),
        Case("data_param { batch_size: 3 }", tops=1, probe=found((3, 1, 6, 7), (3,))),
        Case("data_param { batch_size: 3 } transform_param { crop_size: 5 }", tops=3),
    ],
    "Deconvolution": [
        conv("num_output: 6 kernel_size: 4 stride: 2 pad: 1", other=((3, 4, 3, 2),)),
        conv("num_output: 6 kernel_h: 3 kernel_w: 2 group: 2 dilation: 2 bias_term: false"),
        conv("num_output: 5 kernel_size: 3 stride: 2", (2, 4, 6), (2, 4, 6), tops=2),
        conv("num_output: 5 kernel_size: 2 axis: 2", (2, 3, 4, 3, 2, 5)),
        conv("num_output: 5", (3, 4)),
        conv("num_output: 4 kernel_size: 2 stride: 2 pad: 1 dilation: 2 group: 2", (1, 4, 3, 2, 4, 2)),
    ],
    "Dropout": [
        one("dropout_param { dropout_ratio: 0.3 }"),
        one(phase=TEST),
        one("dropout_param { dropout_ratio: 1 }"),
    ],
    "DummyData": [
        Case("dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }", tops=2),
        Case("dummy_data_param { num: 2 channels: 3 channels: 1 height: 4 width: 5 }", tops=2),
    ],
    "ELU": [one("elu_param { alpha: 0.7 }")],
    "Eltwise": [
        one("", (2, 3, 4), (2, 3, 4), (2, 3, 4)),
        one("eltwise_param { coeff: 2 coeff: -0.5 }", (2, 3, 4), (2, 3, 4)),
        one("eltwise_param { operation: PROD }", (2, 3, 4), (2, 3, 4), (2, 3, 4)),
        one("eltwise_param { operation: MAX }", (2, 3, 4), (2, 3, 4), (2, 3, 4)),
    ],
    "Embed": [Case(f"embed_param {{ num_output: 4 input_dim: 6 {GAUSSIAN} }}", ((3, 2),), ("below 6",))],
    "EuclideanLoss": [one("", (3, 4, 2), (3, 8))],
    "Exp": [one(), one("exp_param { base: 2 scale: 0.5 shift: 0.3 }")],
    "Filter": [
        Case("", ((5, 2, 3), (5, 4), (5,)), ("normal", "normal", "marks"), tops=2, data_dependent=True),
    ],
    "Flatten": [one(), one("flatten_param { axis: -3 end_axis: 2 }")],
    "HDF5Data": [Case("hdf5_data_param { batch_size: 3 }", tops=2, probe=found((3, 2), (3, 4, 5)))],
    "HDF5Output": [Case('hdf5_output_param { file_name: "x.h5" }', ((3, 2, 5), (3,)), tops=0, opaque=True)],
    "HingeLoss": [
        loss("", (5, 6), (5,), classes=6),
        loss("hinge_loss_param { norm: L2 }", (5, 2, 3), (5, 1), classes=6),
    ],
    "Im2col": [
        conv("kernel_size: 3 stride: 2 pad: 1", (2, 3, 6, 5), other=((1, 3, 8, 7),)),
        conv("kernel_size: 2 kernel_size: 3 dilation: 2 dilation: 1", (2, 3, 6, 5)),
        conv("kernel_size: 2", (2, 3, 6)),
        conv("kernel_size: 2 axis: 2", (2, 4, 3, 3, 2, 4)),
    ],
    "ImageData": [
        Case("image_data_param { batch_size: 3 new_height: 5 new_width: 6 is_color: false }", tops=2),
        Case("image_data_param { batch_size: 3 } transform_param { crop_size: 5 }", tops=2),
    ],
    "InfogainLoss": [
        Case("", ((4, 5), (4,), (5, 5)), ("normal", "below 5", "positive"), other=((6, 5), (6,), (5, 5))),
        Case(
            "infogain_loss_param { axis: 2 } loss_param { ignore_label: 2 } loss_weight: 1 loss_weight: 0",
            ((2, 3, 5, 2), (2, 3, 2), (5, 5)),
            ("normal", "below 5", "positive"),
            tops=2,
            other=((1, 3, 5, 2), (1, 3, 2), (5, 5)),
        ),
    ],
    "InnerProduct": [
        one(f"inner_product_param {{ num_output: 6 {GAUSSIAN} }}"),
        one(f"inner_product_param {{ num_output: 6 axis: -1 transpose: true bias_term: false {GAUSSIAN} }}"),
        one(f"inner_product_param {{ num_output: 6 axis: 0 {GAUSSIAN} }}", (2, 3), other=((2, 3),)),
    ],
    "Input": [
        Case("input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }", tops=2),
        Case("input_param { shape { dim: 2 dim: 3 } }", tops=3),
        Case(""),
    ],
    "LRN": [
        one("lrn_param { alpha: 0.5 k: 2 }", (2, 7, 4, 3)),
        one("lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }", (2, 3, 5, 4)),
    ],
    "LSTM": [
        Case(RECURRENT, ((4, 3, 2), (4, 3)), ("normal", "marks"), other=((5, 3, 2), (5, 3))),
        Case(
            EXPOSED,
            ((4, 3, 2), (4, 3), (3, 6), (1, 3, 5), (1, 3, 5)),
            ("normal", "marks"),
            tops=3,
            other=((4, 2, 2), (4, 2), (2, 6), (1, 2, 5), (1, 2, 5)),
        ),
    ],
    "LSTMUnit": [
        Case(
            "",
            ((1, 3, 5), (1, 3, 20), (1, 3)),
            ("normal", "normal", "marks"),
            tops=2,
            other=((1, 4, 5), (1, 4, 20), (1, 4)),
        ),
    ],
    "LabelSlice": [
        Case("label_slice_param { slice_size: 4 }", ((3, 20), (3,)), ("normal", "below 5"), other=((5, 20), (5,))),
        Case("", ((5, 7), (5, 1)), ("normal", "below 7")),
        Case("label_slice_param { slice_size: 2 }", ((2, 6, 3, 4), (2,)), ("normal", "below 3")),
    ],
    "Log": [one(fill=("positive",)), one("log_param { base: 2 scale: 3 shift: 0.5 }", fill=("positive",))],
    "MVN": [
        one(),
        one("mvn_param { across_channels: true }", (2, 3, 4)),
        one("mvn_param { normalize_variance: false }"),
        one("mvn_param { eps: 0.5 }", caffes_gradient=True),
    ],
    "MemoryData": [Case("memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }", tops=2)],
    "MultinomialLogisticLoss": [Case("", ((5, 6), (5,)), ("positive", "below 6"))],
    "PReLU": [
        one(),
        one("prelu_param { channel_shared: true filler { value: 0.3 } }", (3, 4)),
    ],
    "Parameter": [Case("parameter_param { shape { dim: 2 dim: 3 } }")],
    "Pooling": [
        pool("kernel_size: 2 stride: 2"),
        pool("kernel_size: 3 stride: 2 pad: 1"),
        pool("kernel_size: 3 stride: 2 pad: 2 round_mode: FLOOR"),
        pool("kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 1", tops=2),
        pool("kernel_size: 1 stride: 2", (2, 3, 6, 8), tops=2),
        pool("global_pooling: true"),
        pool("pool: AVE kernel_size: 3 stride: 2"),
        pool("pool: AVE kernel_size: 3 stride: 2 pad: 1"),
        pool("pool: AVE kernel_size: 3 stride: 2 pad: 2"),
        pool("pool: AVE kernel_size: 2 stride: 3", (2, 3, 6, 9)),
        pool("pool: AVE global_pooling: true"),
        pool("kernel_sizes: [2, 3] strides: [2, 1]", tops=2),
        pool("kernel_size: 2 stride: 2", (2, 3, 5, 6, 7), tops=2),
        pool(
            "kernel_sizes: [3, 2, 1] strides: [2, 3, 1] pads: [2, 0, 0]",
            (1, 2, 5, 6, 4),
            tops=2,
        ),
        pool(
            "kernel_sizes: [1, 2, 2] strides: [2, 3, 3] round_mode: FLOOR",
            (1, 2, 4, 6, 8),
        ),
        pool("pool: AVE kernel_sizes: [2, 3, 3] stride: 2 pad: 1", (1, 2, 5, 6, 7)),
        pool("pool: AVE kernel_size: 3 stride: 2 pad: 2", (1, 2, 4, 5, 6)),
        pool("global_pooling: true", (2, 3, 3, 4, 5)),
        pool("pool: AVE global_pooling: true", (2, 3, 3, 4, 5)),
        pool("kernel_size: 1 stride: 2 clip: true", (2, 3, 6, 8), tops=2),
        pool("pool: AVE kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 3 clip: true", (2, 3, 6, 9)),
        pool("kernel_size: 2 stride: 2 pad: 1 clip: false", (2, 3, 5, 7)),
    ],
    "Power": [
        one("power_param { power: 2.5 scale: 0.3 shift: 4 }"),
        one("power_param { power: 3 }"),
        one("power_param { scale: 2 shift: 1 }"),
        one("power_param { power: 0 }", constant=True),
        one(),
    ],
    "Python": [
        python("Affine", 'param_str: "0.5"', (2, 3, 4)),
        python("Doubled", "", (2, 3, 4)),
    ],
    "RNN": [
        Case(RECURRENT, ((4, 3, 2), (4, 3), (3, 6)), ("normal", "marks"), other=((5, 2, 2), (5, 2), (2, 6))),
        Case(
            EXPOSED, ((4, 3, 2), (4, 3), (1, 3, 5)), ("normal", "marks"), tops=2, other=((4, 2, 2), (4, 2), (1, 2, 5))
        ),
    ],
    "ReLU": [one(), one("relu_param { negative_slope: 0.1 }"), one("relu_param { negative_slope: -0.1 }")],
    "Reduction": [
        one(),
        one("reduction_param { operation: MEAN axis: -2 coeff: 3 }"),
        one("reduction_param { operation: ASUM axis: 1 }"),
        one("reduction_param { operation: SUMSQ axis: 2 coeff: 0.5 }"),
    ],
    "Reshape": [
        one("reshape_param { shape { dim: 0 dim: -1 } }"),
        one("reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 2 }"),
        one("reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }"),
    ],
    "SPP": [
        one("spp_param { pyramid_height: 3 }", (2, 3, 9, 7), other=((1, 3, 8, 10),)),
        one("spp_param { pyramid_height: 2 pool: AVE }", (2, 3, 5, 6)),
        one("spp_param { pyramid_height: 1 }", (2, 3, 5, 6)),
    ],
    "Scale": [
        one('scale_param { filler { type: "gaussian" } bias_term: true bias_filler { value: 0.2 } }'),
        one("scale_param { axis: -2 num_axes: -1 }"),
        one("scale_param { num_axes: 0 }"),
        one("scale_param { axis: 1 bias_term: true }", (2, 3, 4), (3,), other=((5, 3, 4), (3,))),
        one("", (2, 3, 4), (), other=((5, 3, 4), ())),
    ],
    "Sigmoid": [one()],
    "SigmoidCrossEntropyLoss": [
        Case("", ((4, 3, 2), (4, 3, 2)), ("normal", "below 2")),
        Case("loss_param { normalization: VALID ignore_label: 0 }", ((4, 3), (4, 3)), ("normal", "below 2")),
    ],
    "Silence": [one("", (2, 3), (4, 5), tops=0)],
    "Slice": [
        one("slice_param { slice_point: 1 slice_point: 3 }", (2, 7, 4), tops=3),
        one("slice_param { axis: -1 }", (2, 3, 6), tops=2),
        one("slice_param { slice_dim: 0 }", (4, 3), tops=2, other=((8, 3),)),
        one(tops=1),
    ],
    "Softmax": [one(), one("softmax_param { axis: -1 }")],
    "SoftmaxWithLoss": [
        loss("", (5, 7), (5,), classes=7),
        loss("loss_param { ignore_label: 2 }", (2, 6, 3, 4), (2, 3, 4), classes=6),
        loss("softmax_param { axis: -1 } loss_param { normalization: FULL }", (2, 3, 5), (2, 3), classes=5),
        loss("loss_param { normalize: false }", (3, 5, 2), (3, 2), classes=5),
    ],
    "Split": [one(tops=3)],
    "Swish": [one(), one("swish_param { beta: 1.7 }")],
    "TanH": [one()],
    "Threshold": [one("threshold_param { threshold: 0.2 }")],
    "Tile": [one("tile_param { tiles: 3 }"), one("tile_param { axis: -1 tiles: 2 }")],
    "WindowData": [Case("window_data_param { batch_size: 4 crop_size: 5 }", tops=2)],
}

from tests.netc.layers.fork_cases import FORK_CASES, MORE_CASES  # noqa: E402  it needs what is above

CASES |= FORK_CASES | {kind: CASES[kind] + more for kind, more in MORE_CASES.items()}
