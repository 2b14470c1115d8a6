"""One weight file as another: safetensors, npz, Caffe's HDF5 and .caffemodel, streamed from views of the mapped file.

`write_proved` makes the file, reads it again and compares every bit; `seal` puts the source's hash into its card. The
hash is computed in a thread beside all that, so it is asked for as late as a format allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.files.hashing import Chunk, Hashing
from netc.weights.arrays import Array
from netc.weights.card import CARD, Card
from netc.weights.chunks import held_as, write_chunks
from netc.weights.formats.caffemodel import caffemodel_chunks, trained_net
from netc.weights.formats.hdf5 import write_hdf5
from netc.weights.formats.npz import write_npz
from netc.weights.formats.safetensors import safetensors_chunks
from netc.weights.model import Model
from netc.weights.pieces import copied
from netc.weights.proof import ProofFailure, same_bits, same_kind
from netc.weights.reader import read

CAFFES_LIMIT = (1 << 31) - 1
"""Bytes of a protobuf message that Caffe itself can read."""


# -- writing -----------------------------------------------------------------------------------------------------------


def write_proved(
    format: str, path: Path, source: Model, card: Card, hashing: Hashing, flush: Callable[[], None]
) -> list[ProofFailure]:
    """Write `source` in a format of `netc.weights.reader`, and compare it with what is read back, key by key.

    `flush` begins to write down to the disk what the file has so far. Raises NetcError W763 (the net is needed), W762,
    W707; OSError.
    """
    if format == "safetensors":
        return _safetensors(path, source, card, flush)
    _WRITERS[format](path, source, card, hashing)
    flush()
    return prove(format, path, source)


def _safetensors(path: Path, source: Model, card: Card, flush: Callable[[], None]) -> list[ProofFailure]:
    """The header first, its card with room for the hash that `seal` fills in. Then the file is read by that header, and
    each array goes where it says, piece by piece, and is compared as it lies there: one way through the caches."""
    header = next(_safetensors_chunks(source, card, "0" * 64))
    with path.open("w+b", buffering=0) as file:
        write_chunks(file, [header])
        file.truncate(len(header) + sum(entry.array.nbytes for entry in source.entries))
        found = read(path)
        places = [_found(found.get(entry.layer, []), entry.blob) for entry in source.entries]
        return _filled(file.fileno(), source, places, flush)


_WORKERS = 2
_SHARE = 1 << 22
"""Values that one worker takes at a time."""

_FLUSH_AFTER = 8
"""Shares after which what there is goes down to the disk, so that little is left to wait for at the end."""


def _filled(handle: int, source: Model, places: list[Array], flush: Callable[[], None]) -> list[ProofFailure]:
    """Copy each array to its place, a view of the file `handle` as it was read again."""
    result, done = [], 0
    with ThreadPoolExecutor(_WORKERS) as pool:
        for entry, place in zip(source.entries, places, strict=True):
            differing = 0 if same_kind(entry.tensor, place) else max(entry.array.size, 1)
            for job in _jobs(pool, entry.array, place, handle) if not differing else ():
                differing += job.result()
                done += 1
                if done % _FLUSH_AFTER == 0:
                    flush()
            result.append(ProofFailure(entry.key, entry.array.shape, differing=differing))
    return result


def _jobs(pool: Executor, array: Array, place: Array, handle: int) -> list[Future[int]]:
    flat, target = array.reshape(-1), place.reshape(-1)
    shares = [slice(start, start + _SHARE) for start in range(0, flat.size, _SHARE)]
    return [pool.submit(copied, flat[share], target[share], handle) for share in shares]


def _safetensors_chunks(source: Model, card: Card, sha256: str) -> Iterator[Chunk]:
    card.sha256 = sha256
    tensors = {entry.key: entry.tensor for entry in source.entries}
    blobs = {entry.key: (entry.layer, entry.blob) for entry in source.entries}
    return safetensors_chunks(tensors, blobs, {"format": "pt", CARD: card.to_json()})


def _npz(path: Path, source: Model, card: Card, hashing: Hashing) -> None:
    with path.open("wb") as file:
        write_npz(file, source.layers(), lambda: _complete(card, hashing).to_json())


def _hdf5(path: Path, source: Model, card: Card, hashing: Hashing) -> None:
    write_hdf5(str(path), source.layers(), (CARD, _complete(card, hashing).to_json()))


def _complete(card: Card, hashing: Hashing) -> Card:
    card.sha256 = hashing.hexdigest()
    return card


def _caffemodel(path: Path, source: Model, card: Card, hashing: Hashing) -> None:
    with path.open("wb") as file:
        write_chunks(file, caffemodel_chunks(definition(source), source.layers()))


def definition(source: Model) -> Any:
    """The layers that a .caffemodel of `source` lists: the net's as compiled, or, where no net was given or it cannot
    be compiled, all that it has in the state that is asked for. Raises NetcError W763 where nothing says what types the
    layers have."""
    if source.draft is None:
        source.runnable()
    if source.given and source.graph is not None:
        return trained_net(source.graph.param)
    return source.definition()


_WRITERS = {"npz": _npz, "hdf5": _hdf5, "caffemodel": _caffemodel}
"""Of the formats in `netc.weights.reader.FORMATS`, those that need no card before the arrays."""


def seal(format: str, path: Path, source: Model, card: Card, hashing: Hashing) -> None:
    """Complete the card in the written file, where it could not be written complete.
    Raises NetcError W770 (it is not read back as written), OSError."""
    if format != "safetensors":
        return
    header = next(_safetensors_chunks(source, card, hashing.hexdigest()))
    with path.open("r+b") as file:
        file.write(header)
        file.seek(0)
        if file.read(len(header)) != header:
            raise NetcError("W770", "the card was read back with other text", Place(str(path)), "the disk is at fault")


# -- the proof ---------------------------------------------------------------------------------------------------------


def prove(format: str, path: Path, source: Model) -> list[ProofFailure]:
    """Read the written file again, and compare it with the source. A blob that is not there differs."""
    found = read(path)
    return [
        same_bits(entry.key, _held(format, entry.array), _found(found.get(entry.layer, []), entry.blob))
        for entry in source.entries
    ]


def _held(format: str, array: Array) -> Array:
    """The array as the format can hold it: Caffe's files have no float16, which float32 holds exactly."""
    return array.astype(held_as(array), copy=False) if format in ("hdf5", "caffemodel") else array


def _found(arrays: list[Array], blob: int) -> Array:
    return arrays[blob] if blob < len(arrays) else np.zeros((0,), "<f4")
