"""Gradients that are finite for certain are not read; those that are not finite are found all the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import netc
from netc import NetcError
from netc.runtime.solver.bounds import LIMIT
from netc.runtime.solver.solver import Solver

NET = """layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {
    shape { dim: 4 dim: 40 } shape { dim: 4 } data_filler { type: "gaussian" std: 1 } data_filler { value: 3 } } }
  layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 50
    weight_filler { type: "xavier" } } }
  layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
  layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 60
    weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "b" bottom: "y" top: "loss" }"""


def solver(net: str = NET, more: str = "iter_size: 2", **options: Any) -> Solver:
    return netc.load_solver(f'base_lr: 0.1 lr_policy: "fixed" {more} net_param {{ {net} }}', **options)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shards", [0, 2])
def test_it_bounds_the_gradient_over_all_passes(shards: int, precision: str) -> None:
    run = solver(shards=shards, precision=precision)
    with run._bounds.watching():
        run.forward_backward()
    for name in ("a", "b"):
        weight, bias = run.net.params[name]
        (bound,) = (sum(found) for key, found in run._bounds._found.items() if key == weight.data_ptr())
        assert weight.grad is not None
        assert 0 < float(weight.grad.abs().max()) <= bound < LIMIT
        assert run._bounds.finite(weight)
        assert not run._bounds.finite(bias)
    assert run.net.run.multiplied is None


@pytest.mark.parametrize("factor", ["bottom", "gradient"])
def test_an_overflow_of_finite_factors_is_found(factor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the loss nor a bias shows it: it is in the sums of products alone."""
    net = """layer { name: "d" type: "DummyData" top: "x" dummy_data_param {
        shape { dim: 4 dim: 40 } data_filler { value: %s } } }
      layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 50
        bias_term: false } }
      layer { name: "loss" type: "Reduction" bottom: "a" top: "loss" loss_weight: %s }"""
    run = solver(net % (("1e30", "1e20") if factor == "bottom" else ("1e20", "1e30")), "iter_size: 1")
    before = [slot.value.clone() for slot in run.slots]
    with pytest.raises(NetcError, match='gradient of parameter 0 of layer "a"') as caught:
        run.step(1)
    assert caught.value.code == "R630"
    assert all(torch.equal(slot.value, value) for slot, value in zip(run.slots, before, strict=True))


def test_what_is_not_seen_is_not_sure() -> None:
    """Weights that two layers share, that are few beside their factors, or whose gradient has not come."""
    shared = NET.replace('"a" type: "InnerProduct"', '"a" type: "InnerProduct" param { name: "w" }').replace(
        '"b" type: "InnerProduct"', '"b" type: "InnerProduct" param { name: "w" share_mode: PERMISSIVE }'
    )
    shared = shared.replace("num_output: 50", "num_output: 40").replace("num_output: 60", "num_output: 40")
    for text in (shared, NET.replace("dim: 4", "dim: 4000")):
        run = solver(text)
        with run._bounds.watching():
            run.forward_backward()
        assert not any(run._bounds.finite(slot.value) for slot in run.slots)
    run = solver()
    with run._bounds.watching():
        run.net(run.net.feeding.batch(0))
    assert not any(run._bounds.finite(slot.value) for slot in run.slots)


def test_the_check_reads_what_is_not_sure_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    run, read = solver(), []
    total = Tensor.sum

    def counted(tensor: Tensor, *more: Any, **options: Any) -> Tensor:
        read.append(tuple(tensor.shape))
        return total(tensor, *more, **options)

    monkeypatch.setattr("netc.runtime.solver.diverged.torch.Tensor.sum", counted)
    run.step(1)
    assert (50, 40) not in read
    assert (50,) in read
