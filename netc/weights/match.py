"""Which arrays of a file go into which layers of a net: a plan, made and checked before anything is copied."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.errors import NetcError, Place, counted, did_you_mean, printable, raise_all
from netc.layers.base import Shape, format_shape
from netc.weights.arrays import Array, Weights, fits, without_leading_ones
from netc.weights.pieces import fill, loaded
from netc.weights.reader import read

Target = Mapping[str, Sequence[tuple[str, Shape]]]
"""Layer name → (name, shape) of each of its blobs, in Caffe's order."""

Spot = tuple[str, int]
"""(layer, the number of its blob)"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a net's parameters. shared: a blob → the one that owns it; an HDF5 file may lack those, and a
    layer of nothing else is not fresh where their owners are copied. unread: blobs that a file may leave out.
    other_count: (layer, count) → what it means that a file has as many arrays. doubtful: (layer, arrays) → what
    should be said of them. kernels: blobs that may come as the matrix of an InnerProduct (`from_matrix`)."""

    shared: Mapping[Spot, Spot] = field(default_factory=dict)
    unread: Collection[Spot] = frozenset()
    other_count: Callable[[str, int], str | None] = lambda layer, count: None
    doubtful: Callable[[str, Sequence[Any]], str | None] = lambda layer, arrays: None
    kernels: Collection[Spot] = frozenset()

    def owner(self, spot: Spot) -> Spot:
        return self.shared.get(spot, spot)


_UNKNOWN = Facts()


@dataclass(frozen=True, slots=True)
class Copy:
    """One array and the blob that receives it. `array` has the blob's shape already."""

    layer: str
    index: int
    blob: str
    source: str
    found: Shape
    array: Array

    @property
    def reshaped(self) -> bool:
        """Whether the file's shape is another one (1s in front of an old-style shape do not count)."""
        return without_leading_ones(self.found) != without_leading_ones(self.array.shape)

    def __str__(self) -> str:
        shapes = format_shape(self.array.shape)
        return f"{self.blob} {format_shape(self.found)} → {shapes}" if self.reshaped else f"{self.blob} {shapes}"


@dataclass(slots=True)
class Plan:
    """What a file gives to a net. `str()` is a table with a line per layer.

    copies: the arrays to copy; fresh: (layer, its blobs) that keep their fillers' values; layers: how many of the net
    have parameters; unused: layers of the file with arrays that go nowhere, and how many arrays; remarks: what should
    be said of the arrays.
    """

    copies: list[Copy] = field(default_factory=list)
    fresh: dict[str, list[tuple[str, Shape]]] = field(default_factory=dict)
    layers: int = 0
    remarks: list[str] = field(default_factory=list)
    unused: dict[str, int] = field(default_factory=dict)
    path: str = ""

    @property
    def copied(self) -> list[str]:
        """Names of the layers whose arrays are copied as they are."""
        return [name for name, copies in self._by_layer().items() if not any(copy.reshaped for copy in copies)]

    @property
    def reshaped(self) -> list[str]:
        """Names of the layers with an array that is copied into another shape of the same size."""
        return [name for name, copies in self._by_layer().items() if any(copy.reshaped for copy in copies)]

    def copy_into(self, params: Mapping[str, Sequence[Any]]) -> None:
        """Copy into tensors, in place: `params` is {layer: [torch.Tensor, …]}, the shapes those of the plan."""
        for copy in self.copies:
            _fill(params[copy.layer][copy.index], copy.array)

    def written(self, params: Mapping[str, Sequence[Any]]) -> list[Any]:
        """The tensors of `params` that `copy_into` writes, each as a whole."""
        return [params[copy.layer][copy.index] for copy in self.copies]

    def __str__(self) -> str:
        lines = [self._summary(), *map(self._copied_line, self._by_layer().items())]
        for name, blobs in self.fresh.items():
            lines.append(_line(name, "fresh", ", ".join(f"{blob} {format_shape(shape)}" for blob, shape in blobs)))
        lines += [_line(name, "unused", f"{counted(count, 'blob')} of the file") for name, count in self.unused.items()]
        return "\n".join(lines)

    def _summary(self) -> str:
        parts = {
            "copied": len(self.copied),
            "reshaped": len(self.reshaped),
            "fresh": len(self.fresh),
            "unused": len(self.unused),
        }
        counts = ", ".join(f"{count} {what}" for what, count in parts.items())
        return f"Weights{' from ' + printable(self.path) if self.path else ''}: layers {counts}"

    @staticmethod
    def _copied_line(item: tuple[str, list[Copy]]) -> str:
        name, copies = item
        verb = "reshaped" if any(copy.reshaped for copy in copies) else "copied"
        origin = f" from {copies[0].source}" if copies[0].source != name else ""
        return _line(name, verb, ", ".join(map(str, copies)) + printable(origin))

    def _by_layer(self) -> dict[str, list[Copy]]:
        layers: dict[str, list[Copy]] = {}
        for copy in self.copies:
            layers.setdefault(copy.layer, []).append(copy)
        return layers


