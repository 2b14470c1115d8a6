"""`netc train SCHEDULE`: steps in order, each from the right weights; stopped, killed and begun again anywhere."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netc
from netc import weights
from netc.cli import main
from netc.errors import NetcError
from netc.files.shipped import FOLDER
from netc.graph.read import open_file
from netc.runtime.demo import steps as demo
from netc.runtime.solver.solver import Solver
from netc.solver.schedule import chosen, read_schedule
from tests.runtime.solver.conftest import write_run

ROOT = Path(__file__).resolve().parents[2]
SCHEDULE = """
step { name: "A" solver: "a.prototxt" }
step { name: "B" solver: "b.prototxt" weights_from: "A" }  # the layer that its solver transplants
step { name: "C" solver: "c.prototxt" weights_from: "B" }  # all layers
step { name: "D" solver: "d.prototxt" weights_from: "B" alternative: true }
"""
CHANGES = {"tiny": "step_{}", "snapshot: 4": "snapshot: 2", "max_iter: 12": "max_iter: 4"}
RATE = {"c": "base_lr: 0.002"}
MORE = {"b": 'transplant_param { weights: "elsewhere.caffemodel" copy { layer: "conv" } }'}


def write_schedule(folder: Path) -> None:
    """Four steps of a net with shuffling, flips, dropout, iter_size, tests and a plateau."""
    write_run(folder)
    for name in "abcd":
        text = (folder / "solver.prototxt").read_text()
        for old, new in CHANGES.items():
            text = text.replace(old, new.format(name))
        text = text.replace("base_lr: 0.02", RATE.get(name, "base_lr: 0.02"))
        (folder / f"{name}.prototxt").write_text(text + MORE.get(name, ""))
    (folder / "schedule.prototxt").write_text(SCHEDULE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_schedule(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blobs(path: str | Path) -> dict[str, list[np.ndarray]]:
    return {name: [np.array(array) for array in arrays] for name, arrays in weights.read(str(path)).items() if arrays}


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of what each step ends with, weights and history."""
    names = [f"step_{name}_iter_4.{kind}" for name in "abc" for kind in ("caffemodel", "solverstate")]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def states(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Step → its state, of the table that --dry-run prints."""
    assert main(["train", "schedule.prototxt", "--dry-run", *words]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    at = head.index("state")
    return {row.split()[0]: row[at : head.index("snapshots")].strip() for row in rows}


def test_each_step_starts_from_what_the_schedule_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert states(capsys) == {"A": "to do", "B": "to do", "C": "to do", "D": "alternative"}
    assert main(["train", "schedule.prototxt"]) == 0
    log = capsys.readouterr().err
    assert log.count("Optimization Done.") == 2 * 3
    assert log.count("starts from") == 4  # the table: before each step, and at the end
    assert "Weights from step_a_iter_4.caffemodel: layers 1 copied" in log
    assert "Finetuning from step_b_iter_4.caffemodel" in log
    assert states(capsys) == {"A": "done", "B": "done", "C": "done", "D": "alternative"}
    assert sorted(path.name for path in here.glob("*.metrics.jsonl")) == [f"step_{n}.metrics.jsonl" for n in "abc"]


def test_what_a_step_learns_is_what_its_solver_learns_alone(here: Path) -> None:
    """The same bits as `netc train b.prototxt` with A's last snapshot in the solver, and c with --weights."""
    assert main(["train", "schedule.prototxt"]) == 0
    found = digests(here)
    text = (here / "b.prototxt").read_text().replace("elsewhere", "step_a_iter_4").replace("step_b", "alone_b")
    (here / "b_alone.prototxt").write_text(text)
    (here / "c_alone.prototxt").write_text((here / "c.prototxt").read_text().replace("step_c", "alone_c"))
    assert main(["train", "b_alone.prototxt"]) == 0
    assert main(["train", "c_alone.prototxt", "--weights", "alone_b_iter_4.caffemodel"]) == 0
    for name in ("b", "c"):
        alone = hashlib.sha256((here / f"alone_{name}_iter_4.caffemodel").read_bytes()).hexdigest()
        assert alone == found[f"step_{name}_iter_4.caffemodel"]


@pytest.mark.parametrize("at", [1, 3, 4, 5, 7, 11])
def test_a_process_that_dies_anywhere_and_begins_again(
    at: int, here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies in the course of iteration `at` of 12, with nothing saved but the snapshots that fell due."""
    undisturbed = _undisturbed(tmp_path_factory, monkeypatch)
    monkeypatch.chdir(here)
    done = 0
    iterate = Solver._iterate

    def dies(self: Solver, *args: object) -> None:
        nonlocal done
        done += 1
        if done == at:
            raise SystemExit(9)
        iterate(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Solver, "_iterate", dies)
    assert main(["train", "schedule.prototxt"]) == 9
    snapshots = {path: path.stat().st_mtime_ns for path in here.glob("*.manifest.json")}
    assert main(["train", "schedule.prototxt"]) == 0
    assert done < at + 12 - 4 * ((at - 1) // 4) + 2  # steps that were done are not run again
    assert {path: path.stat().st_mtime_ns for path in snapshots} == snapshots
    assert digests(here) == undisturbed


def test_a_signal_stops_the_schedule_with_a_snapshot(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second iteration of the second step; the same command goes on."""
    undisturbed = _undisturbed(tmp_path_factory, monkeypatch)
    monkeypatch.chdir(here)
    done, iterate = 0, Solver._iterate

    def asked(self: Solver, *args: object) -> None:
        nonlocal done
        done += 1
        iterate(self, *args)  # type: ignore[arg-type]
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Solver, "_iterate", asked)
    assert main(["train", "schedule.prototxt"]) == 75
    assert (here / "step_b_iter_1.manifest.json").exists()
    assert main(["train", "schedule.prototxt"]) == 0
    assert done == 12
    assert digests(here) == undisturbed


_known: dict[str, str] = {}


def _undisturbed(factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    if not _known:
        folder = factory.mktemp("undisturbed")
        write_schedule(folder)
        monkeypatch.chdir(folder)
        assert main(["train", "schedule.prototxt"]) == 0
        _known.update(digests(folder))
    return _known


def test_steps_that_are_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert states(capsys, "--step", "D") == {"A": "to do", "B": "to do", "D": "to do", "C": "not asked for"}
    assert main(["train", "schedule.prototxt", "--step", "A", "--iterations", "2"]) == 0
    assert sorted(path.name for path in here.glob("*.caffemodel")) == ["step_a_iter_2.caffemodel"]
    assert main(["train", "schedule.prototxt", "--step", "D"]) == 0
    names = {path.name for path in here.glob("*_iter_4.caffemodel")}
    assert names == {f"step_{name}_iter_4.caffemodel" for name in "abd"}


def test_a_step_whose_start_has_changed_is_not_continued(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "schedule.prototxt", "--step", "B"]) == 0
    for path in here.glob("step_a_iter_*"):
        path.unlink()
    assert main(["train", "schedule.prototxt"]) == 73
    assert 'O630]: the step "B" was begun from weights of "A", which is not done' in capsys.readouterr().err
    assert main(["train", "schedule.prototxt", "--step", "A", "--seed", "8"]) == 0
    assert main(["train", "schedule.prototxt", "--dry-run"]) == 73
    assert "has other weights now (step_a_iter_4.caffemodel)" in capsys.readouterr().err
    for path in here.glob("step_b_iter_*"):
        path.unlink()
    assert main(["train", "schedule.prototxt", "--step", "B"]) == 0


def test_snapshots_of_another_run_are_not_taken_for_a_steps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another solver has trained under the prefix of A, and further."""
    text = (here / "solver.prototxt").read_text().replace('"tiny"', '"step_a"')
    (here / "other.prototxt").write_text(text)
    assert main(["train", "other.prototxt"]) == 0
    assert main(["train", "schedule.prototxt"]) == 73
    assert "O614]: no run of this command is here" in capsys.readouterr().err


def test_a_step_that_its_plateau_has_ended_is_done(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (here / "a.prototxt").read_text().replace("max_iter: 4", "max_iter: 1000")
    (here / "a.prototxt").write_text(text.replace("max_drops: 9 min_delta: 0.02", "max_drops: 0 min_delta: 100"))
    assert main(["train", "schedule.prototxt", "--step", "A"]) == 0
    assert states(capsys, "--step", "A")["A"] == "done"


def test_the_same_schedule_by_the_name_of_its_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Solvers and their nets are found beside the schedule; snapshots come to lie in the working folder."""
    (here / "plan").mkdir()
    for path in here.glob("*.prototxt"):
        path.rename(here / "plan" / path.name)
    assert main(["train", "plan/schedule.prototxt", "--step", "A"]) == 0
    assert (here / "step_a_iter_4.caffemodel").exists()
    assert main(["check", "plan/schedule.prototxt"]) == 0
    assert "B: plan/b.prototxt, starts from A" in capsys.readouterr().out


def test_a_shipped_schedule_is_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "mini_vgg_E/schedule.prototxt", "--dry-run"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:5]] == ["A", "E", "E_S110", "E_jitter"]
    assert main(["train", "mini_vgg_E/shedule.prototxt", "--dry-run"]) == 66
    assert "F103" in capsys.readouterr().err
    assert main(["new", "mini_vgg_E", "mini_vgg_E"]) == 0  # what is here goes before what comes with netc
    Path("mini_vgg_E/schedule.prototxt").write_text('step { name: "mine" solver: "solver.prototxt" }')
    capsys.readouterr()
    assert main(["train", "mini_vgg_E/schedule.prototxt", "--dry-run"]) == 0
    assert "mine" in capsys.readouterr().out


