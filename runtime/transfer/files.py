"""Files of features: a row a picture, the keys and labels of the rows, and the facts of how they were made.

    F.safetensors    the tensor "features", and in the metadata the text "about"
    F.npz            features.npy and about.json
    F.h5             the dataset /features, and /about with the bytes of the text
    F.npy            the array, and the text beside it in F.npy.json

`about` is JSON: {"format", "version", "keys", "labels", "facts"}. Features are float32, (rows, D).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetcError, Place
from netc.files import checked_json
from netc.files.durable import Staging
from netc.files.hdf5 import Unfit, h5py_module, numbers
from netc.files.opening import read_bytes
from netc.weights.formats import safetensors
from netc.weights.formats.safetensors import safetensors_chunks

FORMAT, VERSION = "netc features", 1
HINT = "netc features writes it"
MOST, MOST_TEXT = 1 << 36, 1 << 28
_HEAD = 1 << 16

Floats = NDArray[np.floating[Any]]

_ABOUT = checked_json.Record({"format": str, "version": int, "keys": [str], "labels": [int], "facts": dict})


@dataclass(frozen=True, slots=True)
class Features:
    """`values` (rows, D). `keys`: what each row's picture is called by its source. `facts`: how they were made."""

    values: Floats
    keys: Sequence[str]
    labels: Sequence[int]
    facts: dict[str, Any]


def check_name(path: str) -> None:
    """Raises NetcError C301 for a name that tells none of the formats, W707 for .h5 without h5py."""
    if Path(path).suffix not in _WRITERS:
        found = f'"{Path(path).name}" does not tell a format of features'
        raise NetcError("C301", found, None, f"end the name in {', '.join(_WRITERS)}")
    if Path(path).suffix == ".h5":
        h5py_module(path)


def beside(path: str) -> list[Path]:
    """All files that `write` makes for a name."""
    out = Path(path)
    return [out, *([_text_of(out)] if out.suffix == ".npy" else [])]


def write(path: str, features: Features, force: bool = True) -> None:
    """The file appears whole or not at all. Raises NetcError C301, W707, O140, O165, X166, X167."""
    check_name(path)
    about = {"format": FORMAT, "version": VERSION, "keys": list(features.keys), "labels": list(features.labels)}
    values = np.ascontiguousarray(features.values, "<f4")
    with Staging(path, force=force) as staging:
        _WRITERS[staging.out.suffix](staging, values, {**about, "facts": features.facts})
        staging.publish()


def _write_safetensors(staging: Staging, values: Floats, about: dict[str, Any]) -> None:
    metadata = {"about": json.dumps(about)}
    staging.write(staging.out, safetensors_chunks({"features": values}, metadata=metadata))


