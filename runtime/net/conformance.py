"""What every layer type has to keep, as functions that raise AssertionError.

netc's tests run them over all of its types, the author of a plug-in over their own:

    from netc.runtime.net.conformance import Case, check

    check("Squash", Case("squash_param { gain: 2 }", shapes=((2, 3, 4),)))

Give shapes whose sizes are pairwise different: a wrong axis passes on 5×5×5×5.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from google.protobuf import text_format
from torch import Tensor

from netc import proto
from netc.errors.foreign import allowing
from netc.layers import Layer, registry
from netc.layers.base import Shape, count
from netc.runtime.net.fillers import fill_blob

TRAIN, TEST = 0, 1


@dataclass(frozen=True)
class Case:
    """One layer to try.

    `text`: the fields of the layer but for name, type, bottom and top. `fill` tells what each bottom holds: "normal",
    "positive" (0.1 … 1.1), "below K" (whole numbers 0 … K - 1), "marks" (0 or 1), or a function of shape and generator.
    `other`: further shapes that the layer must run on after it has been set up for `shapes`; the default is one sample
    more.
    """

    text: str
    shapes: tuple[Shape, ...] = ()
    fill: tuple[str | Callable[[Shape, torch.Generator], Tensor], ...] = ()
    tops: int = 1
    phase: int = TRAIN
    other: tuple[Shape, ...] | None = None
    caffes_gradient: bool = False
    """The gradient is Caffe's and not the derivative (the goldens hold it)."""
    data_dependent: bool = False
    """The shape of the top depends on values: not for a graph of fixed shapes."""
    free_axis: int = 0
    """The axis of that top whose size depends on values."""
    constant: bool = False
    """No top depends on anything, whatever the type does elsewhere."""
    opaque: bool = False
    """Runs code that torch.compile cannot look into: the graph breaks there."""
    probe: Any = None
    modules: tuple[str, ...] = ()
    """The modules whose Python layers may run."""

    def shapes_of_more(self) -> tuple[Shape, ...]:
        return self.other or tuple((shape[0] + 1, *shape[1:]) if shape else shape for shape in self.shapes)


class Run:
    """A machine for one layer: the same uniform numbers each time, a state of its own, files that are lists."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.kept: dict[str, Any] = {}
        self.written: list[Mapping[str, Tensor]] = []

    def uniform(self, layer: Layer, like: Tensor) -> Tensor:
        return ((torch.arange(like.numel()) * 0.6180339887 + 0.1) % 1).float().view(like.shape)

    def state(self, layer: Layer) -> dict[str, Any]:
        return self.kept

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def write(self, layer: Layer, rows: Mapping[str, Tensor]) -> None:
        self.written.append(rows)


def check(kind: str, case: Case) -> None:
    """All that follows: shapes, further shapes, gradients, compilation. Raises AssertionError; NetcError where the
    case is not a legal layer."""
    check_shapes(kind, case)
    if case.shapes:
        check_other_shapes(kind, case)
    if is_differentiable(kind, case):
        check_gradient(kind, case)
    if not case.data_dependent:
        check_compiled(kind, case)


def is_differentiable(kind: str, case: Case) -> bool:
    """Whether the layer's gradient is the derivative of its tops, and there is one."""
    return registry()[kind].no_gradient is not None and bool(case.tops) and not case.caffes_gradient


def check_shapes(kind: str, case: Case) -> None:
    """The tops have the shapes that `setup` promises, and the bottoms are left as they are."""
    layer, promised = make(kind, case)
    bottoms = values(case, case.shapes, torch.float32)
    before = [b.clone() for b in bottoms]
    tops = layer.forward(Run(case.phase == TRAIN), bottoms, params(layer, torch.float32))
    found = [tuple(top.shape) for top in tops]
    if case.data_dependent:
        axis = case.free_axis
        found = [(*f[:axis], *p[axis : axis + 1], *f[axis + 1 :]) for p, f in zip(promised, found, strict=True)]
    assert found == promised, f"promised {promised}, made {found}"
    assert all(top.dtype == torch.float32 for top in tops), [top.dtype for top in tops]
    assert all(torch.equal(a, b) for a, b in zip(before, bottoms, strict=True)), "a bottom has been changed"


def check_other_shapes(kind: str, case: Case) -> None:
    """Set up for `shapes`, the layer makes of other bottoms what one set up for those would make."""
    layer, _ = make(kind, case)
    other = case.shapes_of_more()
    expected = make(kind, case, other)[1]
    tops = layer.forward(Run(case.phase == TRAIN), values(case, other, torch.float32), params(layer, torch.float32))
    if not case.data_dependent:
        found = [tuple(top.shape) for top in tops]
        assert found == expected, f"promised {expected}, made {found}"


