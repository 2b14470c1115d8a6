"""`netc train` and `netc test` as a user types them, Ctrl-C and kill -9 included."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import netc
from netc import weights
from netc.cli import main
from tests.runtime.solver.conftest import write_run

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = {"max_iter: 12": "max_iter: 100000", "snapshot: 4": "snapshot: 0"}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run whose results another process can repeat: the number of threads is part of what they depend on."""
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def sha(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def edit(path: str, changes: dict[str, str]) -> None:
    text = Path(path).read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    Path(path).write_text(text)


def start(*args: str) -> subprocess.Popen[str]:
    """`netc …` as a process of its own, its log on `stderr`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "netc", *args], stderr=subprocess.PIPE, text=True, env=env)


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} was never said:\n{seen}")


@pytest.mark.parametrize(
    "args", [["solver.prototxt"], ["--solver=solver.prototxt"], ["-solver", "solver.prototxt"], ["."]]
)
def test_trains_and_tests(tiny: Path, capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    assert main(["train", *args, "--iterations", "4"]) == 0
    err = capsys.readouterr().err
    assert "Solving tiny" in err
    assert "Optimization Done." in err
    assert Path("tiny_iter_4.solverstate").exists()
    assert main(["test", "net.prototxt", "--weights=tiny_iter_4.caffemodel", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["batches"], found["samples"]) == (3, 11)
    assert f"accuracy = {found['outputs']['accuracy']:g}" in captured.err
    assert "Batch 2, loss = " in captured.err


def test_layers_without_weights_are_named(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "solver.prototxt", "--iterations=1"]) == 0
    edit("net.prototxt", {'name: "fc"': 'name: "fc2"'})
    capsys.readouterr()
    assert main(["test", "net.prototxt", "--weights=tiny_iter_1.caffemodel", "--json"]) == 0
    captured = capsys.readouterr()
    (line,) = (line for line in captured.err.splitlines() if "has no weights in tiny_iter_1.caffemodel: fc2" in line)
    assert line.startswith("W")
    assert "1 of 2 layers with parameters" in line
    assert json.loads(captured.out)["layers_without_weights"] == ["fc2"]
    edit("net.prototxt", {'name: "conv"': 'name: "conv2"'})
    for command in (["test", "net.prototxt"], ["train", "solver.prototxt"]):
        assert main([*command, "--weights=tiny_iter_1.caffemodel"]) == 65
        assert "W724" in capsys.readouterr().err


def test_a_caffemodel_is_tested_with_its_own_weights(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A net with both phases and its arrays in one file: what the two apart give."""
    assert main(["train", "solver.prototxt", "--iterations=1"]) == 0
    weights.write_caffemodel("whole.caffemodel", netc.read_net("net.prototxt"), weights.read("tiny_iter_1.caffemodel"))
    capsys.readouterr()
    found = []
    for model in (["net.prototxt", "--weights=tiny_iter_1.caffemodel"], ["whole.caffemodel", "--trust-net"]):
        assert main(["test", *model, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]


def test_caffes_test_command(shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("h5py")
    monkeypatch.chdir(shared / "goldens/solvers/cli")
    args = ["test", "--model=net.prototxt", "--weights=bin_iter_20.caffemodel", "--iterations=4"]
    assert main(args) == 0
    captured = capsys.readouterr()
    ours, theirs = (re.findall(r"caffe\.cpp:3\d\d\] (.*)", log) for log in (captured.err, Path("test.log").read_text()))
    assert ours == theirs
    assert captured.out.splitlines() == theirs[-2:]


def test_resume_auto_goes_on_from_the_newest(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "solver.prototxt"]) == 0
    expected = sha("tiny_iter_12.caffemodel")
    for name in ("tiny_iter_12.caffemodel", "tiny_iter_8.solverstate"):
        os.truncate(name, 100)
    capsys.readouterr()
    assert main(["train", "solver.prototxt", "--resume=auto"]) == 0
    err = capsys.readouterr().err
    assert err.count("passing over a damaged snapshot") >= 2
    assert "Resuming from tiny_iter_4.solverstate" in err
    assert sha("tiny_iter_12.caffemodel") == expected


def test_resume_auto_without_a_snapshot(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "solver.prototxt", "--resume=auto", "--iterations=1"]) == 0
    assert "starting at iteration 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, status, says",
    [
        ([], 2, "give the solver once"),
        (["solver.prototxt", "--weights=a", "--snapshot=b"], 2, "exclude one another"),
        (["solver.prototxt", "--resume=auto", "--snapshot=b"], 2, "exclude one another"),
        (["solver.prototxt", "--gpu=7"], 2, "no GPU 7"),
        (["vgg_Z"], 66, "vgg_Z"),
        (["nothing.prototxt"], 66, "nothing.prototxt"),
        (["solver.prototxt", "--snapshot=nothing.solverstate"], 66, "nothing.solverstate"),
        (["solver.prototxt", "--snapshot=net.caffemodel"], 65, "these are weights"),
        (["solver.prototxt", "--sigint_effect=explode"], 2, "explode"),
    ],
)
def test_mistakes(tiny: Path, capsys: pytest.CaptureFixture[str], args: list[str], status: int, says: str) -> None:
    assert main(["train", *args]) == status
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_saves_and_ends(tiny: Path, name: str) -> None:
    """Exit status 75, and the same command with --resume auto gets where the undisturbed run gets."""
    edit("solver.prototxt", ENDLESS)
    process = start("train", "solver.prototxt")
    wait_for(process, "Iteration 5 ")
    process.send_signal(getattr(signal, name))
    assert process.wait(60) == 75
    states = list(Path().glob("tiny_iter_*.solverstate"))
    assert len(states) == 1
    reached = int(re.findall(r"\d+", states[0].name)[0])
    goal = f"tiny_iter_{reached + 3}.caffemodel"
    assert main(["train", "solver.prototxt", "--resume=auto", f"--iterations={reached + 3}"]) == 0
    resumed = sha(goal)
    for path in Path().glob("tiny_iter_*"):
        path.unlink()
    assert main(["train", "solver.prototxt", f"--iterations={reached + 3}"]) == 0
    assert sha(goal) == resumed


