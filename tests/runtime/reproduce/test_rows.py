"""netc reproduce: rows against posteriors of their own, missing weights, differences, and what is kept."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc
from netc import proto
from netc.cli._main import run as main
from netc.files.shipped import FOLDER

TABLE = """
table: "mine" title: "A table of my own" deviation: ["T3", "T99"]
row { name: "centre" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: 80 } view: CENTRE flip: false }
row {
  name: "dense" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: [72, 80] }
  paper { measure: TOP1_ERROR value: 24.8 } paper { measure: TOP5_ERROR value: 7.5 }
}
row {
  name: "difference" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: 80 } above: "centre"
  paper { measure: TOP1_ERROR value: 7 }
}
row {
  name: "absent" net { net: "mini_vgg_D" step: "D_jitter" train_side: [73, 146] test_side: 80 }
  paper { measure: TOP1_ERROR value: 25.5 }
}
row {
  name: "boxes" net { net: "mini_vgg_D_PCR" step: "PCR" train_side: 80 test_side: 80 } view: CENTRE
  paper { measure: BOX_ERROR value: 33.1 }
}
row {
  name: "features" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: 80 } task { name: "voc2007" }
  paper { measure: MEAN_AP value: 89.3 }
}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """mine.prototxt, weights/mini_vgg_A_iter_9.caffemodel and an older one, photos of ten classes."""
    root = tmp_path_factory.mktemp("reproduce")
    (root / "mine.prototxt").write_text(TABLE)
    (root / "weights").mkdir()
    save(root / "weights" / "mini_vgg_A_iter_10.caffemodel")
    for name in ("mini_vgg_A_iter_9", "mini_vgg_A_LRN_iter_11"):
        (root / "weights" / f"{name}.caffemodel").write_bytes(b"never read")
    draws = np.random.default_rng(5)
    for label in range(10):
        (root / "photos" / f"c{label}").mkdir(parents=True)
        for number in range(2):
            pixels = draws.integers(0, 256, 3) + draws.integers(0, 60, (80, 90, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "photos" / f"c{label}" / f"{number}.png")
    return root


def save(path: Path, net: str = "mini_vgg_A") -> None:
    """Random weights that keep the size of what goes through."""
    draws, message = np.random.default_rng(0), proto.NetParameter(name=net)
    for name, blobs in netc.load_net(str(FOLDER / net / "deploy.prototxt")).params.items():
        layer = message.layer.add(name=name, type="Convolution" if blobs[0].dim() == 4 else "InnerProduct")
        for blob in blobs:
            spread = 0.0 if blob.dim() == 1 else math.sqrt(2 / blob[0].numel())
            made = layer.blobs.add(data=draws.normal(0, spread, blob.numel()).tolist())
            made.shape.dim.extend(blob.shape)
    path.write_bytes(message.SerializeToString())


def reproduce(home: Path, capsys, *more: str) -> tuple[int, dict]:
    words = ["reproduce", str(home / "mine.prototxt"), "--data", str(home / "photos"), "--json"]
    status = main([*words, "--weights-dir", str(home / "weights"), *more])
    return status, json.loads(capsys.readouterr().out)


def errors(home: Path, **protocol) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures are wrong by the first, and by the first five classes."""
    weights = str(home / "weights" / "mini_vgg_A_iter_10.caffemodel")
    net = netc.load_net(str(FOLDER / "mini_vgg_A" / "deploy.prototxt"), weights=weights)
    paths = sorted((home / "photos").glob("*/*.png"))
    found = netc.posteriors(net, paths, mean=(103.939, 116.779, 123.68), **protocol)
    truth = found[np.arange(20), np.repeat(np.arange(10), 2)]
    rank = (found >= truth[:, None]).sum(1) - 1
    return rank >= 1, rank >= 5


def test_the_rows(home: Path, capsys) -> None:
    status, found = reproduce(home, capsys)
    assert status == 0
    (table,) = found["tables"]
    rows = {row["name"]: row for row in table["rows"]}
    assert [one["number"] for one in table["deviations"]] == ["T3", "T99"]
    first, five = errors(home, scales=(72, 80))
    top1, top5 = rows["dense"]["figures"]
    assert (top1["paper"], top5["paper"]) == (24.8, 7.5)
    assert top1["measured"] == pytest.approx(100 * first.mean())
    assert top5["measured"] == pytest.approx(100 * five.mean())
    assert top1["interval"][0] < top1["measured"] <= top1["interval"][1]
    assert rows["dense"]["weights"] == {"mini_vgg_A": "mini_vgg_A_iter_10.caffemodel"}  # the newest, and no other net's
    centre, _ = errors(home, view="centre", flip=False, scales=(80,))
    dense, _ = errors(home, scales=(80,))
    difference = rows["difference"]["figures"][0]
    assert difference["paper"] == 7
    assert difference["measured"] == pytest.approx(100 * (dense.mean() - centre.mean()))
    assert difference["interval"][0] <= difference["measured"] <= difference["interval"][1]
    assert rows["absent"]["missing"] == ["mini_vgg_D_jitter.caffemodel"]
    assert rows["absent"]["figures"][0] | {"paper": 25.5, "measured": None} == rows["absent"]["figures"][0]
    assert (rows["boxes"]["missing"], rows["boxes"]["why"]) == ([], "the pictures have no boxes")
    assert rows["features"]["why"] == "no folder of the data set voc2007 is given: --set voc2007 FOLDER"
    assert found["miniature"] == []


def test_the_second_time_the_nets_do_not_run(home: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.evaluate.classifier import Classifier

    first = reproduce(home, capsys)
    monkeypatch.setattr(Classifier, "_look", None)
    assert reproduce(home, capsys, "--cache", str(home / "weights" / "posteriors")) == first


def test_rows_without_weights_are_named(home: Path, tmp_path: Path, capsys) -> None:
    words = ["reproduce", "5", "--data", str(home / "photos"), "--weights-dir", str(tmp_path)]
    assert main(words) == 66
    out = capsys.readouterr().out
    assert out.count("not there: vgg_D_jitter.caffemodel") == out.count("not there: vgg_E_jitter.caffemodel") == 3
    assert "D, multi-crop & dense" in out
    assert "24.4" in out


@pytest.mark.parametrize(
    "words, status, said",
    [
        (["table7", "--data", "x", "--weights-dir", "x"], 2, "C310"),
        (["table5", "--data", "x"], 2, "--weights-dir"),
        (["table5", "table11", "--weights-dir", "x"], 2, "give --data"),
        (["table11", "--set", "voc2008", "x", "--weights-dir", "x"], 2, "voc2008"),
        (["table11", "--set", "voc2007", "x", "--set", "voc2007", "y", "--weights-dir", "x"], 2, "once"),
        (["table11", "--set", "voc2007", "nowhere", "--weights-dir", "x"], 65, "D590"),
        (["--mini", "--set", "voc2007", "nowhere"], 2, "no miniature"),
        (["--data", "x", "--weights-dir", "x"], 2, "name a table"),
        (["table5", "--data", "x", "--weights-dir", "x", "--iterations", "3"], 2, "is for --mini"),
        (["--mini", "table3", "--weights-dir", "x"], 2, "trains its own"),
        (["--mini", "table11"], 65, "R780"),
        (["table5", "--data", "nowhere", "--weights-dir", "nowhere"], 66, "F140"),
        (["table5", "--data", "nowhere", "--weights-dir", "."], 66, "to take pictures from"),
    ],
)
def test_wrong_words(words, status, said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert (main(["reproduce", *words]), said in capsys.readouterr().err) == (status, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_find_the_same(home: Path, tmp_path: Path) -> None:
    found = []
    for count in ("1", "2"):
        words = ["reproduce", str(home / "mine.prototxt"), "--data", str(home / "photos"), "--json", "--nproc", count]
        words += ["--weights-dir", str(home / "weights"), "--cache", str(tmp_path / count)]
        done = subprocess.run([sys.executable, "-m", "netc", *words], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
