"""Precision and layout: against the same net written by hand with torch's autocast; what stays float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import netc
from netc import NetcError
from netc.layers import registry
from netc.runtime.net.conformance import Run as Machine
from netc.runtime.net.conformance import make, params, values
from netc.weights import read
from tests.netc.layers.cases import CASES, TRAIN, Case

NET = """
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: [6, 3, 17, 13] } shape { dim: 6 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 12 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = f'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001 random_seed: 4 net_param {{ {NET} }}'


def batch(k: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(k)
    x = torch.randn((6, 3, 17, 13), generator=generator)
    return {"data": x, "label": torch.randint(0, 5, (6,), generator=generator).float()}


def by_hand(weights: list[Tensor], precision: str) -> Tensor:
    """The loss, as a user of torch writes it."""
    found = batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        x = F.max_pool2d(F.relu(F.conv2d(found["data"], weights[0], weights[1], padding=1)), 2, ceil_mode=True)
        x = F.relu(F.conv2d(x, weights[2], weights[3]))
        scores = F.linear(x.flatten(1), weights[4], weights[5])
    return F.cross_entropy(scores.float(), found["label"].long())


def gradients(precision: str) -> tuple[float, list[Tensor]]:
    run = netc.load_solver(SOLVER, precision=precision)
    loss, _ = run.forward_backward(batch)
    return loss, [slot.gradient() for slot in run.slots]


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative distance of two gradients, over the parameters."""
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-6), ("bf16", 2e-3)])
def test_it_computes_what_torch_computes_in_autocast(precision: str, bound: float) -> None:
    """bf16: torch rounds at the same places; a sum in another order may round a value of 8 bits the other way."""
    run = netc.load_solver(SOLVER)
    weights = [slot.value.detach().clone().requires_grad_() for slot in run.slots]
    expected = by_hand(weights, precision)
    expected.backward()
    loss, found = gradients(precision)
    assert loss == pytest.approx(float(expected.detach()), rel=bound)
    assert distance(found, [w.grad for w in weights if w.grad is not None]) < bound


def test_bf16_is_near_fp32() -> None:
    """bfloat16 has 8 bits: each factor is off by up to 2^-9, and errors of either sign add up like their root. In the
    gradient a few ReLUs and maxima, whose values are nearly equal, tip over."""
    (exact, expected), (loss, found) = gradients("fp32"), gradients("bf16")
    assert loss != exact
    assert loss == pytest.approx(exact, rel=2**-8)
    assert distance(found, expected) < 2**-4


def test_weights_update_and_loss_are_float32(tmp_path: Path) -> None:
    run = netc.load_solver(SOLVER + f' snapshot_prefix: "{tmp_path}/run"', precision="bf16")
    outputs = run.net(batch())
    assert outputs["loss"].dtype == torch.float32
    asked = run.net(batch(), blobs=["conv1", "fc"])
    assert {blob.dtype for blob in asked.values()} == {torch.float32}
    assert torch.equal(asked["fc"], asked["fc"].bfloat16().float())  # it was computed in bfloat16
    run.step(3, feed=batch)
    for slot in run.slots:
        assert slot.value.dtype == slot.value.grad.dtype == slot.history[0].dtype == torch.float32
        assert not torch.equal(slot.value, slot.value.bfloat16().float())  # an update of 2^-9 is not lost
    saved = read(str(run.snapshot().with_suffix(".caffemodel")))
    for name, tensors in run.net.params.items():
        for array, tensor in zip(saved[name], tensors, strict=True):
            assert array.dtype == "float32"
            assert torch.equal(torch.from_numpy(array.copy()), tensor)


def test_a_layout_of_memory_changes_no_number_but_its_last_bits(tmp_path: Path) -> None:
    """The sums of a convolution come in another order."""
    runs = [
        netc.load_solver(SOLVER + f' snapshot_prefix: "{tmp_path}/{last}"', channels_last=last)
        for last in (False, True)
    ]
    for run in runs:
        run.step(3, feed=batch)
        assert all(slot.value.is_contiguous() for slot in run.slots)
    assert runs[0].loss == pytest.approx(runs[1].loss, rel=1e-5)
    found = [read(str(run.snapshot().with_suffix(".caffemodel"))) for run in runs]
    for name in runs[0].net.params:
        for one, other in zip(found[0][name], found[1][name], strict=True):
            torch.testing.assert_close(torch.from_numpy(one.copy()), torch.from_numpy(other.copy()))


def test_bf16_resumes_bit_for_bit_and_says_where_it_is_not_the_same(tmp_path: Path) -> None:
    text = SOLVER + f' snapshot_prefix: "{tmp_path}/run"'
    run = netc.load_solver(text, precision="bf16")
    run.step(2, feed=batch)
    state = str(run.snapshot())
    run.step(2, feed=batch)
    again = netc.load_solver(text, snapshot=state, precision="bf16")
    again.step(2, feed=batch)
    assert all(torch.equal(a.value, b.value) for a, b in zip(run.slots, again.slots, strict=True))
    with pytest.warns(UserWarning, match="precision is fp32, in the run that wrote the snapshot it was bf16"):
        netc.load_solver(text, snapshot=state)


def test_the_shards_of_a_batch_add_up_in_bf16() -> None:
    whole, parts = (netc.load_solver(SOLVER, precision="bf16", shards=shards) for shards in (0, 3))
    whole.forward_backward(batch)
    parts.forward_backward(batch)
    assert distance([s.gradient() for s in parts.slots], [s.gradient() for s in whole.slots]) < 2**-7


@pytest.mark.parametrize("open", [netc.load_solver, netc.load_net])
def test_a_precision_that_there_is_not(open: Any) -> None:
    with pytest.raises(NetcError, match='no precision "fp8"') as caught:
        open(SOLVER if open is netc.load_solver else NET, precision="fp8")
    assert caught.value.code == "R700"


ANY = [
    (kind, case)
    for kind, cases in CASES.items()
    for case in cases
    if not registry()[kind].is_source and make(kind, case)[0].takes_any_form()
]


@pytest.mark.parametrize(("kind", "case"), ANY, ids=[f"{kind}-{CASES[kind].index(case)}" for kind, case in ANY])
def test_layers_take_what_they_say_they_take(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    own = params(layer, torch.float32)
    bottoms = [x.bfloat16().float() for x in values(case, case.shapes, torch.float32)]
    expected = layer.forward(Machine(case.phase == TRAIN), bottoms, own)
    laid = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in bottoms]
    for one, other in zip(layer.forward(Machine(case.phase == TRAIN), laid, own), expected, strict=True):
        torch.testing.assert_close(one, other)
    narrow = layer.forward(Machine(case.phase == TRAIN), [x.bfloat16() for x in laid], [x.bfloat16() for x in own])
    for one, other in zip(narrow, expected, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=2**-7, atol=2**-7 * float(other.abs().max()))
