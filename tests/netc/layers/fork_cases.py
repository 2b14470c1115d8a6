"""Cases for the layer types of forks; merged into CASES by cases.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from netc.layers.base import Shape
from netc.runtime.net.conformance import TEST, Case
from tests.netc.layers.cases import conv, loss, one

Fill = Callable[[Shape, torch.Generator], Tensor]


def regions(images: int, width: float, height: float) -> Fill:
    """Rows (image, x1, y1, x2, y2), some of them reaching beyond the image."""

    def fill(shape: Shape, g: torch.Generator) -> Tensor:
        corners = torch.rand(shape[0], 2, 2, dtype=torch.float64, generator=g).sort(1).values
        scaled = corners * torch.tensor([width, height], dtype=torch.float64) * 1.2 - 2
        image = torch.randint(images, (shape[0], 1), generator=g).double()
        return torch.cat([image, scaled.reshape(shape[0], 4)], 1).reshape(shape)

    return fill


def boxes(shape: Shape, g: torch.Generator) -> Tensor:
    """Default boxes (1, 2, boxes · 4) with SSD's variances."""
    count = shape[2] // 4
    corners = torch.rand(count, 2, 2, dtype=torch.float64, generator=g).sort(1).values + torch.tensor([[[0.0], [0.05]]])
    variances = torch.tensor([0.1, 0.1, 0.2, 0.2], dtype=torch.float64).repeat(count)
    return torch.stack([corners.reshape(-1), variances])[None]


def objects(images: int, classes: int) -> Fill:
    """Objects (1, 1, G, 8): image, class, instance, box, difficult; the last row is empty."""

    def fill(shape: Shape, g: torch.Generator) -> Tensor:
        count = shape[2]
        corners = torch.rand(count, 2, 2, dtype=torch.float64, generator=g).sort(1).values.reshape(count, 4)
        image = torch.randint(images, (count, 1), generator=g).double()
        label = torch.randint(1, classes, (count, 1), generator=g).double()
        hard = torch.randint(2, (count, 1), generator=g).double()
        rows = torch.cat([image, label, torch.zeros(count, 1), corners, hard], 1)
        rows[-1] = -1
        return rows[None, None]

    return fill


def detections(images: int, classes: int) -> Fill:
    """Detections (1, 1, K, 7): image, class, score, box."""

    def fill(shape: Shape, g: torch.Generator) -> Tensor:
        rows = objects(images, classes)((1, 1, shape[2] + 1, 8), g)[0, 0, :-1]
        return torch.cat([rows[:, :2], torch.rand(shape[2], 1, generator=g).double(), rows[:, 3:7]], 1)[None, None]

    return fill


def positions(count: int) -> Fill:
    """Different positions below `count` in each plane."""

    def fill(shape: Shape, g: torch.Generator) -> Tensor:
        plane = shape[2] * shape[3]
        return torch.stack([torch.randperm(count, generator=g)[:plane] for _ in range(shape[0] * shape[1])]).reshape(
            shape
        )

    return fill


def prior(settings: str, *shapes: Shape) -> Case:
    return Case(
        f"prior_box_param {{ {settings} }}",
        shapes or ((2, 3, 4, 5), (2, 3, 30, 40)),
        other=((1, 2, 3, 6), (1, 1, 20, 30)),
    )


def detect(settings: str, **rest: Any) -> Case:
    """Two classes and the background, 6 boxes, one image; one box is kept."""
    text = f"detection_output_param {{ num_classes: 3 keep_top_k: 1 {settings} }}"
    return Case(
        text, ((1, 24), (1, 18), (1, 2, 24)), ("normal", "positive", boxes), data_dependent=True, free_axis=2, **rest
    )


def multibox(settings: str, more: str = "") -> Case:
    """Three classes and the background, 9 boxes, two images, five objects."""
    return Case(
        f"{more} multibox_loss_param {{ num_classes: 4 overlap_threshold: 0.3 {settings} }}",
        ((2, 36), (2, 36), (1, 2, 36), (1, 1, 5, 8)),
        ("normal", "normal", boxes, objects(2, 4)),
        other=((3, 36), (3, 36), (1, 2, 36), (1, 1, 4, 8)),
        data_dependent=True,
    )


