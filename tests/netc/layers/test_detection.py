"""SSD's and YOLO's layers against their definitions (SSD, sections 2.1, 2.2; YOLO9000, section 2; YOLOv3, section 2),
written down again box by box. Tolerance 1e-6 relative on float64."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from netc import NetcError
from netc.runtime.net.conformance import Case, make
from tests.netc.layers.test_forks import Array, close, draw, gradient, run, smooth  # noqa: F401  draw is a fixture

Box = tuple[float, float, float, float]
CODES = {"CORNER": 1, "CENTER_SIZE": 2, "CORNER_SIZE": 3}


# -- default boxes -----------------------------------------------------------------------------------------------------


def default_boxes(rows: int, columns: int, image: tuple[int, int], **o: Any) -> list[Box]:
    """Section 2.2: sizes s, sqrt(s · s') and s · sqrt(a) × s / sqrt(a), at the centre of each cell. (That s and s' are
    whole numbers is not the paper's but prior_box_layer.cpp's.)"""
    ratios: list[float] = []
    for a in o.get("ratios", ()):
        for ratio in (a, 1 / a) if o.get("flip", True) else (a,):
            if all(abs(ratio - other) > 1e-6 for other in (1.0, *ratios)):
                ratios.append(ratio)
    step_h, step_w = o.get("step", (image[0] / rows, image[1] / columns))
    boxes = []
    for i, j in product(range(rows), range(columns)):
        cy, cx = (i + o.get("offset", 0.5)) * step_h, (j + o.get("offset", 0.5)) * step_w
        for k, s in enumerate(o["small"]):
            sides = [(s, s)]
            if "large" in o:
                sides.append((math.sqrt(s * o["large"][k]),) * 2)
            sides += [(s * math.sqrt(a), s / math.sqrt(a)) for a in ratios]
            for w, h in sides:
                edges = (
                    (cx - w / 2) / image[1],
                    (cy - h / 2) / image[0],
                    (cx + w / 2) / image[1],
                    (cy + h / 2) / image[0],
                )
                boxes.append(tuple(min(max(e, 0.0), 1.0) for e in edges) if o.get("clip") else edges)
    return boxes  # type: ignore[return-value]


@pytest.mark.parametrize(
    "settings, reference",
    [
        (
            "min_size: 6 max_size: 9 aspect_ratio: 2 aspect_ratio: 3 clip: true",
            {"small": [6], "large": [9], "ratios": (2, 3), "clip": True},
        ),
        (
            "min_size: 6 min_size: 11 max_size: 8 max_size: 20 aspect_ratio: 2 aspect_ratio: 0.5 flip: false",
            {"small": [6, 11], "large": [8, 20], "ratios": (2, 0.5), "flip": False},
        ),
        (
            "min_size: 7 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2 step_h: 8 step_w: 9 offset: 0.25",
            {"small": [7], "ratios": (2,), "step": (8, 9), "offset": 0.25},
        ),
        ("min_size: 7 img_size: 50", {"small": [7], "image": (50, 50)}),
        ("min_size: 7.68 max_size: 15.36 aspect_ratio: 2", {"small": [7], "large": [15], "ratios": (2,)}),
        ("min_size: 7 img_h: 20 img_w: 90 step: 4", {"small": [7], "image": (20, 90), "step": (4, 4)}),
    ],
)
def test_prior_box(settings: str, reference: dict[str, Any]) -> None:
    feature, picture = np.zeros((1, 2, 3, 5)), np.zeros((1, 3, 30, 40))
    variance = "variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4"
    found = run("PriorBox", f"prior_box_param {{ {settings} {variance} }}", feature, picture)
    expected = default_boxes(3, 5, **{"image": (30, 40), **reference})
    assert found.shape == (1, 2, 4 * len(expected))
    close(found[0, 0].reshape(-1, 4), expected)
    close(found[0, 1].reshape(-1, 4), [[0.1, 0.2, 0.3, 0.4]] * len(expected))


def test_settings_of_prior_box_that_do_not_go_together() -> None:
    shapes = ((1, 2, 3, 5), (1, 3, 30, 40))
    for settings, message in (
        ("", "has no min_size"),
        ("min_size: 9 max_size: 7", "max_size 7 is not above min_size 9"),
        ("min_size: 9 max_size: 10 max_size: 11", "2 max_size for 1 min_size"),
        ("min_size: 9 step: 3 step_h: 4 step_w: 5", "gives step and step_h"),
        ("min_size: 9 img_h: 3", "gives only one of img_h and img_w"),
        ("min_size: 9 variance: 0.1 variance: 0.2", "2 variances"),
        ("min_size: 9 aspect_ratio: 0", "aspect_ratio 0 is not above 0"),
    ):
        with pytest.raises(NetcError, match=message):
            make("PriorBox", Case(f"prior_box_param {{ {settings} }}", shapes))


# -- coding, overlap, suppression --------------------------------------------------------------------------------------


def decoded(prior: Box, variance: Box, offset: Box, code: str) -> Box:
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    v = [a * b for a, b in zip(variance, offset, strict=True)]
    if code == "CORNER":
        return tuple(a + b for a, b in zip(prior, v, strict=True))  # type: ignore[return-value]
    if code == "CORNER_SIZE":
        return prior[0] + v[0] * w, prior[1] + v[1] * h, prior[2] + v[2] * w, prior[3] + v[3] * h
    cx, cy = (prior[0] + prior[2]) / 2 + v[0] * w, (prior[1] + prior[3]) / 2 + v[1] * h
    w, h = w * math.exp(v[2]), h * math.exp(v[3])
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def overlap(a: Any, b: Any) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    areas = [max(0.0, c[2] - c[0]) * max(0.0, c[3] - c[1]) for c in (a, b)]
    return float(w * h / (sum(areas) - w * h))


def survivors(boxes: list[Box], scores: list[float], **o: Any) -> list[int]:
    order = sorted((k for k, s in enumerate(scores) if s > o.get("least", -9)), key=lambda k: -scores[k])
    limit, kept = o["threshold"], []
    for k in order[: o.get("top_k", len(order))]:
        if all(overlap(boxes[k], boxes[m]) <= limit for m in kept):
            kept.append(k)
            if o.get("eta", 1) < 1 and limit > 0.5:
                limit *= o["eta"]
    return kept


def priors_for(rng: np.random.Generator, boxes: int) -> Array:
    corners = np.sort(rng.random((boxes, 2, 2)), axis=1).reshape(boxes, 4)
    return np.stack([corners.ravel(), np.tile([0.1, 0.1, 0.2, 0.2], boxes)])[None]


@pytest.mark.parametrize(
    "settings, o",
    [
        ("code_type: CENTER_SIZE nms_param { nms_threshold: 0.45 top_k: 12 }", {"threshold": 0.45, "top_k": 12}),
        ("code_type: CORNER keep_top_k: 5", {"threshold": 0.3, "keep": 5}),
        ("code_type: CORNER_SIZE confidence_threshold: 0.6", {"threshold": 0.3, "least": 0.6}),
        ("nms_param { nms_threshold: 0.7 eta: 0.8 }", {"threshold": 0.7, "eta": 0.8}),
        (
            "background_label_id: -1 variance_encoded_in_target: true",
            {"threshold": 0.3, "background": -1, "plain": True},
        ),
        ("share_location: false background_label_id: 2", {"threshold": 0.3, "background": 2, "own": True}),
        ("confidence_threshold: 2", {"threshold": 0.3, "least": 2}),
    ],
)
def test_detection_output(draw: np.random.Generator, settings: str, o: dict[str, Any]) -> None:  # noqa: F811
    images, classes, count = 2, 3, 20
    own = o.get("own", False)
    offsets = draw.normal(size=(images, count, classes if own else 1, 4))
    scores, priors = draw.random((images, count, classes)), priors_for(draw, count)
    rows = []
    for n in range(images):
        found = []
        for c in (c for c in range(classes) if c != o.get("background", 0)):
            code = next((code for code in CODES if f"code_type: {code} " in settings + " "), "CORNER")
            boxes = [
                decoded(p, (1, 1, 1, 1) if o.get("plain") else (0.1, 0.1, 0.2, 0.2), offset[c if own else 0], code)
                for p, offset in zip(priors[0, 0].reshape(-1, 4), offsets[n], strict=True)
            ]
            values = list(scores[n, :, c])
            found += [[n, c, values[k], *boxes[k]] for k in survivors(boxes, values, **o)]
        best = sorted(found, key=lambda row: -row[2])[: o.get("keep", len(found))]
        rows += [row for row in found if row in best]
    expected = rows or [[n, *[-1] * 6] for n in range(images)]
    text = f"detection_output_param {{ num_classes: {classes} {settings} }}"
    found_here = run("DetectionOutput", text, offsets.reshape(images, -1), scores.reshape(images, -1), priors)
    assert found_here.shape == (1, 1, len(expected), 7)
    close(found_here[0, 0], expected)


# -- the loss ----------------------------------------------------------------------------------------------------------


def encoded(prior: Any, variance: Box, box: Any, code: str) -> list[float]:
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        raw = [b - p for b, p in zip(box, prior, strict=True)]
    elif code == "CORNER_SIZE":
        raw = [(b - p) / s for b, p, s in zip(box, prior, (w, h, w, h), strict=True)]
    else:
        raw = [
            ((box[0] + box[2]) - (prior[0] + prior[2])) / 2 / w,
            ((box[1] + box[3]) - (prior[1] + prior[3])) / 2 / h,
            math.log((box[2] - box[0]) / w),
            math.log((box[3] - box[1]) / h),
        ]
    return [r / v for r, v in zip(raw, variance, strict=True)]


def matched(priors: Any, things: Any, threshold: float | None, inside: bool) -> tuple[dict[int, int], list[float]]:
    """Section 2.1: {box: object}, and each box's largest overlap. `threshold` None: each object's best box only."""
    table = [[overlap(p, t) for t in things] for p in priors]
    if inside:
        table = [row if min(p) >= 0 and max(p) <= 1 else [0.0] * len(row) for row, p in zip(table, priors, strict=True)]
    match: dict[int, int] = {}
    left = set(range(len(things)))
    while left:
        value, box, thing = max(
            ((table[b][t], -b, -t) for b in range(len(table)) if b not in match for t in left), default=(0.0, 0, 0)
        )
        if value <= 1e-6:
            break
        match[-box] = -thing
        left.remove(-thing)
    for b, row in enumerate(table):
        if threshold is not None and b not in match and max(row, default=0) >= threshold:
            match[b] = row.index(max(row))
    return match, [max(row, default=0) for row in table]


VARIANCE = (0.1, 0.1, 0.2, 0.2)

LOSSES: list[tuple[str, dict[str, Any]]] = [
    ("code_type: CENTER_SIZE", {"code": "CENTER_SIZE"}),
    ("code_type: CORNER loc_loss_type: L2 match_type: BIPARTITE", {"l2": True, "threshold": None}),
    (
        "code_type: CORNER_SIZE conf_loss_type: LOGISTIC loc_weight: 0.5",
        {"code": "CORNER_SIZE", "logistic": True, "w": 0.5},
    ),
    ("mining_type: NONE use_difficult_gt: false", {"mining": False, "difficult": False}),
    ("do_neg_mining: true neg_pos_ratio: 1.5 neg_overlap: 0.2", {"ratio": 1.5, "below": 0.2}),
    ("encode_variance_in_target: true ignore_cross_boundary_bbox: true", {"divided": True, "inside": True}),
    ("map_object_to_agnostic: true", {"agnostic": True}),
]


def multibox(offsets: Array, scores: Array, priors: Array, things: Array, o: dict[str, Any]) -> float:
    boxes = priors[0, 0].reshape(-1, 4)
    place = kind = 0.0
    count = 0
    for n in range(len(offsets)):
        mine = [t for t in things[0, 0] if t[0] == n and (o.get("difficult", True) or not t[7])]
        if not mine and o.get("mining", True):
            continue
        match, best = matched(boxes, [t[3:7] for t in mine], o.get("threshold", 0.5), o.get("inside", False))

        def of_class(b: int, c: int, n: int = n) -> float:
            s = scores[n, b]
            if o.get("logistic"):
                probability = 1 / (1 + np.exp(-s))
                return -sum(math.log(p if k == c else 1 - p) for k, p in enumerate(probability))
            return float(np.log(np.exp(s).sum()) - s[c])

        for b, t in match.items():
            variance = (1, 1, 1, 1) if o.get("divided") else VARIANCE
            target = encoded(boxes[b], variance, mine[t][3:7], o.get("code", "CORNER"))
            apart = (offsets[n, b] - target) / (VARIANCE if o.get("divided") else 1)
            place += sum(d * d / 2 if o.get("l2") else smooth(d, 1) for d in apart)
            kind += of_class(b, 1 if o.get("agnostic") else int(mine[t][1]))
        barred = {b for b, p in enumerate(boxes) if o.get("inside") and (min(p) < 0 or max(p) > 1)}
        others = [b for b in range(len(boxes)) if b not in match and b not in barred]
        if o.get("mining", True):
            others = [b for b in others if best[b] < o.get("below", 0.5)]
            others = sorted(others, key=lambda b: -of_class(b, 0))[: int(len(match) * o.get("ratio", 3))]
        kind += sum(of_class(b, 0) for b in others)
        count += len(match)
    return (o.get("w", 1) * place + kind) / max(1, count)


@pytest.mark.parametrize("settings, o", LOSSES)
def test_multibox_loss(draw: np.random.Generator, settings: str, o: dict[str, Any]) -> None:  # noqa: F811
    images, classes, count = 3, 4, 30
    offsets, scores = draw.normal(size=(images, count, 4)), draw.normal(size=(images, count, classes))
    priors = priors_for(draw, count)
    priors[0, 0, :8] += 0.4  # two that reach beyond the image
    corners = np.sort(draw.random((6, 2, 2)), axis=1).reshape(6, 4)
    things = np.array(
        [
            [n, c, 0, *box, d]
            for n, c, box, d in zip([0, 1, 1, 0, 0, -1], [1, 2, 3, 3, 1, 1], corners, [0, 0, 1, 0, 1, 0], strict=True)
        ]
    )[None, None]
    arrays = offsets.reshape(images, -1), scores.reshape(images, -1), priors, things
    text = f"multibox_loss_param {{ num_classes: {classes} {settings} }}"
    close(run("MultiBoxLoss", text, *arrays), multibox(offsets, scores, priors, things, o))
    for wrt, values in ((0, offsets), (1, scores)):
        slope = gradient("MultiBoxLoss", text, *arrays, wrt=wrt).ravel()
        for place in draw.choice(values.size, 5):
            ends = []
            for h in (1e-6, -1e-6):
                moved = [a.copy() for a in (offsets, scores)]
                moved[wrt].flat[place] += h
                ends.append(multibox(*moved, priors, things, o))
            # with encode_variance_in_target the fork hands on the gradient of the divided offset
            passed = VARIANCE[place % 4] if o.get("divided") and wrt == 0 else 1
            assert slope[place] == pytest.approx(passed * (ends[0] - ends[1]) / 2e-6, abs=1e-5)


def test_a_batch_without_objects_costs_nothing_and_can_be_trained_on() -> None:
    text = "multibox_loss_param { num_classes: 3 }"
    arrays = np.ones((2, 8)), np.ones((2, 6)), priors_for(np.random.default_rng(1), 2), np.full((1, 1, 1, 8), -1.0)
    assert run("MultiBoxLoss", text, *arrays) == 0
    assert not gradient("MultiBoxLoss", text, *arrays).any()


def test_what_multibox_loss_refuses() -> None:
    shapes = ((2, 8), (2, 6), (1, 2, 8), (1, 1, 3, 8))
    for settings, code in (
        ("share_location: false", "L350"),
        ("mining_type: HARD_EXAMPLE", "L350"),
        ("bp_inside: true", "L350"),
        ("nms_param { nms_threshold: 0.4 }", "L350"),
    ):
        with pytest.raises(NetcError) as caught:
            make("MultiBoxLoss", Case(f"multibox_loss_param {{ num_classes: 3 {settings} }}", shapes))
        assert caught.value.code == code
    things = np.array([[[[0, 0, 0, 0.1, 0.1, 0.5, 0.5, 0]]]])
    with pytest.raises(NetcError, match="an object of class 0, which is the background"):
        run(
            "MultiBoxLoss",
            "multibox_loss_param { num_classes: 3 }",
            np.ones((2, 8)),
            np.ones((2, 6)),
            priors_for(np.random.default_rng(1), 2),
            things,
        )


@pytest.mark.parametrize("label, said", [(3, "3, which is not one of 3"), (math.nan, "nan, which is not one of 3")])
def test_an_object_of_no_class_is_told(label: float, said: str) -> None:
    things = np.array([[[[0, label, 0, 0.1, 0.1, 0.5, 0.5, 0], [-1, 9, 0, 0, 0, 0, 0, 0]]]])
    arrays = np.ones((2, 8)), np.ones((2, 6)), priors_for(np.random.default_rng(1), 2), things
    with pytest.raises(NetcError, match=f"an object of class {said} classes") as caught:
        run("MultiBoxLoss", "multibox_loss_param { num_classes: 3 }", *arrays)
    assert caught.value.code == "L352"


# -- evaluation --------------------------------------------------------------------------------------------------------


def test_detection_evaluate() -> None:
    box, near, far = [0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]
    found = [
        [0, 1, 0.9, *near],  # right
        [0, 1, 0.8, *box],  # the object has been found already
        [0, 1, 0.7, *far],  # hits an object that is difficult
        [0, 2, 0.6, *far],  # no object of this class here
        [1, 1, 0.5, *far],  # no object in this image
        [1, -1, -1, -1, -1, -1, -1],  # nothing found
    ]
    things = [[0, 1, 0, *box, 0], [0, 1, 1, *far, 1], [2, 2, 0, *box, 0], [-1] * 8]
    text = "detection_evaluate_param { num_classes: 3 evaluate_difficult_gt: false }"
    top = run("DetectionEvaluate", text, [[found]], [[things]])
    assert top[0, 0, :2].tolist() == [[-1, 1, 1, -1, -1], [-1, 2, 1, -1, -1]]
    assert top[0, 0, 2:, 3:].tolist() == [[1, 0], [0, 1], [0, 0], [0, 1], [0, 1]]
    strict = run("DetectionEvaluate", "detection_evaluate_param { num_classes: 3 }", [[found]], [[things]])
    assert strict[0, 0, 0].tolist() == [-1, 1, 2, -1, -1]
    assert strict[0, 0, 4, 3:].tolist() == [1, 0]


def test_detections_in_pixels_are_refused() -> None:
    text = 'detection_evaluate_param { num_classes: 3 name_size_file: "sizes.txt" }'
    with pytest.raises(NetcError, match="name_size_file") as caught:
        run("DetectionEvaluate", text, np.zeros((1, 1, 1, 7)), np.zeros((1, 1, 1, 8)))
    assert caught.value.code == "L353"


# -- YOLO --------------------------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def yolo_boxes(x: Array, anchors: list[tuple[float, float]], n: int) -> list[tuple[Box, float, Array]]:
    """Boxes of one image: (edges, object, scores of the classes); `anchors` in shares of the image."""
    side, found = x.shape[3], []
    maps = x[n].reshape(len(anchors), -1, side, side)
    for i, j, (a, (pw, ph)) in product(range(side), range(side), enumerate(anchors)):
        tx, ty, tw, th, thing, *classes = maps[a, :, i, j]
        cx, cy, w, h = (j + sigmoid(tx)) / side, (i + sigmoid(ty)) / side, pw * math.exp(tw), ph * math.exp(th)
        found.append(((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), sigmoid(thing), np.array(classes)))
    return found


def thinned(rows: list[list[float]], threshold: float) -> list[list[float]]:
    kept: list[list[float]] = []
    for row in sorted(rows, key=lambda row: -row[2]):
        if all(overlap(row[3:], other[3:]) < threshold for other in kept):
            kept.append(row)
    return kept


def test_yolo_v2(draw: np.random.Generator) -> None:  # noqa: F811
    x, anchors = draw.normal(size=(2, 2 * 8, 4, 4)), [(1.5, 2.0), (0.7, 0.5)]
    expected = []
    for n in range(2):
        rows = []
        for box, thing, classes in yolo_boxes(x, [(w / 4, h / 4) for w, h in anchors], n):
            share = np.exp(classes) / np.exp(classes).sum()
            if thing * share.max() >= 0.2:
                rows.append([n, 1 + int(share.argmax()), thing * share.max(), *box])
        expected += thinned(rows, 0.4)
    text = (
        "yolo_detection_output_param { num_classes: 3 num_box: 2 confidence_threshold: 0.2 nms_threshold: 0.4"
        " biases: 1.5 biases: 2 biases: 0.7 biases: 0.5 }"
    )
    close(run("YoloDetectionOutput", text, x)[0, 0], expected)


def test_yolo_v3(draw: np.random.Generator) -> None:  # noqa: F811
    maps = [draw.normal(size=(2, 2 * 8, 3, 3)), draw.normal(size=(2, 2 * 8, 6, 6))]
    biases, mask, scale = [(10, 13), (16, 30), (33, 23), (30, 61)], [[2, 3], [0, 1]], [32, 16]
    expected = []
    for n in range(2):
        rows = []
        for x, mine, pixels in zip(maps, mask, scale, strict=True):
            whole = x.shape[3] * pixels
            for box, thing, classes in yolo_boxes(x, [(biases[m][0] / whole, biases[m][1] / whole) for m in mine], n):
                for c, value in enumerate(classes):
                    if thing * sigmoid(value) > 0.3:
                        rows.append([n, 1 + c, thing * sigmoid(value), *box])
        expected += thinned(rows, 0.45)
    given = " ".join(f"biases: {w} biases: {h}" for w, h in biases)
    text = (
        f"yolov3_detection_output_param {{ num_classes: 3 num_box: 2 confidence_threshold: 0.3 {given}"
        " mask: 2 mask: 3 mask: 0 mask: 1 anchors_scale: 32 anchors_scale: 16 }"
    )
    close(run("Yolov3DetectionOutput", text, *maps)[0, 0], expected)


def test_a_map_where_nothing_is_found() -> None:
    text = "yolo_detection_output_param { num_classes: 3 num_box: 1 confidence_threshold: 2 biases: 1 biases: 1 }"
    found = run("YoloDetectionOutput", text, np.zeros((2, 8, 3, 3)))
    assert found[0, 0].tolist() == [[0, *[-1] * 6], [1, *[-1] * 6]]
    assert torch.float64 == torch.as_tensor(found).dtype
