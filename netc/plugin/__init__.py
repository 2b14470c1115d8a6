"""Layer types of the user's own, from one Python file: `--plugin layers.py`, or `netc.load_plugin("layers.py")`.

What a plug-in imports is here. It declares a type as netc declares its own (netc.layers.base), and its settings as a
message that LayerParameter gets a field for, so that a prototxt is read, checked and printed with them like any other:

    from netc.plugin import Field, Layer, layer, message

    message("squash_param", "SquashParameter", 20001, gain=Field(1, "float", default=2.0))

    @layer("Squash")
    class Squash(Layer):
        param_field = "squash_param"

        def setup(self, bottoms):
            return [bottoms[0]]

        def forward(self, run, bottoms, params):
            return [(bottoms[0] * self.options.gain).tanh()]

docs/plugins.md has the whole story.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from types import ModuleType

from netc import proto
from netc.errors import NetcError, Place
from netc.errors.foreign import failure
from netc.files.opening import read_bytes
from netc.layers import registry
from netc.layers.base import (
    Layer,
    ParamBlob,
    Shape,
    Window,
    at_least,
    between,
    canonical_axis,
    count,
    exactly,
    format_shape,
    layer,
)
from netc.layers.code import Code, Site, call, number
from netc.plugin.messages import Declaration, Field, Misdeclared, extend

__all__ = [
    "ParamBlob",
    "Code",
    "Field",
    "Layer",
    "Shape",
    "Site",
    "Window",
    "at_least",
    "between",
    "call",
    "canonical_axis",
    "count",
    "exactly",
    "format_shape",
    "layer",
    "load_plugin",
    "message",
    "number",
]

_loaded: dict[str, ModuleType] = {}
_loading = threading.RLock()
"""One plug-in at a time: what it declares is collected in one place. (One may load another.)"""

_MOST_BYTES = 1 << 24
"""Longest plug-in."""

_declared: list[Declaration] = []
"""What the plug-in that is being loaded has declared so far."""


def message(field: str, name: str, number: int | None = None, /, **fields: Field) -> None:
    """Declare the settings of a layer type: the LayerParameter field `field` ("squash_param"), of the message `name`
    ("SquashParameter"), which has `fields`.

    `number` is the field's in LayerParameter, from 20000 on; files in the binary format hold it. Left out, it is made
    from `field`, the same everywhere. Raises an error where a number or name is taken or impossible.
    """
    _declared.append(Declaration(field, name, _number(field) if number is None else number, fields))


def _number(field: str) -> int:
    return 20000 + int.from_bytes(blake2b(field.encode(), digest_size=4).digest(), "little") % (1 << 28)


def load_plugin(path: str | os.PathLike[str]) -> ModuleType:
    """Load a plug-in; its layer types are known from then on. A second time does nothing.

    Load it before the nets that use it are read. Raises NetcError C210 (no such file), C211 (its code fails), C212 (a
    message that cannot be), C213 (a layer type that exists); after an error nothing of the plug-in is left.
    """
    with _loading:
        file = os.path.realpath(path)
        if file not in _loaded:
            if not os.path.isfile(file):
                shown = os.fspath(path)
                found = "this is a folder" if os.path.isdir(file) else f"there is no plug-in {shown}"
                raise NetcError("C210", found, Place(shown), "name a Python file")
            _loaded[file] = _load(file)
        return _loaded[file]


def _load(file: str) -> ModuleType:
    known, outer = dict(registry()), _declared.copy()
    _declared.clear()
    try:
        module = _execute(file)
        _adopt(file, known)
        extend(_declared)
    except Misdeclared as error:
        _forget(known)
        raise failure("C212", "the plug-in declares what cannot be", error, file, None) from error
    except NetcError:
        _forget(known)
        raise
    except Exception as error:
        _forget(known)
        if _is_of_no_text(error):
            raise NetcError(
                "C211", f"this is not Python: {error}", Place(file), "a plug-in is a Python file"
            ) from error
        raise failure("C211", f"the plug-in {file} fails", error, file, None) from error
    finally:
        _declared[:] = outer
    return module


def _is_of_no_text(error: Exception) -> bool:
    """Whether Python has found that a file is not a text at all; it has said so in two ways."""
    return (isinstance(error, SyntaxError) and not error.lineno) or "source code string cannot contain" in str(error)


class _Loader(importlib.machinery.SourceFileLoader):
    def get_data(self, path: str | bytes) -> bytes:
        return read_bytes(os.fsdecode(path), _MOST_BYTES)


def _execute(file: str) -> ModuleType:
    stem = os.path.splitext(os.path.basename(file))[0]
    name = f"netc_plugin_{stem}_{blake2b(file.encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing_beside(file):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importing_beside(file: str) -> Iterator[None]:
    """What lies beside a plug-in can be imported, and comes last: it does not stand for a module that is installed."""
    folder = os.path.dirname(file)
    known = folder in sys.path
    if not known:
        sys.path.append(folder)
    try:
        yield
    finally:
        if not known and folder in sys.path:
            sys.path.remove(folder)


def _adopt(file: str, known: dict[str, type[Layer]]) -> None:
    """Check the types a plug-in has registered, and note where they come from."""
    fields = {declaration.field for declaration in _declared} | set(proto.LayerParameter.DESCRIPTOR.fields_by_name)
    for name, cls in registry().items():
        if known.get(name) is cls or cls.plugin in _loaded:  # a plug-in may load others
            continue
        if name in known:
            raise NetcError("C213", f'the plug-in defines the layer type "{name}", which there is already', Place(file))
        cls.plugin = file
        if cls.param_field is not None and cls.param_field not in fields:
            raise Misdeclared(
                f'the type {name} has param_field = "{cls.param_field}", which no message is declared for'
            )


def _forget(known: dict[str, type[Layer]]) -> None:
    """Leave the types that were there, and those of plug-ins that are loaded."""
    loaded = {name: cls for name, cls in registry().items() if cls.plugin in _loaded}
    registry().clear()
    registry().update(loaded | known)
