"""Runs a net that real Caffe ran, from Caffe's parameters and inputs, and compares every number Caffe wrote down."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

import netc
from netc.runtime.net.module import Net

_ROOT = Path(__file__).resolve().parents[3]
_SHARED = Path(os.environ.get("NETC_SHARED") or _ROOT.parent / "shared") / "goldens"
COPIES = _ROOT / "tests" / "goldens"
FOLDER = _SHARED if (_SHARED / "layers").is_dir() else COPIES
"""All cases where the shared folder is there, else the copies."""
TOLERANCE = 1e-5
FLOOR = 1e-3


def cases(kind: str) -> list[str]:
    return sorted(path.stem for path in (FOLDER / kind).glob("*.json"))


def distance(found: Any, expected: np.ndarray) -> float:
    """max |found - expected| / max(|expected|, 1e-3): relative to the array's largest value.

    Two NaN or equal infinities are not a difference, a NaN or infinity on one side only is an infinite one.
    """
    found = np.asarray(found, dtype=np.float64)
    expected = np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(found - expected))
    finite = np.abs(expected[np.isfinite(expected)])
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0) / max(finite.max(initial=0), FLOOR))


class Golden:
    """One case: `kind` is the folder, `name` the file's stem."""

    def __init__(self, kind: str, name: str) -> None:
        stem = FOLDER / kind / name
        self.about: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text())
        self.numbers: dict[str, np.ndarray] = dict(np.load(stem.with_suffix(".npz")))
        kwargs = self.about["net_kwargs"]
        self.graph = netc.compile_net(
            str(stem.with_suffix(".prototxt")), self.about["phase"], kwargs.get("level", 0), kwargs.get("stages", ())
        )
        self.net = Net(self.graph)
        self._load_params()

    @property
    def types(self) -> set[str]:
        """The layer types of the net."""
        return {node.type for node in self.graph.nodes}

    def options(self, kind: str) -> Any:
        """The settings of the first layer of a type."""
        return next(node.layer.options for node in self.graph.nodes if node.type == kind)

    def _load_params(self) -> None:
        for key, value in self._group("param:", "").items():
            layer, _, position = key.rpartition("/")
            with torch.no_grad():
                self.net.params[layer][int(position)].copy_(torch.from_numpy(value))

    def _group(self, prefix: str, suffix: str) -> dict[str, np.ndarray]:
        return {
            key[len(prefix) : len(key) - len(suffix)]: value
            for key, value in self.numbers.items()
            if key.startswith(prefix) and key.endswith(suffix)
        }

    def compare(self) -> dict[str, float]:
        """The distance of each number of the case that differs by more than the tolerance; infinite for one that is
        not compared at all."""
        found = dict.fromkeys(self._results(), float("inf")) | self.distances()
        return {key: value for key, value in found.items() if not value <= TOLERANCE}

    def _results(self) -> list[str]:
        """The keys of all that Caffe computed and wrote."""
        kinds = {"out", "indiff", "paramdiff", "param_after"} if self.about["backward"] else {"out", "param_after"}
        unwritten = {f"indiff:{name}" for key in self.about if "not_written" in key for name in self.about[key]}
        found = [key for key in self.numbers if key.partition(":")[0] in kinds]
        return [key for key in found if key.partition("@")[0] not in unwritten]

    def distances(self) -> dict[str, float]:
        steps = self.about["steps"]
        result: dict[str, float] = {}
        for step in range(steps):
            result.update(self._step(f"@{step}" if steps > 1 else ""))
        return result

    def _step(self, suffix: str) -> dict[str, float]:
        inputs = {name: torch.tensor(value) for name, value in self._group("in:", suffix).items()}
        backward = self.about["backward"]
        for tensor in inputs.values():
            tensor.requires_grad_(backward)
        expected = self._group("out:", suffix)
        blobs = self.net(blobs=list(expected), **inputs) if expected else self.net(blobs=[], **inputs)
        result = {f"out:{name}{suffix}": distance(blobs[name].detach(), value) for name, value in expected.items()}
        for key, value in self._group("param_after:", suffix).items():
            result[f"param_after:{key}{suffix}"] = distance(self._param(key).detach(), value)
        if backward:
            result.update(self._gradients(blobs, inputs, suffix))
        return result

    def _gradients(self, blobs: dict[str, Any], inputs: dict[str, Any], suffix: str) -> dict[str, float]:
        self.net.zero_grad()
        for name, diff in self._group("topdiff:", suffix).items():
            if blobs[name].requires_grad:
                blobs[name].backward(torch.from_numpy(diff), retain_graph=True)
        unwritten = self.about.get(f"input_diff_not_written{suffix}", self.about.get("input_diff_not_written", []))
        result = {}
        for name, value in self._group("indiff:", suffix).items():
            if name not in unwritten:
                result[f"indiff:{name}{suffix}"] = distance(_grad(inputs[name]), value)
        for key, value in self._group("paramdiff:", suffix).items():
            result[f"paramdiff:{key}{suffix}"] = distance(_grad(self._param(key)), value)
        return result

    def _param(self, key: str) -> torch.Tensor:
        layer, _, position = key.rpartition("/")
        return self.net.params[layer][int(position)]


def _grad(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
