"""pycaffe's Net, on a net of netc's."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from netc.errors.foreign import EVERY
from netc.layers.sources import ARRAYS
from netc.pycaffe.blob import Values
from netc.runtime.net.load import load_net
from netc.runtime.pycaffe import files, machine
from netc.runtime.pycaffe.wiring import Callback, Wired


class Net(Wired):
    """A net with blobs that a program reads and writes.

        net = caffe.Net("deploy.prototxt", caffe.TEST)
        net = caffe.Net("deploy.prototxt", caffe.TEST, weights="net.caffemodel", level=0, stages=["deploy"])
        net = caffe.Net("deploy.prototxt", "net.caffemodel", caffe.TEST)      # the older form

    blobs, params: {name: Blob}, {layer: [Blob, …]}, in the net's order. layers, layer_dict: its layers; a Python layer
    is the object of the user's own class. inputs, outputs, top_names, bottom_names, blob_loss_weights: as in pycaffe.
    Raises RuntimeError for a file that is not there, as pycaffe; NetcError where Caffe would end the process; what a
    Python layer raises.
    """

    def __init__(self, network_file: Any, *args: Any, **kwargs: Any) -> None:
        phase, weights, level, stages = _arguments(*args, **kwargs)
        check_file(network_file)
        for path in paths_of(weights):
            check_file(path)
        with files.as_raised():
            module = load_net(
                network_file,
                phase,
                level=level,
                stages=stages,
                device=machine.device(),
                seed=machine.next_seed(),
                allow_python_layers=[EVERY],
            )
        self._adopt(module)
        if weights is not None:
            self.copy_from(weights)

    # -- running -------------------------------------------------------------------------------------------------------

    def forward(
        self, blobs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, Values]:
        """Run the layers from `start` to `end`, both by name and included; without them, all. Keywords are arrays for
        the net's inputs.

        Returns {blob: its data} of the net's outputs (of the tops of `end`, where it is given) and of `blobs`. The
        arrays are the blobs' own memory, which the next pass overwrites: copy what has to stay.
        Raises Exception for keywords that are not the inputs or batches of another size, ValueError for a layer that is
        not there, KeyError for such a blob.
        """
        first = self._layer_names.index(start) if start is not None else 0
        last = self._layer_names.index(end) if end is not None else len(self._works) - 1
        wanted = {*(self.top_names[end] if end is not None else self.outputs), *(blobs or ())}
        if kwargs:
            if set(kwargs) != set(self.inputs):
                raise Exception("Input blob arguments do not match net inputs.")
            for name, array in kwargs.items():
                if array.shape[0] != self.blobs[name].shape[0]:
                    raise Exception("Input is not batch sized")
                self.blobs[name].data[...] = array
        self._forward(first, last)
        return {name: self.blobs[name].data for name in wanted}

    def _forward(self, first: int, last: int) -> float:
        """Run the layers by number; returns the loss of these."""
        self._place()
        self._feed(range(first, last + 1))
        before, after = self._callbacks.get("before_forward"), self._callbacks.get("after_forward")
        now = self._module.clock.step.clone()
        with torch.enable_grad(), files.as_raised():
            for index in range(first, last + 1):
                if before:
                    _call(before, index)
                self._works[index].ran_at = now
                self._works[index].forward()
                if after:
                    _call(after, index)
        for blob in self._blobs_by_name.values():
            if blob.is_shown:
                blob.settle()
        if self._module.run.training:
            self._module.clock.step += 1
        return self._loss(range(first, last + 1))

    def _loss(self, layers: Iterable[int]) -> float:
        total = 0.0
        for work in (self._works[index] for index in layers):
            for blob, weight in zip(work.tops, work.step.node.loss_weights):
                if weight:
                    total += weight * float(blob.tensor.detach().sum())
        return total

    def backward(
        self, diffs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, Values]:
        """Run the layers backwards from `start` down to `end`, from the diffs of their tops as they stand; without
        them, all. Keywords are arrays for the diffs of the net's outputs.

        Diffs of blobs are overwritten, those of parameters add up (`clear_param_diffs`). Returns {blob: its diff} of
        the net's inputs (of the bottoms of `end`, where it is given) and of `diffs`. Raises as `forward`.
        """
        first = self._layer_names.index(start) if start is not None else len(self._works) - 1
        last = self._layer_names.index(end) if end is not None else 0
        wanted = {*(self.bottom_names[end] if end is not None else self.inputs), *(diffs or ())}
        if kwargs:
            if set(kwargs) != set(self.outputs):
                raise Exception("Top diff arguments do not match net outputs.")
            for name, array in kwargs.items():
                if array.shape[0] != self.blobs[name].shape[0]:
                    raise Exception("Diff is not batch sized")
                self.blobs[name].diff[...] = array
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def _backward(self, first: int, last: int) -> None:
        self._place()
        before, after = self._callbacks.get("before_backward"), self._callbacks.get("after_backward")
        with torch.enable_grad(), files.as_raised():
            for index in range(first, last - 1, -1):
                if before:
                    _call(before, index)
                if self._works[index].step.node.needs_backward:
                    self._works[index].backward()
                if after:
                    _call(after, index)

    def _place(self) -> None:
        """Go where the mode says that nets compute."""
        self.carry_params()
        if self._device != machine.device():
            self._device = machine.device()
            self._module.to(self._device)
            for work in self._works:
                work.moved()
            for blob in self._blobs_by_name.values():
                blob.move(self._device)

    def _feed(self, layers: Iterable[int]) -> None:
        """Read the next batch of the sources among these layers, less what is the same in every batch."""
        wanted = []
        for work in (self._works[index] for index in layers):
            layer = work.step.node.layer
            if layer.is_source and not layer.is_input and work.step.node.name not in self.held:
                wanted += [top for top in work.step.node.tops if top not in layer.constant_tops()]
        if wanted:
            for top, values in self._module.feeding.next(wanted).items():
                self._blobs_by_name[top].assign(values)

    def forward_all(self, blobs: Iterable[str] | None = None, **kwargs: Any) -> dict[str, Values]:
        """`forward` over arrays of any number of items, in batches of the net's size; the results are copies."""
        collected: dict[str, list[Values]] = {name: [] for name in {*self.outputs, *(blobs or ())}}
        for batch in self._batch(kwargs):
            for name, values in self.forward(blobs, None, None, **batch).items():
                collected[name].extend(values.copy())
        size = len(next(iter(kwargs.values())))
        return {name: np.asarray(values)[:size] for name, values in collected.items()}

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Values], dict[str, Values]]:
        """Forward and backward over arrays of any number of items. Keywords are arrays for inputs, and for the diffs of
        outputs. Returns what `forward` and `backward` give, as copies."""
        outs: dict[str, list[Values]] = {name: [] for name in {*self.outputs, *(blobs or ())}}
        backs: dict[str, list[Values]] = {name: [] for name in {*self.inputs, *(diffs or ())}}
        forward = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        backward = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        for batch, diff in _longest(forward, backward):
            for name, values in self.forward(blobs, None, None, **batch).items():
                outs[name].extend(values.copy())
            for name, values in self.backward(diffs, None, None, **diff).items():
                backs[name].extend(values.copy())
        size = len(next(iter(kwargs.values()))) if kwargs else None
        return (
            {name: np.asarray(values)[:size] for name, values in outs.items()},
            {name: np.asarray(values)[:size] for name, values in backs.items()},
        )

    def _batch(self, arrays: dict[str, Any]) -> Iterator[dict[str, Values]]:
        """Batches of the net's size; the last one is filled up with zeros."""
        if not arrays:
            return
        size = next(iter(self._blobs_by_name.values())).shape[0]
        number = len(next(iter(arrays.values())))
        for start in range(0, number, size):
            batch = {name: np.asarray(array[start : start + size]) for name, array in arrays.items()}
            yield {name: _padded(values, size) for name, values in batch.items()}

    def reshape(self) -> None:
        """Give every blob the shape that follows from those of the inputs, without computing anything."""
        with files.as_raised():
            for work in self._works:
                work.reshape()

    def clear_param_diffs(self) -> None:
        for param in self._params.values():
            param.clear_gradient()

    # -- callbacks -----------------------------------------------------------------------------------------------------

    def before_forward(self, run: Callback) -> None:
        """Call `run(number of the layer)` before each layer's forward pass."""
        self._callbacks.setdefault("before_forward", []).append(run)

    def after_forward(self, run: Callback) -> None:
        self._callbacks.setdefault("after_forward", []).append(run)

    def before_backward(self, run: Callback) -> None:
        self._callbacks.setdefault("before_backward", []).append(run)

    def after_backward(self, run: Callback) -> None:
        self._callbacks.setdefault("after_backward", []).append(run)

    # -- data and weights ----------------------------------------------------------------------------------------------

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """Feed the first layer, a MemoryData, from arrays of float32 in C order: (n, channels, height, width) and n
        labels. Raises RuntimeError for another layer, other arrays, or n that is no multiple of the batch size."""
        first = self._module.steps[0].node
        if first.layer.feed != ARRAYS:
            raise RuntimeError("set_input_arrays may only be called if the first layer is a MemoryDataLayer")
        labels = labels[:, None, None, None] if np.ndim(labels) == 1 else labels
        shape = self._blobs_by_name[first.tops[0]].shape
        files.check_arrays(np.asarray(data), np.ascontiguousarray(labels), shape)
        self._module.set_input_arrays(data, np.ravel(labels), first.name)

    def copy_from(self, weights: Any) -> None:
        """Load weights by the names of layers, from a file of any format that netc reads."""
        self.carry_params()
        for path in paths_of(weights) or [weights]:
            self._module.copy_from(path)

    load_hdf5 = copy_from

    def share_with(self, other: Net) -> None:
        """Take the other net's own parameters for every layer that it has by the same name; the diffs stay apart."""
        other.carry_params()
        self._module.share_from(other._module)

    def save(self, filename: Any) -> None:
        """Write a .caffemodel."""
        self.carry_params()
        files.save(self._module, filename)

    def save_hdf5(self, filename: Any) -> None:
        """Write a .caffemodel.h5. Raises NetcError W707 without h5py."""
        self.carry_params()
        files.save_hdf5(self._module, filename)


