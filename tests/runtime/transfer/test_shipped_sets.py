"""Data sets as their authors ship them, from the folder to the figures, by netc features and netc svm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netc.cli._main import run as main
from netc.errors import NetcError
from netc.runtime.transfer import files
from netc.runtime.transfer.sets import task_of, usual
from tests.runtime.transfer import made_sets

NET = """
name: "colours"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 12 kernel_size: 3 stride: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 2 } }
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    from netc import proto

    home = tmp_path_factory.mktemp("net")
    (home / "net.prototxt").write_text(NET)
    made = proto.NetParameter(name="colours")
    draws = np.random.default_rng(4)
    for name, kind, shapes in (
        ("conv", "Convolution", [(12, 3, 3, 3), (12,)]),
        ("fc", "InnerProduct", [(2, 300), (2,)]),
    ):
        layer = made.layer.add(name=name, type=kind)
        for shape in shapes:
            layer.blobs.add(data=draws.normal(0, 0.1, int(np.prod(shape))).tolist()).shape.dim.extend(shape)
    (home / "net.caffemodel").write_bytes(made.SerializeToString())
    return home


def features(net: Path, name: str, folder: Path, out: Path, capsys) -> tuple[int, dict, str]:
    words = ["features", str(net / "net.prototxt"), str(folder), "--weights", str(net / "net.caffemodel"), "--json"]
    words += ["-o", str(out), "--mean", "120", "--scales", "16,20", "--threads", "1", "--set", name]
    status = main(words)
    said = capsys.readouterr()
    return status, json.loads(said.out), said.err


def svm(name: str, folder: Path, out: Path, capsys, *more: str) -> tuple[int, dict, str]:
    status = main(["svm", name, str(folder), "--features", str(out), "--json", "--c", "1", "--c", "10", *more])
    said = capsys.readouterr()
    return status, json.loads(said.out), said.err


def vocs_rule(scores, positive, eleven: bool) -> float:
    """The devkits' code written down again: VOCap.m of 2010 and later, and the eleven recalls of VOC 2007."""
    order = np.argsort(-np.asarray(scores))
    tp = np.cumsum(positive[order])
    fp = np.cumsum(~positive[order])
    rec, prec = tp / positive.sum(), tp / (tp + fp)
    if eleven:
        return (
            sum(max([p for r, p in zip(rec, prec, strict=True) if r >= t / 10 - 1e-12], default=0) for t in range(11))
            / 11
        )
    mrec, mpre = [0.0, *rec, 1.0], [0.0, *prec, 0.0]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return sum((mrec[i + 1] - mrec[i]) * mpre[i + 1] for i in range(len(mrec) - 1) if mrec[i + 1] != mrec[i])


def test_voc_2007(net: Path, tmp_path: Path, capsys) -> None:
    """Against machines and precisions of its own, difficult pictures left out of both."""
    svc = pytest.importorskip("sklearn.svm")
    home, out = (
        made_sets.voc(tmp_path / "VOCdevkit" / "VOC2007", {"train": 8, "val": 7, "test": 12}),
        tmp_path / "f.npz",
    )
    status, made, _ = features(net, "voc2007", home, out, capsys)
    assert (status, made["rows"], made["dimensions"]) == (0, 27, 12)
    status, found, _ = svm("voc2007", home, out, capsys)
    assert (status, found["set"], found["left_out"]) == (0, "VOC2007 classification", [])
    assert found["note"] == "the folder has 3 classes, and voc2007 has 20"
    assert (found["splits"][0]["train"], found["splits"][0]["test"]) == (15, 12)
    kept, c = files.read(str(out)), found["splits"][0]["c"]
    rows = {Path(key).stem: np.asarray(row, np.float64) for key, row in zip(kept.keys, kept.values, strict=True)}
    for one, figures in zip(made_sets.CLASSES, found["classes"], strict=True):
        marks = {part: _marks(home / "ImageSets" / "Main" / f"{one}_{part}.txt") for part in ("trainval", "test")}
        x, y = (np.array(part) for part in zip(*((rows[name], mark) for name, mark in marks["trainval"]), strict=True))
        machine = svc.LinearSVC(C=c, dual="auto", random_state=0, max_iter=20_000).fit(x, y)
        scores = machine.decision_function(np.array([rows[name] for name, _ in marks["test"]]))
        positive = np.array([mark == 1 for _, mark in marks["test"]])
        assert figures["average precision (area)"]["mean"] == pytest.approx(vocs_rule(scores, positive, False))
        assert figures["average precision (11-point)"]["mean"] == pytest.approx(vocs_rule(scores, positive, True))
    for name in ("average precision (area)", "average precision (11-point)"):
        low, high = found["figures"][name]["interval"]
        assert 0 <= low <= found["figures"][name]["mean"] <= high <= 1