def plan(target: Target, source: Mapping[str, Sequence[Array]], facts: Facts = _UNKNOWN) -> Plan:
    """Copy by layer name, as Net::CopyTrainedLayersFrom: layers the net lacks are unused, layers the file lacks stay
    fresh, blob counts and shapes must agree. Raises NetcError W720 (count), W721 (shape), all of a file at once."""
    weights = _as_weights(source)
    names = {name: name for name in target if name in weights}
    return _plan(target, weights, names, _exact, facts)


def transplant(copies: Iterable[tuple[str, str]], source: Mapping[str, Sequence[Array]], target: Target) -> Plan:
    """Copy only the given (target layer, source layer) pairs; an array whose values run in the same order is reshaped
    (a fully-connected 4096×25088 is a convolution's 4096×512×7×7). Raises NetcError W720-W723."""
    weights = _as_weights(source)
    names: dict[str, str] = {}
    for layer, origin in copies:
        _must_have(target, layer, "W722", "the net has no layer with parameters called", "")
        _must_have(weights, origin, "W723", "the file has no layer called", weights.path)
        names[layer] = origin
    return _plan(target, weights, names, _reshaped)


def copy_weights(params: Mapping[str, Sequence[Any]], source: Any, layers: Iterable[str] = ()) -> Plan:
    """Load `source` (a path, or {layer: arrays}) into {layer: [torch.Tensor, …]} by `plan`. Nothing is changed where an
    error is raised. `layers`: names of layers without parameters, for which the file must have none either."""
    weights = source if isinstance(source, Mapping) else read(os.fspath(source))
    target = target_of({name: [] for name in layers} | dict(params))
    result = plan(target, weights, Facts(_shared(params)))
    result.copy_into(params)
    return result


def target_of(params: Mapping[str, Sequence[Any]]) -> dict[str, list[tuple[str, Shape]]]:
    """The target of a plan from {layer: [array or tensor, …]}; blobs are called weight, bias, then by number."""
    usual = ("weight", "bias")
    return {
        layer: [(usual[i] if len(blobs) <= 2 else f"blob {i}", tuple(blob.shape)) for i, blob in enumerate(blobs)]
        for layer, blobs in params.items()
    }


def _fill(tensor: Any, array: Array) -> None:
    """On the CPU straight from the file into the tensor, elsewhere by way of one copy."""
    import torch

    if tensor.device.type == "cpu" and tensor.dtype == torch.float32:
        fill(tensor.detach().numpy(), array)
        return
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(loaded(array)))


def _shared(params: Mapping[str, Sequence[Any]]) -> dict[tuple[str, int], tuple[str, int]]:
    """(layer, blob) of each tensor that an earlier layer has already → that layer's."""
    owners: dict[int, tuple[str, int]] = {}
    places = [(blob.data_ptr(), (layer, index)) for layer, blobs in params.items() for index, blob in enumerate(blobs)]
    return {place: owners[key] for key, place in places if owners.setdefault(key, place) != place}


_Fit = Callable[[Array, Shape, bool], Array | None]
"""(array, the blob's shape, whether the array's shape is old-style) → the array in that shape, None if it cannot be."""


def _exact(array: Array, shape: Shape, legacy: bool) -> Array | None:
    return array.reshape(shape) if fits(array.shape, shape, legacy) else None


def _reshaped(array: Array, shape: Shape, legacy: bool) -> Array | None:
    same_rows = without_leading_ones(array.shape)[:1] == without_leading_ones(shape)[:1]
    return array.reshape(shape) if array.size == np.prod(shape, dtype=object) and same_rows else None


