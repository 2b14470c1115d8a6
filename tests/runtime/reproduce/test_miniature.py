"""The miniature of the paper's tables, from nothing to every row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc
from netc.cli._main import run as main
from netc.errors import NetcError
from netc.files.shipped import FOLDER
from netc.graph.read import open_file
from netc.runtime.demo import steps as demo
from netc.runtime.reproduce import boxes, mini
from netc.solver.tables import read_table, steps_of

NAMES = [*mini.TABLES]


def table(name):
    return read_table(open_file(FOLDER / "paper" / f"{name}.prototxt"))


def trained_side(step):
    """S of a small net's solver, and whether it tests at another size than it trains."""
    blocks = [one.rescale_param for one in step.param.override_param if one.HasField("rescale_param")]
    if not blocks:  # as its net tests it
        return (
            netc.read_net(Path(step.path).parent / "train_val.prototxt")
            .layer[1]
            .transform_param.rescale_param.short_side,
        )
    return (blocks[0].short_side,) if blocks[0].short_side else (blocks[0].min_short_side, blocks[0].max_short_side)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_tables_take_the_sides_of_the_small_solvers(name: str) -> None:
    for row, whole in zip(mini.small(table(name)).rows, table(name).rows, strict=True):
        assert [one.value for one in row.paper] == [one.value for one in whole.paper]
        for member in (*row.members, *row.naming):
            assert member.train_sides == trained_side(steps_of(member.trained.net)[member.trained.step])
            assert min(member.test_sides) >= 64  # the crop
        for small, large in zip(row.members, whole.members, strict=True):
            assert small.test_sides == tuple(sorted(small.test_sides))
            if small.trained.net.endswith(("SCR", "PCR")):  # windows fit, one more for each stride of 32
                assert all((side - 64) % 32 == 0 for side in small.test_sides)
                assert np.allclose(np.diff(small.test_sides), np.diff(large.test_sides))
            else:
                ratio = [side * 64 / 224 for side in large.test_sides]
                assert np.allclose(small.test_sides, ratio, atol=8)


def test_the_sides_of_table_9() -> None:
    rows = {row.name: row for row in mini.small(table("table9")).rows}
    assert [one.test_sides for one in rows["fusion"].members] == [(96,), (96, 128)]
    (large,) = rows["S = 384, Q = 384"].members
    assert (str(large.trained.step), str(large.rating.step), large.train_sides) == ("PCR_S128", "D_S110", (128,))
    assert [one.test_sides for one in rows["fusion"].naming] == [(73, 109, 146)] * 2


def test_the_sides_of_table_4() -> None:
    sides = {row.name: row.members[0].test_sides for row in mini.small(table("table4")).rows}
    assert sides["D, S = 256"] == (71, 80, 89)
    assert sides["D, S = 384"] == (101, 110, 119)
    assert sides["D, S = [256; 512]"] == (73, 109, 146)


def test_features_have_no_miniature() -> None:
    with pytest.raises(NetcError) as caught:
        mini.small(table("table11"))
    assert caught.value.code == "R780"


def test_the_steps_come_once_and_after_those_that_they_start_from() -> None:
    needed = [one for name in NAMES for row in mini.small(table(name)).rows for one in row.needed]
    steps = mini.steps_for(needed, 100)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names) == 18
    assert all(names.index(step.weights_from) < names.index(step.name) for step in steps if step.weights_from)
    lengths = {step.name: step.param.max_iter for step in steps}
    assert (lengths["A"], lengths["D"], lengths["D_S110"], lengths["PCR"]) == (100, 100, 40, 100)
    assert steps_of("mini_vgg_A")["A"].param.max_iter == 3000  # what is shared stays as it is


