"""Twenty iterations of Caffe's own runs: every update rule, policy, clipping, iter_size and regularisation."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netc import read_net, read_solver
from netc.runtime.solver.solver import load_solver

SHARED = Path(os.environ.get("NETC_SHARED") or Path(__file__).resolve().parents[4] / "shared")
CASES = sorted(path.stem for path in SHARED.glob("goldens/solvers/*.npz"))

TOLERANCE = 1e-5
"""Float32 rounding over 20 steps with momentum: Caffe's BLAS and torch sum in other orders."""

NOTHING = 1e-8
"""What is left in float32 of a velocity whose true value is 0: that of a bias right before a BatchNorm."""


def difference(found: Any, expected: Any) -> float:
    """Largest difference relative to the largest magnitude of what is expected."""
    expected = np.asarray(expected, np.float64)
    scale = np.abs(expected).max(initial=0) or 1.0
    return float(np.abs(np.asarray(found, np.float64) - expected).max(initial=0) / scale)


def feed_of(golden: Any) -> Any:
    data, label = golden["batches:data"], golden["batches:label"]
    return lambda k: {"data": torch.from_numpy(data[k % 7]), "label": torch.from_numpy(label[k % 7])}


def start(shared: Path, case: str, shards: int = 0) -> tuple[Any, Any, Any]:
    folder = shared / "goldens" / "solvers"
    golden = dict(np.load(folder / f"{case}.npz"))
    file = str(folder / f"{case}.solver.prototxt")
    run = load_solver(file if (folder / read_solver(file).net).exists() else with_logged_net(file), shards=shards)
    initial: dict[str, list[Any]] = {}
    for key in golden:
        if key.startswith("init:"):
            initial.setdefault(key[5:].rpartition("/")[0], []).append(golden[key])
    run.net.copy_from(initial)
    return run, golden, json.loads((folder / f"{case}.json").read_text())


def with_logged_net(solver: str) -> Any:
    """A solver whose net's file is not shared, with the net as Caffe's log has it from building it."""
    log = Path(solver.replace(".solver.prototxt", ".log")).read_text()
    printed = log.partition("Initializing net from parameters: \n")[2]
    param = read_solver(solver)
    param.ClearField("net")
    param.net_param.CopyFrom(read_net(re.split(r"^[IWEF]\d{8} ", printed, maxsplit=1, flags=re.MULTILINE)[0]))
    return param


def weights(run: Any, golden: Any, prefix: str) -> dict[str, float]:
    found = {}
    for key in golden:
        if key.startswith(prefix):
            layer, _, index = key[len(prefix) :].rpartition("/")
            found[key] = difference(run.net.params[layer][int(index)].detach(), golden[key])
    return found


@pytest.mark.parametrize("shards", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_follows_caffe(shared: Path, case: str, shards: int) -> None:
    """Also through the code that computes a batch in shards, with one of them."""
    run, golden, facts = start(shared, case, shards)
    feed = feed_of(golden)
    for iteration in range(20):
        assert run.lr == pytest.approx(golden["lr"][iteration], rel=1e-5), iteration
        loss = run.step(1, feed)
        assert loss == pytest.approx(golden["loss"][iteration], rel=TOLERANCE, abs=TOLERANCE), iteration
        for key, distance in weights(run, golden, f"w@{iteration + 1}:").items():
            assert distance < TOLERANCE, key
    assert run.iter == 20
    for key, distance in weights(run, golden, "final:").items():
        assert distance < TOLERANCE, key
    arrays = [slot.history[kind] for kind in range(len(run.slots[0].history)) for slot in run.slots]
    assert len(arrays) == facts["n_history"]
    for number, array in enumerate(arrays):
        expected = golden[f"history:{number}"]
        slack = np.abs(np.asarray(array, np.float64) - expected).max()
        assert slack < max(2 * TOLERANCE * np.abs(expected).max(), NOTHING), number


@pytest.mark.parametrize("case", ["sgd_L2_it1_noclip", "sgd_clip_it4", "adam_L2_it2_clip"])
def test_gradient_before_clipping_and_decay(shared: Path, case: str) -> None:
    run, golden, facts = start(shared, case)
    run.forward_backward(feed_of(golden))
    keys = [key for key in golden if key.startswith("rawgrad@0:")]
    assert len(keys) == len(facts["learnable_order"])
    for key in keys:
        layer, _, index = key.partition(":")[2].rpartition("/")
        assert difference(run.net.params[layer][int(index)].grad, golden[key]) < 1e-6, key
