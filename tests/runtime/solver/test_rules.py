"""The fused form of Caffe's rule against the rule itself, and what the order of operations has to be."""

from __future__ import annotations

import pytest
import torch

from netc import proto
from netc.runtime.solver.rules import Slot, Updater

SHAPES = ((7, 5), (3,), (2, 3, 4))


def slots(kinds: tuple[tuple[float, float], ...] = ((1, 1), (2, 0), (0.5, 2))) -> list[Slot]:
    generator = torch.Generator().manual_seed(4)
    found = []
    for shape, (lr_mult, decay_mult) in zip(SHAPES, kinds):
        value = torch.nn.Parameter(torch.randn(shape, generator=generator))
        value.grad = torch.randn(shape, generator=generator)
        found.append(Slot(value, [torch.randn(shape, generator=generator)], lr_mult, decay_mult))
    return found


def param(**settings: object) -> proto.SolverParameter:
    return proto.SolverParameter(type="SGD", momentum=0.9, weight_decay=0.05, **settings)


@pytest.mark.parametrize("rate", [0.1, 1e-5, 0.0])
def test_sgd_by_the_formula(rate: float) -> None:
    """h ← momentum·h + rate·(g + decay·w), w ← w − h, in double precision."""
    ours, expected = slots(), []
    for slot in slots():
        w, g, h = (t.detach().double() for t in (slot.value, slot.value.grad, slot.history[0]))
        h = 0.9 * h + rate * slot.lr_mult * (g + 0.05 * slot.decay_mult * w)
        expected.append((w - h, h))
    Updater(param(), ours).apply(rate, 0)
    for slot, (w, h) in zip(ours, expected):
        torch.testing.assert_close(slot.value.detach().double(), w, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(slot.history[0].double(), h, rtol=1e-6, atol=1e-6)


def test_clipping_comes_before_division_and_decay() -> None:
    ours = slots()
    norm = float(torch.cat([slot.value.grad.flatten() for slot in ours]).norm())  # type: ignore[union-attr]
    expected = [(slot.value.grad * (0.5 / norm / 4) + 0.05 * slot.decay_mult * slot.value).detach() for slot in ours]
    before = [slot.history[0].clone() for slot in ours]
    assert Updater(param(clip_gradients=0.5, iter_size=4), ours).apply(1.0, 0) == pytest.approx(0.5 / norm)
    for slot, old, gradient in zip(ours, before, expected):
        torch.testing.assert_close(slot.history[0], 0.9 * old + slot.lr_mult * gradient, rtol=1e-5, atol=1e-6)


def test_clipping_at_zero_is_active() -> None:
    ours = slots(((1, 0), (1, 0), (1, 0)))
    before = [slot.history[0].clone() for slot in ours]
    Updater(param(clip_gradients=0), ours).apply(1.0, 0)
    assert all(torch.allclose(slot.history[0], 0.9 * old) for slot, old in zip(ours, before))


def test_frozen_does_not_move() -> None:
    ours = slots(((0, 1), (1, 1), (1, 1)))
    before = [slot.value.detach().clone() for slot in ours]
    Updater(param(), ours).apply(0.1, 0)
    assert [torch.equal(slot.value, old) for slot, old in zip(ours, before)] == [True, False, False]


def test_no_gradient_still_decays() -> None:
    ours = slots()
    ours[0].value.grad, ours[0].history[0][:] = None, 0
    before = ours[0].value.detach().clone()
    Updater(param(), ours).apply(0.1, 0)
    torch.testing.assert_close(ours[0].value.detach(), before * (1 - 0.1 * 0.05), rtol=1e-6, atol=0)
