"""Several processes that train together: killed, stopped, signalled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    assert f"process {found['stopped']['process']}) is stopped, last heard of at iteration" in log
    assert "rank 0 waited at iteration" in log


def test_a_signal_to_one_rank_saves_once_and_ends_all(found: Any) -> None:
    """Ctrl-C reaches a worker twice: from the terminal and from the launcher."""
    assert found["signalled"] == {"statuses": [75, 75], "saved": 1}


@pytest.mark.slow
def test_200_random_kill_points(tmp_path: Path) -> None:
    """Each run is killed once, one process or both, and resumed by one, two or three."""
    assert run("once", str(tmp_path / "run"), "200", timeout=3600) == {"trials": 200, "same": 200}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_any_rank(name: str, rank: int, tmp_path: Path) -> None:
    assert run("signalled", str(tmp_path / "run"), name, str(rank)) == {"statuses": [75, 75], "saved": 1}
