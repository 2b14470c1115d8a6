"""What a type declares of itself is what its `forward` does: over the registry, on the cases of every type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from netc.layers import Layer, registry
from netc.layers.affine import Affine
from netc.layers.base import Shape, count
from netc.layers.facts import LABELS, SUM, Facts
from netc.look.draw.words import KINDS, kind_of, settings_of
from netc.runtime.data import FEEDS
from netc.runtime.net.conformance import Run, make, params, values
from tests.netc.layers.cases import CASES, TRAIN, Case

ALL = [(kind, case) for kind, cases in CASES.items() for case in cases]


def each(fact: str) -> pytest.MarkDecorator:
    """Parametrize over the cases of the types that declare a fact; at least one has to."""
    found = [(kind, case) for kind, case in ALL if getattr(registry()[kind], fact)]
    assert found, fact
    ids = [f"{kind}-{CASES[kind].index(case)}" for kind, case in found]
    return pytest.mark.parametrize("kind, case", found, ids=ids)


def at_start(kind: str, case: Case) -> tuple[Layer, list[Tensor]]:
    """A layer and its parameters when training begins: statistics are 0, and so is a bias that no filler sets."""
    layer, _ = make(kind, case)
    own = params(layer, torch.float64)
    for blob, tensor in zip(layer.blobs, own, strict=True):
        if blob.frozen or blob.name in ("bias", "shift"):
            tensor.zero_()
    return layer, own


def run(layer: Layer, bottoms: list[Tensor], own: list[Tensor], case: Case) -> list[Tensor]:
    return list(layer.forward(Run(case.phase == TRAIN), bottoms, own))


def random(shapes: tuple[Shape, ...]) -> list[Tensor]:
    """Normal values with the root mean square 1."""
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [x / x.square().mean().sqrt() for x in drawn]


@each("keeps_zeros")
def test_zeros_stay_zeros(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    tops = run(layer, [torch.zeros(shape, dtype=torch.float64) for shape in case.shapes], own, case)
    position = 1 if case.tops > 1 and layer.type == "Pooling" else len(tops)  # the second top tells positions
    assert not any(top.any() for top in tops[:position])


@each("keeps_values")
def test_values_stay_in_their_order(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    bottoms = random(case.shapes)
    for at, top in enumerate(run(layer, bottoms, own, case)):
        assert torch.equal(top.flatten(), bottoms[min(at, len(bottoms) - 1)].flatten())


@each("keeps_positive")
def test_values_above_0_stay(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    bottoms = [x.abs() + 0.1 for x in random(case.shapes)]
    assert torch.equal(run(layer, bottoms, own, case)[0], bottoms[0])


@each("is_positive")
def test_tops_are_above_0(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    assert (run(layer, random(case.shapes), own, case)[0] > 0).all()


@each("drops_values")
def test_values_are_dropped_in_training_alone(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    (bottom,) = random(case.shapes)
    (top,) = run(layer, [bottom], own, case)
    if layer.phase == TRAIN:
        assert (top == 0).any()
    elif layer.options.scale_train and not layer.options.sample_weights_test:
        assert torch.equal(top, bottom)


def is_activation(cls: type[Layer]) -> bool:
    return cls.kind == "activation" and cls.no_gradient is not None and not cls.drops_values


@pytest.mark.parametrize("kind, case", [(k, c) for k, c in ALL if is_activation(registry()[k]) and not c.constant])
def test_a_layer_is_dead_at_zero_where_no_gradient_passes(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    bottom = -(torch.arange(count(case.shapes[0])).double() % 5).view(case.shapes[0])
    run(layer, [bottom.requires_grad_()], own, case)[0].sum().backward()
    assert bottom.grad is not None
    assert layer.dead_at_zero() is (not bottom.grad.any())


@each("overwritable")
def test_a_top_may_be_overwritten(kind: str, case: Case) -> None:
    """torch refuses the backward pass where it needs what has been changed."""
    layer, own = at_start(kind, case)
    bottoms = [x.requires_grad_() for x in random(case.shapes)]
    tops = run(layer, bottoms, [p.requires_grad_() for p in own], case)
    sum((top.relu_().sum() for top in tops), torch.zeros(())).backward()
    assert all(x.grad is not None for x in (*bottoms, *own))


@each("fresh")
def test_tops_are_new_memory(kind: str, case: Case) -> None:
    layer, own = at_start(kind, case)
    bottoms = random(case.shapes)
    given = {x.untyped_storage().data_ptr() for x in (*bottoms, *own)}
    with torch.no_grad():
        tops = run(layer, bottoms, own, case)
    made = [top.untyped_storage().data_ptr() for top in tops]
    assert given.isdisjoint(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("kind, case", [(k, c) for k, c in ALL if not registry()[k].is_source])
def test_what_hands_on_its_bottom_does(kind: str, case: Case) -> None:
    layer, own = make(kind, case)[0], params(make(kind, case)[0], torch.float64)
    if layer.hands_on():
        bottoms = random(case.shapes)
        assert torch.equal(run(layer, bottoms, own, case)[0], bottoms[0])


@pytest.mark.parametrize("kind, case", [(k, c) for k, c in ALL if not registry()[k].is_source and k != "Python"])
def test_what_is_affine_is_a_factor_and_a_summand(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    own = [tensor.abs() + 0.5 for tensor in params(layer, torch.float64)]
    affine = layer.affine([tensor.numpy() for tensor in own], case.shapes)
    if not isinstance(affine, str):
        bottoms = random(case.shapes)
        spread = [1] * bottoms[0].dim()
        spread[affine.axis or 0] = -1
        factor, summand = (torch.from_numpy(array).reshape(spread) for array in affine[1:])
        torch.testing.assert_close(run(layer, bottoms, own, case)[0], bottoms[0] * factor + summand)


@pytest.mark.parametrize("kind, case", [(k, c) for k, c in ALL if not registry()[k].is_source and k != "Python"])
@pytest.mark.parametrize("side", ["behind", "before"])
def test_what_takes_an_affine_layer_computes_both(kind: str, case: Case, side: str) -> None:
    """Of one value for all, and of one for each place on axis 1."""
    layer, _ = make(kind, case)
    if getattr(type(layer), f"with_affine_{side}") is getattr(Facts, f"with_affine_{side}") or len(case.shapes) > 1:
        return
    own, bottoms = params(layer, torch.float64), random(case.shapes)
    top = run(layer, bottoms, own, case)[0]
    there = top if side == "behind" else bottoms[0]
    for axis in (None, 1) if there.dim() > 1 else (None,):
        size = 1 if axis is None else there.shape[axis]
        factor, summand = (torch.rand(size, dtype=torch.float64) + 0.5 for _ in range(2))
        affine = Affine(axis, factor.numpy(), summand.numpy())
        taken = getattr(layer, f"with_affine_{side}")([x.numpy() for x in own], affine, tuple(there.shape))
        if isinstance(taken, str):
            assert taken
            continue
        spread = [1] * there.dim()
        spread[axis or 0] = -1
        shifted = there * factor.view(spread) + summand.view(spread)
        wanted = shifted if side == "behind" else run(layer, [shifted], own, case)[0]
        param = type(layer.param)()
        param.CopyFrom(layer.param)
        if len(taken) > len(own):
            layer.set_bias(param)
        other = type(layer)(param, layer.phase)
        other.setup(case.shapes)
        found = run(other, bottoms, [torch.from_numpy(x).double() for x in taken], case)[0]
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind, case", [(k, c) for k, c in ALL if not registry()[k].is_source and k != "Python"])
def test_parameters_are_called_as_the_class_says(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    names = [blob.name for blob in layer.blobs]
    assert names in (layer.blob_names(len(names), len(case.shapes)), *map(list, layer.blob_lists))


def test_a_set_of_names_has_one_order() -> None:
    lists = {names for cls in (Layer, *registry().values()) for names in cls.blob_lists}
    assert len({frozenset(names) for names in lists}) == len(lists)


RMS = {
    "Convolution": ('convolution_param { num_output: 40 kernel_size: 3 weight_filler { type: "msra" } }', 0.1),
    "InnerProduct": ('inner_product_param { num_output: 200 weight_filler { type: "gaussian" std: 0.1 } }', 0.1),
    "ReLU": ("relu_param { negative_slope: 0.5 }", 0.05),
    "TanH": ("", 0.6),
    "LRN": ("lrn_param { alpha: 0.5 beta: 0.75 }", 0.3),
    "BatchNorm": ("", 0.05),
    "Scale": ("scale_param { filler { value: 3 } }", 0.01),
    "Permute": ("permute_param { order: 1 }", 0.01),
}


@pytest.mark.parametrize("size", [0.3, 2.0])
@pytest.mark.parametrize("kind", RMS)
def test_the_root_mean_square_is_about_what_the_class_says(kind: str, size: float) -> None:
    """Of independent normal values; the tolerance is what the approximation is off (TanH: a bound, LRN: one point)."""
    text, tolerance = RMS[kind]
    case = Case(text, ((7, 11, 9, 8),))
    layer, own = at_start(kind, case)
    (top,) = run(layer, [x * size for x in random(case.shapes)], own, case)
    said = layer.rms(size)
    assert said is not None
    assert float(top.square().mean().sqrt()) == pytest.approx(said, rel=tolerance)


def test_the_root_mean_square_of_sums_and_joins() -> None:
    """A sum's is that of the sum, a join's that of its largest part."""
    shapes = ((2, 30, 40), (2, 30, 40))
    layer, _ = make("Eltwise", Case("eltwise_param { coeff: 1 coeff: -2 }", shapes))
    a, b = random(shapes)
    (top,) = layer.forward(Run(True), [a, b * 3], [])
    assert float(top.square().mean().sqrt()) == pytest.approx(layer.rms(1.0, 3.0), rel=0.05)
    assert make("Concat", Case("", shapes))[0].rms(1.0, 3.0) == 3
    for kind in ("Eltwise", "Concat"):
        assert make(kind, Case("", shapes))[0].rms(1.0, None) is None


def test_labels_choose_from_the_classes() -> None:
    """`class_count` is what the cases draw their labels from."""
    found = set()
    for kind, case in ALL:
        classes = make(kind, case)[0].class_count(case.shapes)
        if classes is not None:
            found.add(kind)
            assert case.fill[1] == f"below {classes}", (kind, case)
    losses = {"HingeLoss", "InfogainLoss", "MultinomialLogisticLoss", "SoftmaxWithLoss", "SoftmaxWithLossOHEM"}
    assert found == {"Accuracy", "LabelSlice", *losses}


def test_every_feed_has_a_source_and_every_source_of_netcs_is_drawn_as_data() -> None:
    sources = [cls for cls in registry().values() if cls.is_source]
    assert {cls.feed for cls in sources} >= set(FEEDS)
    assert {kind_of(cls.type) for cls in sources} == {"data"}


@pytest.mark.parametrize("kind, case", ALL)
def test_every_layer_can_be_drawn(kind: str, case: Case) -> None:
    layer, _ = make(kind, case)
    assert kind_of(kind) in KINDS
    assert isinstance(settings_of(layer.param), str)


def test_a_loss_contains_a_type_that_there_is() -> None:
    losses = [cls for cls in registry().values() if cls.contains]
    assert losses
    assert all(cls.contains in registry() and cls.is_loss and cls.takes for cls in losses)


def test_the_page_on_plug_ins_has_every_fact() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "plugins.md").read_text()
    for name in vars(Facts):
        if not name.startswith("_"):
            assert f"`{name}()`" in page if callable(getattr(Facts, name)) else f"`{name}`" in page, name


def halves(case: Case) -> list[tuple[Shape, ...]]:
    """The shapes of two parts of a batch, where all bottoms have it along axis 0."""
    size = case.shapes[0][0] if case.shapes and case.shapes[0] else 0
    if size < 2 or any(shape[:1] != (size,) for shape in case.shapes):
        return []
    return [tuple((part, *shape[1:]) for shape in case.shapes) for part in (size // 2, size - size // 2)]


def by_halves(kind: str, case: Case) -> Iterator[tuple[Layer, Tensor, list[Tensor], list[float]]]:
    """The layer; each top of a whole batch, and of the two parts of it; and what share of the batch each part is, in
    samples or in what the layer counts."""
    layer, _ = make(kind, case)
    bottoms, own = values(case, case.shapes, torch.float64), params(layer, torch.float64)
    parts = halves(case)
    sizes = [shapes[0][0] for shapes in parts]
    pieces = list(zip(*(bottom.split(sizes) for bottom in bottoms), strict=True))
    found = []
    for shapes, piece in zip(parts, pieces, strict=True):
        twin, _ = make(kind, case, shapes)
        if [blob.shape for blob in twin.blobs] != [blob.shape for blob in layer.blobs]:
            return
        found.append(run(twin, list(piece), own, case))
    shares = [size / sum(sizes) for size in sizes]
    if layer.mean_over == LABELS:
        counts = [int(piece[1].long().ne(layer.ignore or 0).sum()) for piece in pieces]
        shares = [count / sum(counts) for count in counts]
    elif layer.mean_over == SUM:
        shares = [1.0, 1.0]
    for whole, *tops in zip(run(layer, bottoms, own, case), *found, strict=True):
        yield layer, whole, tops, shares


DIVISIBLE = [
    (kind, case)
    for kind, case in ALL
    if halves(case) and not (registry()[kind].drops_values or registry()[kind].mixes_rows or case.opaque)
]


@pytest.mark.parametrize("kind, case", DIVISIBLE, ids=[f"{k}-{CASES[k].index(c)}" for k, c in DIVISIBLE])
def test_parts_of_a_batch_give_what_the_batch_gives(kind: str, case: Case) -> None:
    """Rows stand by themselves, and scalars are the means or sums that `mean_over` says, unless a type says that it
    mixes samples, or keeps statistics of them."""
    layer, _ = make(kind, case)
    if layer.mixes_rows or layer.running() or kind == "BN" or layer.is_source or layer.carries_state:
        return
    for _, whole, tops, shares in by_halves(kind, case):
        if whole.dim() and all(top.shape == whole.shape for top in tops):
            continue  # numbers of the batch: refused
        found = torch.cat(tops) if whole.dim() else sum(top * w for top, w in zip(tops, shares, strict=True) if w)
        torch.testing.assert_close(torch.as_tensor(found), whole)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Softmax", "softmax_param { axis: -2 }"),
        ("Slice", "slice_param { axis: 0 }"),
        ("Concat", "concat_param { axis: 0 }"),
        ("Tile", "tile_param { axis: 0 tiles: 2 }"),
        ("ArgMax", "argmax_param { axis: 0 }"),
    ],
)
def test_what_goes_along_the_batch_mixes_its_samples(kind: str, settings: str) -> None:
    assert make(kind, Case(settings, ((4, 6),), tops=2 if kind == "Slice" else 1))[0].mixes_rows


@pytest.mark.parametrize("fact", ["keeps_means", "keeps_sums"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Power", "power_param { scale: 3 }"),
        ("Power", "power_param { scale: 3 shift: 1 }"),
        ("Power", "power_param { power: 2 }"),
        ("Eltwise", "eltwise_param { coeff: 2 coeff: -1 }"),
        ("Eltwise", "eltwise_param { operation: PROD }"),
        ("Eltwise", "eltwise_param { operation: MAX }"),
    ],
)
def test_a_mean_or_a_sum_is_that_of_the_tops(kind: str, settings: str, fact: str) -> None:
    case = Case(settings, ((5,),) * (2 if kind == "Eltwise" else 1))
    layer, _ = make(kind, case)
    first, second = random(case.shapes), [x.flip(0) for x in random(case.shapes)]
    one, other = (0.25, 0.75) if fact == "keeps_means" else (1, 1)
    joined = [one * a + other * b for a, b in zip(first, second, strict=True)]
    expected = one * run(layer, first, [], case)[0] + other * run(layer, second, [], case)[0]
    assert getattr(layer, fact) == torch.allclose(run(layer, joined, [], case)[0], expected)