def _marks(path: Path) -> list[tuple[str, int]]:
    """Without the difficult ones."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(name, int(mark)) for name, mark in lines if mark != "0"]


def test_voc_2012_has_no_labels_of_its_test_set(net: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    home = made_sets.voc(tmp_path / "VOCdevkit" / "VOC2012", {"train": 10, "val": 8}, "2008_")
    status, made, _ = features(net, "voc2012", home, tmp_path / "f.npz", capsys)
    status, found, _ = svm("voc2012", home, tmp_path / "f.npz", capsys)
    assert (status, made["rows"], found["splits"][0]["train"], found["splits"][0]["test"]) == (0, 18, 10, 8)
    assert found["note"].startswith(
        "tested on val, trained on train: there are no lists of a test set; the folder has 3"
    )
    for lines in ("2008_000099  0\n2008_000098  0\n", "2008_000099\n2008_000098\n"):
        for one in made_sets.CLASSES:
            (home / "ImageSets" / "Main" / f"{one}_test.txt").write_text(lines)
        task = task_of("voc2012", home, usual("voc2012"))
        assert "the lists of the test set have no labels" in task.note
        assert len(task.items) == 18


def test_pictures_that_are_missing_or_broken_are_named_once(net: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    home = made_sets.voc(tmp_path / "VOC2007", {"train": 6, "val": 6, "test": 9})
    (home / "JPEGImages" / "000004.jpg").unlink()
    (home / "JPEGImages" / "000016.jpg").write_bytes(b"\xff\xd8 no more")
    status, made, said = features(net, "voc2007", home, tmp_path / "f.npz", capsys)
    assert (status, made["rows"]) == (65, 19)
    assert "000004.jpg" in said
    assert "000016.jpg" in said
    status, found, said = svm("voc2007", home, tmp_path / "f.npz", capsys)
    assert (status, found["left_out"]) == (0, ["JPEGImages/000004.jpg", "JPEGImages/000016.jpg"])
    assert "2 pictures left out that could not be read" in said
    assert (found["splits"][0]["train"], found["splits"][0]["test"]) == (11, 8)


def test_actions(net: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("sklearn")
    home = made_sets.actions(tmp_path / "VOCdevkit" / "VOC2012", {"train": 10, "val": 8})
    status, made, _ = features(net, "voc-action", home, tmp_path / "f.npz", capsys)
    assert (status, made["rows"]) == (0, 18 * 3)
    figures = {}
    for more, dimensions in ((), 12), (("--boxes",), 24):
        status, found, _ = svm("voc-action", home, tmp_path / "f.npz", capsys, *more)
        assert (status, found["dimensions"], [one["class"] for one in found["classes"]]) == (
            0,
            dimensions,
            ["jumping", "reading"],
        )
        figures[dimensions] = found["figures"]["average precision (area)"]["mean"]
    assert figures[24] > figures[12]  # who of a picture does it, the whole picture cannot say
    assert figures[24] > 0.95


@pytest.mark.parametrize(
    "name, train, test, classes",
    [
        ("caltech101", 3 * 30, 3 + 2 + 1, ["BACKGROUND_Google", "Faces", "anchor"]),
        ("caltech256", 3 * 60, 2 + 1 + 3, ["001.ak47", "056.dog", "257.clutter"]),
    ],
)
def test_caltech(name: str, train: int, test: int, classes, net: Path, tmp_path: Path, capsys) -> None:
    """The paper's splits without a word of how; stray files and deeper folders are not of the set."""
    pytest.importorskip("sklearn")
    home = getattr(made_sets, name)(tmp_path)
    status, made, _ = features(net, name, home, tmp_path / "f.npz", capsys)
    assert (status, made["rows"]) == (0, train + test)
    status, found, _ = svm(name, home, tmp_path / "f.npz", capsys)
    assert [(one["train"], one["test"]) for one in found["splits"]] == [(train, test)] * 3
    assert [one["class"] for one in found["classes"]] == classes
    recall = found["figures"]["recall"]
    assert recall["mean"] > 0.9
    assert recall["interval"] is None  # what the splits say is in the deviation
    assert recall["deviation"] is not None
    assert "the folder has 3 classes" in found["note"]


@pytest.mark.parametrize("name", ["voc2007", "voc2012", "voc-action", "caltech101", "caltech256"])
def test_another_sets_folder(name: str, tmp_path: Path) -> None:
    parts = {"train": 2, "val": 1}
    other = made_sets.caltech101(tmp_path) if name[0] == "v" else made_sets.voc(tmp_path / "VOC2007", parts)
    with pytest.raises(NetcError) as caught:
        task_of(name, other, usual(name))
    assert caught.value.code == "D590"
    assert caught.value.place is not None
