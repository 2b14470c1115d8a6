"""One weight file as another: safetensors, npz, Caffe's HDF5 and .caffemodel, streamed from views of the mapped file.

`write` makes the file, `prove` reads it again and compares every bit, `seal` puts the source's hash into its card. The
hash is computed in a thread beside all that, so it is asked for as late as a format allows.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netc import proto
from netc.errors import NetcError, Place
from netc.weights.arrays import Array
from netc.weights.caffemodel import read
from netc.weights.card import CARD, Card
from netc.weights.hdf5 import held_as, write_hdf5
from netc.weights.model import Model
from netc.weights.npz import write_npz
from netc.weights.pieces import pieces
from netc.weights.proof import Difference, same_bits
from netc.weights.tensors import safetensors_chunks
from netc.weights.write import Chunk, caffemodel_chunks, trained_net, write_chunks

CAFFES_LIMIT = (1 << 31) - 1
"""Bytes of a protobuf message that Caffe itself can read."""


class Hashing:
    """SHA-256 of the mapped source, read and computed in a thread while other work goes on."""

    def __init__(self, buffer: Any) -> None:
        self._bytes = np.frombuffer(buffer, "u1")
        self._sha = hashlib.sha256()
        self._error: NetcError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for piece in pieces(self._bytes):
                self._sha.update(memoryview(piece.data))
        except NetcError as error:
            self._error = error

    def hexdigest(self) -> str:
        """Raises NetcError X110 where the file cannot be read any more."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._sha.hexdigest()


# -- writing -----------------------------------------------------------------------------------------------------------


def write(format: str, path: Path, source: Model, card: Card, hashing: Hashing) -> None:
    """Write `source` in one of `WRITERS`. Raises NetcError W763 (the net is needed), W762, W707; OSError."""
    WRITERS[format](path, source, card, hashing)


def _safetensors(path: Path, source: Model, card: Card, hashing: Hashing) -> None:
    """The card stands in front of the arrays, with room for the hash that `seal` fills in."""
    write_chunks(path, _safetensors_chunks(source, card, "0" * 64))


def _safetensors_chunks(source: Model, card: Card, sha256: str) -> Iterator[Chunk]:
    card.sha256 = sha256
    tensors = {entry.key: entry.array for entry in source.entries}
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
    """The layers that a .caffemodel of `source` lists: the net's as compiled, or, where no net was given, all that the
    file has. Raises NetcError W763 where nothing says what types the layers have."""
    if source.param is None:
        source.runnable()
    if source.given:
        return trained_net(source.runnable().param)
    net = proto.NetParameter()
    net.CopyFrom(source.param)
    for layer in net.layer:
        layer.ClearField("blobs")
    return net


WRITERS = {"safetensors": _safetensors, "npz": _npz, "hdf5": _hdf5, "caffemodel": _caffemodel}
"""Formats that hold the arrays as they are."""


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


def prove(format: str, path: Path, source: Model) -> list[Difference]:
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