WRONG = {
    "step { }": "S210",
    'step { solver: "nowhere.prototxt" }': "F120",
    'step { solver: "net.prototxt" }': "S209",
    'step { name: "A" solver: "a.prototxt" } step { name: "A" solver: "b.prototxt" }': "S211",
    'step { name: "B" solver: "b.prototxt" weights_from: "A" } step { name: "A" solver: "a.prototxt" }': "S211",
    'step { solver: "a.prototxt" weights_from: "step_a" }': "S211",
    'step { name: "A" solver: "a.prototxt" } step { name: "B" solver: "./a.prototxt" }': "S212",
    'step { name: "A" solver: "a.prototxt" } step { solver: "b.prototxt" weights_from: "A" weights: "x" }': "S213",
    'step { solver: "a.prototxt" weight_from: "A" }': "S201",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_with_a_schedule_is_told_before_anything_runs(
    text: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "schedule.prototxt").write_text(text)
    assert main(["train", "schedule.prototxt"]) in (65, 66)
    said = capsys.readouterr().err
    assert f"[{WRONG[text]}]" in said
    assert "schedule.prototxt:1:" in said or WRONG[text] == "S209"
    assert [error.code for error in netc.check("schedule.prototxt").errors] == [WRONG[text]]
    assert not list(here.glob("*.metrics.jsonl"))


@pytest.mark.parametrize("words", [["--weights", "x"], ["--snapshot", "x"], ["--force"]])
def test_options_of_one_run_are_not_a_schedules(words: list[str], here: Path) -> None:
    assert main(["train", "schedule.prototxt", *words]) == 2
    assert main(["train", "a.prototxt", "--dry-run"]) == 2
    assert main(["train", "schedule.prototxt", "--step", "E"]) == 65


def test_a_weight_file_that_is_not_there_is_missed_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (here / "schedule.prototxt").open("a") as file:
        file.write('step { name: "E" solver: "solver.prototxt" weights: "nowhere.caffemodel" }')
    for words in ([], ["--dry-run"]):
        assert main(["train", "schedule.prototxt", *words]) == 66
        assert "F120" in capsys.readouterr().err
    assert not list(here.glob("*.caffemodel"))


@pytest.mark.parametrize("command", ["draw", "emit", "upgrade"])
def test_where_a_net_is_expected_a_schedule_is_told_as_one(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "schedule.prototxt"]) == 65
    assert "S209]: this is a schedule, not a net" in capsys.readouterr().err


