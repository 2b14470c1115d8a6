"""Twenty iterations of Caffe's own runs, as a program for pycaffe makes them: callbacks, diffs, rates, history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.pycaffe as caffe
from tests.runtime.solver.test_goldens import CASES, NOTHING, TOLERANCE, difference, with_logged_net


def start(shared: Path, case: str) -> tuple[Any, dict[str, Any]]:
    folder = shared / "goldens" / "solvers"
    golden = dict(np.load(folder / f"{case}.npz"))
    file = str(folder / f"{case}.solver.prototxt")
    source = file if (folder / caffe_net(file)).exists() else with_logged_net(file)
    solver = caffe.get_solver(source)
    for key, value in golden.items():
        if key.startswith("init:"):
            param(solver, key[5:]).data[...] = value
    turn = iter(range(10**6))

    def feed(layer: int) -> None:
        if layer == 0:
            k = next(turn) % 7
            solver.net.blobs["data"].data[...] = golden["batches:data"][k]
            solver.net.blobs["label"].data[...] = golden["batches:label"][k]

    solver.net.before_forward(feed)
    return solver, golden


def caffe_net(file: str) -> str:
    from netc import read_solver

    return str(read_solver(file).net)


def param(solver: Any, key: str) -> Any:
    layer, _, index = key.rpartition("/")
    return solver.net.params[layer][int(index)]


@pytest.mark.parametrize("case", CASES)
def test_follows_caffe(shared: Path, case: str) -> None:
    solver, golden = start(shared, case)
    seen: list[dict[str, Any]] = []
    keys = [key[10:] for key in golden if key.startswith("rawgrad@0:")]
    solver.add_callback(lambda: None, lambda: seen.append({key: param(solver, key).diff.copy() for key in keys}))
    for iteration in range(20):
        assert solver.lr == pytest.approx(golden["lr"][iteration], rel=1e-5), iteration
        solver.step(1)
        for key, value in golden.items():
            if key.startswith(f"w@{iteration + 1}:"):
                assert difference(param(solver, key.partition(":")[2]).data, value) < TOLERANCE, key
    assert solver.iter == 20
    for key, value in golden.items():
        if key.startswith("final:"):
            assert difference(param(solver, key[6:]).data, value) < TOLERANCE, key
    for key in keys:
        expected = golden[f"rawgrad@0:{key}"]  # 0 up to rounding for a bias right before a BatchNorm
        assert np.abs(seen[0][key] - expected).max() < max(1e-6 * np.abs(expected).max(), 2e-7), key
    slots = solver._run.slots
    arrays = [slot.history[kind] for kind in range(len(slots[0].history)) for slot in slots]
    for number, array in enumerate(arrays):
        expected = golden[f"history:{number}"]
        slack = np.abs(np.asarray(array, np.float64) - expected).max()
        assert slack < max(2 * TOLERANCE * np.abs(expected).max(), NOTHING), number


def test_the_diff_after_a_step_is_the_update(shared: Path) -> None:
    """Caffe subtracts the diff: after a step it is what was subtracted."""
    solver, _ = start(shared, "sgd_L2_it1_noclip")
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in solver.net.params.items()}
    solver.step(1)
    for name, blobs in solver.net.params.items():
        for old, blob in zip(before[name], blobs, strict=True):
            assert (old - blob.diff == blob.data).all(), name
