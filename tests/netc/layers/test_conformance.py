"""What every layer type has to keep, over the registry: a type without cases fails."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from google.protobuf import text_format
from torch import Tensor

import netc
from netc import NetcError, proto
from netc.layers import Layer, registry
from netc.layers.base import count
from netc.runtime.fillers import fill
from tests.netc.layers.cases import CASES, TEST, TRAIN, Case

Pairs = list[tuple[str, Case]]
ALL: Pairs = [(kind, case) for kind, cases in CASES.items() for case in cases]
RUN = [(kind, case) for kind, case in ALL if not registry()[kind].is_source]
SOURCES = [(kind, case) for kind, case in ALL if registry()[kind].is_source]


def each(pairs: Pairs) -> pytest.MarkDecorator:
    """Parametrize a test over cases; its id is the type and the number of the case."""
    ids = [f"{kind}-{CASES[kind].index(case)}" for kind, case in pairs]
    return pytest.mark.parametrize("kind, case", pairs, ids=ids)


class Run:
    """A machine for one layer: the same uniform numbers each time, a state of its own."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.kept: dict[str, Any] = {}

    def uniform(self, layer: Layer, like: Tensor) -> Tensor:
        return ((torch.arange(like.numel()) * 0.6180339887 + 0.1) % 1).float().view(like.shape)

    def state(self, layer: Layer) -> dict[str, Any]:
        return self.kept


def layer_text(kind: str, case: Case, bottoms: int, tops: int) -> str:
    names = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    return f'name: "x" type: "{kind}" {" ".join(names)} {case.text}'


def make(
    kind: str, case: Case, shapes: tuple[tuple[int, ...], ...] | None = None
) -> tuple[Layer, list[tuple[int, ...]]]:
    """A layer that has been set up, and the shapes it promises."""
    shapes = case.shapes if shapes is None else shapes
    param = text_format.Parse(layer_text(kind, case, len(shapes), case.tops), proto.LayerParameter())
    layer = registry()[kind](param, case.phase, None, case.probe)
    return layer, [tuple(shape) for shape in layer.setup(shapes)]