def photos(root: Path, classes: int, each: int) -> Path:
    draws = np.random.default_rng(1)
    for number in range(classes):
        (root / f"class{number}").mkdir(parents=True)
        for picture in range(each):
            pixels = draws.integers(0, 256, (90, 100 + picture, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"class{number}" / f"{picture}.png")
    return root


def test_photos_are_divided_by_class(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 10, 5)
    sets = mini._split(root)
    assert {name: len(one.entries) for name, one in sets.items()} == {"train": 40, "val": 10}
    assert sorted(entry.label for entry in sets["val"].entries) == list(range(10))
    both = {entry.name for one in sets.values() for entry in one.entries}
    assert len(both) == 50


@pytest.mark.parametrize("drawn", [True, False])
def test_photos_have_no_boxes_so_no_localiser_is_trained_on_them(
    drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "SETS", {"train": (0, 10), "val": (1500, 10)})
    root = None if drawn else str(photos(tmp_path / "photos", 10, 5))
    mini.prepare(tmp_path / "out", root, lambda text: None)
    monkeypatch.chdir(tmp_path / "out")
    tables = [mini.small(table(name)) for name in ("table3", "table8")]
    names = {one.net for one in mini.needed(tables)}
    assert "mini_vgg_A_LRN" in names
    assert ("mini_vgg_D_SCR" in names) == drawn
    assert boxes.has_boxes(tables[1].rows[0], mini.DATA) == drawn


def test_photos_of_other_classes_and_folders_of_others(tmp_path: Path, capsys) -> None:
    root, out = photos(tmp_path / "photos", 3, 1), tmp_path / "out"
    assert main(["reproduce", "--mini", "table3", "--data", str(root), "--out", str(out)]) == 65
    assert "R781" in capsys.readouterr().err
    assert not out.exists()
    assert main(["reproduce", "--mini", "table3", "--out", str(root)]) == 73
    out.mkdir()
    (out / mini.MARK).write_text('{"netc_miniature": 1, "data": "/elsewhere"}')
    assert main(["reproduce", "--mini", "table3", "--out", str(out)]) == 73
    assert "O143" in capsys.readouterr().err


@pytest.mark.slow
def test_every_row_of_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(demo, "SETS", {"train": (0, 64), "val": (1500, 10)})
    out = tmp_path / "mini"
    words = ["reproduce", "--mini", "--iterations", "1", "--out", str(out), "--json"]
    assert main(words) == 0
    first = capsys.readouterr()
    found = json.loads(first.out)
    assert [each["table"] for each in found["tables"]] == NAMES
    assert found["miniature"]
    for each in found["tables"]:
        for row in each["rows"]:
            public = [one for one in row["figures"] if one["note"] is None]
            assert public, row["name"]
            assert all(one["measured"] is not None for one in public), row["name"]
            assert all(one["interval"][0] <= one["measured"] <= one["interval"][1] for one in public)
            assert (row["missing"], row["why"], row["images"]) == ([], None, 10)
    assert first.err.count("training ") == 18
    assert json.loads((out / "reproduction.json").read_text()) == found
    assert main(words) == 0  # everything is there already
    again = capsys.readouterr()
    assert json.loads(again.out) == found
    assert "training " not in again.err


def in_processes(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netc", "reproduce", *words], capture_output=True, text=True, timeout=900
    )


TWO = """
table: "two"
row { name: "A" net { net: "vgg_A" step: "A" train_side: 256 test_side: 256 } view: CENTRE }
row { name: "A-LRN" net { net: "vgg_A_LRN" step: "A_LRN" train_side: 256 test_side: [224, 256] } }
row {
  name: "boxes" net { net: "vgg_D_PCR" step: "PCR" train_side: 256 test_side: 256 } view: CENTRE
  paper { measure: BOX_ERROR value: 33.1 }
}
"""


@pytest.mark.slow
def test_a_killed_miniature_goes_on_and_several_processes_find_the_same(tmp_path: Path) -> None:
    """Killed within the second training, gone on with in two processes: the figures of a run in one piece."""
    root = photos(tmp_path / "photos", 10, 20)
    (tmp_path / "two.prototxt").write_text(TWO)
    words = ["--mini", str(tmp_path / "two.prototxt"), "--data", str(root), "--iterations", "4", "--json"]
    whole = in_processes(*words, "--out", str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    (boxes,) = (row for row in json.loads(whole.stdout)["tables"][0]["rows"] if row["name"] == "boxes")
    assert (boxes["why"], boxes["missing"]) == ("the pictures have no boxes", [])  # and no net of boxes is trained
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "netc", "reproduce", *words, "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "training A_LRN" in line:
                process.kill()
    assert (out / "mini_vgg_A_iter_4.caffemodel").exists()
    assert not (out / "reproduction.json").exists()
    again = in_processes(*words, "--out", str(out), "--nproc", "2")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("training A_LRN") == again.stderr.count("training ") == 1
    assert again.stderr.count("two: A-LRN") == 1  # the first process alone talks
    assert json.loads(again.stdout) == json.loads(whole.stdout) | {"data": str(out / "val_lmdb")}
    assert (out / "mini_vgg_A_LRN_iter_4.caffemodel").exists()
