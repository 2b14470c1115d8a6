"""`netc new`: a shipped net as files of one's own, that train from where they lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import netc
from netc.cli._main import run
from netc.files.shipped import FOLDER, names

FILES = ["deploy.prototxt", "solver.prototxt", "train_val.prototxt"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", names())
def test_every_net_is_copied_and_is_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", name, "my/"]) == 0
    files = sorted(path.name for path in (FOLDER / name).glob("*.prototxt"))
    assert capsys.readouterr().out.split() == [f"my/{file}" for file in files]
    assert set(FILES) <= set(files)
    for file in files:
        copied, own = Path("my", file).read_text(), (FOLDER / name / file).read_text()
        assert copied.replace("`netc train my", f"`netc train {name}") == own
    if not name.startswith("vgg"):
        assert run(["diff", "my/train_val.prototxt", name]) == 0


@pytest.mark.parametrize("folder", ["my", "deep/er/my", "with blank"])
def test_the_copy_is_checked_from_here_and_from_its_folder(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["new", "mini_vgg_A", folder]) == 0
    assert netc.check(f"{folder}/solver.prototxt").ok
    assert netc.check(folder).ok
    monkeypatch.chdir(folder)
    assert netc.check("solver.prototxt").ok


def test_an_edited_copy_is_what_its_solver_trains() -> None:
    assert run(["new", "mini_vgg_A", "my"]) == 0
    net = Path("my/train_val.prototxt")
    net.write_text(net.read_text().replace("num_output: 1024", "num_output: 100"))
    fc6 = netc.check("my/solver.prototxt").nets[0].analysis.row("fc6").node
    assert fc6.top_shapes[0][1] == 100


def test_another_net_of_the_same_name_in_the_working_folder_is_not_taken_for_it(capsys) -> None:
    """Caffe would take it without a word; netc asks."""
    assert run(["new", "mini_vgg_A", "my"]) == 0
    assert run(["new", "mini_vgg_B", "."]) == 0
    (error,) = {error.code: error for error in netc.check("my/solver.prototxt").errors}.values()
    assert error.code == "F122"
    assert "my/train_val.prototxt" in error.hint
    assert error.place.line == 2
    solver = Path("my/solver.prototxt")
    for written, depth in [("my/train_val.prototxt", 8), ("./train_val.prototxt", 10)]:
        text = solver.read_text()
        solver.write_text(text.replace('net: "train_val.prototxt"', f'net: "{written}"'))
        report = netc.check("my/solver.prototxt")
        assert [error for error in report.errors if error.code != "F120"] == []
        assert sum(row.node.type == "Convolution" for row in report.nets[0].analysis.rows) == depth
        solver.write_text(text)


def test_a_shipped_solver_trains_its_own_net_whatever_lies_here() -> None:
    assert run(["new", "mini_vgg_B", "."]) == 0
    report = netc.check("mini_vgg_A")
    assert report.ok
    assert report.nets[0].analysis.graph.name == "mini_vgg_A"


@pytest.mark.parametrize("there", FILES)
def test_nothing_is_written_over(there: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my").mkdir()
    Path("my", there).write_text("mine")
    assert run(["new", "vgg_A", "my"]) == 73
    assert f"error[O145]: there is {there} here already" in capsys.readouterr().err
    assert [path.name for path in Path("my").iterdir()] == [there]
    assert Path("my", there).read_text() == "mine"


def test_a_link_to_nowhere_is_not_written_through() -> None:
    Path("my").mkdir()
    Path("my/solver.prototxt").symlink_to("../elsewhere")
    assert run(["new", "vgg_A", "my"]) == 73
    assert not Path("elsewhere").exists()


def test_a_file_is_not_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my").write_text("mine")
    assert run(["new", "vgg_A", "my"]) == 73
    assert "my: error[O145]: this is a file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["vgg_a", "my/train_val.prototxt", ".", "../models/vgg_A", ""])
def test_a_name_that_no_net_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", name, "my"]) == 66
    err = capsys.readouterr().err
    assert f'error[F103]: no net called "{name}" comes with netc' in err
    assert "vgg_A" in err
    assert not Path("my").exists()


def test_an_argument_too_few_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "vgg_A", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["errors"][0]["code"] == "C100"