def values(case: Case, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(sum(map(count, shapes)))
    fills = (*case.fill, *["normal"] * (len(shapes) - len(case.fill)))
    made = zip(fills, shapes, strict=True)
    return [(_fill(kind, shape) if isinstance(kind, str) else kind(shape)).to(dtype) for kind, shape in made]


def _fill(kind: str, shape: tuple[int, ...]) -> Tensor:
    if kind == "normal":
        return torch.randn(shape, dtype=torch.float64)
    if kind == "positive":
        return torch.rand(shape, dtype=torch.float64) + 0.1
    high = 2 if kind == "marks" else int(kind.removeprefix("below "))
    return torch.randint(high, shape)


def params(layer: Layer, dtype: torch.dtype) -> list[Tensor]:
    result = []
    for key, blob in enumerate(layer.blobs):
        tensor = torch.empty(blob.shape)
        fill(tensor, blob.filler, key, layer)
        result.append(tensor.to(dtype) if not blob.frozen else torch.rand(blob.shape, dtype=dtype) + 0.5)
    return result


def test_every_type_has_cases() -> None:
    assert sorted(CASES) == sorted(registry())
    assert all(CASES.values())


@pytest.mark.parametrize("kind", CASES)
def test_documented(kind: str) -> None:
    page = registry()[kind].__doc__ or ""
    assert "Source: " in page
    assert "Shapes: " in page or "Bottoms: " in page


@each(SOURCES)
def test_a_source_gives_shapes_without_being_run(kind: str, case: Case) -> None:
    layer, shapes = make(kind, case)
    assert len(shapes) == case.tops
    with pytest.raises(RuntimeError):
        layer.forward(Run(True), [], [])


@each(RUN)
def test_shapes_are_those_promised_and_bottoms_stay_as_they_are(kind: str, case: Case) -> None:
    layer, promised = make(kind, case)
    bottoms = values(case, case.shapes, torch.float32)
    before = [b.clone() for b in bottoms]
    tops = layer.forward(Run(case.phase == TRAIN), bottoms, params(layer, torch.float32))
    found = [tuple(top.shape) for top in tops]
    if case.data_dependent:
        axis = case.free_axis
        found = [(*f[:axis], *p[axis : axis + 1], *f[axis + 1 :]) for p, f in zip(promised, found, strict=True)]
    assert found == promised
    assert all(top.dtype == torch.float32 for top in tops)
    assert all(torch.equal(a, b) for a, b in zip(before, bottoms, strict=True))


@each([(kind, case) for kind, case in RUN if case.shapes])
def test_runs_on_other_shapes_than_it_was_set_up_for(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    other = case.shapes_of_more()
    expected = make(kind, case, other)[1]
    own = params(layer, torch.float32)
    tops = layer.forward(Run(case.phase == TRAIN), values(case, other, torch.float32), own)
    if not case.data_dependent:
        assert [tuple(top.shape) for top in tops] == expected


DIFFERENTIABLE = [
    (kind, case)
    for kind, case in RUN
    if registry()[kind].no_gradient is not None and case.tops and not case.caffes_gradient
]


@each(DIFFERENTIABLE)
def test_gradient(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    barred = [i % len(case.shapes) for i in layer.no_gradient or () if i < len(case.shapes)]
    fixed = values(case, case.shapes, torch.float64)
    own = params(layer, torch.float64)
    moving = [i for i in range(len(fixed)) if i not in barred]
    trained = [i for i, blob in enumerate(layer.blobs) if not blob.frozen]
    leaves = [fixed[i].requires_grad_() for i in moving] + [own[i].requires_grad_() for i in trained]
    if not leaves:
        pytest.fail("nothing to differentiate: give no_gradient = None")

    def function(*inputs: Tensor) -> tuple[Tensor, ...]:
        bottoms, blobs = list(fixed), [p.clone() if b.frozen else p for p, b in zip(own, layer.blobs, strict=True)]
        for i, tensor in zip(moving, inputs, strict=False):
            bottoms[i] = tensor
        for i, tensor in zip(trained, inputs[len(moving) :], strict=True):
            blobs[i] = tensor
        tops = layer.forward(Run(case.phase == TRAIN), bottoms, blobs)
        return tuple(top for top in tops if top.requires_grad)

    if not function(*leaves):
        assert kind == "Power"  # a constant
        return
    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-7, rtol=1e-5)


@each([(kind, case) for kind, case in RUN if not case.data_dependent])
def test_compiled_it_gives_the_same(kind: str, case: Case) -> None:
    torch._dynamo.reset()
    layer, _ = make(kind, case)
    bottoms, own = values(case, case.shapes, torch.float32), params(layer, torch.float32)
    run = Run(case.phase == TRAIN)

    def function(bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        return list(layer.forward(run, bottoms, blobs))

    expected = function(bottoms, [p.clone() for p in own])
    run.kept.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled: Any = torch.compile(function, backend="eager", fullgraph=True)
        found = compiled(bottoms, [p.clone() for p in own])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def net_text(kind: str, case: Case, bottoms: int, tops: int) -> str:
    inputs = "".join(f'layer {{ name: "i{i}" type: "Input" top: "b{i}" }}\n' for i in range(bottoms))
    return f"{inputs}layer {{ {layer_text(kind, case, bottoms, tops)} }}"


@pytest.mark.parametrize("kind", CASES)
def test_wrong_numbers_of_bottoms_and_tops_are_told(kind: str) -> None:
    cls, case = registry()[kind], CASES[kind][0]
    bottoms, tops = len(case.shapes), case.tops
    counts = [(n, tops) for n in (cls.bottoms.low - 1, (cls.bottoms.high or -2) + 1)]
    if not cls.is_loss:
        counts.append((bottoms, cls.tops.low - 1))
    counts.append((bottoms, (cls.tops.high if cls.tops.high is not None else -2) + 1))
    if cls.bottoms.high == 0:
        counts.append((1, tops))
    for b, t in counts:
        if b < 0 or t < 0 or (cls.bottoms.accepts(b) and cls.tops.accepts(t)):
            continue
        with pytest.raises(NetcError) as caught:
            netc.compile_net(net_text(kind, case, b, t), TEST)
        assert "G411" in [error.code for error in caught.value.errors], (b, t)


@pytest.mark.parametrize("kind", [k for k in CASES if registry()[k].param_field or k == "AbsVal"])
def test_forward_in_place_gives_what_forward_gives(kind: str) -> None:
    for case in CASES[kind]:
        layer = make(kind, case)[0]
        if not hasattr(layer, "forward_in_place"):
            return
        (x,) = values(case, case.shapes, torch.float32)
        run, own = Run(case.phase == TRAIN), params(layer, torch.float32)
        expected = layer.forward(run, [x.clone()], own)[0]
        assert torch.equal(layer.forward_in_place(run, [x], own)[0], expected)
