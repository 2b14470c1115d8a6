"""Solver settings that are legal and hardly meant (the illegal ones: tests/broken/solvers)."""

from __future__ import annotations

from netc import read_solver
from netc.check.advice import solver_remarks


def test_legal_but_hardly_meant() -> None:
    text = 'base_lr: 1 max_iter: 1 lr_policy: "fixed" momentum: 1 plateau_param { patience: 3 }'
    found = [remark.message for remark in solver_remarks(read_solver(text))]
    assert sorted(line.split()[0] for line in found) == ["momentum", "plateau_param"]
    assert not solver_remarks(read_solver('base_lr: 1 max_iter: 1 lr_policy: "plateau" plateau_param { patience: 3 }'))
