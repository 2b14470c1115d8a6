"""One layer of a net with the blobs it reads and writes: forward, and backward from the diffs of its tops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from netc.errors import NetcError
from netc.layers.base import Shape, count, format_shape
from netc.layers.python import Python
from netc.pycaffe import doors
from netc.runtime.net.module import Net as Module
from netc.runtime.net.steps import Step
from netc.runtime.pycaffe.blob import NetBlob, ParamBlob, ViewBlob

Edge = Any
"""What torch.autograd.grad takes: a tensor, or the place of one in the graph of the pass."""

Params = Sequence[ParamBlob | ViewBlob]


class Work(Protocol):
    """A layer at its place in a net. `ran_at`: the number of the pass in which it ran last."""

    step: Step
    ran_at: Tensor | None
    bottoms: list[NetBlob]
    tops: list[NetBlob]
    params: Params

    def forward(self) -> None: ...

    def backward(self) -> None: ...

    def reshape(self) -> None:
        """Give the tops the shapes that the bottoms make."""
        ...

    def moved(self) -> None:
        """The net has gone to another device: what is kept of the last pass lies where it was."""
        ...


class Fed:
    """A source. The net writes its tops before the pass."""

    def __init__(self, step: Step, tops: list[NetBlob]) -> None:
        self.step, self.tops = step, tops
        self.ran_at: Tensor | None = None
        self.bottoms: list[NetBlob] = []
        self.params: Params = ()

    def forward(self) -> None: ...

    def backward(self) -> None: ...

    def reshape(self) -> None: ...

    def moved(self) -> None: ...


class Computed:
    """A layer of netc's: its forward, with what torch has recorded of it for the backward pass.

    `cut`: the graph of torch begins anew at its bottoms. It has to, where a gradient could come to one bottom or
    parameter by way of another one.
    """

    def __init__(self, module: Module, step: Step, bottoms: list[NetBlob], tops: list[NetBlob], params: Params) -> None:
        self.step, self.bottoms, self.tops, self.params = step, bottoms, tops, params
        self._module, node = module, step.node
        self._wanted = [flows and not barred for flows, barred in zip(node.backward, step.detached)]
        shared = any(not isinstance(p, ParamBlob) or p._step is not step for p in params)
        self._cut = len(bottoms) > 1 or shared or module_shares(module, step)
        self._quiet = not node.needs_backward
        self._copies = not (node.in_place or node.layer.keeps_values)
        self._outs: list[Edge] = []
        self._ins: list[Edge] = []
        self.ran_at: Tensor | None = None

    # -- forward -------------------------------------------------------------------------------------------------------

    def forward(self) -> None:
        if self._quiet:
            with torch.no_grad():
                bottoms = [blob.tensor for blob in self.bottoms]
                self._write(bottoms, self._module.tops(self.step, bottoms, self.step.in_place))
            return
        bottoms, self._ins = self._given()
        tops = self._write(bottoms, self._module.tops(self.step, bottoms))
        self._outs = [get_gradient_edge(top) if top.requires_grad else None for top in tops]

    def _write(self, bottoms: Sequence[Tensor], tops: Sequence[Tensor]) -> list[Tensor]:
        """Give the tops to their blobs. Caffe's have memory of their own, where a layer is not there to share it."""
        written = []
        for blob, top in zip(self.tops, tops):
            shared = self._copies and (top._is_view() or any(top is bottom for bottom in bottoms))
            blob.tensor = made = top.clone() if shared else top
            written.append(made)
        return written

    def _given(self) -> tuple[list[Tensor], list[Edge]]:
        bottoms: list[Tensor] = []
        edges: list[Edge] = []
        for blob, wanted in zip(self.bottoms, self._wanted):
            tensor: Tensor = blob.tensor
            edge: Edge = None
            if not wanted:
                tensor = tensor.detach()
            elif self._cut or not tensor.requires_grad:
                tensor = edge = tensor.detach().requires_grad_()
            else:
                edge = get_gradient_edge(tensor)
            bottoms.append(tensor)
            edges.append(edge)
        return bottoms, edges

    def reshape(self) -> None:
        shapes = self._shapes([blob.shape for blob in self.bottoms])
        for index, (blob, shape) in enumerate(zip(self.tops, shapes)):
            if index or not self.step.node.in_place:
                blob.reshape(*shape)

    def _shapes(self, bottoms: list[Shape]) -> Sequence[Shape]:
        layer = self.step.node.layer
        twin = type(layer)(layer.param, layer.phase, layer.origin, layer.probe)
        shapes = twin.setup(bottoms)
        for mine, needed in zip(layer.blobs, twin.blobs):
            if mine.shape != needed.shape:
                raise NetcError(
                    "R603",
                    f'layer "{layer.name}" ({layer.type}): its {mine.name} is {format_shape(mine.shape)}, bottoms of '
                    f"{', '.join(map(format_shape, bottoms))} need {format_shape(needed.shape)}",
                    self.step.node.place,
                )
        return shapes

    def moved(self) -> None:
        self._outs, self._ins = [], []
        if self.ran_at is not None:
            self.ran_at = self.ran_at.to(self._module.clock.step.device)

    # -- backward ------------------------------------------------------------------------------------------------------

    def backward(self) -> None:
        if self.step.node.layer.copies_bottom:
            self.bottoms[0].take_gradient(torch.stack([top.gradient() for top in self.tops]).sum(0))
            return
        owners = [p.owner if isinstance(p, ViewBlob) else p for p in self.params]
        learning = [p for p in owners if p.wants_gradient]
        wanted = [blob for blob, flag in zip(self.bottoms, self._wanted) if flag]
        if wanted or learning:
            found = _apart(self._gradients([p.tensor for p in learning]), [top.gradient() for top in self.tops])
            for blob, gradient in zip(wanted, found):
                blob.adopt_gradient(torch.zeros_like(blob.tensor) if gradient is None else gradient)
            for param, gradient in zip(learning, found[len(wanted) :]):
                if gradient is not None:
                    param.add_gradient(gradient)

    def _gradients(self, params: list[Tensor]) -> Sequence[Tensor | None]:
        """Of the bottoms that want one, then of the parameters."""
        if self._is_recorded():
            try:
                return self._pulled(self._outs, [edge for edge in self._ins if edge is not None] + params)
            except RuntimeError as error:
                if "modified by an inplace operation" not in str(error):
                    raise
        return self._again(params)

    def _is_recorded(self) -> bool:
        """Whether what torch has recorded belongs to blobs as they are now: a program may have given them room for
        another number of values."""
        if not self._outs or sum(map(bool, self._wanted)) != sum(edge is not None for edge in self._ins):
            return False
        return all(
            edge is None or count(_shape_of(edge, blob)) == blob.count for edge, blob in zip(self._outs, self.tops)
        )

    def _pulled(self, outs: Sequence[Edge], ins: Sequence[Edge]) -> Sequence[Tensor | None]:
        """The gradients; a top's counts value by value, whatever shape a program has given to its blob since."""
        pairs = [
            (out, blob.gradient().reshape(_shape_of(out, blob)))
            for out, blob in zip(outs, self.tops)
            if out is not None
        ]
        if not pairs:
            return [None] * len(ins)
        roots, gradients = zip(*pairs)
        return torch.autograd.grad(roots, ins, gradients, retain_graph=True, allow_unused=True)

    def _again(self, params: list[Tensor]) -> Sequence[Tensor | None]:
        """The same for a layer that has not run since its blobs were written: from their values as they are now."""
        bottoms = [
            blob.tensor.detach().requires_grad_() if wanted else blob.tensor.detach()
            for blob, wanted in zip(self.bottoms, self._wanted)
        ]
        frozen = [(held, held.detach().clone()) for held in self.step.held() if not held.requires_grad]
        with self._in_its_pass():
            tops = self._module.tops(self.step, bottoms)
        with torch.no_grad():
            for held, before in frozen:  # BatchNorm counts a pass; this was none
                held.copy_(before)
        ins = [bottom for bottom, wanted in zip(bottoms, self._wanted) if wanted]
        return self._pulled([top if top.requires_grad else None for top in tops], ins + params)

    @contextmanager
    def _in_its_pass(self) -> Iterator[None]:
        """What is random is that of the pass in which the layer ran: its mask is kept, as in Caffe."""
        clock, now = self._module.clock, self._module.clock.step
        clock.step = now if self.ran_at is None else self.ran_at
        try:
            yield
        finally:
            clock.step = now


