"""Readers of files that are opened by name: lists, window files, HDF5 data, records, manifests, cards.

Each function takes the bytes of a file and gives the steps that read it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netc import proto
from netc.errors import NetcError, Place
from netc.runtime.data import hdf5_feed
from netc.runtime.data.records import open_records
from netc.runtime.data.window_file import WindowFile
from netc.runtime.imageset.sources import from_list, read_classes
from netc.runtime.report.curves import draw, panels_of
from netc.runtime.solver import manifest, metrics, state
from netc.runtime.solver.snapshot import Snapshot
from netc.solver.plateau import Plateau
from netc.weights.card import CARD
from netc.weights.formats.safetensors import write_safetensors
from netc.weights.model import open_model

Steps = list[Callable[[], Any]]

PICTURE = Path(__file__).parents[2] / "tests/fuzz/corpus/datum/bmp"


def _folder() -> Path:
    """One a process, whose letters are the same in all messages."""
    folder = Path(tempfile.gettempdir(), f"netc-fuzz-files-{os.getpid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    return folder


def _file(data: bytes, name: str) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def lists(data: bytes) -> Steps:
    """A list of pictures, as training and as convert-imageset read it; a file of classes."""
    path = _file(data, "list.txt")
    _file(_picture(), "a.bmp")
    return [partial(_pictures, path), partial(from_list, path.parent, path), partial(read_classes, path)]


def _picture() -> bytes:
    return bytes(proto.Datum.FromString(PICTURE.read_bytes()).data)


def _pictures(path: Path) -> None:
    param = proto.LayerParameter(name="d", type="ImageData", top=["data", "label"])
    param.image_data_param.source, param.image_data_param.root_folder = str(path), f"{path.parent}/"
    with open_records(param, "", Place("net")) as records:
        for index in range(min(len(records), 8)):
            records.picture(index)


def windows(data: bytes) -> Steps:
    """A window file and its boxes."""
    param = proto.LayerParameter(name="w", type="WindowData", top=["data", "label"])
    param.window_data_param.source = str(_file(data, "windows.txt"))
    return [partial(_boxes, param)]


def _boxes(param: Any) -> None:
    found = WindowFile(param, "", Place("net"))
    assert len(found.boxes) == len(found.owner) == len(found.labels)


def hdf5_data(data: bytes) -> Steps:
    """A file of HDF5Data: the shapes of its tops, then all that it holds."""
    _file(b"data.h5", "files.txt")
    _file(data, "data.h5")
    param = proto.LayerParameter(name="h", type="HDF5Data", top=["data", "label"])
    param.hdf5_data_param.source, param.hdf5_data_param.batch_size = str(_folder() / "files.txt"), 2
    return [partial(hdf5_feed.shapes, param, "net"), partial(hdf5_feed.labels, param, "net")]


def records(data: bytes) -> Steps:
    """A metrics.jsonl, and the picture of its curves."""
    return [partial(_curves, _file(data, "metrics.jsonl"))]


def _curves(path: Path) -> str:
    found = metrics.read(path)
    panels, marks = panels_of(found)
    if sum(len(curve.points) for panel in panels for curve in panel.curves) % 8 == 1:  # a picture takes long
        draw(panels, "a run", marks)
    return f"{len(found)} records"


def manifests(data: bytes) -> Steps:
    """A manifest, signed anew where it is a table: anybody can."""
    path = _file(_signed(data), "run_iter_1.manifest.json")
    return [partial(_extras, path)]


def _signed(data: bytes) -> bytes:
    try:
        body = json.loads(data)
        body.pop("sha256", None)
        return manifest._render(body).encode()
    except (ValueError, AttributeError, RecursionError):
        return data


def _extras(path: Path) -> None:
    found = manifest.read_manifest(path)
    snapshot = Snapshot(1, [], 0, "", path, found.extras, True, path)
    state._check_extras(snapshot)
    Plateau(proto.SolverParameter(base_lr=1, gamma=0.5)).restore(found.extras.get("plateau") or {}, 0)
    state._changed({"seed": 1}, found.extras.get("conditions") or {})


def cards(data: bytes) -> Steps:
    """A .safetensors with this card, as a model."""
    out = io.BytesIO()
    arrays = {"conv.weight": np.zeros((2, 3, 1, 1), "<f4"), "conv.bias": np.zeros(2, "<f4")}
    write_safetensors(out, arrays, metadata={CARD: data.decode("utf-8", "surrogateescape")})
    path = _file(out.getvalue(), "model.safetensors")
    return [partial(_model, path)]


def _model(path: Path) -> None:
    model = open_model(path)
    assert model.card is not None
    str(model.card.preprocessing)
    with contextlib.suppress(NetcError):
        model.runnable()