def check_gradient(kind: str, case: Case) -> None:
    """The gradients are the finite differences' in double precision, for bottoms and parameters."""
    layer, _ = make(kind, case)
    barred = [i % len(case.shapes) for i in layer.no_gradient or () if i < len(case.shapes)]
    fixed = values(case, case.shapes, torch.float64)
    own = params(layer, torch.float64)
    moving = [i for i in range(len(fixed)) if i not in barred]
    trained = [i for i, blob in enumerate(layer.blobs) if not blob.frozen]
    leaves = [fixed[i].requires_grad_() for i in moving] + [own[i].requires_grad_() for i in trained]
    assert leaves, "nothing to differentiate: give no_gradient = None"

    def function(*inputs: Tensor) -> tuple[Tensor, ...]:
        bottoms, blobs = list(fixed), [p.clone() if b.frozen else p for p, b in zip(own, layer.blobs, strict=True)]
        for i, tensor in zip(moving, inputs, strict=False):
            bottoms[i] = tensor
        for i, tensor in zip(trained, inputs[len(moving) :], strict=True):
            blobs[i] = tensor
        tops = layer.forward(Run(case.phase == TRAIN), bottoms, blobs)
        assert not any(tops[i].requires_grad for i in layer.informative_tops if i < len(tops)), "a top that only tells"
        return tuple(top for top in tops if top.requires_grad)

    if not function(*leaves):
        assert case.constant, "no top depends on anything"
        return
    assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-7, rtol=1e-5)


def check_compiled(kind: str, case: Case) -> None:
    """torch.compile gives the same, to the bit (it traces; what the compiler makes of the trace is torch's matter).
    Products of weights may be summed in another order: which kernel computes them depends on sizes, which a trace
    leaves open."""
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
        compiled: Any = torch.compile(function, backend="eager", fullgraph=not case.opaque)
        found = compiled(bottoms, [p.clone() for p in own])
    for a, b in zip(found, expected, strict=True):
        bound = 1e-6 * float(b.abs().max()) if layer.multiplies and b.numel() else 0
        torch.testing.assert_close(a, b, rtol=0, atol=bound, equal_nan=True)


# -- making a layer and what it works on -------------------------------------------------------------------------------


def layer_text(kind: str, case: Case, bottoms: int, tops: int) -> str:
    """The layer's prototxt, with that many bottoms b0, b1, … and tops t0, t1, …"""
    names = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    return f'name: "x" type: "{kind}" {" ".join(names)} {case.text}'


def make(kind: str, case: Case, shapes: Sequence[Shape] | None = None) -> tuple[Layer, list[Shape]]:
    """A layer that has been set up, and the shapes it promises."""
    shapes = case.shapes if shapes is None else shapes
    param = text_format.Parse(layer_text(kind, case, len(shapes), case.tops), proto.LayerParameter())
    layer = registry()[kind](param, case.phase, None, case.probe)
    with allowing(case.modules):
        return layer, [tuple(shape) for shape in layer.setup(shapes)]


def values(case: Case, shapes: Sequence[Shape], dtype: torch.dtype) -> list[Tensor]:
    """What the bottoms hold: the same for the same shapes."""
    generator = torch.Generator().manual_seed(sum(map(count, shapes)))
    fills = (*case.fill, *["normal"] * (len(shapes) - len(case.fill)))
    make = [
        _fill(kind, shape, generator) if isinstance(kind, str) else kind(shape, generator)
        for kind, shape in zip(fills, shapes, strict=True)
    ]
    return [tensor.to(dtype) for tensor in make]


def _fill(kind: str, shape: Shape, generator: torch.Generator) -> Tensor:
    if kind == "normal":
        return torch.randn(shape, dtype=torch.float64, generator=generator)
    if kind == "positive":
        return torch.rand(shape, dtype=torch.float64, generator=generator) + 0.1
    high = 2 if kind == "marks" else int(kind.removeprefix("below "))
    return torch.randint(high, shape, generator=generator)


def params(layer: Layer, dtype: torch.dtype) -> list[Tensor]:
    """Parameters as their fillers make them; statistics that are not trained at random."""
    result = []
    for key, blob in enumerate(layer.blobs):
        tensor = torch.empty(blob.shape)
        fill_blob(tensor, blob, key, layer)
        result.append(tensor.to(dtype) if not blob.frozen else torch.rand(blob.shape, dtype=dtype) + 0.5)
    return result
