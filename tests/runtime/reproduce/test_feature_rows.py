"""netc reproduce on rows of features: Tables 11 and 12, and a table of small nets from the pictures to the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.cli._main import run as main
from netc.files.shipped import FOLDER
from netc.runtime.reproduce.weights import find
from netc.runtime.transfer import measure, sets
from netc.runtime.transfer.files import Features
from netc.solver.tables import Trained
from tests.runtime.reproduce.test_rows import save
from tests.runtime.transfer import made_sets

TABLE = """
table: "mine"
row {
  name: "A" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: [72, 80] } task { name: "voc2007" }
  paper { measure: MEAN_AP value: 89.3 }
}
row {
  name: "A & B" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: [72, 80] }
  net { net: "mini_vgg_B" step: "B" train_side: 80 test_side: 80 }
  task { name: "voc2007" stack: true }
  paper { measure: MEAN_AP value: 89.7 }
}
row {
  name: "person" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: 80 } task { name: "voc-action" box: true }
  paper { measure: MEAN_AP value: 84.0 }
}
row {
  name: "elsewhere" net { net: "mini_vgg_A" step: "A" train_side: 80 test_side: 80 } task { name: "caltech101" }
  paper { measure: MEAN_RECALL value: 91.8 spread: 1.0 }
}
"""
MEAN = (103.939, 116.779, 123.68)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("features")
    (root / "mine.prototxt").write_text(TABLE)
    (root / "weights").mkdir()
    for net in ("mini_vgg_A", "mini_vgg_B"):
        save(root / "weights" / f"{net}.caffemodel", net)
    made_sets.voc(root / "VOCdevkit" / "VOC2007", {"train": 4, "val": 4, "test": 6})
    made_sets.actions(root / "VOCdevkit" / "VOC2012", {"train": 6, "val": 4})
    return root


def reproduce(home: Path, capsys, *more: str) -> tuple[int, dict]:
    devkit = home / "VOCdevkit"
    words = ["reproduce", str(home / "mine.prototxt"), "--weights-dir", str(home / "weights"), "--json"]
    words += ["--set", "voc2007", str(devkit / "VOC2007"), "--set", "voc-action", str(devkit / "VOC2012")]
    status = main([*words, *more])
    return status, json.loads(capsys.readouterr().out)


def described(home: Path, net: str, paths, scales, combine: str) -> np.ndarray:
    loaded = netc.load_net(str(FOLDER / net / "deploy.prototxt"), weights=str(home / "weights" / f"{net}.caffemodel"))
    return netc.features(loaded, paths, scales=scales, combine=combine, mean=MEAN)


def test_the_rows(home: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    status, found = reproduce(home, capsys)
    assert (status, found["data"], found["findings"]) == (0, None, [])
    rows = {row["name"]: row for row in found["tables"][0]["rows"]}
    folder = home / "VOCdevkit" / "VOC2007"
    items = sets.SETS["voc2007"].items(folder)
    paths = [one.path for one in items]
    a, stacked = (described(home, "mini_vgg_A", paths, (72, 80), how) for how in ("average", "stack"))
    b = described(home, "mini_vgg_B", paths, 80, "stack")
    for name, values, paper in (("A", a, 89.3), ("A & B", np.concatenate([stacked, b], 1), 89.7)):
        given = Features(values.astype(np.float32), [one.key for one in items], [0] * len(items), {})
        want = measure.as_dict(measure.measured("voc2007", str(folder), [("here", given)]))
        (figure,) = rows[name]["figures"]
        assert (figure["measure"], figure["paper"], rows[name]["images"]) == ("mean_ap", paper, 14)
        assert figure["measured"] == pytest.approx(100 * want["figures"]["average precision (11-point)"]["mean"], abs=1)
        assert figure["interval"][0] <= figure["measured"] <= figure["interval"][1]
        assert "by average precision (11-point); by average precision (area) " in rows[name]["note"]
        assert rows[name]["svm"]["dimensions"] == values.shape[1]
    assert rows["person"]["svm"]["set"] == "VOC2012 action"
    assert rows["person"]["svm"]["dimensions"] == 2 * described(home, "mini_vgg_A", [items[0].path], 80, "average").size
    assert rows["person"]["figures"][0]["measured"] > 90  # the coloured box is the person's
    assert rows["elsewhere"]["why"] == "no folder of the data set caltech101 is given: --set caltech101 FOLDER"
    assert rows["elsewhere"]["figures"][0]["measured"] is None

    from netc.runtime.evaluate.classifier import Classifier

    monkeypatch.setattr(Classifier, "_look", None)  # what is kept is enough
    assert reproduce(home, capsys) == (0, found)


def test_the_papers_tables_name_what_is_not_there(home: Path, tmp_path: Path, capsys) -> None:
    folder = str(home / "VOCdevkit" / "VOC2007")
    assert main(["reproduce", "11", "12", "--set", "voc2007", folder, "--weights-dir", str(tmp_path)]) == 66
    lines = capsys.readouterr().out.splitlines()
    lacking = [line.strip() for line in lines if "not measured" in line]
    assert len(lacking) == 14
    assert lacking[0] == "not measured: Net-D, voc2007: these weights are not there: vgg_D_jitter.caffemodel"
    both = "vgg_E_jitter.caffemodel; no folder of the data set voc2012 is given: --set voc2012 FOLDER"
    assert lacking[5].endswith(both)
    assert any("92.7 ± 0.5" in line for line in lines)


def test_the_published_nets_are_d_and_e(tmp_path: Path) -> None:
    wanted = {net: Trained(f"vgg_{net}", f"{net}_jitter") for net in "DE"}
    for layers, net in (("16", "D"), ("19", "E")):
        assert find(tmp_path, wanted[net]) is None
        published = tmp_path / f"VGG_ILSVRC_{layers}_layers.caffemodel"
        published.touch()
        assert find(tmp_path, wanted[net]) == str(published)
    (tmp_path / "vgg_D_jitter_iter_9.caffemodel").touch()
    assert find(tmp_path, wanted["D"]) == str(tmp_path / "vgg_D_jitter_iter_9.caffemodel")  # one's own comes first
    assert find(tmp_path, Trained("vgg_D", "D")) is None


@pytest.mark.slow
def test_two_processes_find_the_same(home: Path, tmp_path: Path) -> None:
    found = []
    for count in ("1", "2"):
        words = ["reproduce", str(home / "mine.prototxt"), "--weights-dir", str(home / "weights"), "--json"]
        words += ["--set", "voc2007", str(home / "VOCdevkit" / "VOC2007"), "--cache", str(tmp_path / count)]
        command = [sys.executable, "-m", "netc", *words, "--nproc", count]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