def _apart(found: Sequence[Tensor | None], given: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients in memory of their own: torch hands on the one it was given where a layer changes nothing."""
    taken = {_storage(gradient) for gradient in given}
    apart: list[Tensor | None] = []
    for gradient in found:
        if gradient is not None:
            if _storage(gradient) in taken or not gradient.is_contiguous():
                gradient = gradient.clone(memory_format=torch.contiguous_format)
            taken.add(_storage(gradient))
        apart.append(gradient)
    return apart


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _shape_of(edge: Edge, blob: NetBlob) -> Shape:
    """The shape of a top as it was made: that of the blob, unless it was reshaped since."""
    if isinstance(edge, Tensor):
        return tuple(edge.shape)
    metadata = edge.node._input_metadata[edge.output_nr] if hasattr(edge.node, "_input_metadata") else None
    return blob.shape if metadata is None else tuple(metadata.shape)


def module_shares(module: Module, step: Step) -> bool:
    """Whether another layer has one of the parameters of this one."""
    mine = {ref.owner for ref in step.node.params}
    return any(ref.owner in mine for other in module.steps if other is not step for ref in other.node.params)


class Called:
    """A Python layer, which works on the blobs themselves, as in Caffe."""

    def __init__(self, step: Step, bottoms: list[NetBlob], tops: list[NetBlob], params: Params) -> None:
        self.step, self.bottoms, self.tops, self.params = step, bottoms, tops, params
        self.ran_at: Tensor | None = None
        assert isinstance(step.node.layer, Python)
        self._code = step.node.layer.code
        self.user: Any = self._code.user
        del self.user.blobs[:]
        self.user.blobs.extend(params)

    def forward(self) -> None:
        with doors.as_in_caffe(self._code.found):
            self.user.reshape(self.bottoms, self.tops)
            self.user.forward(self.bottoms, self.tops)

    def reshape(self) -> None:
        with doors.as_in_caffe(self._code.found):
            self.user.reshape(self.bottoms, self.tops)

    def moved(self) -> None: ...

    def backward(self) -> None:
        """The layer writes the diffs of its bottoms, and writes or adds to those of its parameters, as it likes."""
        with doors.as_in_caffe(self._code.found):
            self.user.backward(self.tops, [bool(flows) for flows in self.step.node.backward], self.bottoms)