def test_second_interrupt_ends_at_once(tiny: Path) -> None:
    edit("solver.prototxt", {**ENDLESS, "display: 1": "display: 1 test_iter: 1000000"})
    process = start("train", "solver.prototxt", "--sighup_effect=none")
    wait_for(process, "Testing net")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (75, 130)


def test_hangup_saves_and_goes_on(tiny: Path) -> None:
    edit("solver.prototxt", ENDLESS)
    process = start("train", "solver.prototxt")
    wait_for(process, "Iteration 3 ")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "Snapshotting solver state")
    wait_for(process, "Iteration ")
    process.kill()
    process.wait()
    assert len(list(Path().glob("tiny_iter_*.manifest.json"))) == 1


@pytest.mark.slow
def test_killed_at_random_moments(tiny: Path) -> None:
    """kill -9 twenty times, --resume auto each time: the final weights are those of the undisturbed run."""
    longer = {"max_iter: 12": "max_iter: 120", "snapshot: 4": "snapshot: 5", "max_drops: 9": "max_drops: 999"}
    edit("solver.prototxt", longer)
    begun = time.perf_counter()
    assert main(["train", "solver.prototxt"]) == 0
    lasts = time.perf_counter() - begun
    expected = sha("tiny_iter_120.caffemodel")
    rng = random.Random(1)
    for _ in range(20):
        for path in Path().glob("tiny*"):
            path.unlink()
        while True:
            process = start("train", "solver.prototxt", "--resume=auto")
            wait_for(process, "Solving")
            threading.Thread(target=process.communicate, daemon=True).start()
            try:
                assert process.wait(rng.random() * lasts) == 0
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert sha("tiny_iter_120.caffemodel") == expected


@pytest.mark.parametrize("stages", [["--stage", "a,b"], ["--stage", "a", "--stage", "b"]])
@pytest.mark.parametrize("command", [["check"], ["test", "--weights", "w", "--model"]])
def test_stages_come_with_commas_or_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], stages: list[str]
) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "x" type: "OnlyInBoth" include { stage: "a" stage: "b" } }')
    assert main([*command, str(net), *stages]) != 0
    assert "OnlyInBoth" in "".join(capsys.readouterr())


WRITER = 'layer { name: "out" type: "HDF5Output" bottom: "fc" bottom: "label" hdf5_output_param { file_name: "f.h5" } '


def test_features_go_where_output_dir_says(tiny: Path) -> None:
    h5py = pytest.importorskip("h5py")
    assert main(["train", "solver.prototxt", "--iterations=1"]) == 0
    with Path("net.prototxt").open("a") as net:
        net.write(WRITER + "include { phase: TEST } }")
    Path("features").mkdir()
    test = ["test", "net.prototxt", "--weights=tiny_iter_1.caffemodel", "--output-dir"]
    assert main([*test, "features"]) == 0
    with h5py.File("features/f.h5") as file:
        assert file["data"].shape == (11, 3, 1, 1)
    assert main(["train", "solver.prototxt", "--iterations=3", "--resume=auto", "--output-dir=features"]) == 0
    with h5py.File("features/f.h5") as file:  # the one test, before iteration 2
        assert file["label"].shape[0] == 11
    Path("features/f.h5").write_text("mine")
    assert main([*test, "features"]) == 73
    assert main([*test, "nowhere"]) == 73
    assert not Path("f.h5").exists()


def test_one_layer_in_both_nets_is_told_before_training(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("h5py")
    with Path("net.prototxt").open("a") as net:
        net.write(WRITER + "}")
    assert main(["train", "solver.prototxt"]) == 65
    err = capsys.readouterr().err
    assert "error[R652]" in err
    assert "Iteration 0" not in err


@pytest.mark.parametrize("gpu", ["all", " ALL", ""])
def test_a_gpu_that_is_asked_for_and_not_there(tiny: Path, gpu: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Caffe computes on the CPU then, without a word."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert main(["train", "solver.prototxt", "--gpu", gpu]) == 2
    assert "--gpu" in capsys.readouterr().err
    assert main(["test", "net.prototxt", "--weights", "none", "--gpu", gpu]) == 2
    assert not list(Path().glob("tiny*"))
