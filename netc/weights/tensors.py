"""safetensors: the arrays of a net under the keys of its state_dict, "<layer>.weight" and "<layer>.bias".

The format is eight bytes of length, a JSON table and the values as they are, so reading gives views of the mapped file
and writing needs no second copy. The format is described at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.layers.base import MAX_AXES
from netc.weights.arrays import Array, Weights
from netc.weights.card import CARD, Card
from netc.weights.keys import BLOB_NAMES, blob_positions
from netc.weights.write import Chunk, Sink, write_chunks

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}
_MOST = 100_000_000
"""Longest table that the format's own library takes."""


@dataclass(frozen=True, slots=True)
class Header:
    """Key → (type, shape, first byte, end), in the order of the bytes; and the file's metadata."""

    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    metadata: dict[str, str]


# -- reading -----------------------------------------------------------------------------------------------------------


def read_safetensors(path: str, buffer: Any) -> Weights:
    """Layer name → arrays, views of the mapped file (bfloat16 is widened to a float32 copy). A card tells which blob
    of which layer a key is; without one the key's last part does: a blob's name, or its number.
    Raises NetcError W702 (damaged), W706 (keys that no net of ours writes), W761 (a damaged card)."""
    found = header(path, buffer)
    arrays = {key: _array(buffer, *entry) for key, entry in found.tensors.items()}
    text = found.metadata.get(CARD)
    layers = _by_card(path, arrays, Card.from_json(text, path).layers) if text is not None else {}
    return Weights(layers or _by_name(path, arrays), path)


def header(path: str, buffer: Any) -> Header:
    """The table of a safetensors file. Raises NetcError W702."""
    try:
        return _header(buffer)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise NetcError("W702", f"the safetensors file is damaged: {reason}", Place(path), "get it again") from None


def _header(buffer: Any) -> Header:
    size = int.from_bytes(buffer[:8], "little")
    if size > min(_MOST, len(buffer) - 8):
        raise ValueError(f"its table wants {size:,} bytes")
    table = json.loads(bytes(buffer[8 : 8 + size]), object_pairs_hook=_once)
    metadata = table.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not text")
    tensors = {key: _entry(key, value, 8 + size) for key, value in table.items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: item[1][2:]))
    at = 8 + size
    for key, (_, _, start, end) in ordered.items():
        if start != at:
            raise ValueError(f'"{key}" begins at byte {start:,}, expected at {at:,}')
        at = end
    if at != len(buffer):
        raise ValueError(f"it ends at byte {len(buffer):,}, expected {at:,}")
    return Header(ordered, metadata)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _entry(key: str, value: Any, base: int) -> tuple[str, tuple[int, ...], int, int]:
    kind, shape, (start, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
    if kind not in _TYPES:
        raise ValueError(f'"{key}" holds {kind}, not floating-point numbers')
    sizes = (*shape, start, end)
    if len(shape) > MAX_AXES or not all(type(size) is int and 0 <= size < 1 << 63 for size in sizes):
        raise ValueError(f'"{key}" has a shape or place that makes no sense')
    need = math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
    if end - start != need:
        raise ValueError(f'"{key}" needs {need:,} bytes and has {end - start:,}')
    return kind, shape, base + start, base + end


def _array(buffer: Any, kind: str, shape: tuple[int, ...], start: int, end: int) -> Array:
    dtype = np.dtype(_TYPES[kind])
    flat = np.frombuffer(buffer, dtype, (end - start) // dtype.itemsize, start) if end > start else np.zeros(0, dtype)
    if kind == "BF16":
        flat = (flat.astype("<u4") << 16).view("<f4")
    return flat.reshape(shape)


def _by_card(path: str, arrays: Mapping[str, Array], layers: Mapping[str, Sequence[str]]) -> dict[str, list[Array]]:
    missing = [key for keys in layers.values() for key in keys if key not in arrays]
    if missing:
        raise NetcError("W706", f'the card names "{missing[0]}", and the file has no such key', Place(path))
    return {layer: [arrays[key] for key in keys] for layer, keys in layers.items()}


def _by_name(path: str, arrays: Mapping[str, Array]) -> dict[str, list[Array]]:
    found: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        layer, _, blob = key.rpartition(".")
        if not layer or not (blob in BLOB_NAMES or (blob.isdecimal() and len(blob) < 4)):
            raise NetcError(
                "W706",
                f'the key "{key}" does not say which blob of which layer it is',
                Place(path),
                "expected <layer>.weight, <layer>.bias or <layer>.<number of the blob>",
            )
        found.setdefault(layer, {})[blob] = array
    return {layer: _in_order(path, layer, blobs) for layer, blobs in found.items()}


def _in_order(path: str, layer: str, blobs: dict[str, Array]) -> list[Array]:
    places = blob_positions(list(blobs))
    if sorted(places) != list(range(len(blobs))):
        raise NetcError("W706", f'layer "{layer}" has blobs {", ".join(sorted(blobs))}; some are missing', Place(path))
    return [array for _, array in sorted(zip(places, blobs.values()), key=lambda pair: pair[0])]


# -- writing -----------------------------------------------------------------------------------------------------------


def write_safetensors(sink: Sink, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write key → array, float16, float32 or float64 as they are, streamed. Raises OSError."""
    write_chunks(sink, safetensors_chunks(tensors, metadata))


def safetensors_chunks(tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> Iterator[Chunk]:
    """The bytes of a safetensors file, piece by piece: wider types first, so that every value is aligned."""
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for key, array in ordered:
        end = at + array.nbytes
        kind = _NAMES[np.dtype(array.dtype).newbyteorder("<").str]
        table[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, array in ordered:
        if array.size:
            yield raw_bytes(array)


def raw_bytes(array: Array) -> memoryview:
    """An array's values in the order of its axes, little-endian: a view wherever its memory is like that already."""
    flat: Any = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return memoryview(flat).cast("B")
