"""Boxes of windows, merged and judged: nets whose boxes are known, and hand-made predictions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import netc
from netc import NetcError
from netc.runtime.data.boxes import iou
from netc.runtime.data.datum import Picture
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.localise.judge import Tally, best_constant, overlap
from netc.runtime.localise.nets import System
from netc.runtime.localise.predict import (
    Located,
    Predictions,
    best_classes,
    central,
    check_rating,
    everywhere,
    localiser,
    located,
)

NET = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 8 dim: 8 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 2 kernel_size: 2 stride: {stride} weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param {{ num_output: {outputs} weight_filler {{ type: "gaussian" std: {std} }} }} }}
"""
MEAN = (10.0, 20.0, 30.0)


def net_of(*bias, stride=2, std=0.0):
    """Its window is 8×8, a place every `stride` pixels; without `std` it gives `bias` everywhere."""
    text = NET.format(outputs=len(bias), stride=stride, std=std or 1)
    net = netc.load_net(text)
    if not std:
        net.params["fc"][0].data.zero_()
    net.params["fc"][1].data.copy_(torch.tensor(bias))
    return net


def of(net):
    return Classifier(net, mean=MEAN)


def picture(height, width, label=0, boxes=None):
    pixels = np.random.default_rng(height * width).integers(0, 255, (height, width, 3), np.uint8)
    return Picture(pixels, float(label), "p", boxes=None if boxes is None else np.array(boxes, float))


def test_each_place_has_the_box_of_its_window():
    """A net that always says "my whole window" gives the windows, in pixels of the picture before it was rescaled."""
    net = localiser(of(net_of(0.5, 0.5, 1, 1)))
    found = everywhere(net, None, picture(24, 40), 12)  # rescaled to 12×20
    windows = [[2 * x, 2 * y, 2 * x + 16, 2 * y + 16] for y, x in itertools.product(range(0, 5, 2), range(0, 13, 2))]
    assert np.allclose(found.boxes[:, 0], windows, atol=1e-5)
    assert (found.scores == 1).all()
    assert not net.per_class


def test_a_box_in_its_window():
    net = localiser(of(net_of(0.25, 0.75, 0.5, 0.25)))
    found = everywhere(net, None, picture(8, 10), 8)
    first, second = [0, 5, 4, 7], [2, 5, 6, 7]
    assert np.allclose(found.boxes[:, 0], [first, second], atol=1e-6)


def test_the_central_crop():
    """8×8 out of the middle of 12×20: from (6, 2) on, twice that in the picture of 24×40."""
    net = localiser(of(net_of(0.5, 0.5, 1, 1)))
    assert np.allclose(central(net, picture(24, 40), 12), [12, 4, 28, 20], atol=1e-5)
    wide = localiser(of(net_of(0.5, 0.5, 9, 0.5)))
    assert np.allclose(central(wide, picture(24, 40), 12), [0, 8, 40, 16], atol=1e-5)  # cut at the edges
    with pytest.raises(NetcError, match="smaller than the classifier's input") as caught:
        central(net, picture(24, 40), 7)
    assert caught.value.code == "R732"


def test_the_central_crop_is_what_the_net_says_of_it():
    raw = net_of(0.5, 0.5, 0.3, 0.2, std=0.2)
    one = picture(24, 40)
    crop = one.pixels[8:16, 16:24, ::-1].transpose(2, 0, 1) - np.array(MEAN, np.float32).reshape(3, 1, 1)
    x, y, width, height = raw(torch.from_numpy(crop)[None].float())["fc"][0].tolist()
    width, height = max(width, 0), max(height, 0)
    wanted = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * 8 + [16, 8, 16, 8]
    found = central(localiser(of(raw)), one, 24)
    assert np.allclose(found, wanted.clip(0, [40, 24, 40, 24]), atol=1e-4)


def test_a_box_for_each_class_and_a_classifier():
    """Class k's numbers are 4k to 4k + 3; the classifier's soft-max at the same places rates them."""
    net = localiser(of(net_of(0.5, 0.5, 1, 1, 0.5, 0.5, 0.5, 0.5)))
    scorer = net_of(0.2, 1.0, std=0.3)
    rating = of(scorer)
    check_rating(rating, net)
    one = picture(8, 12)
    found = everywhere(net, rating, one, 8)
    assert found.boxes.shape == (3, 2, 4)
    assert np.allclose(found.boxes[1], [[2, 0, 10, 8], [4, 2, 8, 6]], atol=1e-6)
    for place in range(3):
        crop = one.pixels[:, 2 * place : 2 * place + 8, ::-1].transpose(2, 0, 1).astype(np.float32)
        scores = scorer(torch.from_numpy(crop - np.reshape(MEAN, (3, 1, 1)).astype(np.float32))[None])["fc"][0]
        assert found.scores[place] == pytest.approx(scores.double().softmax(0).tolist(), rel=1e-5)
    assert net.per_class
    assert np.allclose(central(net, one, 8, 1), [4, 2, 8, 6], atol=1e-6)


