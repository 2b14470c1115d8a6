"""Real Caffe's numbers, layer by layer and net by net: within 1e-5 of each array's largest value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from netc.layers import registry
from tests.netc.layers.goldens import FOLDER, Golden, cases, distance

FLT_MAX = np.finfo(np.float32).max


def windows_with_nothing_in_them(numbers: dict[str, Any]) -> dict[str, np.ndarray]:
    """Caffe leaves -FLT_MAX (and its backward pass would write outside the image): netc gives 0."""
    top = numbers["out:top"].copy()
    assert (top == -FLT_MAX).sum() == 10
    top[top == -FLT_MAX] = 0
    return {"out:top": top}


def nan_scores(numbers: dict[str, Any]) -> dict[str, np.ndarray]:
    """Caffe takes a NaN score for the right class (accuracy 1 for a net that has diverged), netc for a wrong one."""
    scores, labels = numbers["in:x"], numbers["in:label"].astype(int)
    assert np.isnan(scores).any()
    assert numbers["out:acc"] > 0
    true = scores[np.arange(len(labels)), labels]
    beaten = [sum(not score < own for score in row) - 1 for row, own in zip(scores, true, strict=True)]
    return {"out:acc": np.float32(np.mean([count < 1 for count in beaten]))}


DEPARTURES = {
    "pool_max_stride_gt_kernel_empty_window": windows_with_nothing_in_them,
    "accuracy_nan": nan_scores,
}
"""Where netc's value is not Caffe's (docs/numerics.md says why): case → its numbers instead."""


def types_of(kind: str, name: str) -> set[str]:
    return set(json.loads((FOLDER / kind / f"{name}.json").read_text())["layer_types"])


@pytest.mark.parametrize("name", cases("layers"))
def test_layer(name: str) -> None:
    if not types_of("layers", name) <= set(registry()):
        pytest.skip("a type of another delivery")
    golden = Golden("layers", name)
    if golden.about["stochastic"]:
        pytest.skip("random: test_dropout looks at the relations")
    if name in DEPARTURES:
        golden.numbers.update(DEPARTURES[name](golden.numbers))
    assert golden.compare() == {}


@pytest.mark.parametrize("name", cases("nets"))
def test_net(name: str) -> None:
    if not types_of("nets", name) <= set(registry()):
        pytest.skip("a type of another delivery")
    assert Golden("nets", name).compare() == {}


def test_dropout_keeps_or_drops_and_the_gradient_uses_the_same_mask() -> None:
    golden = Golden("layers", "dropout_train_05")
    import torch

    x = torch.tensor(golden.numbers["in:data"], requires_grad=True)
    y = golden.net(data=x)["top"]
    kept = (y != 0).detach()
    assert 0.3 < kept.float().mean() < 0.7
    assert distance(y.detach(), np.where(kept, 2 * golden.numbers["in:data"], 0)) == 0
    y.backward(torch.from_numpy(golden.numbers["topdiff:top"]))
    assert x.grad is not None
    assert distance(x.grad, np.where(kept, 2 * golden.numbers["topdiff:top"], 0)) == 0
