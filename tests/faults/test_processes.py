"""Several processes that train together: killed, stopped, signalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.processes import LAST, SOLVER

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, timeout: float = 300) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.processes", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run("some", str(tmp_path_factory.mktemp("processes")))


def test_killed_ten_times_and_resumed_by_two_or_three_the_bits_are_the_same(found: Any) -> None:
    assert found["again"] == {"same": True}


def test_a_rank_that_hangs_is_named_and_waited_for_no_longer_than_told(found: Any) -> None:
    log = found["stopped"]["log"]
    assert found["stopped"]["status"] == 1
    assert "error[R664]: rank 1 (host " in log
    assert f"process {found['stopped']['process']}) is stopped, last heard of at " in log
    assert "rank 0 waited at iteration" in log
    assert log.count("R664") == 1


def test_a_signal_to_one_rank_saves_once_and_ends_all(found: Any) -> None:
    """Ctrl-C reaches a worker twice: from the terminal and from the launcher."""
    assert found["signalled"] == {"statuses": [75, 75], "saved": 1}


LEFT = {"saved": 6, "told": True, "same": True}


def test_a_long_iteration_is_left_by_all_and_resumed_to_the_same_bits(found: Any) -> None:
    """Rank 1 alone is asked for the end, and rank 0 says so."""
    assert found["left"] == {"statuses": [75, 75], **LEFT}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "options"), [(1, ()), (2, ("--shards", "0")), (3, ("--shards", "3"))])
def test_a_long_iteration_is_left_by_any_number(size: int, options: tuple[str, ...], tmp_path: Path) -> None:
    expected = {"statuses": [75] * size, **LEFT}
    assert run("left", str(tmp_path / "run"), str(size), str(size - 1), *options) == expected


def test_a_weight_that_differs_is_found(found: Any) -> None:
    bit = found["bit"]
    assert bit["statuses"] == [65, 65]
    assert "error[R665]: the weights of rank 1 (host " in bit["log"]
    assert 'parameter 0 of layer "fc", found after 8 iterations' in bit["log"]
    assert max(bit["saved"]) <= 8


def test_a_full_disk_ends_no_training_but_at_the_end(found: Any) -> None:
    """All processes go on, or fail, together."""
    assert found["full"]["statuses"] == [0, 0]
    assert found["full"]["saved"] == list(range(12, 44, 4))
    assert found["full"]["log"].count("training goes on: error[X701]") == 2
    assert found["full at the end"]["statuses"] == [74, 74]
    assert found["full at the end"]["saved"] == []


def test_a_loss_that_is_not_finite_on_one_rank_ends_all_and_the_state_before_it_is_saved(found: Any) -> None:
    spoilt = found["not finite"]
    assert spoilt["statuses"] == [65, 65]
    assert spoilt["saved"] == [3]
    assert "error[R630]: rank 1: the loss is nan at iteration 3" in spoilt["log"]
    assert "the last snapshot is run_iter_3.solverstate" in spoilt["log"]


def test_a_layer_that_writes_rows_is_refused(found: Any) -> None:
    assert found["writer"]["statuses"] == [65, 65]
    assert "error[R666]" in found["writer"]["log"]


@pytest.mark.slow
def test_200_random_kill_points(tmp_path: Path) -> None:
    """Each run is killed once, one process or both, and resumed by one, two or three."""
    assert run("once", str(tmp_path / "run"), "200", timeout=3600) == {"trials": 200, "same": 200}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_any_rank(name: str, rank: int, tmp_path: Path) -> None:
    assert run("signalled", str(tmp_path / "run"), name, str(rank)) == {"statuses": [75, 75], "saved": 1}


def train(folder: Path, nproc: int) -> subprocess.Popen[bytes]:
    """`netc train --nproc` in a session of its own, as a terminal starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "netc", "train", "solver.prototxt", "--nproc", str(nproc), "--timeout", "60"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def wait_for(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)


def workers(launcher: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]


def endless(folder: Path) -> None:
    text = SOLVER.replace(f"max_iter: {LAST}", "max_iter: 1000000").replace("display: 10", "display: 1")
    (folder / "solver.prototxt").write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("group", [False, True])
def test_signals_to_the_launcher(tmp_path: Path, name: str, group: bool) -> None:
    """A terminal sends Ctrl-C to the workers, too. A hangup before it only saves."""
    endless(tmp_path)
    process = train(tmp_path, 2)
    wait_for(lambda: len(list(tmp_path.glob("*.manifest.json"))) > 1)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    if group:
        os.killpg(process.pid, getattr(signal, name))
    else:
        process.send_signal(getattr(signal, name))
    assert process.wait(120) == 75, (tmp_path / "log").read_text()[-2000:]


@pytest.mark.slow
def test_a_worker_of_the_launcher_is_killed(tmp_path: Path) -> None:
    """All start again, from the newest snapshot, to the bits of one process that nobody kills."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "solver.prototxt").write_text(SOLVER.replace(f"max_iter: {LAST}", "max_iter: 600"))
    assert train(folders[0], 1).wait(300) == 0
    process = train(folders[1], 2)
    wait_for(lambda: len(list(folders[1].glob("*.manifest.json"))) > 10)
    os.kill(workers(process.pid)[1], signal.SIGKILL)
    assert process.wait(300) == 0
    assert "rank 1 (host " in (folders[1] / "log").read_text()
    for kind in ("caffemodel", "solverstate"):
        one, two = ((folder / f"run_iter_600.{kind}").read_bytes() for folder in folders)
        assert one == two


@pytest.mark.slow
def test_few_open_files(tmp_path: Path) -> None:
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    command = f"ulimit -n 32 && exec {sys.executable} -m netc train solver.prototxt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, timeout=300, check=False)
    assert done.returncode == 0
