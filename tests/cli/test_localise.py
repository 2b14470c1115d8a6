"""`netc localise` and `netc test --localisation` as a user types them, with nets whose boxes are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import netc
from netc.cli import main
from netc.weights.formats.npz import write_npz

NET = """name: "known"
layer { name: "data" type: "Data" top: "data" top: "label" top: "box" include { phase: TEST }
  data_param { source: "val_lmdb" batch_size: 2 }
  transform_param { rescale_param { short_side: 20 } crop_size: 16 mean_value: 100 } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE kernel_size: 4 stride: 4 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: OUTPUTS } }
LOSS
"""
SCR = NET.replace("OUTPUTS", "4").replace(
    "LOSS",
    'layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "box" top: "loss" }\n'
    'layer { name: "quiet" type: "Silence" bottom: "label" }',
)
CLASSES = NET.replace("OUTPUTS", "6").replace(
    "LOSS",
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }\n'
    'layer { name: "quiet" type: "Silence" bottom: "box" }',
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """val_lmdb of four pictures of 40×50 with a box each, two nets and their weights: one says "my whole window", one
    that the first class is the likeliest and the last the least."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a", "b", "c", "d")):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.effect_noise((50, 40), 60 + number).convert("RGB").save(tmp_path / f"photos/{name}.png")
    (tmp_path / "list.txt").write_text("a.png 0\nb.png 1\nc.png 5\nd.png 0\n")
    (tmp_path / "boxes.txt").write_text("a.png 9 4 41 36\nb.png 9 4 41 36\nc.png 9 4 41 36\nd.png 0 0 6 40\n")
    assert main(["convert-imageset", "photos", "list.txt", "val_lmdb", "--boxes", "boxes.txt"]) == 0
    save("scr", SCR, [0.5, 0.5, 1, 1])
    save("classes", CLASSES, [5, 4, 3, 2, 1, 0])
    return tmp_path


def save(name, text, bias):
    Path(f"{name}.prototxt").write_text(text)
    net = netc.load_net(f"{name}.prototxt", shapes={"data": (2, 3, 20, 25)})
    net.params["fc"][0].data.zero_()
    net.params["fc"][1].data.copy_(torch.tensor(bias))
    with open(f"{name}.npz", "wb") as file:
        write_npz(file, {key: [blob.detach().numpy() for blob in blobs] for key, blobs in net.params.items()})


RATED = ["--classifier", "classes.prototxt", "--classifier-weights", "classes.npz"]


