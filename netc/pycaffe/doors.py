"""How `import caffe` finds netc's: for good (`install`), or while a Python layer is imported or called (`as_in_caffe`).

Either way `caffe` is the module `netc.pycaffe` itself, and `caffe.io` is `netc.pycaffe.io`: one module under two names.
A finder at the front of `sys.meta_path` answers for them, so a Caffe that lies on `sys.path` is not reached.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from netc.errors.foreign import allowed

NAME = "caffe"
HOMES = {
    "caffe": "netc.pycaffe",
    "caffe.io": "netc.pycaffe.io",
    "caffe.net_spec": "netc.pycaffe.net_spec",
    "caffe.coord_map": "netc.runtime.pycaffe.coord_map",
    "caffe.proto": "netc.pycaffe.proto",
    "caffe.proto.caffe_pb2": "netc.pycaffe.proto.caffe_pb2",
    "caffe.pycaffe": "netc.runtime.pycaffe",
    "caffe._caffe": "netc.runtime.pycaffe",
    "caffe.classifier": "netc.runtime.pycaffe.classifier",
    "caffe.detector": "netc.runtime.pycaffe.detector",
    "caffe.draw": "netc.runtime.pycaffe.draw",
}
"""Module of pycaffe → the module of ours that it is."""


OWN = "netc.pycaffe"
ELSEWHERE = {f"{OWN}{name.removeprefix(NAME)}": home for name, home in HOMES.items() if home.startswith("netc.runtime")}
"""Submodule of netc.pycaffe that needs torch → where it lies: `import netc.pycaffe.draw` finds it there."""


class Elsewhere(MetaPathFinder):
    """Finds the submodules of netc.pycaffe that lie under netc.runtime. It comes last, after the folder's own files."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Loader(ELSEWHERE[fullname])) if fullname in ELSEWHERE else None


class Finder(MetaPathFinder):
    """Finds `caffe` and its submodules at netc's; those that only a fork has, which are Python alone, in the fork's
    checkout, where the program has put that on its path (SSD's `caffe.model_libs`)."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != NAME and not fullname.startswith(f"{NAME}."):
            return None
        if fullname in HOMES:
            return ModuleSpec(fullname, _Loader(HOMES[fullname]), is_package=fullname in (NAME, f"{NAME}.proto"))
        parent = fullname.rpartition(".")[0].split(".")
        found = PathFinder.find_spec(fullname, [os.path.join(folder, *parent) for folder in sys.path])
        if found is None:
            known = ", ".join(sorted(HOMES))
            raise ModuleNotFoundError(f"netc's caffe has no module {fullname!r}; it has {known}", name=fullname)
        return found


class _Loader(Loader):
    """Hands over a module that has another name of its own, as it is."""

    def __init__(self, home: str) -> None:
        self._home = home

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._home)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just put the alias's in its place


sys.meta_path.append(Elsewhere())

_finder = Finder()
_lock = threading.Lock()
_inside = 0
"""How many calls of layers are under way, in all threads."""

_hidden: dict[str, ModuleType] = {}
"""What stood under the name of caffe before the first of them."""


def install() -> None:
    """From here on `import caffe` is netc's, in this process; a `caffe` that was imported before is forgotten."""
    with _lock:
        if not is_installed():
            _take_away()
            sys.meta_path.insert(0, _finder)
        importlib.import_module(NAME)


def is_installed() -> bool:
    return _finder in sys.meta_path


def uninstall() -> None:
    """`import caffe` finds what it found before."""
    with _lock, suppress(ValueError):
        sys.meta_path.remove(_finder)
        _take_away()


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


def search_path(folder: str) -> list[str]:
    """Where a layer's module is looked for after the places that Python itself knows (PYTHONPATH among them)."""
    return list(dict.fromkeys([os.getcwd(), os.path.abspath(folder)]))


_borrowed = False
"""Whether the finder of caffe is there for the calls of layers only."""


def _enter(found: Allowed) -> None:
    global _inside, _borrowed
    with _lock:
        if not _inside and not is_installed() and not _has_caffe():
            _hidden.update(_take_away())
            sys.meta_path.insert(0, _finder)
            _borrowed = True
        sys.meta_path.append(found)
        _inside += 1


def _leave(found: Allowed) -> None:
    global _inside, _borrowed
    with _lock:
        with suppress(ValueError):
            sys.meta_path.remove(found)
        _inside -= 1
        if not _inside and _borrowed:
            sys.meta_path.remove(_finder)
            _take_away()
            sys.modules.update(_hidden)
            _hidden.clear()
            _borrowed = False


def _take_away() -> dict[str, Any]:
    """Remove what stands under the name of caffe from the loaded modules, and return it."""
    names = [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]
    return {name: sys.modules.pop(name) for name in names}


def _has_caffe() -> bool:
    """Whether there is a Caffe of somebody else's."""
    if sys.modules.get(NAME) is not None:
        return True
    try:
        return importlib.util.find_spec(NAME) is not None
    except (ImportError, ValueError):
        return False
