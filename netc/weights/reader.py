"""Reading a file of arrays: its content tells which format it has.

A format is a module with `recognises(buffer)`, `read(path, buffer, diffs)` and `read_text(path, buffer, name)` (a text
beside the arrays); those that Caffe keeps a solver's state in have `read_state(path, buffer)`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from netc.weights.arrays import Array, SolverState, Weights
from netc.weights.files import WeightSource, open_source
from netc.weights.formats import caffemodel, hdf5, npz, safetensors

FORMATS: dict[str, ModuleType] = {"hdf5": hdf5, "safetensors": safetensors, "npz": npz, "caffemodel": caffemodel}
"""In the order in which they are tried; the last takes whatever is left."""


def format_of(buffer: Any) -> str:
    """The name in `FORMATS` of what the bytes are."""
    return next(name for name, module in FORMATS.items() if module.recognises(buffer))


def read(source: WeightSource, diffs: bool = False) -> Weights:
    """The arrays of a weight file by layer name; its content tells .caffemodel, .caffemodel.h5, .safetensors and .npz.

    Arrays are read-only views of the mapped file where it holds their values as such: float32, or float64, float16 or
    int32 where that is what the file has; `pieces` reads them fastest. Of layers with the same name the last counts,
    as in Caffe. With `diffs` the gradients in the file are in the result's `diffs`.
    A file must not be truncated while views of it are read: the kernel then ends the process. `pieces`, `fill`,
    `loaded` and `copy_weights` raise X110 instead.
    Raises NetcError F110, X110 (no such file, unreadable), W701-W706, W741 (not a weight file, damaged, sizes that
    disagree, values of a kind that is not read), W707 (h5py missing).
    """
    name, buffer = open_source(source)
    found: Weights = FORMATS[format_of(buffer)].read(name, buffer, diffs)
    return found


def read_text(source: WeightSource, text: str) -> str | None:
    """The text of that name beside the arrays; None where there is none. Raises NetcError as `read`."""
    name, buffer = open_source(source)
    found: str | None = FORMATS[format_of(buffer)].read_text(name, buffer, text)
    return found


def read_solverstate(source: WeightSource) -> SolverState:
    """A .solverstate or .solverstate.h5. Arrays of 2014's files have four axes. Raises NetcError as `read`."""
    name, buffer = open_source(source)
    state = hdf5.read_state if format_of(buffer) == "hdf5" else caffemodel.read_state
    return state(name, buffer)


def read_blob(source: WeightSource) -> Array:
    """The array of a .binaryproto (a BlobProto, as compute_image_mean writes), e.g. a mean image of shape (1, C, H, W).
    Raises NetcError as `read`."""
    return caffemodel.CaffeFile(*open_source(source)).single_blob().array
