"""What one number of processes makes of a solver: run by `prove` as a program, in one process or by the launcher.

    python -m netc.runtime.parallel.measure TASK.json

The task says what to train and where rank 0 writes what came of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.net.numerics import settle
from netc.runtime.parallel.group import Group, Processes, launched
from netc.runtime.parallel.launch import ended, lost
from netc.runtime.parallel.rounding import terms
from netc.runtime.parallel.watch import LOST
from netc.runtime.solver.solver import Solver


def main(path: str) -> int:
    task = json.loads(Path(path).read_text("utf-8"))
    settle(1)
    group = Processes() if launched() else Group()
    status, found = 0, {}
    try:
        found = measure(task, group)
    except NetcError as error:
        if error.code == LOST:
            lost(str(error))
        status, found = error.exit_status, {"error": str(error)}
    finally:
        group.close()
    if group.first:
        Path(task["result"]).write_text(json.dumps(found), "utf-8")
    return ended(status, group.rank)


def measure(task: dict[str, Any], group: Group) -> dict[str, Any]:
    """Train; then hash the weights and the history, and test."""
    param, origin = locate_solver(task["solver"])
    shards = task["shards"] or (1 if task["gradients"] and group.size == 1 else 0)  # as several compute it
    run = Solver(param, origin, seed=task["seed"], shards=shards, group=group)
    try:
        if task["precision"] == "float64":
            _doubled(run)
        if task["gradients"]:
            run.forward_backward()
            if group.first:
                arrays = {str(i): slot.gradient().double().cpu().numpy() for i, slot in enumerate(run.slots)}
                np.savez(task["gradients"], **arrays)  # type: ignore[arg-type]
            return {"terms": terms(run.net.graph, param.iter_size)}
        run.step(task["iterations"])
        return {
            "weights_sha256": _hash(tensor for tensors in run.net.params.values() for tensor in tensors),
            "history_sha256": _hash(array for slot in run.slots for array in slot.history),
            "tests": run.test(),
        }
    finally:
        run.close()


def _doubled(run: Solver) -> None:
    for net in (run.net, *run.test_nets):
        net.double()
    for slot in run.slots:
        slot.history = [array.double() for array in slot.history]
    run.divide()


def _hash(tensors: Iterable[Tensor]) -> str:
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main(sys.argv[1]))
