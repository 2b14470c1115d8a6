"""Localisers that are trained: on the demonstration's pictures from its classifier, and on photos of raccoons.

docs/localisation.md has the figures of longer runs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc.cli import main
from netc.files.shipped import FOLDER
from netc.runtime.data.datum import from_datum
from netc.runtime.demo.draw import write_set
from netc.runtime.localise.judge import best_constant, own_boxes
from tests.runtime.localise import made, raccoons


def constant(database: Path) -> float:
    """The mean IoU of the best constant box with the objects of a database."""
    import lmdb

    with lmdb.open(str(database), readonly=True, lock=False) as env, env.begin() as transaction:
        pictures = [from_datum(bytes(key), bytes(value), None) for key, value in transaction.cursor()]
    return best_constant([own_boxes(one) for one in pictures], [one.size[:0:-1] for one in pictures])[1]


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["test", *words, "--localisation", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_from_the_demo_classifier(tmp_path, monkeypatch, capsys):
    """Its classifier for a while, then its fully-connected layers for boxes: the central crop gives better boxes than
    the best constant box, which is good already (the objects are near the middle); those of all places, merged and
    rated, are right on most pictures, though each window by itself sees but a part of the object."""
    monkeypatch.chdir(tmp_path)
    for name, first, count in (("train", 0, 800), ("val", 1500, 200)):
        write_set(tmp_path / name, 1, first, count)
        assert main(["convert-imageset", name, f"{name}_lmdb", "--boxes", f"{name}/boxes.json"]) == 0
    for file in ("solver.prototxt", "train_val.prototxt"):
        Path(file).write_text((FOLDER / "mini_vgg_A" / file).read_text())
    assert main(["train", "solver.prototxt", "--iterations", "300"]) == 0
    Path("SCR.prototxt").write_text(made.on_net_a("SCR"))
    Path("SCR_solver.prototxt").write_text(made.solver("SCR", 800, "mini_vgg_A_iter_300.caffemodel", fc_alone=True))
    assert main(["train", "SCR_solver.prototxt"]) == 0
    net = ["SCR.prototxt", "--weights", "SCR_fc_iter_800.caffemodel"]
    centre = measured(capsys, *net)
    assert centre["mean_iou"] > constant(tmp_path / "val_lmdb")
    rating = ["--classifier", "train_val.prototxt", "--classifier-weights", "mini_vgg_A_iter_300.caffemodel"]
    dense = measured(capsys, *net, "--view", "dense", "--scales", "96", *rating)
    assert dense["top5_localisation_error"] <= dense["top1_localisation_error"]
    assert dense["ground_truth_class_error"] <= dense["top5_localisation_error"] < 0.4


@pytest.mark.slow
def test_raccoons(tmp_path, shared, monkeypatch, capsys):
    """GoogLeNet's features, 160 photos: on the 40 others the mean IoU is above that of the best constant box, which is
    chosen on these very photos."""
    monkeypatch.chdir(tmp_path)
    zoo = shared / "zoo"
    raccoons.prepare(tmp_path, zoo / "images/loc/raccoon", zoo / "caffemodel/bvlc_googlenet", 150)
    assert main(["train", "solver.prototxt"]) == 0
    found = measured(capsys, "raccoons.prototxt", "--weights", "raccoons_iter_150.caffemodel")
    assert found["images"] == 40
    assert found["mean_iou"] > constant(tmp_path / "test_lmdb")