def test_protocol_1(here, capsys):
    """The crop of 16×16 in the middle of 20×25 is 8…40 × 4…36 in the picture: (25 - 16) // 2 is 4."""
    assert main(["test", "scr.prototxt", "--weights", "scr.npz", "--localisation", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shared = 31 * 32 / (33 * 32)
    assert (found["images"], found["view"], found["scales"]) == (4, "centre", [20])
    assert found["ground_truth_class_error"] == 0.25
    assert found["mean_iou"] == pytest.approx(3 * shared / 4)
    assert 0 < found["interval"][0] < 0.25 < found["interval"][1] < 1


def test_protocol_2(here, capsys):
    """All places of a scale: windows at 0, 4, 8 (Caffe rounds the pooled plane up) and, below, 0 and 4."""
    words = ["test", "scr.prototxt", "--weights", "scr.npz", "--localisation", "--view", "dense", "--json", *RATED]
    assert main([*words, "--threshold", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top5_localisation_error"] == 0.5  # class 5 is not named, and d's box is another
    assert found["top1_localisation_error"] == 0.75
    assert found["ground_truth_class_error"] == 0.25
    assert main([word for word in words if word not in ("--json", *RATED)]) == 0
    assert "ground truth class error: " in capsys.readouterr().out


def test_localise(here, capsys):
    words = ["localise", "photos/a.png", "photos", "--net", "scr.prototxt", "--weights", "scr.npz"]
    assert main([*words, *RATED, "-o", "out", "--top", "2", "--threshold", "3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert json.loads((here / "out/boxes.json").read_text()) == shown
    drawn = [one["drawn"] for one in shown["images"]]
    assert drawn == ["out/a.png", "out/a-2.png", "out/b.png", "out/c.png", "out/d.png"]
    (first, second) = shown["images"][0]["boxes"]
    assert (first["label"], second["label"]) == (0, 1)
    x1, y1, x2, y2 = first["box"]
    assert 0 <= x1 < x2 <= 50
    assert 0 <= y1 < y2 <= 40
    with Image.open("out/a.png") as image, Image.open("photos/a.png") as original:
        assert image.size == original.size
        changed = np.abs(np.asarray(image).astype(int) - np.asarray(original)).max(2) > 40
    edge = changed[round(y2) - 1, round(x1) : round(x2)]  # its lower edge
    assert edge.mean() > 0.9


def test_one_box_without_a_classifier_and_a_class_that_is_known(here, capsys):
    words = ["localise", "photos/a.png", "--net", "scr.prototxt", "--weights", "scr.npz"]
    assert main([*words, "-o", "out"]) == 0
    assert "photos/a.png  " in capsys.readouterr().out
    (here / "names.txt").write_text("cat\ndog\n")
    assert main([*words, "-o", "out", "--force", "--labels", "names.txt", "--label", "dog"]) == 0
    assert "photos/a.png  dog  " in capsys.readouterr().out
    assert main([*words, "-o", "out", "--force", "--label", "dog"]) == 2


def test_pictures_that_cannot_be_used_do_not_stop_the_others(here, capsys):
    (here / "photos/b.png").write_text("no picture")
    words = ["localise", "photos", "--net", "scr.prototxt", "--weights", "scr.npz", "-o", "out"]
    assert main(words) == 65
    assert "photos/b.png: the picture cannot be used" in capsys.readouterr().err
    shown = json.loads((here / "out/boxes.json").read_text())
    assert [one["image"] for one in shown["images"]] == ["photos/a.png", "photos/c.png", "photos/d.png"]
    assert [one["image"] for one in shown["failed"]] == ["photos/b.png"]
    assert main(words) == 73  # nothing is written over


def test_odd_pictures(here):
    """Grey, CMYK, 16 bits, turned by EXIF, and of one pixel: each is localised as it is to be seen."""
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = here / "odd"
    folder.mkdir()
    gray = Image.effect_noise((30, 20), 50)
    gray.save(folder / "gray.png")
    gray.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(folder / "deep.png")
    gray.convert("RGB").save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    assert main(["localise", "odd", "--net", "scr.prototxt", "--weights", "scr.npz", "-o", "out"]) == 0
    sizes = {
        one["drawn"]: (one["width"], one["height"]) for one in json.loads(Path("out/boxes.json").read_text())["images"]
    }
    assert sizes["out/turned.png"] == (20, 30)
    assert sizes["out/one.png"] == (1, 1)


@pytest.mark.parametrize(
    "words, status",
    [
        (["localise", "photos", "--net", "scr.prototxt", "--weights", "scr.npz", "--weights", "b.npz", "-o", "o"], 2),
        (["localise", "nothing", "--net", "scr.prototxt", "--weights", "scr.npz", "-o", "o"], 66),
        (["localise", "photos", "--net", "classes.prototxt", "--weights", "classes.npz", "-o", "o"], 65),
        (["localise", "photos", "--net", "scr.prototxt", "--weights", "scr.npz", "-o", "o", "--scales", "x"], 2),
        (["localise", "photos", "--net", "scr.prototxt", "--weights", "scr.npz", "-o", "scr.npz"], 73),
        (["test", "scr.prototxt", "--localisation"], 2),
        (["test", "scr.prototxt", "--weights", "scr.npz", "--localisation", "--data", "nothing"], 66),
    ],
)
def test_what_is_refused(here, words, status):
    assert main(words) == status


def test_records_without_boxes(here, capsys):
    assert main(["convert-imageset", "photos", "list.txt", "bare_lmdb"]) == 0
    words = ["test", "scr.prototxt", "--weights", "scr.npz", "--localisation", "--data", "bare_lmdb"]
    assert main(words) == 65
    assert "D564" in capsys.readouterr().err


PCR = NET.replace("OUTPUTS", "24").replace(
    "LOSS",
    'layer { name: "own" type: "LabelSlice" bottom: "fc" bottom: "label" top: "own" '
    "label_slice_param { slice_size: 4 } }\n"
    'layer { name: "loss" type: "EuclideanLoss" bottom: "own" bottom: "box" top: "loss" }',
)


@pytest.mark.parametrize("net, rated", [("pcr", []), ("scr", RATED), ("scr", [])])
def test_a_class_that_the_nets_do_not_know(here, capsys, net, rated):
    """In a database and on the command line; a net with one box for all classes takes any, unless scores rate it."""
    save("pcr", PCR, [0.5, 0.5, 1, 1] * 6)
    (here / "other.txt").write_text("a.png 6\n")
    refused = net == "pcr" or bool(rated)
    assert main(["convert-imageset", "photos", "other.txt", "other_lmdb", "--boxes", "boxes.txt"]) == 0
    words = ["test", f"{net}.prototxt", "--weights", f"{net}.npz", "--localisation", "--data", "other_lmdb"]
    for view in ("dense", "centre"):
        capsys.readouterr()
        assert main([*words, "--view", view, *rated]) == (65 if refused else 0)
        assert ("R782" in capsys.readouterr().err) is refused
    words = ["localise", "photos/a.png", "--net", f"{net}.prototxt", "--weights", f"{net}.npz", "-o", "out"]
    assert main([*words, "--label", "6", *rated]) == (65 if refused else 0)
    assert (here / "out/a.png").exists() is not refused


def test_classifiers_are_no_nets_of_boxes(here, capsys):
    """Of four, and of twenty classes, which is four times five; in train_val.prototxt, and as it is put to use."""
    for count in (4, 20):
        text = CLASSES.replace("num_output: 6", f"num_output: {count}")
        save("many", text, [0.0] * count)
        assert main(["test", "many.prototxt", "--weights", "many.npz", "--localisation"]) == 65
        assert f"holds the scores of {count} classes" in capsys.readouterr().err
        Path("deploy.prototxt").write_text(
            'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }\n'
            + text[text.index('layer { name: "pool"') : text.index('layer { name: "loss"')]
            + 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }\n'
        )
        words = ["localise", "photos/a.png", "--net", "deploy.prototxt", "--weights", "many.npz", "--mean", "100"]
        assert main([*words, "-o", "out"]) == 65
        assert "R760" in capsys.readouterr().err
