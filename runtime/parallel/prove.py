"""Whether training is the same for any number of processes: trained with each, and compared bit by bit.

With shards the bits must not depend on the number. Without, the gradient of one step is compared with that of one
process, against the bound of rounding (netc.runtime.parallel.rounding).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netc.errors import NetcError
from netc.graph.read import locate_solver
from netc.runtime.parallel.launch import STATUS, launch
from netc.runtime.parallel.rounding import ROUNDOFF, bound
from netc.runtime.parallel.shards import too_many

CHECKED = ("the SHA-256 of all weights", "the SHA-256 of the update rule's history", "the outputs of all test nets")

WORKER = "netc.runtime.parallel.measure"


def prove(
    solver: str, counts: Sequence[int], iterations: int, shards: int | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Train `iterations` iterations with each number of processes. Returns the certificate: `equal`, `runs`, what was
    `checked`, and how and where. Raises the NetcError of a run, as R663 with its text; R661 for more
    processes than parts of an iteration."""
    param, _ = locate_solver(solver)
    divided = param.shards if shards is None else shards
    if divided and max(counts) > divided * max(1, param.iter_size):
        raise too_many(max(counts), divided * max(1, param.iter_size))
    task: dict[str, Any] = {"solver": os.path.abspath(solver) if os.path.exists(solver) else solver}
    task |= {"iterations": iterations, "shards": divided, "seed": seed, "precision": "float32", "gradients": None}
    runs = [{"nproc": count, **_measured(task, count)} for count in counts]
    bits = {(run["weights_sha256"], run["history_sha256"], json.dumps(run["tests"])) for run in runs}
    checked = [f"{what} after {iterations} iterations, bit by bit" for what in CHECKED]
    certificate: dict[str, Any] = {"equal": len(bits) == 1, "runs": runs, "shards": divided, "iterations": iterations}
    if not divided:
        certificate["one_step"] = _one_step(task, counts)
        checked.append("the gradient of the first iteration, up to the bound of rounding")
    return certificate | {"checked": checked, "solver": solver, "seed": seed, "machine": _machine()}


def _measured(task: dict[str, Any], count: int) -> dict[str, Any]:
    """What `measure` says of so many processes."""
    with tempfile.TemporaryDirectory(prefix="netc-") as folder:
        result = Path(folder, "result")
        path = Path(folder, "task.json")
        path.write_text(json.dumps({**task, "result": str(result)}), "utf-8")
        if count > 1:
            status = launch(count, [str(path)], WORKER)
        else:
            environment = {name: text for name, text in os.environ.items() if name != STATUS} | {"OMP_NUM_THREADS": "1"}
            status = subprocess.run([sys.executable, "-m", WORKER, str(path)], env=environment, check=False).returncode
        found: dict[str, Any] = json.loads(result.read_text("utf-8")) if result.exists() else {}
    if status or "error" in found:
        raise NetcError("R663", f"with {count} processes: {found.get('error') or f'it ended with status {status}'}")
    return found


def _one_step(task: dict[str, Any], counts: Sequence[int]) -> list[dict[str, Any]]:
    """The distance of the first gradient from that of one process, in both precisions."""
    found = []
    for precision in ROUNDOFF:
        with tempfile.TemporaryDirectory(prefix="netc-") as folder:
            gradients = {}
            for count in dict.fromkeys([1, *counts]):
                path = Path(folder, f"{count}.npz")
                measured = _measured({**task, "precision": precision, "gradients": str(path)}, count)
                with np.load(path) as arrays:
                    gradients[count] = np.concatenate([arrays[name].ravel() for name in arrays])
        for count in counts:
            size = float(np.linalg.norm(gradients[1]))
            apart = float(np.linalg.norm(gradients[count] - gradients[1])) / (size or 1.0)
            limit = bound(measured["terms"], precision)
            row = {"nproc": count, "precision": precision, "difference": apart, "bound": limit}
            found.append({**row, "within": apart <= limit})
    return found


def _machine() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "threads": 1,
    }