def _write_npz(staging: Staging, values: Floats, about: dict[str, Any]) -> None:
    with zipfile.ZipFile(staging.path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open(zipfile.ZipInfo("features.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, values, allow_pickle=False)
        archive.writestr(zipfile.ZipInfo("about.json"), json.dumps(about))


def _write_hdf5(staging: Staging, values: Floats, about: dict[str, Any]) -> None:
    with h5py_module("").File(staging.path, "w") as file:
        file["features"] = values
        file["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)


def _write_npy(staging: Staging, values: Floats, about: dict[str, Any]) -> None:
    head = io.BytesIO()
    described = np.lib.format.header_data_from_array_1_0(values)
    np.lib.format.write_array_header_1_0(head, described)
    sha = staging.write(staging.out, [head.getvalue(), values.reshape(-1).view(np.uint8).data]).sha256
    staging.write(_text_of(staging.out), [json.dumps({**about, "sha256": sha}).encode()])


_WRITERS: dict[str, Callable[[Staging, Floats, dict[str, Any]], None]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".h5": _write_hdf5,
    ".npy": _write_npy,
}


def _text_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


# -- reading -----------------------------------------------------------------------------------------------------------


def read(path: str) -> Features:
    """What `write` wrote. Raises NetcError F120 (no such file), D592 (another file, or a damaged one), W707, F102,
    F104."""
    try:
        values, text = _parts(path)
        about = checked_json.parse(text)
        checked_json.check(about, _ABOUT)
        _check(values, about)
    except FileNotFoundError as error:
        raise NetcError("F120", f"there is no file {error.filename}", Place(path), HINT) from None
    except (OSError, ValueError, Unfit) as error:
        raise _foreign(path, error) from None
    return Features(values, about["keys"], about["labels"], about["facts"])


def _foreign(path: str, reason: object) -> NetcError:
    return NetcError("D592", f"this is not a file of features: {reason}", Place(path), HINT)


def _parts(path: str) -> tuple[Floats, str | bytes]:
    """The array and the text. Raises OSError, ValueError, Unfit, NetcError."""
    content = read_bytes(path, MOST)
    if content[:6] == b"\x93NUMPY":
        text = read_bytes(_text_of(Path(path)), MOST_TEXT)
        sha = checked_json.parse(text).get("sha256") if text[:1] == b"{" else None
        if sha != hashlib.sha256(content).hexdigest():
            raise ValueError(f"{_text_of(Path(path)).name} was written with another array")
        return _of_npy(content), text
    if content[:4] == b"PK\x03\x04":
        return _of_npz(content)
    if content[:8] == b"\x89HDF\r\n\x1a\n":
        return _of_hdf5(path, content)
    if safetensors.recognises(content):
        return _of_safetensors(path, content)
    raise ValueError("it has none of the formats .safetensors, .npz, .h5, .npy")


def _check(values: Floats, about: dict[str, Any]) -> None:
    if (about["format"], about["version"]) != (FORMAT, VERSION):
        raise ValueError(f"it says that it is {about['format'][:40]!r}, version {about['version']}")
    if values.ndim != 2 or values.dtype.kind != "f" or not values.shape[1]:
        raise ValueError(f"its array is of {values.dtype}, {values.shape}")
    if not len(values) == len(about["keys"]) == len(about["labels"]):
        raise ValueError(f"it has {len(values)} rows, {len(about['keys'])} keys and {len(about['labels'])} labels")


def _of_npy(content: bytes) -> Floats:
    """The header is looked at before anything of its size is taken."""
    source = io.BytesIO(content[:_HEAD])
    version = np.lib.format.read_magic(source)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(source)
    count = int(np.prod(shape, dtype=object))
    if dtype.kind != "f" or fortran or count * dtype.itemsize != len(content) - source.tell():
        raise ValueError(f"its array is said to be of {dtype}, {shape}, and the file has other bytes")
    return np.frombuffer(content, dtype, count, source.tell()).reshape(shape)


def _of_npz(content: bytes) -> tuple[Floats, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _of_npy(_member(archive, "features.npy")), _member(archive, "about.json")
    except ValueError:
        raise
    except Exception as error:  # zipfile raises nearly anything on damaged files
        raise ValueError(str(error) or type(error).__name__) from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > info.compress_size:
        raise ValueError(f'"{name}" is packed, which netc does not do')
    return archive.read(info)


def _of_hdf5(path: str, content: bytes) -> tuple[Floats, bytes]:
    h5py = h5py_module(path)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            values, text = (numbers(file, name, len(content)) for name in ("features", "about"))
            return np.asarray(values[()]), np.asarray(text[()]).astype(np.uint8).tobytes()
    except Unfit:
        raise
    except Exception as error:  # on damaged files h5py raises nearly anything
        raise ValueError(str(error) or type(error).__name__) from None


def _of_safetensors(path: str, content: bytes) -> tuple[Floats, str]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        text = safetensors.read_text(path, content, "about")
        values = load(content).get("features")
    except (NetcError, SafetensorError) as error:
        raise ValueError(error.message if isinstance(error, NetcError) else str(error)) from None
    if text is None or values is None:
        raise ValueError('it has no "features", or no "about"')
    return values, text
