"""What every layer type has to keep, over the registry: a type without cases fails."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

import netc
from netc import NetcError
from netc.layers import registry
from netc.runtime.net.conformance import (
    Run,
    check_compiled,
    check_gradient,
    check_other_shapes,
    check_shapes,
    is_differentiable,
    layer_text,
    make,
    params,
    values,
)
from tests.netc.layers.cases import CASES, TEST, TRAIN, Case

Pairs = list[tuple[str, Case]]
ALL: Pairs = [(kind, case) for kind, cases in CASES.items() for case in cases]
RUN = [(kind, case) for kind, case in ALL if not registry()[kind].is_source]
SOURCES = [(kind, case) for kind, case in ALL if registry()[kind].is_source]


def each(pairs: Pairs) -> pytest.MarkDecorator:
    """Parametrize a test over cases; its id is the type and the number of the case."""
    ids = [f"{kind}-{CASES[kind].index(case)}" for kind, case in pairs]
    return pytest.mark.parametrize("kind, case", pairs, ids=ids)


def test_every_type_has_cases() -> None:
    assert sorted(CASES) == sorted(registry())
    assert all(CASES.values())


@pytest.mark.parametrize("kind", CASES)
def test_documented(kind: str) -> None:
    page = registry()[kind].__doc__ or ""
    assert "Source:" in page
    assert "Shapes: " in page or "Bottoms: " in page


@each(SOURCES)
def test_a_source_gives_shapes_without_being_run(kind: str, case: Case) -> None:
    layer, shapes = make(kind, case)
    assert len(shapes) == case.tops
    with pytest.raises(RuntimeError):
        layer.forward(Run(True), [], [])


@each(RUN)
def test_shapes_are_those_promised_and_bottoms_stay_as_they_are(kind: str, case: Case) -> None:
    check_shapes(kind, case)


@each([(kind, case) for kind, case in RUN if case.shapes])
def test_runs_on_other_shapes_than_it_was_set_up_for(kind: str, case: Case) -> None:
    check_other_shapes(kind, case)


@each([(kind, case) for kind, case in RUN if is_differentiable(kind, case)])
def test_gradient(kind: str, case: Case) -> None:
    check_gradient(kind, case)


INFORMATIVE = {
    "InfogainLoss": (1,),
    "Pooling": (1,),
    "SmoothL1LossOHEM": (1,),
    "SoftmaxWithLossOHEM": (1, 2),
}
"""Tops whose diff Caffe's backward pass does not read. Types without a backward pass (Accuracy, Proposal) send nothing
back through any top; all other tops carry a gradient, the exposed states of LSTM and RNN too."""


def test_only_tops_that_caffe_ignores_are_informative() -> None:
    assert {kind: cls.informative_tops for kind, cls in registry().items() if cls.informative_tops} == INFORMATIVE


NOT_BUILT = {"SoftmaxWithLoss"}
"""Caffe cannot build a second top."""


def test_every_type_with_several_tops_has_a_case_with_several() -> None:
    several = {kind for kind, cls in registry().items() if cls.tops.high != 1 and not cls.is_source and cls.tops.high}
    assert several - NOT_BUILT <= {kind for kind, case in RUN if case.tops > 1}


@each([(kind, case) for kind, case in RUN if case.tops > 1])
def test_a_gradient_goes_back_through_a_top_if_caffe_reads_its_diff(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    bottoms = [b.requires_grad_() for b in values(case, case.shapes, torch.float32)]
    with torch.set_grad_enabled(layer.no_gradient is not None):  # as a net runs it
        tops = layer.forward(Run(case.phase == TRAIN), bottoms, params(layer, torch.float32))
    for place, top in enumerate(tops):
        reads = layer.no_gradient is not None and place not in INFORMATIVE.get(kind, ())
        assert top.requires_grad == reads, place
        if reads:
            found = torch.autograd.grad(top.sum(), bottoms, retain_graph=True, allow_unused=True)
            assert any(g is not None for g in found), place


@each([(kind, case) for kind, case in RUN if not case.data_dependent])
def test_compiled_it_gives_the_same(kind: str, case: Case) -> None:
    check_compiled(kind, case)


@each([(kind, case) for kind, case in RUN if registry()[kind].is_loss])
def test_a_loss_is_divided_by_what_one_place_says(kind: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sample_count` and `divisor`, which are to count the batch of all processes one day."""
    from netc.layers.functions import losses, multibox

    layer, _ = make(kind, case)
    bottoms = values(case, case.shapes, torch.float64)
    expected = layer.forward(Run(True), bottoms, [])[0]
    samples, divisor = losses.sample_count, losses.divisor

    def twice(
        mode: str | float, positions: int, batch: int, counted: torch.Tensor | None = None
    ) -> torch.Tensor | float:
        return 2 * divisor(mode, positions, batch // 2, counted)

    for module in (losses, multibox):
        monkeypatch.setattr(module, "sample_count", lambda x: 2 * samples(x))
        monkeypatch.setattr(module, "divisor", twice)
    torch.testing.assert_close(layer.forward(Run(True), bottoms, [])[0], expected / 2)


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


AXES = ((), (2,), (3, 2), (2, 3, 4), (2, 3, 4, 5, 6))


@pytest.mark.parametrize("kind", CASES)
def test_bottoms_of_any_number_of_axes_are_taken_or_refused(kind: str) -> None:
    """A blob may have no axes at all (an Input layer without a shape): a shape rule knows no other exception."""
    for case in CASES[kind]:
        tries = [(*case.shapes[:at], axes, *case.shapes[at + 1 :]) for at in range(len(case.shapes)) for axes in AXES]
        for shapes in [*tries, *[(axes,) * len(case.shapes) for axes in AXES]]:
            with suppress(NetcError):
                make(kind, case, shapes)
