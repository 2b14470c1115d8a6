"""Real Caffe's numbers, layer by layer and net by net: within 1e-5 of each array's largest value."""

from __future__ import annotations

import numpy as np
import pytest

from tests.netc.layers.goldens import COPIES, FOLDER, Golden, cases, distance

FLT_MAX = np.finfo(np.float32).max


Numbers = dict[str, np.ndarray]


def windows_with_nothing_in_them(golden: Golden) -> Numbers:
    """Caffe leaves -FLT_MAX, or divides 0 by 0 (and its backward pass would write outside the image): netc gives 0."""
    if not all(np.isfinite(value).all() for key, value in golden.numbers.items() if key.startswith("in:")):
        return {}
    tops = {key: value for key, value in golden.numbers.items() if key.startswith("out:") and value.ndim == 4}
    empty = {key: np.isnan(value) | (value == -FLT_MAX) for key, value in tops.items()}
    return {key: np.where(empty[key], 0, value) for key, value in tops.items() if empty[key].any()}


def nan_scores(golden: Golden) -> Numbers:
    """Caffe takes a NaN score for the right class (accuracy 1 for a net that has diverged), netc for a wrong one."""
    given = [value for key, value in golden.numbers.items() if key.startswith("in:")]
    if not any(np.isnan(value).any() for value in given):
        return {}
    scores = next(value for value in given if value.ndim == 2)
    labels = next(value for value in given if value.ndim == 1)
    true = scores[np.arange(len(labels)), labels.astype(int)]
    beaten = [sum(not score < own for score in row) - 1 for row, own in zip(scores, true, strict=True)]
    right = np.mean([count < golden.options("Accuracy").top_k for count in beaten])
    (top,) = (key for key, value in golden.numbers.items() if key.startswith("out:") and value.ndim == 0)
    return {top: np.asarray(right, np.float32)}


def power_gradient_at_0(golden: Golden) -> Numbers:
    """Caffe computes the gradient of (sx)^p as p y / x, NaN at 0: netc gives p s (sx)^(p - 1)."""
    gradient = golden.numbers.get("indiff:data")
    if gradient is None or not np.isnan(gradient).any():
        return {}
    given = golden.options("Power")
    x = golden.numbers["in:data"].astype(np.float64)
    line = given.power * given.scale * (given.scale * x + given.shift) ** (given.power - 1)
    true = line * golden.numbers["topdiff:top"]
    assert np.allclose(true[~np.isnan(gradient)], gradient[~np.isnan(gradient)], rtol=1e-5)
    return {"indiff:data": true}


def unstable_product(golden: Golden) -> Numbers:
    """Caffe's unstable form divides the product by the bottom, NaN at 0: netc multiplies the others."""
    found = {}
    bottoms = {key[3:]: value.astype(np.float64) for key, value in golden.numbers.items() if key.startswith("in:")}
    for name in bottoms:
        gradient = golden.numbers.get(f"indiff:{name}")
        if gradient is not None and np.isnan(gradient).any():
            others = [value for other, value in bottoms.items() if other != name]
            found[f"indiff:{name}"] = np.prod(others, axis=0) * golden.numbers["topdiff:top"]
    return found


def parameter_gradient(golden: Golden) -> Numbers:
    """The top of Caffe's layer shares its gradient with the parameter, which was zeroed after it had been written."""
    return {"paramdiff:p/0": golden.numbers["topdiff:top"]} if golden.about["layer_types"] == ["Parameter"] else {}


def relu_overwritten(golden: Golden) -> Numbers:
    """A ReLU in place under a Power in place: Caffe's ReLU finds the Power's values where it looks for its own signs,
    and lets every gradient pass. netc gives the gradient of the function."""
    get = {key: value.astype(np.float64) for key, value in golden.numbers.items()}
    x, weight = get["in:data"], get["param:a/0"]
    a = x @ weight.T + get["param:a/1"]
    p = 2 * np.maximum(a, 0) + 1
    ds = (p + p @ get["param:b/0"].T + get["param:b/1"] - get["in:t"]) / len(x)
    da = 2 * (ds + ds @ get["param:b/0"]) * (a > 0)
    return {"indiff:data": da @ weight, "paramdiff:a/0": da.T @ x, "paramdiff:a/1": da.sum(0)}


DEPARTURES = {
    "Pooling": windows_with_nothing_in_them,
    "Accuracy": nan_scores,
    "Power": power_gradient_at_0,
    "Eltwise": unstable_product,
    "Parameter": parameter_gradient,
}
"""Where netc's value is not Caffe's (docs/numerics.md says why): layer type → its numbers instead, for cases with the
symptom."""


def departures(golden: Golden) -> Numbers:
    """netc's own numbers for a case, where they are not Caffe's."""
    found: Numbers = {}
    for kind in golden.types & set(DEPARTURES):
        found |= DEPARTURES[kind](golden)
    return found


DEPARTED = {"pool_max_stride_gt_kernel_empty_window", "accuracy_nan", "power_3_noshift_zero", "parameter"}
NET_DEPARTURES = {"inplace_then_split_order": relu_overwritten}


@pytest.fixture(autouse=True)
def _where_the_prototxts_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


@pytest.mark.parametrize("name", cases("layers"))
def test_layer(name: str) -> None:
    golden = Golden("layers", name)
    if golden.about["stochastic"]:
        same_mask_both_ways(golden)
        return
    departed = departures(golden)
    assert bool(departed) == (name in DEPARTED) or name not in KNOWN
    golden.numbers.update(departed)
    assert golden.compare() == {}


@pytest.mark.parametrize("name", cases("nets"))
def test_net(name: str) -> None:
    golden = Golden("nets", name)
    if name in NET_DEPARTURES:
        golden.numbers.update(NET_DEPARTURES[name](golden))
    assert golden.compare() == {}


KNOWN = {path.stem for path in COPIES.glob("layers/*.json")}
"""The cases whose departures are listed by name."""


def test_no_case_of_the_shared_folder_is_left_out() -> None:
    for kind, copied in (("layers", 291), ("nets", 16)):
        for suffix in (".prototxt", ".npz"):
            assert cases(kind) == sorted(path.stem for path in (FOLDER / kind).glob(f"*{suffix}"))
        assert len(cases(kind)) >= copied


def same_mask_both_ways(golden: Golden) -> None:
    """A random case: Dropout drops or scales each value, and its gradient likewise."""
    import torch

    assert golden.types - {"Input", "Split"} == {"Dropout"}
    ratio = golden.options("Dropout").dropout_ratio
    ((name, given),) = ((key[3:], value) for key, value in golden.numbers.items() if key.startswith("in:"))
    ((top, diff),) = ((key[8:], value) for key, value in golden.numbers.items() if key.startswith("topdiff:"))
    x = torch.tensor(given, requires_grad=True)
    y = golden.net(**{name: x}, blobs=[top])[top]
    kept = (y != 0).detach()
    assert abs(kept.float().mean() - (1 - ratio)) < 0.2
    assert distance(y.detach(), np.where(kept, given / (1 - ratio), 0)) < 1e-6
    y.backward(torch.from_numpy(diff))
    assert x.grad is not None
    assert distance(x.grad, np.where(kept, diff / (1 - ratio), 0)) < 1e-6
    caffes = golden.numbers[f"out:{top}"]
    assert distance(caffes, np.where(caffes != 0, given / (1 - ratio), 0)) < 1e-6
