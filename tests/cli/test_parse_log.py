"""`netc parse-log`: Caffe's logs and netc's as the tables of parse_log.py."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from netc.cli import main
from netc.runtime.report.caffe_log import read


def tables(folder: Path, name: str, delimiter: str = ",") -> dict[str, list[dict[str, Any]]]:
    found = {}
    for kind in ("train", "test"):
        path = folder / f"{name}.{kind}"
        if path.exists():
            rows = csv.DictReader(path.read_text().splitlines(), delimiter=delimiter)
            found[kind] = [{key: float(value) for key, value in row.items()} for row in rows]
    return found


def test_caffes_own_log(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read off the log by eye. A row has the rate that was said last, the first row that of the next."""
    log = shared / "goldens/solvers/cli/bin.train.log"
    assert main(["parse-log", str(log), str(tmp_path), "--verbose"]) == 0
    assert "Wrote" in capsys.readouterr().out
    found = tables(tmp_path, log.name)
    first, second, third, fourth = found["train"][:4]
    assert list(first) == ["NumIters", "Seconds", "LearningRate", "loss"]
    assert first == {"NumIters": 0, "Seconds": pytest.approx(0.000345), "LearningRate": 0.1, "loss": 4.23296}
    assert (second["NumIters"], second["loss"]) == (2, 2.57711)
    assert (third["LearningRate"], fourth["LearningRate"]) == (0.1, 0.1)
    assert [row["NumIters"] for row in found["test"][:3]] == [0, 5, 10]
    assert found["test"][1] == {
        "NumIters": 5,
        "Seconds": pytest.approx(0.000619),
        "LearningRate": 0.1,
        "accuracy": 0.266667,
        "loss": 2.259,
    }


def test_a_log_of_netcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from tests.runtime.pycaffe.nets import SIMPLE, written

    monkeypatch.chdir(tmp_path)
    solver = f"net: '{written(tmp_path, SIMPLE)}' base_lr: 0.01 lr_policy: 'fixed' max_iter: 4 display: 2 "
    solver += "test_iter: 1 test_interval: 4 snapshot_prefix: 's'"
    assert main(["train", written(tmp_path, solver, "solver.prototxt")]) == 0
    (tmp_path / "train.log").write_text(capfd.readouterr().err)
    assert main(["parse-log", "train.log", "--delimiter", ";"]) == 0
    found = tables(tmp_path, "train.log", ";")
    assert [row["NumIters"] for row in found["train"]] == [0, 2]
    assert [row["NumIters"] for row in found["test"]] == [0, 4]
    assert {row["LearningRate"] for rows in found.values() for row in rows} == {0.01}


OLD = """I1231 23:59:58.000000 1 solver.cpp:289] Solving net
I1231 23:59:59.500000 1 solver.cpp:239] Iteration 0, loss = 1
I1231 23:59:59.500000 1 solver.cpp:258]     Train net output #0: a = nan (* 1 = nan loss)
I1231 23:59:59.500000 1 solver.cpp:258]     Train net output #1: b = -1e-05
no time here: Iteration 7, Train net output #0: a = 5
I0101 00:00:01.000000 1 sgd_solver.cpp:112] Iteration 0, lr = 1e-05
I0101 00:00:02.000000 1 solver.cpp:239] Iteration 1, loss = 1
I0101 00:00:02.000000 1 solver.cpp:258]     Train net output #0: a = 2
"""


def test_the_end_of_a_year_and_odd_numbers() -> None:
    first, second = read(OLD.splitlines()).train
    assert first.pop("a") != first.get("a")  # NaN
    assert first == {"NumIters": 0, "Seconds": 1.5, "LearningRate": 1e-5, "b": -1e-5}
    assert second == {"NumIters": 1, "Seconds": 4.0, "LearningRate": 1e-5, "a": 2}


def test_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.log").write_bytes(b"\xff\x00 nothing")
    assert main(["parse-log", str(tmp_path / "x.log")]) == 65
    assert "D560" in capsys.readouterr().err
    assert main(["parse-log", str(tmp_path / "none.log")]) == 66
    assert main(["parse-log", str(tmp_path)]) == 66
    assert main(["parse-log", str(tmp_path / "x.log"), "--delimiter", "ab"]) == 2
