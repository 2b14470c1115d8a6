"""What `import caffe` gives a Python layer where Caffe itself is not installed: the base class, and little else.

The module stands in `sys.modules` only while such a layer is imported or called, so that a program that looks for Caffe
is not deceived.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.machinery import PathFinder
from typing import Any

import numpy as np

from netc import proto
from netc.errors.foreign import allowed
from netc.pycaffe.blob import BlobVec


class Layer:
    """pycaffe's base class: `param_str`, `phase` and `blobs` are there when `setup` is called. `param_str_` is the name
    that param_str had until the end of 2015, which py-faster-rcnn's layers read."""

    param_str: str = ""
    param_str_: str = ""
    phase: int = 1
    blobs: BlobVec

    def __init__(self, param: Any = None) -> None:
        """Caffe hands over its LayerParameter; layers rarely look at it."""


_lock = threading.Lock()
_inside = 0
"""How many calls of layers are under way, in all threads."""

_hidden: dict[str, Any] = {}
"""What stood in the place of the stand-ins before the first of them."""


class Allowed:
    """Finds the modules that may run in the working directory and the prototxt's folder, and none that lie beside them:
    who allows one file of a folder has not read the others. It comes last, so what is installed goes before."""

    def __init__(self, folder: str) -> None:
        self.modules, self.folders = allowed(), search_path(folder)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The finder's protocol. What lies in a package that was found is found by its own path."""
        if path is not None or not any(f"{module}.".startswith(f"{name}.") for module in self.modules):
            return None
        return PathFinder.find_spec(name, self.folders)

    def beside(self, name: str | None) -> bool:
        """Whether there is such a module in the folders, allowed or not."""
        return bool(name) and PathFinder.find_spec(str(name).partition(".")[0], self.folders) is not None


@contextmanager
def as_in_caffe(found: Allowed) -> Iterator[None]:
    """`import` finds what Python finds, then the modules that are allowed, and `caffe`.

    Finders and modules are the process's, so threads that are here at the same time share them until the last one goes.
    """
    _enter(found)
    try:
        yield
    finally:
        _leave(found)


def _enter(found: Allowed) -> None:
    global _inside
    with _lock:
        if not _inside and not _has_caffe():
            _hidden.update((name, sys.modules.get(name)) for name in _modules())
            sys.modules.update(_modules())
        sys.meta_path.append(found)
        _inside += 1


def _leave(found: Allowed) -> None:
    global _inside
    with _lock:
        with suppress(ValueError):
            sys.meta_path.remove(found)
        _inside -= 1
        while not _inside and _hidden:
            name, module = _hidden.popitem()
            sys.modules.pop(name, None)
            sys.modules.update({name: module} if module is not None else {})


def search_path(folder: str) -> list[str]:
    """Where a layer's module is looked for after the places that Python itself knows (PYTHONPATH among them)."""
    return list(dict.fromkeys([os.getcwd(), os.path.abspath(folder)]))


def _has_caffe() -> bool:
    loaded = sys.modules.get("caffe")
    if loaded is not None:
        return loaded is not _modules()["caffe"]
    try:
        return importlib.util.find_spec("caffe") is not None
    except (ImportError, ValueError):
        return False


@cache
def _modules() -> dict[str, Any]:
    """Name → module: caffe, caffe.proto, caffe.proto.caffe_pb2, caffe.io."""
    caffe, messages, io = (types.ModuleType(name) for name in ("caffe", "caffe.proto", "caffe.io"))
    caffe.__doc__ = "netc's stand-in for pycaffe, for Python layers"
    named = {"Layer": Layer, "TRAIN": 0, "TEST": 1, "proto": messages, "io": io, "__path__": []}
    quiet = dict.fromkeys(("set_mode_cpu", "set_mode_gpu", "set_device", "set_random_seed"), _nothing)
    vars(caffe).update(named, **quiet)
    vars(messages).update(caffe_pb2=proto, __path__=[])
    vars(io).update(array_to_blobproto=array_to_blobproto, blobproto_to_array=blobproto_to_array)
    return {"caffe": caffe, "caffe.proto": messages, "caffe.proto.caffe_pb2": proto, "caffe.io": io}


def _nothing(*args: Any) -> None:
    """Device and seed are netc's matter."""


def array_to_blobproto(array: Any, diff: Any = None) -> Any:
    """pycaffe's caffe.io.array_to_blobproto."""
    values = np.asarray(array, np.float32)
    blob = proto.BlobProto(shape=proto.BlobShape(dim=values.shape), data=values.ravel().tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float32).ravel().tolist())
    return blob


def blobproto_to_array(blob: Any, return_diff: bool = False) -> Any:
    """pycaffe's caffe.io.blobproto_to_array."""
    axes = blob.shape.dim if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    return np.array(blob.diff if return_diff else blob.data, np.float32).reshape(tuple(axes))
