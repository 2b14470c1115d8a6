"""Protocol 2's geometry: a net that knows where its window lies, and so the object's box, is understood exactly.

The pictures tell every pixel's place by its colour: red its column, green its row. The net reads the upper left corner
of its window from there, and gives the object's box as it lies in that window. So every window must give the same box
in the picture, which holds only if windows, strides, the order of the places and the way back to the picture are right.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import netc
from netc.cli import main
from netc.runtime.data.datum import Picture
from netc.runtime.evaluate.classifier import Classifier
from netc.runtime.localise.nets import System
from netc.runtime.localise.predict import everywhere, localiser
from netc.weights.formats.npz import write_npz

WINDOW, CELL = 16, 4
INPUT = """layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
"""
DATA = """layer { name: "data" type: "Data" top: "data" top: "label" top: "box" include { phase: TEST }
  data_param { source: "val_lmdb" batch_size: 1 }
  transform_param { rescale_param { short_side: 24 } crop_size: 16 mean_value: 0 } }
"""
BODY = """layer { name: "cells" type: "Pooling" bottom: "data" top: "cells"
  pooling_param { pool: AVE kernel_size: 4 stride: 4 } }
layer { name: "box_of" type: "InnerProduct" bottom: "cells" top: "box_of" inner_product_param { num_output: OUTPUTS } }
"""
LOSS = """layer { name: "loss" type: "EuclideanLoss" bottom: "box_of" bottom: "box" top: "loss" }
layer { name: "quiet" type: "Silence" bottom: "label" }
"""


def ramp(height, width):
    """(H, W, 3) red, green, blue."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 7)], -1).astype(np.uint8)


def knowing(net, *boxes):
    """The weights for `boxes`, x1 y1 x2 y2 in pixels of the picture that the net sees, one for each class. The first
    cell's mean is the window's corner plus 1.5 in either direction; blue, green, red is the net's order."""
    weights, biases = net.params["box_of"]
    weights.data.zero_()
    cells = weights.data.view(len(boxes), 4, 3, WINDOW // CELL, WINDOW // CELL)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        cells[number, 0, 2, 0, 0] = cells[number, 1, 1, 0, 0] = -1 / WINDOW
        centre = ((x1 + x2) / 2 + 1.5, (y1 + y2) / 2 + 1.5)
        biases.data[4 * number : 4 * number + 4] = torch.tensor([*centre, x2 - x1, y2 - y1]) / WINDOW
    return net


def system_of(*boxes, scales):
    net = netc.load_net(INPUT + BODY.replace("OUTPUTS", str(4 * len(boxes))))
    return System([(localiser(Classifier(knowing(net, *boxes), mean=(0, 0, 0))), None)], scales)


@pytest.mark.parametrize("height, width", [(16, 16), (24, 40), (25, 41), (37, 22), (16, 130), (63, 90)])
def test_every_window_gives_the_same_box(height, width):
    """Also those that reach beyond the picture, where pooling rounds up."""
    boxes = [[3, 5, 11, 14], [2.25, 0.5, width - 1.0, 15.5]]
    system = system_of(*boxes, scales=[min(height, width)])
    picture = Picture(ramp(height, width), 1.0, "ramp")
    (found,) = system.predictions(picture)
    places = [-(-size // CELL) - WINDOW // CELL + 1 for size in (height, width)]
    assert len(found.boxes) == places[0] * places[1]
    assert np.allclose(found.boxes, boxes, atol=2e-4)
    for label, box in enumerate(boxes):
        merged = system.of_class(picture, label)
        assert np.allclose(merged.box, box, atol=2e-4)
        assert merged.score == len(found.boxes)  # all of them are merged into one


@pytest.mark.parametrize("short", [20, 24, 47, 90])
def test_a_rescaled_picture(short):
    """The boxes come back to the pixels of the picture as it came. What remains is the rounding of colours to whole
    numbers, half a pixel of it, and of the sides."""
    height, width, box = 60, 100, [20.0, 15.0, 70.0, 45.0]
    sides = short, round(100 * short / 60)
    factors = np.array([sides[1] / width, sides[0] / height] * 2)
    # A colour of the rescaled picture tells a place in the original: the net has to work in those units.
    net = netc.load_net(INPUT + BODY.replace("OUTPUTS", "4"))
    knowing(net, [edge * factor for edge, factor in zip(box, factors)])
    weights, biases = net.params["box_of"]
    cells = weights.data.view(4, 3, 4, 4)
    cells[0, 2, 0, 0] *= factors[0]
    cells[1, 1, 0, 0] *= factors[1]
    # The middle of the first cell lies 2 pixels from the corner, and colours tell the middle of a pixel less a half.
    biases.data[:2] += torch.tensor((2 - 0.5 * factors[:2]) / WINDOW - 1.5 / WINDOW)
    found = everywhere(
        localiser(Classifier(net, mean=(0, 0, 0))), None, Picture(ramp(height, width), 0.0, "ramp"), short
    )
    assert len(found.boxes) > 1
    assert np.abs(found.boxes[:, 0] - box).max() < 0.8


def test_test_finds_the_boxes_of_a_database(tmp_path, monkeypatch, capsys):
    """netc convert-imageset --boxes, then both protocols: an IoU of 1 in each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    sizes = [(24, 40), (31, 24), (24, 24), (24, 57)]
    for number, size in enumerate(sizes):
        Image.fromarray(ramp(*size)).save(tmp_path / f"photos/{number}.png")
    Path("list.txt").write_text("".join(f"{number}.png 0\n" for number in range(len(sizes))))
    Path("boxes.txt").write_text("".join(f"{number}.png 6 5 19 22\n" for number in range(len(sizes))))
    assert main(["convert-imageset", "photos", "list.txt", "val_lmdb", "--boxes", "boxes.txt"]) == 0
    Path("net.prototxt").write_text(DATA + BODY.replace("OUTPUTS", "4") + LOSS)
    net = knowing(netc.load_net("net.prototxt", shapes={"data": (1, 3, 16, 16)}), [6, 5, 19, 22])
    with open("net.npz", "wb") as file:
        write_npz(file, {"box_of": [blob.detach().numpy() for blob in net.params["box_of"]]})
    words = ["test", "net.prototxt", "--weights", "net.npz", "--localisation", "--json"]
    for view in ("centre", "dense"):
        capsys.readouterr()
        assert main([*words, "--view", view]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["mean_iou"] == pytest.approx(1, abs=1e-5)
        assert (found["images"], found["ground_truth_class_error"]) == (4, 0)