def test_it_is_formatted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check", "schedule.prototxt"]) == 1
    before = [step.name for step in read_schedule(open_file("schedule.prototxt"))]
    assert main(["fmt", "schedule.prototxt"]) == 0
    text = (here / "schedule.prototxt").read_text()
    assert "# all layers\n" in text
    assert [step.name for step in read_schedule(open_file("schedule.prototxt"))] == before


def test_steps_of_a_choice_in_the_order_of_the_schedule() -> None:
    steps = read_schedule(open_file(FOLDER / "vgg_D" / "schedule.prototxt"))
    assert [step.name for step in chosen(steps, ["D_jitter_fc", "A"])] == ["A", "D", "D_S384", "D_jitter_fc"]
    with pytest.raises(NetcError, match="did you mean"):
        chosen(steps, ["D_jiter"])


# -- the chain of the small nets ---------------------------------------------------------------------------------------


def small_data(folder: Path, monkeypatch: pytest.MonkeyPatch, train: int, val: int) -> None:
    """Pictures of the demo: train_lmdb and val_lmdb."""
    monkeypatch.setattr(demo, "SETS", {"train": (0, train), "val": (train, val)})
    demo.prepare(folder, lambda text: None)
    monkeypatch.chdir(folder)


def test_the_chain_of_a_small_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A, C from A, S = 110 from C, [73; 146] from that, by the files that come with netc; an iteration each."""
    small_data(tmp_path / "data", monkeypatch, 8, 4)
    words = ["--step", "C_jitter", "--step", "C_jitter_fc", "--iterations", "1"]
    assert main(["train", "mini_vgg_C/schedule.prototxt", *words]) == 0
    log = capsys.readouterr().err
    assert log.count("Solving mini_vgg_C") == 4
    assert "Weights from mini_vgg_A_iter_1.caffemodel: layers 7 copied" in log
    fine, alone = (blobs(f"mini_vgg_C_{which}_iter_1.caffemodel") for which in ("jitter", "jitter_fc"))
    start = blobs("mini_vgg_C_S110_iter_1.caffemodel")
    for layer in ("conv1_1", "conv5_3", "fc6", "fc8"):
        assert not np.array_equal(fine[layer][0], start[layer][0])
        assert np.array_equal(alone[layer][0], start[layer][0]) == layer.startswith("conv")


@pytest.mark.slow
def test_the_chain_of_a_small_net_with_tests_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve iterations a step, in processes that are killed now and then: the same weights and history as those of a
    run that nothing has disturbed."""
    for name in ("calm", "killed"):
        small_data(tmp_path / name, monkeypatch, 60, 20)
        for path in (tmp_path / name).glob("*.prototxt"):  # the demo's own net
            path.unlink()
        for net in ("mini_vgg_A", "mini_vgg_C"):
            copy_smaller(FOLDER / net, tmp_path / name / net)
    command = [sys.executable, "-m", "netc", "train", "mini_vgg_C/schedule.prototxt", "--iterations", "12"]
    assert run(command, tmp_path / "calm") == 0
    rng, deaths = random.Random(4), 0
    while (status := run(command, tmp_path / "killed", rng.uniform(10, 30) + deaths)) != 0:
        assert status == -signal.SIGKILL, (tmp_path / "killed" / "log").read_text()[-3000:]
        deaths += 1
        assert deaths < 60
    assert deaths > 0
    calm = tmp_path / "calm"
    finals = [path for path in calm.rglob("*_iter_12.*") if "manifest" not in path.name]
    assert len(finals) == 2 * 4
    for path in finals:
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(calm)).read_bytes(), path.name


def copy_smaller(net: Path, folder: Path) -> None:
    """A net's files, with batches of 16, a test every five iterations and a snapshot every three."""
    folder.mkdir()
    changes = {"batch_size: 64": "batch_size: 16", "batch_size: 50": "batch_size: 10"}
    changes |= {"test_interval: 50": "test_interval: 5", "snapshot: 1000": "snapshot: 3"}
    for path in net.glob("*.prototxt"):
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / path.name).write_text(text)


def run(command: list[str], folder: Path, life: float = 3600) -> int:
    """The status of a command that is killed after `life` seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        return process.wait(life)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
