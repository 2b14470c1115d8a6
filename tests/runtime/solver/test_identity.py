"""Which run `--resume auto` goes on with, where several have had one prefix."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from netc.cli import main
from netc.files.shipped import FOLDER
from netc.runtime.solver import snapshot
from netc.runtime.solver.identity import runs, seen_from
from netc.runtime.solver.metrics import read

DATA = """layer { name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "uniform" min: 0 max: 1.99 } } }"""
NET = f"""{DATA} layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
  inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss" }}"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(f"{name}.prototxt").write_text(
            f'net_param {{ {NET} }} base_lr: 0.1 lr_policy: "fixed" snapshot: 5 snapshot_prefix: "run" display: 1 '
            f"random_seed: {len(name)}{'1' if name == 'two' else ''}"
        )
    return tmp_path


def train(*arguments: str, until: int, status: int = 0) -> None:
    assert main(["train", f"--iterations={until}", *arguments]) == status


def owner(iteration: int) -> str:
    found = snapshot.load(f"run_iter_{iteration}.solverstate")
    assert isinstance(found.extras["run"], str)
    return found.extras["run"]


def test_a_fresh_run_does_not_go_on_with_the_old_ones_later_iterations(folder: Path) -> None:
    train("one.prototxt", until=20)
    old = owner(20)
    train("one.prototxt", until=10, status=73)  # O612
    train("one.prototxt", "--force", until=7)
    train("one.prototxt", "--resume=auto", until=10)
    assert owner(10) == owner(7) != old
    assert owner(20) == old
    assert [run.id for run in runs(Path("run"))] == [old, owner(10)]
    records = map(json.loads, Path("run.metrics.jsonl").read_text().splitlines())
    starts = [line for line in records if line["kind"] == "start"]
    assert [start["iter"] for start in starts] == [0, 0, 7]


def test_the_records_of_the_old_run_stay(folder: Path) -> None:
    train("one.prototxt", until=20)
    train("one.prototxt", "--force", until=7)
    every, newest = read(Path("run.metrics.jsonl")), read(Path("run.metrics.jsonl"), newest=True)
    assert [line["iter"] for line in every if line["kind"] == "train"] == [*range(20), *range(7)]
    assert [line["iter"] for line in newest if line["kind"] == "train"] == [*range(7)]


def test_a_fresh_run_that_saved_nothing_yet_starts_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("one.prototxt", until=20)
    train("two.prototxt", "--force", until=0)
    os.remove("run_iter_0.manifest.json")
    os.remove("run_iter_0.solverstate")
    os.remove("run_iter_0.caffemodel")
    capsys.readouterr()
    train("two.prototxt", "--resume=auto", until=3)
    assert "starting at iteration 0" in capsys.readouterr().err
    assert owner(3) == runs(Path("run"))[-1].id


def test_what_another_command_began_is_not_gone_on_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("one.prototxt", until=10)
    for command in (
        ["two.prototxt"],
        ["one.prototxt", "--seed=9"],
        ["one.prototxt", "--weights=run_iter_10.caffemodel"],
    ):
        capsys.readouterr()
        train(*command, "--resume=auto", until=15, status=73)
        assert "error[O614]" in capsys.readouterr().err
    train("two.prototxt", "--resume=auto", "--force", until=5)
    train("one.prototxt", "--resume=auto", until=15)
    assert owner(15) == owner(10) != owner(5)


def test_weights_are_for_the_first_start_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("one.prototxt", until=5)
    os.rename("run_iter_5.caffemodel", "first.caffemodel")
    for path in Path().glob("run*"):
        path.unlink()
    again = ["two.prototxt", "--weights=first.caffemodel", "--resume=auto"]
    for until, says in ((5, "Finetuning from first.caffemodel"), (10, "Resuming from run_iter_5.solverstate")):
        capsys.readouterr()
        train(*again, until=until)
        err = capsys.readouterr().err
        assert says in err
        assert ("Finetuning" in err) == (until == 5)


def test_a_step_back_is_a_branch(folder: Path) -> None:
    """What --snapshot goes on from stays behind it: later snapshots of the run it left are not its own."""
    train("one.prototxt", until=20)
    train("one.prototxt", "--snapshot=run_iter_5.solverstate", until=10)
    train("one.prototxt", "--resume=auto", until=12)
    assert owner(12) == owner(10) not in (owner(5), owner(20))
    assert [run.snapshot for run in runs(Path("run"))] == ["", "run_iter_5.solverstate"]
    train("one.prototxt", "--snapshot=run_iter_12.solverstate", until=13)
    assert owner(13) == owner(12)


def test_snapshots_that_no_run_has_claimed_are_gone_on_with(folder: Path) -> None:
    """Those of an earlier netc have no list of runs beside them."""
    train("one.prototxt", until=10)
    os.remove("run.runs.jsonl")
    train("one.prototxt", "--resume=auto", until=15)
    assert [run.id for run in runs(Path("run"))] == [owner(15)]


def test_a_list_of_runs_that_is_not_netcs_is_left_alone(folder: Path) -> None:
    Path("run.runs.jsonl").write_text("mine\n")
    train("one.prototxt", until=5, status=73)
    assert Path("run.runs.jsonl").read_text() == "mine\n"


def test_the_folder_can_be_moved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("here").mkdir()
    for name in ("one.prototxt",):
        os.rename(name, f"here/{name}")
    monkeypatch.chdir("here")
    train("one.prototxt", until=5)
    os.rename(folder / "here", folder / "there")
    monkeypatch.chdir(folder / "there")
    train("one.prototxt", "--resume=auto", until=10)
    assert owner(10) == owner(5)


def test_a_net_that_comes_with_netc_is_the_same_wherever_netc_is(tmp_path: Path) -> None:
    """netc may be installed anew in another place, and the run's folder be moved."""
    solver = str(FOLDER / "vgg_E" / "solver.prototxt")
    for prefix in (Path("run"), tmp_path / "a" / "run"):
        assert seen_from(prefix, solver) == "netc.models/vgg_E/solver.prototxt"
