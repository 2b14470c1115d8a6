"""Boxes, merging and average precision against other implementations, on random input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import netc
from netc.runtime.data.boxes import area, centred, clipped, corners, iou
from tests import torchvision_here


def random_boxes(rng, count, spread=100.0, size=60.0):
    low = rng.uniform(0, spread, (count, 2))
    return np.hstack([low, low + rng.uniform(0.5, size, (count, 2))])


# -- boxes -------------------------------------------------------------------------------------------------------------


def test_iou_is_torchvisions():
    torchvision = torchvision_here.boxes()
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = random_boxes(rng, 17), random_boxes(rng, 9)
        wanted = torchvision.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        assert np.allclose(iou(a[:, None], b), wanted, rtol=1e-12, atol=1e-14)
        assert np.allclose(area(a), torchvision.box_area(torch.from_numpy(a)).numpy(), rtol=1e-14)


def test_iou_counted_pixel_by_pixel():
    rng = np.random.default_rng(2)
    for _ in range(50):
        a, b = ([*low, *(low + rng.integers(1, 15, 2))] for low in (rng.integers(0, 12, 2), rng.integers(0, 12, 2)))
        masks = np.zeros((2, 30, 30), bool)
        for mask, (x1, y1, x2, y2) in zip(masks, (a, b)):
            mask[y1:y2, x1:x2] = True
        assert iou(a, b) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum(), rel=1e-14)


def test_boxes_without_area_share_nothing():
    point, box = [3, 3, 3, 3], [0, 0, 6, 6]
    assert [iou(point, box), iou(point, point), iou([0, 0, 2, 2], [2, 0, 4, 2])] == [0, 0, 0]


def test_forms_of_a_box():
    rng = np.random.default_rng(3)
    boxes, torchvision = random_boxes(rng, 30), torchvision_here.boxes()
    there = torchvision.box_convert(torch.from_numpy(boxes), "xyxy", "cxcywh").numpy()
    assert np.allclose(centred(boxes), there, rtol=1e-14)
    assert np.allclose(corners(there), boxes, rtol=1e-12, atol=1e-12)
    wanted = torchvision.clip_boxes_to_image(torch.from_numpy(boxes), (70, 90)).numpy()
    assert np.array_equal(clipped(boxes, 90, 70), wanted)
    assert corners([5, 5, -2, 4]).tolist() == [5, 3, 5, 7]


# -- merging -----------------------------------------------------------------------------------------------------------


def naive_match(a, b):
    """T14, for two boxes, in plain Python."""
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
    diagonal = sum(math.hypot(box[2] - box[0], box[3] - box[1]) for box in (a, b)) / 2
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return math.dist(*centres) / diagonal + 1 - wide / (sum(areas) - wide)


def naive_merge(boxes, scores, threshold):
    """Every pair anew at every step: {members: (box, score)}."""
    groups = {(number,): tuple(map(float, box)) for number, box in enumerate(boxes)}
    while len(groups) > 1:
        names = list(groups)
        pairs = [(naive_match(groups[a], groups[b]), a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        best, a, b = min(pairs)
        if best > threshold:
            break
        one, other = groups.pop(a), groups.pop(b)
        groups[tuple(sorted((*a, *b)))] = tuple((x + y) / 2 for x, y in zip(one, other))
    return {group: (box, sum(scores[number] for number in group)) for group, box in groups.items()}


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.6])
def test_merging_is_the_naive_one(threshold):
    rng = np.random.default_rng(int(threshold * 10))
    for count in (1, 2, 5, 23, 23, 23):
        boxes, scores = random_boxes(rng, count), rng.uniform(0, 1, count)
        wanted = naive_merge(boxes, scores, threshold)
        merged, sums, members = netc.merge_boxes(boxes, scores, threshold)
        assert {tuple(group) for group in members} == set(wanted)
        for box, score, group in zip(merged, sums, members, strict=True):
            assert box == pytest.approx(wanted[tuple(group)][0], rel=1e-12)
            assert score == pytest.approx(wanted[tuple(group)][1], rel=1e-12)
        assert sums.tolist() == sorted(sums, reverse=True)


def mirror(boxes):
    return np.stack([128 - boxes[:, 2], boxes[:, 1], 128 - boxes[:, 0], boxes[:, 3]], 1)


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_merging_knows_no_place_no_size_and_no_order(threshold):
    """Boxes that are moved, enlarged (by powers of two: no rounding), mirrored or told in another order are merged
    alike, and scores have no say in what is merged."""
    rng = np.random.default_rng(11)
    boxes, scores = np.round(random_boxes(rng, 23, spread=20) * 64) / 64, rng.uniform(0, 1, 23)
    merged, sums, members = netc.merge_boxes(boxes, scores, threshold)
    assert 1 < len(merged) < 23
    for factor, shift in ((1, [-512, 256] * 2), (0.25, [0] * 4), (64, [4096, -8192] * 2)):
        other = netc.merge_boxes(boxes * factor + shift, scores, threshold)
        assert np.allclose(other.boxes, merged * factor + shift, rtol=1e-12)
        assert (other.scores.tolist(), other.members) == (sums.tolist(), members)
    mirrored = netc.merge_boxes(mirror(boxes), scores, threshold)
    assert np.allclose(mirrored.boxes, mirror(merged), rtol=1e-12)
    order = rng.permutation(23)
    shuffled = netc.merge_boxes(boxes[order], scores[order], threshold)
    assert np.allclose(shuffled.boxes, merged, rtol=1e-12)
    assert [sorted(order[group].tolist()) for group in shuffled.members] == members
    tripled = netc.merge_boxes(boxes, scores * 3, threshold)
    assert (tripled.boxes.tolist(), tripled.members) == (merged.tolist(), members)


def test_what_is_merged():
    boxes = [[0, 0, 10, 10], [50, 50, 70, 90], [2, 0, 12, 10], [52, 50, 72, 90]]
    given = [list(box) for box in boxes]
    merged, scores, members = netc.merge_boxes(boxes, [0.1, 0.4, 0.2, 0.5], 0.5)
    assert (merged.tolist(), members) == ([[51, 50, 71, 90], [1, 0, 11, 10]], [[1, 3], [0, 2]])
    assert scores == pytest.approx([0.9, 0.3])
    assert boxes == given
    same = netc.merge_boxes([[1, 2, 3, 4]] * 5, [1] * 5, 0)
    assert (same.boxes.tolist(), same.scores.tolist(), same.members) == ([[1, 2, 3, 4]], [5], [[0, 1, 2, 3, 4]])
    none = netc.merge_boxes([], [], 0.5)
    assert (none.boxes.shape, none.scores.shape, none.members) == ((0, 4), (0,), [])


def test_points_are_merged_with_themselves_alone():
    """Boxes without area have no diagonal: the same point has a match score of 1, another one infinity."""
    point, other = [3.0, 3, 3, 3], [4.0, 4, 4, 4]
    assert netc.merge_boxes([point, other, point], [1, 1, 1], 1.0).members == [[0, 2], [1]]


def test_any_distance_is_near_enough():
    """What is merged already is not merged once more."""
    found = netc.merge_boxes([[0, 0, 1, 1], [5, 5, 9, 9], [800, 800, 810, 820]], [1, 2, 3], math.inf)
    assert (found.members, found.scores.tolist()) == ([[0, 1, 2]], [6])


@pytest.mark.parametrize(
    "boxes, scores, threshold",
    [
        ([[0, 0, 1]], [1], 0.5),
        ([[0, 0, 1, 1]], [1, 2], 0.5),
        ([[0, 0, 1, math.nan]], [1], 0.5),
        ([[0, 0, 1, 1]], [math.inf], 0.5),
        ([[5, 0, 1, 1]], [1], 0.5),
        ([[0, 0, 1, 1]], [1], -1),
        ([[0, 0, 1, 1]], [1], math.nan),
        ([[0, 0, 1, 1]], [1], None),
        ([[0, 0, 1, 1]], [1], "near"),
        ([["a", 0, 1, 1]], [1], 0.5),
        ([[0, 0, 1, 1], [1]], [1, 1], 0.5),
    ],
)
def test_boxes_that_cannot_be_merged(boxes, scores, threshold):
    with pytest.raises(netc.NetcError) as caught:
        netc.merge_boxes(boxes, scores, threshold)
    assert caught.value.code == "D562"


# -- average precision -------------------------------------------------------------------------------------------------


def devkit(scores, positive, rule):
    """VOCap.m of the devkits of 2012 and of 2007, step by step."""
    order = np.argsort(-np.asarray(scores))
    marks = np.asarray(positive)[order]
    found = np.cumsum(marks)
    recall, precision = found / marks.sum(), found / np.arange(1, len(marks) + 1)
    if rule == "11-point":
        levels = np.linspace(0, 1, 11)
        return (
            sum(max([p for p, r in zip(precision, recall) if r >= level - 1e-12], default=0) for level in levels) / 11
        )
    r, p = np.array([0, *recall, 1]), np.array([0, *precision, 0])
    for i in reversed(range(len(p) - 1)):
        p[i] = max(p[i], p[i + 1])
    return sum((r[i] - r[i - 1]) * p[i] for i in range(1, len(r)) if r[i] != r[i - 1])


@pytest.mark.parametrize("rule", ["area", "11-point"])
def test_average_precision_is_the_devkits(rule):
    rng = np.random.default_rng(7)
    for count in (1, 2, 10, 30, 200):
        for share in (0.05, 0.3, 0.9):
            positive = rng.uniform(size=count) < share
            positive[rng.integers(count)] = True
            scores = rng.normal(size=count) + positive
            found = netc.average_precision(scores, positive, rule=rule)
            assert found == pytest.approx(devkit(scores, positive, rule), abs=1e-12)


def test_average_precision_of_scikit_learns_curve():
    """The curve is scikit-learn's, equal scores included; its area with the highest precisions is ours."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(8)
    for _ in range(20):
        positive = rng.uniform(size=60) < 0.4
        scores = rng.integers(0, 12, 60) + positive  # many equal ones
        precision, recall, _ = metrics.precision_recall_curve(positive, scores)
        highest = np.maximum.accumulate(precision[:-1])  # from the highest recall down
        wanted = float(-np.diff(recall) @ highest)
        assert netc.average_precision(scores, positive) == pytest.approx(wanted, abs=1e-12)
        assert wanted >= metrics.average_precision_score(positive, scores) - 1e-12


def test_average_precision_by_hand():
    assert netc.average_precision([4, 3, 2, 1], [1, 0, 1, 0]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert netc.average_precision([4, 3, 2, 1], [1, 0, 1, 0], rule="11-point") == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert netc.average_precision([1, 1, 1, 1], [1, 0, 0, 0]) == 0.25
    assert netc.average_precision([2, 1], [True, False]) == 1


@pytest.mark.parametrize(
    "scores, positive, rule",
    [
        ([1, 2], [0, 0], "area"),
        ([1, 2], [1], "area"),
        ([1, math.nan], [1, 0], "area"),
        ([1, 2], [1, 2], "area"),
        ([1, 2], [1, 0], "10-point"),
        ([[1, 2]], [[1, 0]], "area"),
        (["a"], [1], "area"),
    ],
)
def test_rankings_that_have_no_average_precision(scores, positive, rule):
    with pytest.raises(netc.NetcError) as caught:
        netc.average_precision(scores, positive, rule)
    assert caught.value.code == "D563"
