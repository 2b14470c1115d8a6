"""Blobs of a net: tensors that a program sees as numpy arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from netc.layers.base import Shape, count
from netc.pycaffe.blob import Blob, Values
from netc.runtime.net.steps import Step
from netc.runtime.pycaffe.memory import Memory


class NetBlob(Blob):
    """A blob between layers. `learns`: a gradient flows to it. The diff is made when it is first needed: 0, or the
    weight of the loss that it is (`start`)."""

    def __init__(self, shape: Shape, device: Any, learns: bool, start: float = 0.0) -> None:
        self.learns, self.start = learns, start
        self._memory = Memory(torch.zeros(shape, device=device, requires_grad=learns))
        self._gradient: Memory | None = None

    # -- for programs --------------------------------------------------------------------------------------------------

    @property
    def data(self) -> Values:
        return self._memory.array()

    @property
    def diff(self) -> Values:
        return self._diff_memory().array()

    @property
    def shape(self) -> Any:
        return tuple(self._memory._tensor.shape)

    @property
    def count(self) -> int:
        return self._memory._tensor.numel()

    def reshape(self, *dims: int) -> None:
        """Give the blob another shape. Its first values stay, as far as there is room; the others are 0."""
        shape = tuple(int(dim) for dim in dims)
        if any(dim < 0 for dim in shape):
            raise ValueError(f"a blob cannot have the shape {shape}")
        if shape == self.shape:
            return
        self._memory.become(_reshaped(self._memory.tensor.detach(), shape).requires_grad_(self.learns))
        if self._gradient is not None:
            self._gradient.become(_reshaped(self._gradient.tensor, shape))

    # -- for the net ---------------------------------------------------------------------------------------------------

    @property
    def tensor(self) -> Tensor:
        return self._memory.tensor

    @tensor.setter
    def tensor(self, tensor: Tensor) -> None:
        self._memory.become(tensor)

    @property
    def is_shown(self) -> bool:
        return self._memory.shown

    def settle(self) -> None:
        self._memory.settle()

    def assign(self, values: Tensor) -> None:
        """Copy values that come from outside."""
        if tuple(values.shape) != self.shape:
            self.reshape(*values.shape)
        with torch.no_grad():
            self.tensor.data.copy_(values)

    def gradient(self) -> Tensor:
        return self._diff_memory().tensor

    def take_gradient(self, diff: Any) -> None:
        """Write the gradient; the blob keeps a copy, in memory of its own."""
        if self._gradient is None:
            self._gradient = Memory(torch.empty(self.shape, device=diff.device, dtype=diff.dtype))
        self.gradient().copy_(diff)

    def adopt_gradient(self, diff: Tensor) -> None:
        """Write a gradient that nobody else keeps: its memory becomes the blob's, unless a program holds an array."""
        if self._gradient is not None and self._gradient.shown:
            self.take_gradient(diff)
        else:
            self._gradient = Memory(diff)

    def _diff_memory(self) -> Memory:
        like = self._memory._tensor
        if self._gradient is None:
            self._gradient = Memory(torch.full(like.shape, self.start, dtype=like.dtype, device=like.device))
        elif self._gradient._tensor.shape != like.shape:  # a pass has made another size
            self._gradient.become(_reshaped(self._gradient.tensor, tuple(like.shape)))
        return self._gradient

    def move(self, device: Any) -> None:
        """Go over to another device."""
        self._memory = Memory(self.tensor.detach().to(device).requires_grad_(self.learns))
        if self._gradient is not None:
            self._gradient = Memory(self._gradient.tensor.to(device))


class ParamBlob(Blob):
    """A parameter of a net, where the net holds it; `diff` adds up until it is cleared."""

    def __init__(self, step: Step, position: int) -> None:
        self._step, self._position = step, position
        self._memory = Memory(self._held())
        self._gradient: Memory | None = None

    def _held(self) -> Tensor:
        holder, name = self._step.params[self._position]
        found: Tensor = getattr(holder, name)
        return found

    def _current(self) -> Memory:
        """The memory of what the net holds now: it may have moved, or share another net's."""
        held = self._held()
        if self._memory._tensor is not held:
            self._memory = Memory(held)
        return self._memory

    @property
    def data(self) -> Values:
        return self._current().array()

    @property
    def diff(self) -> Values:
        return self._diff_memory().array()

    @property
    def shape(self) -> Any:
        return tuple(self._held().shape)

    @property
    def count(self) -> int:
        return self._held().numel()

    def reshape(self, *dims: int) -> None:
        """Give the parameter another shape; its first values stay, as far as there is room, the others are 0."""
        shape = tuple(int(dim) for dim in dims)
        if shape != self.shape:
            self._held().data = _reshaped(self.tensor.detach(), shape)
            self._memory, self._gradient = Memory(self._held()), None

    @property
    def tensor(self) -> Tensor:
        """The parameter, with what the program has written into its array."""
        return self._current().tensor

    @property
    def wants_gradient(self) -> bool:
        return self._held().requires_grad

    def gradient(self) -> Tensor:
        return self._diff_memory().tensor

    def add_gradient(self, diff: Tensor) -> None:
        """Add what nobody else keeps."""
        if self._gradient is None:
            self._gradient = Memory(diff.detach().reshape(self.shape))
        else:
            self.gradient().add_(diff.reshape(self.shape))

    def clear_gradient(self) -> None:
        """Make it 0, where a program holds its array too."""
        if self._gradient is not None and self._gradient.shown:
            self._gradient.tensor.zero_()
        else:
            self._gradient = None

    def _diff_memory(self) -> Memory:
        held = self._held()
        if self._gradient is None:
            self._gradient = Memory(torch.zeros_like(held, requires_grad=False))
        elif self._gradient._tensor.device != held.device:
            self._gradient = Memory(self._gradient.tensor.to(held.device))
        return self._gradient


class ViewBlob(Blob):
    """A parameter that another layer owns in another shape (share_mode: PERMISSIVE)."""

    def __init__(self, owner: ParamBlob, shape: Shape) -> None:
        self.owner, self._view = owner, tuple(shape)

    @property
    def data(self) -> Values:
        return self.owner.data.reshape(self._view)

    @property
    def diff(self) -> Values:
        return self.owner.diff.reshape(self._view)

    @property
    def shape(self) -> Any:
        return self._view

    @property
    def count(self) -> int:
        return count(self._view)

    def reshape(self, *dims: int) -> None:
        self._view = tuple(dims)


def _reshaped(values: Tensor, shape: Shape) -> Tensor:
    """The first values in another shape, zeros behind them where there are too few."""
    flat, size = values.reshape(-1), count(shape)
    if size <= flat.numel():
        return flat[:size].view(shape)
    made = flat.new_zeros(size)
    made[: flat.numel()] = flat
    return made.view(shape)
