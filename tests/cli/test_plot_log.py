"""`netc plot-log`: Caffe's logs and netc's as one picture."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from netc.cli import main
from netc.runtime.report.caffe_log import records
from netc.runtime.report.curves import together
from netc.runtime.solver.metrics import Metrics

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def texts(path: str) -> list[str]:
    return [str(element.text) for element in ElementTree.parse(path).iter(f"{SVG}text")]


def log(*lines: str, start: str = "Solving net") -> str:
    stamped = [f"I1122 12:00:{second:02d}.000000 1 x.cpp:1] {line}" for second, line in enumerate([start, *lines])]
    return "\n".join(stamped) + "\n"


SMALL = log(
    "Iteration 0, Testing net (#0)",
    "    Test net output #0: accuracy = 0.25",
    "    Test net output #1: loss = 2.5 (* 1 = 2.5 loss)",
    "Iteration 0, Testing net (#1)",
    "    Test net output #0: accuracy = 0.5",
    "Iteration 0 (1 iter/s, 1s/10 iters), loss = 4",
    "    Train net output #0: loss1 = 3 (* 1 = 3 loss)",
    "Iteration 0, lr = 0.1",
    "Iteration 10, loss = 2",
    "Iteration 10, lr = 0.01",
    "Iteration 20, loss = nan",
    "Iteration 20, lr = 0.01",
)


def test_records_of_a_log() -> None:
    train, tests = [], []
    for record in records(SMALL.splitlines()):
        (train if record["kind"] == "train" else tests).append(record)
    assert [(r["iter"], r["loss"], r["lr"], r["seconds"]) for r in train[:2]] == [(0, 4, 0.1, 6), (10, 2, 0.01, 9)]
    assert np.isnan(train[2]["loss"])
    assert [(r["net"], r["outputs"]) for r in tests] == [
        (0, {"accuracy": 0.25, "loss": 2.5}),
        (1, {"accuracy": 0.5}),
    ]


def test_a_log_that_goes_on_takes_the_place_of_what_was_given_up() -> None:
    again = SMALL + log("Iteration 10, loss = 7", "Iteration 10, lr = 0.5", "Iteration 20, loss = 6")
    found = [(r["iter"], r["loss"], r["lr"]) for r in records(again.splitlines()) if r["kind"] == "train"]
    assert found[:2] == [(0, 4, 0.1), (10, 7, 0.5)]
    assert found[2][:2] == (20, 6)
    (loss, _), marks = together({"a": records(again.splitlines())})
    assert loss.curves[0].points == ((0, 4), (10, 7), (20, 6))
    assert marks == [(10, "rate 0.5")]


def test_caffes_own_log_as_svg(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The curves end where the log does, read off it by eye."""
    assert main(["plot-log", str(shared / "goldens/solvers/cli/adam.train.log"), "-o", "a.svg"]) == 0
    assert capsys.readouterr().out == "a.svg\n"
    shown = texts("a.svg")
    for text in ("adam.train", "loss", "validation", "training  1.162", "accuracy  0.2", "rate 0.05", "iteration"):
        assert text in shown
    assert main(["plot-log", str(shared / "goldens/solvers/cli/adam.train.log"), "-o", "a.svg"]) == 73
    assert main(["plot-log", str(shared / "goldens/solvers/cli/adam.train.log"), "-o", "a.svg", "--force"]) == 0


def test_several_logs_in_one_picture(shared: Path) -> None:
    logs = [str(shared / f"goldens/solvers/cli/{name}.train.log") for name in ("adam", "bin")]
    assert main(["plot-log", *logs, "--out=both.svg", "--title", "A & <b>"]) == 0
    shown = texts("both.svg")
    assert shown[0] == "A & <b>"
    assert {"adam.train: training  1.162", "bin.train: validation  3.33"} <= set(shown)
    colours = {line.get("stroke") for line in ElementTree.parse("both.svg").iter(f"{SVG}polyline")}
    assert {"#1f6fb4", "#d9541e"} <= colours


def test_a_png_needs_no_other_program(shared: Path) -> None:
    assert main(["plot-log", str(shared / "goldens/solvers/cli/bin.train.log")]) == 0
    picture = Image.open(io.BytesIO(Path("bin.train.png").read_bytes()))
    assert (picture.format, picture.size) == ("PNG", (900, 654))
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()
    assert [0x1F, 0x6F, 0xB4] in pixels  # the first curve's


def test_many_curves_have_room_and_colours() -> None:
    names = [f"run{number:02d}" for number in range(30)]
    for name in names:
        Path(f"{name}.log").write_text(SMALL)
    assert main(["plot-log", *[f"{name}.log" for name in names], "-o", "many.svg"]) == 0
    root = ElementTree.parse("many.svg").getroot()
    inside = [text for text in root.iter(f"{SVG}text") if 0 <= float(text.get("y")) <= float(root.get("height"))]
    assert len(inside) == len(list(root.iter(f"{SVG}text")))
    assert {f"{name}: training  2" for name in names} <= {text.text for text in inside}


def test_records_of_netcs_own_file() -> None:
    writer = Metrics(Path("m"), 0)
    for iteration in (0, 5):
        writer.write({"kind": "train", "iter": iteration, "loss": 2.0 - iteration / 10, "lr": 0.1, "seconds": 1.0})
    writer.close()
    Path("other.log").write_text(SMALL)
    assert main(["plot-log", "m.metrics.jsonl", "other.log", "-o", "m.svg"]) == 0
    assert "m: training  1.5" in texts("m.svg")
    assert "other: accuracy #1  0.5" in texts("m.svg")


def test_seconds_are_an_axis_of_logs(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.log").write_text(SMALL)
    assert main(["plot-log", "a.log", "-x", "seconds", "-o", "a.svg"]) == 0
    assert "seconds" in texts("a.svg")
    writer = Metrics(Path("m"), 0)
    writer.write({"kind": "train", "iter": 0, "loss": 2.0, "lr": 0.1, "seconds": 1.0})
    writer.close()
    assert main(["plot-log", "m.metrics.jsonl", "--x=seconds"]) == 2
    assert "error[C253]" in capsys.readouterr().err


def test_what_cannot_be_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.log").write_text("nothing\n")
    Path("a.log").write_text(SMALL)
    for words, status, said in (
        ([], 2, "Missing argument"),
        (["none.log"], 66, "none.log"),
        (["empty.log"], 65, "error[D560]"),
        (["a.log", "empty.log"], 65, "empty.log"),
        (["a.log", "-o", "a.pdf"], 2, "error[C160]"),
        (["a.log", "-o", "nowhere/a.png"], 73, "nowhere"),
    ):
        assert main(["plot-log", *words]) == status, words
        assert said in capsys.readouterr().err
    assert not Path("a.png").exists()


def test_a_hostile_line_costs_no_more_than_its_length() -> None:
    line = "I1122 12:00:01.000000 1 x.cpp:1] " + "Iteration 1 " * 100_000
    assert records(["I1122 12:00:00.000000 1 x.cpp:1] Solving net", line]) == []