def _call(callbacks: list[Callback], layer: int) -> None:
    for run in callbacks:
        run(layer)


def _arguments(
    *args: Any, phase: int | None = None, weights: Any = None, level: int = 0, stages: Any = None
) -> tuple[int, Any, int, Any]:
    """phase, weights, level, stages of either form of the constructor."""
    given = list(args)
    if given and isinstance(given[0], str | os.PathLike):
        warnings.warn("Net(model, weights, phase) is deprecated: Net(model, phase, weights=…)", stacklevel=3)
        weights = given.pop(0)
    names = ("phase", "level", "stages", "weights")
    told = {"phase": phase, "level": level, "stages": stages, "weights": weights} | dict(zip(names, given))
    if told["phase"] not in (0, 1) or len(given) > len(names):
        raise TypeError(f"Net(network_file, phase, …): the phase is caffe.TRAIN or caffe.TEST, not {told['phase']!r}")
    return told["phase"], told["weights"], told["level"] or 0, told["stages"] or ()


def check_file(source: Any) -> None:
    """pycaffe looks whether the file is there."""
    is_path = isinstance(source, os.PathLike) or (isinstance(source, str) and not any(c in source for c in "{\n"))
    if is_path and not os.path.exists(source):
        raise RuntimeError(f"Could not open file {source}")


def paths_of(weights: Any) -> list[str]:
    """The weight files that are named; none where arrays are given, or nothing."""
    return os.fspath(weights).split(",") if isinstance(weights, str | os.PathLike) else []


def _padded(values: Values, size: int) -> Values:
    if len(values) == size:
        return values
    return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])


def _longest(one: Iterator[Any], other: Iterator[Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs as long as either has more."""
    return zip_longest(one, other, fillvalue={})