@pytest.mark.parametrize("bias, stride, code", [((1, 2, 3), 2, "R761"), ((1, 2), 3, "R761")])
def test_classifiers_that_do_not_fit(bias, stride, code):
    net = localiser(of(net_of(*[0.5] * 8)))
    with pytest.raises(NetcError) as caught:
        check_rating(of(net_of(*bias, stride=stride)), net)
    assert caught.value.code == code


def test_a_net_without_boxes():
    with pytest.raises(NetcError, match="3 channels") as caught:
        localiser(of(net_of(1, 2, 3)))
    assert caught.value.code == "R760"


# -- merging over places, scales and nets ------------------------------------------------------------------------------


def test_the_union_is_merged_and_rated():
    """Two places of one scale and one of another lie together; a fourth has a higher score, but less than their sum."""
    one = Predictions(
        np.array([[[10, 10, 20, 20]], [[12, 10, 22, 20]], [[70, 70, 90, 90]]], float), np.eye(3)[[1, 1, 1]]
    )
    one.scores[:] = [[0.1, 0.4, 0.5], [0.2, 0.3, 0.5], [0.2, 0.8, 0.0]]
    other = Predictions(np.array([[[11, 12, 21, 22]]], float), np.array([[0.1, 0.3, 0.6]]))
    found = located([one, other], picture(80, 100), 1, 0.5)
    assert found.label == 1
    assert found.score == pytest.approx(1.0)
    first = np.array([11, 10, 21, 20])  # the closest pair: the places of one scale
    assert np.allclose(found.box, (first + [11, 12, 21, 22]) / 2)
    assert located([one, other], picture(80, 100), 1, 0.0).box.tolist() == [70, 70, 90, 80]  # cut at the edge
    assert best_classes([one, other], 2) == [2, 1]  # means 1/3 and .6, .5 and .3, .16 and .1


def test_the_top_five_and_the_true_class():
    boxes = np.zeros((1, 6, 4)) + np.arange(6)[:, None] + [0, 0, 10, 10]
    one = Predictions(boxes, np.array([[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]]))

    class Known(System):
        def predictions(self, picture):
            return [one]

    system = Known([], [8])
    own, truth, five = system.named(picture(30, 30), 5, np.array([[5, 5, 15, 15.0]]))
    assert [found.label for found in five] == [0, 1, 2, 3, 4]
    assert (own.label, own.box.tolist()) == (5, [5, 5, 15, 15])
    tally = Tally()
    tally.add(own, truth, five)
    own, truth, five = system.named(picture(30, 30), 1, np.array([[1, 1, 11, 11.0], [0, 0, 1, 1]]))
    tally.add(own, truth, five)
    found = tally.as_dict()
    assert (found["images"], found["mean_iou"], found["ground_truth_class_error"]) == (2, 1, 0)
    assert (found["top1_localisation_error"], found["top5_localisation_error"]) == (1, 0.5)


def test_half_of_it_is_not_enough():
    truth = np.array([[0, 0, 10, 10.0]])
    for width, right in ((5, False), (5.1, True)):
        tally = Tally()
        tally.add(Located(3, np.array([0, 0, width, 10]), 1.0), truth)
        assert tally.as_dict()["ground_truth_class_error"] == 1 - right
    assert overlap([0, 0, 1, 1], np.zeros((0, 4))) == 0


def test_boxes_of_classes_without_a_classifier():
    system = System([(localiser(of(net_of(*[0.5] * 8))), None)], [8])
    with pytest.raises(NetcError) as caught:
        system.best(picture(8, 8), 5)
    assert caught.value.code == "R764"
    assert system.of_class(picture(8, 8), 1).box.tolist() == [2, 2, 6, 6]
    one = System([(localiser(of(net_of(0.5, 0.5, 0.5, 0.5))), None)], [8])
    assert [(found.label, found.box.tolist()) for found in one.best(picture(8, 8), 5)] == [(None, [2, 2, 6, 6])]


# -- judging -----------------------------------------------------------------------------------------------------------


def test_the_best_constant_box():
    """Against all boxes of a grid; of equal boxes it is they."""
    rng = np.random.default_rng(4)
    low = rng.uniform(0, 50, (12, 2))
    truths = [np.array([[*corner, *(corner + rng.uniform(20, 50, 2))]]) for corner in low]
    box, value = best_constant(truths, [(100, 100)] * 12)
    grid = np.linspace(0, 1, 21)
    constants = np.array(list(itertools.product(grid[:8], grid[:8], grid[8:], grid[8:]))) * 100
    rest = iou(constants[:, None], np.concatenate(truths)).mean(1).max()
    assert value >= rest - 0.005
    assert value == pytest.approx(np.mean([overlap(box * 100, truth) for truth in truths]))
    box, value = best_constant([np.array([[10, 20, 30, 80.0]])] * 3, [(100, 200)] * 3)
    assert value > 0.99
    assert np.allclose(box, [0.1, 0.1, 0.3, 0.4], atol=0.002)
