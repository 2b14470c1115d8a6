"""`netc demo`, on a set small enough for a test: what it leaves, its commands, and going on after a stop."""

from __future__ import annotations

import re
import shlex

import pytest

from netc.cli import demo, main
from netc.files.shipped import FOLDER
from netc.runtime.demo import steps


@pytest.fixture
def small(tmp_path, monkeypatch):
    """40 + 20 pictures instead of 2000; the working folder is a fresh one."""
    monkeypatch.setattr(steps, "SETS", {"train": (0, 40), "val": (40, 20)})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(out: str) -> list[list[str]]:
    return [shlex.split(line) for line in out.splitlines() if line.startswith("  ") and " netc " in f" {line} "]


def test_what_it_leaves_and_its_next_commands(small, capsys, monkeypatch):
    monkeypatch.setattr(demo, "program", lambda folder: "netc")
    assert main(["demo", "--out", "my demo", "--iterations", "2"]) == 0
    out = capsys.readouterr().out
    folder = small / "my demo"
    assert out.count("iteration 2: accuracy") == 1
    assert re.search(r"accuracy \d+\.\d% on pictures it has not seen, after 2 iterations", out)
    assert {path.name for path in folder.iterdir()} >= {
        *("train_lmdb", "val_lmdb", "train_lmdb.labels.txt", "colors.json", "train.log", "mini_vgg_A.metrics.jsonl"),
        *("curves.png", "mini_vgg_A_iter_2.caffemodel", "mini_vgg_A_iter_2.solverstate", "pictures"),
    }
    for name in steps.FILES:
        assert (folder / name).read_bytes() == (FOLDER / "mini_vgg_A" / name).read_bytes()

    solver = folder / "solver.prototxt"
    solver.write_text(re.sub(r"max_iter: \d+", "max_iter: 3", solver.read_text()))  # or it would train for long
    assert "  cd 'my demo'" in out
    monkeypatch.chdir(folder)
    found = commands(out)
    assert [words[1] for words in found] == ["test", "train", "check"]
    for words in found:
        assert main(words[1:]) == 0, words
    assert (folder / "mini_vgg_A_iter_3.caffemodel").exists()


def test_it_goes_on_where_it_was(small, capsys):
    assert main(["demo", "--out", "d", "--iterations", "1"]) == 0
    (small / "d" / "deploy.prototxt").write_text("# mine\n")
    capsys.readouterr()
    assert main(["demo", "--out", "d", "--iterations", "2"]) == 0
    out = capsys.readouterr().out
    assert "drew" not in out
    assert "after 2 iterations" in out
    assert (small / "d" / "deploy.prototxt").read_text() == "# mine\n"
    assert "Resuming from mini_vgg_A_iter_1.solverstate" in (small / "d" / "train.log").read_text()


def test_other_folders_are_left_alone(small, capsys):
    (small / "d").mkdir()
    (small / "d" / "thesis.tex").write_text("")
    assert main(["demo", "--out", "d"]) == 73
    assert "error[O143]" in capsys.readouterr().err
    assert [path.name for path in (small / "d").iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way(small, capsys):
    (small / "d").write_text("")
    assert main(["demo", "--out", "d"]) == 73
    assert "error[O142]" in capsys.readouterr().err


@pytest.mark.slow
def test_the_promise(tmp_path, capsys):
    """Over 90 % top-1, with the shipped solver and the whole set. (The time is measured in docs/benchmarks.md.)"""
    assert main(["demo", "--out", str(tmp_path / "d")]) == 0
    accuracy = re.search(r"accuracy (\d+\.\d)%", capsys.readouterr().out)
    assert float(accuracy[1]) > 90
