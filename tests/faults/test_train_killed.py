"""`netc train` killed at random moments and resumed: the final weights are those of an undisturbed run, bit for bit."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from netc import proto
from netc.runtime.solver import snapshot

ROOT = Path(__file__).resolve().parents[2]
LAST = 400

NET = """
name: "tiny"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 9 mirror: true mean_value: 100 scale: 0.02 }
  data_param { source: "train_lmdb" batch_size: 7 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 9 mean_value: 100 scale: 0.02 }
  data_param { source: "train_lmdb" batch_size: 5 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param { dropout_ratio: 0.4 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
SOLVER = f"""
net: "net.prototxt" test_iter: 3 test_interval: 35
base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "multistep" gamma: 0.5 stepvalue: 90 stepvalue: 250
iter_size: 2 display: 20 average_loss: 15 max_iter: {LAST} snapshot: 10 snapshot_prefix: "run" random_seed: 5
"""


def prepare(folder: Path) -> Path:
    """A folder with 33 small pictures in an LMDB, a net with every kind of randomness and a solver."""
    import lmdb

    folder.mkdir()
    rng = np.random.default_rng(2)
    with lmdb.open(str(folder / "train_lmdb"), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        for index in range(33):
            pixels = rng.integers(0, 256, (3, 12, 11), dtype=np.uint8).tobytes()
            datum = proto.Datum(channels=3, height=12, width=11, data=pixels, label=index % 4)
            transaction.put(f"{index:08d}".encode(), datum.SerializeToString())
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Train, from the newest snapshot if there is one."""
    command = [sys.executable, "-m", "netc", "train", "--solver=solver.prototxt", "--resume", "auto"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def finish(folder: Path) -> tuple[str, ...]:
    """Train to the end and return the SHA-256 of the last snapshot's files."""
    process = start(folder)
    assert process.wait(300) == 0, (folder / "log").read_text()[-3000:]
    found = snapshot.load(folder / f"run_iter_{LAST}.solverstate")
    assert found.verified
    return tuple(
        hashlib.sha256((folder / f"run_iter_{LAST}.{kind}").read_bytes()).hexdigest()
        for kind in ("caffemodel", "solverstate")
    )


def kill_at(folder: Path, iteration: int, seconds: float) -> int:
    """Train, and kill -9 that many seconds after the snapshot of an iteration has appeared (iteration 0: after the log
    says that training begins). Returns the process's status."""
    process = start(folder)
    sign = folder / f"run_iter_{iteration}.manifest.json"
    while process.poll() is None and not (sign.exists() if iteration else "Solving tiny" in read_log(folder)):
        time.sleep(0.0005)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def read_log(folder: Path) -> str:
    return (folder / "log").read_text() if (folder / "log").exists() else ""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The hashes of a run that nobody kills."""
    return finish(prepare(tmp_path_factory.mktemp("whole") / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(20))
def test_killed_once(undisturbed, tmp_path, trial):
    """Ten iterations and their snapshot take some 50 ms, about half of it writing."""
    rng = random.Random(trial)
    folder = prepare(tmp_path / "run")
    assert kill_at(folder, rng.randrange(0, LAST - 50, 10), rng.uniform(0, 0.06)) == -signal.SIGKILL
    assert finish(folder) == undisturbed


@pytest.mark.slow
def test_killed_again_and_again(undisturbed, tmp_path):
    rng = random.Random(99)
    folder = prepare(tmp_path / "run")
    for iteration in (0, 10, 20, 90, 180, 250, 260, 350):
        assert kill_at(folder, iteration, rng.uniform(0, 0.06)) == -signal.SIGKILL
    assert finish(folder) == undisturbed