FILLER = 'filler { type: "gaussian" mean: 1 std: 0.2 }'
SEGNET = f"scale_{FILLER} shift_{FILLER}"
CYSU = f"slope_{FILLER} bias_{FILLER}"
YOLO_ANCHORS = "biases: 1.5 biases: 2 biases: 0.7 biases: 0.5"

FORK_CASES: dict[str, list[Case]] = {
    "AnnotatedData": [
        Case("data_param { batch_size: 3 } transform_param { resize_param { height: 5 width: 6 } }", tops=2),
        Case("data_param { batch_size: 3 } transform_param { crop_h: 4 crop_w: 7 force_gray: true }", tops=1),
    ],
    "Axpy": [
        one("", (2, 3), (2, 3, 4, 5), (2, 3, 4, 5)),
        one("", (2, 3, 1, 1), (2, 3, 4, 5), (2, 3, 4, 5)),
    ],
    "BN": [
        one(f"bn_param {{ {SEGNET} }}"),
        one(f"bn_param {{ {SEGNET} }}", phase=TEST),
        one(f"bn_param {{ {SEGNET} bn_mode: INFERENCE }}"),
        one(f"bn_param {{ {SEGNET} moving_average: true }}"),
        one(f"bn_param {{ {SEGNET} moving_average: true axis: 2 }}", phase=TEST, other=((3, 4, 4, 2),)),
        one(f"bn_param {{ {CYSU} momentum: 0.95 }}"),
        one(f"bn_param {{ {CYSU} }}", (4, 3), phase=TEST),
        one(f"bn_param {{ {CYSU} frozen: true }}"),
    ],
    "BoxAnnotatorOHEM": [
        Case(
            "box_annotator_ohem_param { roi_per_img: 2 }",
            ((7, 5), (7,), (7,), (7, 4)),
            ("below 2", "positive", "below 4", "positive"),
            tops=2,
        ),
        Case(
            "box_annotator_ohem_param { roi_per_img: 3 ignore_label: 9 }",
            ((6, 5, 1, 1), (6, 1, 1, 1), (6, 1, 1, 1), (6, 8, 1, 1)),
            ("below 3", "positive", "below 4", "positive"),
            tops=2,
        ),
    ],
    "ContinuationIndicator": [
        Case("continuation_indicator_param { time_step: 4 axis: 1 }", ((2, 3, 5),)),
        Case("continuation_indicator_param { time_step: 4 batch_size: 3 }"),
    ],
    "BroadcastMul": [one("", (2, 3, 4, 5), (2, 3, 1, 1)), one("", (2, 3, 4), (2, 1, 4))],
    "ConvolutionDepthwise": [
        conv("num_output: 4 kernel_size: 3 pad: 1", other=((3, 4, 9, 8),)),
        conv("num_output: 4 kernel_size: 3 stride: 2 group: 4 bias_term: false"),
    ],
    "DenseImageData": [
        Case("dense_image_data_param { batch_size: 3 new_height: 5 new_width: 6 }", tops=2),
        Case("dense_image_data_param { batch_size: 3 is_color: false } transform_param { crop_size: 4 }", tops=2),
        Case("dense_image_data_param { batch_size: 3 }", tops=2, probe=lambda p, phase: ((3, 3, 4, 5), (3, 1, 4, 5))),
    ],
    "DepthwiseConvolution": [conv("num_output: 4 kernel_size: 3 group: 4 pad: 1", other=((3, 4, 9, 8),))],
    "DetectionEvaluate": [
        Case(
            "detection_evaluate_param { num_classes: 4 overlap_threshold: 0.3 evaluate_difficult_gt: false }",
            ((1, 1, 9, 7), (1, 1, 6, 8)),
            (detections(2, 4), objects(2, 4)),
            other=((1, 1, 12, 7), (1, 1, 5, 8)),
            data_dependent=True,
            free_axis=2,
        ),
    ],
    "DetectionOutput": [
        detect(
            "code_type: CENTER_SIZE nms_param { nms_threshold: 0.3 top_k: 4 }", other=((1, 24), (1, 18), (1, 2, 24))
        ),
        detect("confidence_threshold: 9", other=((2, 24), (2, 18), (1, 2, 24))),
        detect("code_type: CORNER_SIZE background_label_id: -1 variance_encoded_in_target: true"),
        Case(
            "detection_output_param { num_classes: 3 share_location: false nms_param { eta: 0.9 nms_threshold: 0.7 } }",
            ((2, 72), (2, 18), (1, 2, 24)),
            ("normal", "positive", boxes),
            other=((3, 72), (3, 18), (1, 2, 24)),
            data_dependent=True,
            free_axis=2,
        ),
    ],
    "Gather": [one("", (2, 3), (4, 5, 6), tops=2)],
    "Interp": [
        one("interp_param { height: 7 width: 3 }", other=((3, 2, 6, 8),)),
        one("interp_param { zoom_factor: 2 pad_beg: -1 }", (2, 3, 4, 5), other=((1, 3, 5, 4),)),
        one("interp_param { shrink_factor: 2 pad_end: -1 }", (2, 3, 7, 9), other=((1, 3, 6, 8),)),
        one("interp_param { shrink_factor: 3 zoom_factor: 2 }", (2, 3, 7, 9), other=((1, 3, 6, 8),)),
        one("", (2, 3, 4, 5), (2, 1, 6, 3), other=((1, 3, 4, 5), (1, 2, 3, 7))),
    ],
    "L1Loss": [one("", (3, 4, 2), (3, 4, 2))],
    "MultiBoxLoss": [
        multibox("code_type: CENTER_SIZE"),
        multibox("code_type: CORNER loc_loss_type: L2 mining_type: NONE", "loss_param { normalization: FULL }"),
        multibox("code_type: CORNER_SIZE conf_loss_type: LOGISTIC match_type: BIPARTITE loc_weight: 0.5"),
        multibox("use_difficult_gt: false ignore_cross_boundary_bbox: true"),
        replace(multibox("encode_variance_in_target: true"), caffes_gradient=True),
    ],
    "Normalize": [
        one(f"norm_param {{ across_spatial: false channel_shared: false scale_{FILLER} }}"),
        one("norm_param { scale_filler { value: 20 } }", (3, 4)),
    ],
    "PSROIPooling": [
        Case(
            "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 3 }",
            ((2, 18, 6, 7), (5, 5)),
            ("normal", regions(2, 14, 12)),
            other=((2, 18, 8, 5), (4, 5)),
            data_dependent=True,
        ),
    ],
    "Permute": [
        one("permute_param { order: 0 order: 2 order: 3 order: 1 }"),
        one("permute_param { order: 2 }", other=((3, 2, 5, 4),)),
    ],
    "PriorBox": [
        prior("min_size: 6 max_size: 9 aspect_ratio: 2 aspect_ratio: 3 clip: true variance: 0.1"),
        prior("min_size: 6 min_size: 11 aspect_ratio: 2 flip: false step: 8 img_size: 32 offset: 0.3"),
        prior(
            "min_size: 6 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2 step_h: 7 step_w: 9 img_h: 28 img_w: 45"
            " variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4"
        ),
    ],
    "Proposal": [
        Case(
            "proposal_param { ratio: 0.5 ratio: 2 scale: 1 base_size: 8 feat_stride: 8 min_size: 2 post_nms_topn: 5 }",
            ((2, 4, 4, 5), (2, 8, 4, 5), (2, 4)),
            ("positive", "normal", lambda shape, g: torch.tensor([[32.0, 40.0, 1.0, 2.0]] * shape[0])),
            tops=2,
            data_dependent=True,
        ),
    ],
    "ROIPooling": [
        Case(
            "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }",
            ((2, 3, 7, 6), (5, 5)),
            ("normal", regions(2, 14, 12)),
            other=((2, 4, 8, 5), (4, 5)),
            data_dependent=True,
        ),
        Case(
            "roi_pooling_param { pooled_h: 7 pooled_w: 8 }",
            ((1, 2, 6, 5), (3, 5, 1, 1)),
            ("normal", regions(1, 7, 8)),
            other=((1, 2, 3, 4), (1, 5, 1, 1)),
            data_dependent=True,
        ),
    ],
    "ReLU6": [one()],
    "Reorg": [
        one("reorg_param { stride: 2 }", (2, 8, 4, 6), other=((1, 4, 2, 8),)),
        one("reorg_param { stride: 2 reverse: true }", (2, 8, 3, 5), other=((1, 4, 2, 7),)),
    ],
    "Scatter": [one()],
    "SeLu": [one()],
    "ShuffleChannel": [one("shuffle_channel_param { group: 3 }", (2, 6, 4, 5), other=((1, 9, 3, 2),))],
    "SmoothL1Loss": [
        one("", (3, 4, 2), (3, 4, 2)),
        one("smooth_l1_loss_param { sigma: 3 }", (3, 4), (3, 4), (3, 4)),
        one("smooth_l1_loss_param { sigma: 0.5 }", (3, 4), (3, 4), (3, 4), (3, 4)),
    ],
    "SmoothL1LossOHEM": [
        one("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }", (3, 4, 2, 5), (3, 4, 2, 5), tops=2),
        one("", (3, 8), (3, 8), (3, 8), tops=2),
    ],
    "SoftmaxWithLossOHEM": [
        loss("", (5, 7), (5,), classes=7, tops=3),
        loss("loss_param { ignore_label: 2 }", (2, 6, 3, 4), (2, 3, 4), classes=6, tops=2),
    ],
    "Upsample": [
        one(
            "upsample_param { scale: 2 }",
            (2, 3, 4, 5),
            (2, 3, 4, 5),
            fill=("normal", positions(80)),
            other=((1, 2, 5, 6), (1, 2, 5, 6)),
        ),
        one(
            "upsample_param { scale_h: 2 scale_w: 3 pad_out_h: true }",
            (2, 3, 4, 5),
            (2, 3, 4, 5),
            fill=("normal", positions(100)),
            other=((3, 3, 4, 5), (3, 3, 4, 5)),
        ),
        one(
            "upsample_param { upsample_h: 9 upsample_w: 7 }", (2, 3, 4, 3), (2, 3, 4, 3), fill=("normal", positions(63))
        ),
        one("upsample_param { scale: 3 }"),
        one(),
    ],
    "VideoData": [
        Case("data_param { batch_size: 2 } transform_param { resize_param { height: 5 width: 6 } }", tops=1),
        Case(
            'video_data_param { source: "clips" batch_size: 2 new_length: 5 num_segments: 3 modality: FLOW }'
            " transform_param { crop_size: 7 }",
            tops=2,
        ),
    ],
    "YoloDetectionOutput": [
        Case(
            f"yolo_detection_output_param {{ num_classes: 3 num_box: 2 confidence_threshold: 0.1 {YOLO_ANCHORS} }}",
            ((2, 16, 3, 3), (2, 16, 5, 5)),
            other=((1, 16, 4, 4), (1, 16, 2, 2)),
            data_dependent=True,
            free_axis=2,
        ),
        Case(
            f"yolo_detection_output_param {{ num_classes: 3 num_box: 2 confidence_threshold: 2 {YOLO_ANCHORS} }}",
            ((1, 16, 3, 3),),
            data_dependent=True,
            free_axis=2,
        ),
    ],
    "Yolov3DetectionOutput": [
        Case(
            "yolov3_detection_output_param { num_classes: 3 num_box: 1 confidence_threshold: 0.1 mask: 1 mask: 0"
            " anchors_scale: 8 anchors_scale: 4 biases: 10 biases: 13 biases: 16 biases: 30 }",
            ((2, 8, 3, 3), (2, 8, 6, 6)),
            other=((1, 8, 4, 4), (1, 8, 2, 2)),
            data_dependent=True,
            free_axis=2,
        ),
    ],
}

MORE_CASES: dict[str, list[Case]] = {
    "BatchNorm": [
        one(f"batch_norm_param {{ scale_bias: true scale_{FILLER} bias_{FILLER} }}"),
        one("batch_norm_param { scale_bias: true }", (4, 3), phase=TEST),
    ],
    "Convolution": [conv("num_output: 6 kernel_size: 3 hole: 2")],
    "Dropout": [
        one("dropout_param { sample_weights_test: true }", phase=TEST),
        one("dropout_param { scale_train: false }", phase=TEST),
        one("dropout_param { scale_train: false }"),
    ],
    "ELU": [one("elu_param { alpha: 1.67326 lambda: 1.0507 }")],
    "SoftmaxWithLoss": [
        loss(
            "loss_param { weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 2 class_weighting: 1"
            " ignore_label: 2 }",
            (2, 3, 4, 5),
            (2, 4, 5),
            classes=3,
        ),
        loss("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 9 }", (4, 3), (4,), classes=3),
    ],
}
"""Settings of forks in types that Caffe has."""
