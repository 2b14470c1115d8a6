"""What could give other numbers without being seen: changed weights, odd values, warm-ups, an engine's own ways."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import netc
from netc.errors import NetcError
from netc.runtime.engines import backends, choice, known

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

ENGINES = [engine.name for engine in known.ENGINES.values() if engine.packages and not engine.missing]

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 11 dim: 9 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param { num_output: 4 kernel_size: 3 pad: 1
  weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "c1" top: "c1" }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "p1" top: "fc" inner_product_param { num_output: 5
  weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
X = torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))


def loaded(engine: str = "torch", text: str = NET, **options: Any) -> Any:
    net = netc.load_net(text, engine=engine, **options)
    for arrays in net.params.values():
        if len(arrays) == 3:
            arrays[1].fill_(2), arrays[2].fill_(1)
    return net


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def in_place(net: Any) -> None:
    with torch.no_grad():
        net.params["c1"][0].mul_(-2)


def by_data(net: Any) -> None:
    net.params["c1"][0].data.mul_(-2)


def by_numpy(net: Any) -> None:
    net.params["c1"][0].detach().numpy()[:] *= -2


def buffers(net: Any) -> None:
    net.params["bn"][0].fill_(3)


def other_weights(net: Any) -> None:
    net.copy_from({"c1": [np.ones((4, 3, 3, 3), "f4"), np.zeros(4, "f4")]})


def a_state(net: Any) -> None:
    net.load_state_dict({key: 1.5 * value for key, value in net.state_dict().items()}, assign=True)


def shares(net: Any) -> None:
    other = loaded()
    in_place(other)
    net.share_from(other)


def a_step(net: Any) -> None:
    net.train()(X)["prob"][:, 0].sum().backward()
    net.eval()
    with torch.no_grad():
        for param in net.parameters():
            param -= 0.5 * param.grad


@pytest.mark.parametrize("change", [in_place, by_data, by_numpy, buffers, other_weights, a_state, shares, a_step])
def test_changed_weights_are_taken_over(change: Callable[[Any], None]) -> None:
    exact, net = loaded(), loaded("onnxruntime")
    before = net(X)["prob"]
    same(before, exact(X)["prob"])
    change(exact), change(net)
    assert not torch.allclose(net(X)["prob"], before, atol=1e-3)
    same(net(X)["prob"], exact(X)["prob"])


def test_a_copy_of_a_net_has_weights_of_its_own() -> None:
    net = loaded("onnxruntime")
    before = net(X)["prob"]
    other, exact = copy.deepcopy(net), loaded()
    in_place(other), in_place(exact)
    same(other(X)["prob"], exact(X)["prob"])
    assert torch.equal(net(X)["prob"], before)


def test_programs_stay_where_nothing_changed() -> None:
    net = loaded("onnxruntime")
    net(X)
    (plan,) = net.plans.values()
    programs = [dict(part.programs) for part in plan.parts]
    net(2 * X), net(X[:1])
    assert [dict(part.programs) for part in plan.parts] == programs


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number(engine: str, value: float) -> None:
    exact, net, given = loaded(), loaded(engine), X.clone()
    given[0, 0, 3, 3] = value
    for one in (given, X, given):
        same(net(one)["prob"], exact(one)["prob"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_of_nothing(engine: str) -> None:
    exact, net = loaded(), loaded(engine)
    for one in (X[:0], X, X[:0]):
        same(net(one)["prob"], exact(one)["prob"])


def test_other_types_of_numbers_take_the_exact_walk() -> None:
    net, exact = loaded("onnxruntime"), loaded()
    net(X)
    with pytest.raises(NetcError, match="Input type"):
        net(X.double())
    same(net.double()(X.double())["prob"], exact.double()(X.double())["prob"])
    same(loaded("onnxruntime").bfloat16()(X.bfloat16())["prob"], loaded().bfloat16()(X.bfloat16())["prob"])


@pytest.mark.parametrize("engine", ENGINES)
def test_shapes_that_do_not_fit_are_refused_as_ever(engine: str) -> None:
    messages = []
    for name in ("torch", engine):
        with pytest.raises(NetcError) as caught:
            loaded(name)(X[:, :2])
        messages.append((caught.value.code, caught.value.message))
    assert messages[0] == messages[1]


def test_a_constant_batch_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose fault shows on images only, at a net that is warmed up with zeros."""
    right = backends._MAKERS["onnxruntime"]

    def wrong(job: Any) -> Any:
        run = right(job)
        return lambda inputs: [y + 1e-3 * (inputs[0].abs().max() > 0) for y in run(inputs)]

    monkeypatch.setitem(backends._MAKERS, "onnxruntime", wrong)
    with pytest.raises(NetcError) as caught:
        loaded("onnxruntime")(torch.zeros_like(X))
    assert caught.value.code == "R773"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("k", [1.5, 0.3, 2])
def test_lrn_with_any_k(engine: str, k: float) -> None:
    """OpenVINO takes k for a whole number."""
    lrn = f'layer {{ name: "n" type: "LRN" bottom: "c1" top: "n" lrn_param {{ alpha: 0.4 beta: 0.6 k: {k} }} }}'
    text = "\n".join([*NET.splitlines()[:4], lrn])
    net = loaded(engine, text)
    same(net(X)["n"], loaded(text=text)(X)["n"])
    (plan,) = net.plans.values()
    assert [part.segment.engine for part in plan.parts] == [True]


def test_places_of_maxima_are_found_by_torch() -> None:
    """A score that differs in its last bit may be another place."""
    text = NET + 'layer { name: "best" type: "ArgMax" bottom: "prob" top: "best" }'
    net = loaded("onnxruntime", text)
    with pytest.warns(UserWarning, match="best \\(ArgMax\\)"):
        assert torch.equal(net(X)["best"], loaded(text=text)(X)["best"])


def test_auto_takes_another_where_what_it_remembers_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(net: Any, plan: Any, values: Any, route: Any) -> float:
        net.run_plan(plan, dict(values), route)
        return {"torch": 2.0, "onnxruntime": 1.0}[plan.engine.name]

    monkeypatch.setattr(known, "ENGINES", {n: known.ENGINES[n] for n in ("torch", "onnxruntime")})
    monkeypatch.setattr(choice, "measured", measured)
    loaded("auto")(X)
    monkeypatch.setitem(backends._MAKERS, "onnxruntime", lambda job: lambda inputs: [torch.zeros(2, 5)])
    net = loaded("auto")
    with pytest.warns(UserWarning, match="onnxruntime is left out"):
        same(net(X)["prob"], loaded()(X)["prob"])
    assert [plan.engine.name for plan in net.plans.values()] == ["torch"]


def test_auto_keeps_programs_for_some_sizes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "ENGINES", {"torch": known.ENGINES["torch"]})
    net = loaded("auto")
    for width in range(9, 21):
        net(torch.zeros(1, 3, 11, width), blobs=["p1"])
    assert len(net.plans) == 8


@pytest.mark.parametrize(
    "array",
    [
        np.ascontiguousarray(X.numpy()[:, ::-1])[:, ::-1],
        np.asfortranarray(X.numpy()),
        X.numpy().astype(">f4"),
        X.numpy().astype("f8"),
        X.numpy().astype("longdouble"),
    ],
    ids=["mirrored", "fortran", "big-endian", "double", "long double"],
)
@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_arrays_of_any_layout(array: Any, engine: str) -> None:
    assert torch.equal(loaded(engine)(array)["prob"], loaded(engine)(X)["prob"])