def _plan(
    target: Target,
    weights: Weights,
    names: Mapping[str, str],
    fit: _Fit,
    facts: Facts = _UNKNOWN,
) -> Plan:
    result = Plan(path=weights.path, layers=sum(bool(blobs) for blobs in target.values()))
    errors: list[NetcError] = []
    for layer, blobs in target.items():
        if layer not in names:
            continue
        try:
            given = _given(layer, blobs, weights, names[layer], facts)
            result.copies += _layer(layer, given, weights, names[layer], fit, facts)
        except NetcError as error:
            errors.append(error)
    raise_all(errors)
    written = {facts.owner((copy.layer, copy.index)) for copy in result.copies}
    for layer, blobs in target.items():
        left = [blob for i, blob in enumerate(blobs) if facts.owner((layer, i)) not in written]
        result.fresh |= {layer: left} if left and layer not in names else {}
    said = (facts.doubtful(layer, weights[origin]) for layer, origin in names.items())
    result.remarks = [remark for remark in said if remark]
    used = set(names.values())
    result.unused = {name: len(arrays) for name, arrays in weights.items() if arrays and name not in used}
    return result


def _given(
    layer: str, blobs: Sequence[tuple[str, Shape]], weights: Weights, origin: str, facts: Facts
) -> dict[int, tuple[str, Shape]]:
    """Position → the blobs that the file has an array for. Raises NetcError W720 if it has not as many as it should."""
    count = len(weights[origin])
    absent = {i for i in range(count) if (origin, i) in weights.absent or not weights[origin][i].size}
    needless = {i for i in absent if (layer, i) in facts.unread}
    given = {i: blob for i, blob in enumerate(blobs) if i < count and i not in needless}
    given = {i: blob for i, blob in given.items() if (origin, i) not in weights.absent}
    owned = {i for i in range(len(blobs)) if (layer, i) in facts.shared} if weights.partial else set()
    if count > len(blobs) or len(given.keys() | owned | needless) < len(blobs):
        raise NetcError(
            "W720",
            f'layer "{layer}" has {counted(len(blobs), "blob")} ({_listed(blobs)}), '
            f'the file has {count} for "{origin}"',
            Place(weights.path),
            facts.other_count(layer, count)
            or "check bias_term and the layer's type; to learn the layer from scratch, rename it in the net",
        )
    return given


def _layer(
    layer: str,
    blobs: Mapping[int, tuple[str, Shape]],
    weights: Weights,
    origin: str,
    fit: _Fit,
    facts: Facts,
) -> list[Copy]:
    copies: list[Copy] = []
    for index, (blob, shape) in blobs.items():
        array = weights[origin][index]
        fitted = fit(array, shape, (origin, index) in weights.legacy)
        if fitted is None and (layer, index) in facts.shared and array.size == math.prod(shape):
            fitted = array.reshape(shape)  # as its owner has it (share_mode: PERMISSIVE)
        if fitted is None and (layer, index) in facts.kernels and _is_matrix(array, (origin, index) in weights.legacy):
            fitted = _reshaped(array, shape, False)
        if fitted is None:
            raise _mismatch(layer, blob, shape, array.shape, weights.path)
        copies.append(Copy(layer, index, blob, origin, array.shape, fitted))
    return copies


def _is_matrix(array: Array, legacy: bool) -> bool:
    return len(without_leading_ones(array.shape) if legacy else array.shape) == 2


def _mismatch(layer: str, blob: str, wanted: Shape, found: Shape, path: str) -> NetcError:
    hint = "to learn the layer from scratch, rename it in the net"
    if found and _reshaped(np.broadcast_to(np.float32(0), found), wanted, False) is not None:
        hint = "its values fit if reshaped: name the layer in the solver's transplant_param; or rename it"
    elif found == wanted[::-1] and len(found) > 1:
        hint = "the file's matrix is transposed: set inner_product_param { transpose: true }, or rename the layer"
    return NetcError(
        "W721",
        f'layer "{layer}", {blob}: the net needs {format_shape(wanted)}, the file has {format_shape(found)}',
        Place(path),
        hint,
    )


def _must_have(names: Iterable[str], name: str, code: str, message: str, path: str) -> None:
    if name not in (known := list(names)):
        raise NetcError(code, f'{message} "{name}"{did_you_mean(name, known)}', Place(path) if path else None)


def _as_weights(source: Mapping[str, Sequence[Any]]) -> Weights:
    if isinstance(source, Weights):
        return source
    return Weights({name: [np.asarray(array) for array in arrays] for name, arrays in source.items()})


def _listed(blobs: Sequence[tuple[str, Shape]]) -> str:
    return ", ".join(f"{blob} {format_shape(shape)}" for blob, shape in blobs) or "none"


def _line(name: str, verb: str, rest: str) -> str:
    return f"  {printable(name):<24} {verb:<8}  {rest}"
