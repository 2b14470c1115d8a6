"""Solver settings that are legal and hardly meant (the illegal ones: tests/broken/solvers)."""

from __future__ import annotations

from netc import read_solver
from netc.solver.settings import warnings


def test_legal_but_hardly_meant() -> None:
    text = 'base_lr: 1 max_iter: 1 lr_policy: "fixed" momentum: 1 plateau_param { patience: 3 }'
    found = list(warnings(read_solver(text)))
    assert sorted(line.split()[0] for line in found) == ["momentum", "plateau_param"]
    assert not list(warnings(read_solver('base_lr: 1 max_iter: 1 lr_policy: "plateau" plateau_param { patience: 3 }')))
