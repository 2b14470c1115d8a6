"""safetensors: the arrays of a net under the keys of its state_dict, "<layer>.weight" and "<layer>.bias".

The format: eight bytes with the length of a JSON header, the header, and the tensors' bytes. The tensors are handed on
as views of the mapped file, and written from wherever they are without a copy of them all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.hashing import Chunk
from netc.layers.base import Shape
from netc.weights.arrays import Array, Weights, is_real
from netc.weights.chunks import Sink, raw_bytes, write_chunks
from netc.weights.keys import all_blob_names, in_caffes_order

BLOBS_KEY = "netc.blobs"
"""Key of the metadata that says which blob each tensor is, as JSON: {tensor: [layer, number of the blob]}. A module's
name cannot have a dot, a layer's can; without this entry the tensors' names must do."""

MAX_HEADER = 1 << 25
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class _Tensor:
    key: str
    dtype: str
    shape: Shape
    start: int
    end: int


def recognises(buffer: Any) -> bool:
    """A length that the file has room for, and the brace that opens the header."""
    size = int.from_bytes(buffer[:8], "little")
    return bool(len(buffer) > 9 and buffer[8:9] == b"{" and size <= len(buffer) - 8)


def read(path: str, buffer: Any, diffs: bool = False) -> Weights:
    """Layer name → arrays in Caffe's blob order, and the file's metadata. "<layer>.<i>" is a blob by its number.
    Raises NetcError W702 (damaged), W706 (keys that no net of ours writes), W741 (tensors that are not floats)."""
    header, start = _header(path, buffer)
    metadata: dict[str, str] = header.pop("__metadata__", {})
    tensors = [_tensor(path, key, entry) for key, entry in header.items()]
    _check_cover(path, tensors, len(buffer) - start)
    told = _told(path, metadata)
    names = [] if all(tensor.key in told for tensor in tensors) else all_blob_names()
    layers: dict[str, dict[tuple[int, int], Array]] = {}
    for tensor in tensors:
        layer, rank = told.get(tensor.key) or _split(path, tensor.key, names)
        blobs = layers.setdefault(layer, {})
        if rank in blobs:
            raise NetcError("W706", f'layer "{layer}" has its blob {rank[1]} twice', Place(path))
        blobs[rank] = _array(buffer, tensor, start)
    result = Weights({layer: _in_order(path, layer, blobs, names) for layer, blobs in layers.items()}, path)
    result.metadata = metadata
    return result


def read_text(path: str, buffer: Any, name: str) -> str | None:
    """A text beside the tensors, None where there is none. Raises NetcError W702."""
    found: str | None = _header(path, buffer)[0].get("__metadata__", {}).get(name)
    return found


def _header(path: str, buffer: Any) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(buffer[:8], "little")
    if size > MAX_HEADER:
        raise _damaged(path, f"its header claims {size:,} bytes")
    try:
        header = checked_json.parse(bytes(buffer[8 : 8 + size]))
        checked_json.check(header, {str: dict}, "the header")
        checked_json.check(header.get("__metadata__", {}), {str: str}, "its metadata")
    except ValueError as error:
        raise _damaged(path, f"its header cannot be read ({error})") from None
    return header, 8 + size


_ENTRY = checked_json.Record({"dtype": str, "shape": [int], "data_offsets": [int]})


def _tensor(path: str, key: str, entry: Any) -> _Tensor:
    try:
        checked_json.check(entry, _ENTRY, f'the entry of "{key}"')
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if dtype not in _TYPES:
        hint = "weights are F64, F32, F16 or BF16"
        raise NetcError("W741", f'the tensor "{key}" is of type {dtype}, which no blob is', Place(path), hint)
    if not all(0 <= number < 1 << 63 for number in (*shape, start, end)):
        raise _damaged(path, f'"{key}" has a shape or place that is none')
    if len(shape) > 32 or not is_real(shape):
        raise _damaged(path, f'"{key}" has a shape or place that is none')
    needed = math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize
    if end - start != needed:
        raise _damaged(path, f'"{key}" needs {needed:,} bytes and has {end - start:,}')
    return _Tensor(key, dtype, shape, start, end)


def _check_cover(path: str, tensors: list[_Tensor], size: int) -> None:
    """The tensors lie side by side and fill the file, as the format demands."""
    at = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != at:
            raise _damaged(path, f'"{tensor.key}" begins at byte {tensor.start:,} of the data, not at {at:,}')
        at = tensor.end
    if at != size:
        raise _damaged(path, f"its tensors take {at:,} bytes, the file has {size:,} for them")


def _told(path: str, metadata: Mapping[str, str]) -> dict[str, tuple[str, tuple[int, int]]]:
    """What the metadata says about which blob a tensor is."""
    if BLOBS_KEY not in metadata:
        return {}
    try:
        table = checked_json.parse(metadata[BLOBS_KEY])
        checked_json.check(table, {str: list})
        return {key: _blob_of(*pair) for key, pair in table.items()}
    except (ValueError, TypeError):
        raise _damaged(path, f"its metadata {BLOBS_KEY} cannot be read") from None


def _blob_of(layer: Any, number: Any) -> tuple[str, tuple[int, int]]:
    if type(layer) is not str or type(number) is not int or not 0 <= number < 1000:
        raise ValueError
    return layer, (0, number)


def _split(path: str, key: str, names: list[str]) -> tuple[str, tuple[int, int]]:
    """(layer, rank): ranks of one layer are compared. Numbers stand for themselves, `names` for their order."""
    layer, _, blob = key.rpartition(".")
    if layer and blob in names:
        return layer, (1, names.index(blob))
    if layer and blob.isdecimal() and blob.isascii() and len(blob) < 4:
        return layer, (0, int(blob))
    raise NetcError(
        "W706",
        f'the key "{key}" does not say which blob of which layer it is',
        Place(path),
        "expected <layer>.weight, <layer>.bias (or another name of a blob) or <layer>.<number of the blob>",
    )


def _in_order(path: str, layer: str, blobs: dict[tuple[int, int], Array], names: list[str]) -> list[Array]:
    numbers = [number for named, number in blobs if not named]
    if numbers and sorted(numbers) != list(range(len(blobs))):
        raise NetcError("W706", f'layer "{layer}" has blobs {sorted(numbers)}; some are missing', Place(path))
    known = None if numbers else in_caffes_order(names[rank] for _, rank in blobs)
    if known is not None:
        return [blobs[1, names.index(name)] for name in known]
    return [blobs[rank] for rank in sorted(blobs)]


def _array(buffer: Any, tensor: _Tensor, data: int) -> Array:
    dtype = _TYPES[tensor.dtype]
    count = math.prod(tensor.shape)
    array = np.frombuffer(buffer, dtype, count, data + tensor.start) if count else np.zeros(0, dtype)
    if tensor.dtype == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(tensor.shape)


def _damaged(path: str, reason: str) -> NetcError:
    return NetcError("W702", f"the safetensors file is damaged: {reason}", Place(path), "get it again")


# -- writing -----------------------------------------------------------------------------------------------------------


def write_safetensors(
    sink: Sink,
    tensors: Mapping[str, Array],
    blobs: Mapping[str, tuple[str, int]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write key → array (float16, float32 or float64, as they are), streamed.

    `blobs`: key → (layer, number of the blob), for the layers' own names to come back; `metadata`: other texts.
    Raises TypeError (other types), OSError, NetcError X110 (a mapped file that they lie in cannot be read any more).
    """
    write_chunks(sink, safetensors_chunks(tensors, blobs, metadata))


def safetensors_chunks(
    tensors: Mapping[str, Array],
    blobs: Mapping[str, tuple[str, int]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Iterator[Chunk]:
    """The bytes of a safetensors file, the header first; wider types first, so that every value is aligned.
    Raises TypeError for arrays of anything but floating-point numbers."""
    texts = dict(metadata or {})
    if blobs is not None:
        texts[BLOBS_KEY] = json.dumps(blobs)
    table: dict[str, Any] = {"__metadata__": texts} if texts else {}
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)
    at = 0
    for key, array in ordered:
        place = [at, at + array.nbytes]
        table[key] = {"dtype": _name_of(key, array), "shape": list(array.shape), "data_offsets": place}
        at += array.nbytes
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little") + header
    for _, array in ordered:
        if array.size:
            yield raw_bytes(array)


def _name_of(key: str, array: Array) -> str:
    name = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}.get(array.dtype.newbyteorder("<").str)
    if name is None:
        raise TypeError(f'the array "{key}" is of type {array.dtype}, not float16, float32 or float64')
    return name
