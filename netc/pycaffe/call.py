"""One Python layer: its module, its class, and the calls Caffe makes of it."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Sequence
from typing import Any

from netc.errors import NetcError, did_you_mean
from netc.errors.foreign import EVERY, failure, is_allowed
from netc.layers.base import Layer, Shape
from netc.pycaffe import doors
from netc.pycaffe.blob import Blob, BlobVec, Values
from netc.pycaffe.layer import Layer as Base


class PythonCode:
    """The user's object, with the blobs it sees.

    The order of calls is Caffe's: setup and reshape once the bottoms' shapes are known; reshape and forward in each
    pass; backward for its gradients. Raises NetcError L330 (module not allowed), L331 (not found), L332 (it fails while
    it is imported or built), L333 (python_param or class incomplete), R650 (it fails while it runs).
    """

    def __init__(self, layer: Layer) -> None:
        self.name, self.origin = layer.name, layer.origin
        self.module, self.kind = layer.options.module, layer.options.layer
        self.folder = os.path.dirname(layer.origin.start.path)
        self.file: str | None = None
        self._in_place = [a == b for a, b in zip(layer.param.top, layer.param.bottom, strict=False)]
        self._tops = len(layer.param.top)
        self._check_allowed(layer)
        self.found = doors.Allowed(self.folder)
        self.user = self._instance(self._class(), layer)
        self.bottom: list[Blob] = []
        self.top: list[Blob] = []

    # -- finding it ----------------------------------------------------------------------------------------------------

    def _fail(self, code: str, message: str, field: str = "", hint: str | None = None) -> NetcError:
        place = self.origin.place(f"python_param.{field}" if field else "python_param")
        return NetcError(code, f'layer "{self.name}" (Python): {message}', place, hint)

    def _check_allowed(self, layer: Layer) -> None:
        for field in ("module", "layer"):
            if not getattr(layer.options, field):
                raise self._fail("L333", f"names no {field}", "", 'python_param { module: "file" layer: "Class" }')
        if not is_allowed(self.module):
            raise self._fail(
                "L330",
                f'it runs the Python module "{self.module}", which is not allowed',
                "module",
                f"if you trust that file: --allow-python-layers {self.module} "
                f'(in Python: allow_python_layers=["{self.module}"])',
            )

    def _class(self) -> Any:
        try:
            with doors.as_in_caffe(self.found):
                module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name and f"{self.module}.".startswith(f"{error.name}."):
                raise self._not_found() from None
            raise self._while("L332", "importing it", error) from error
        except Exception as error:
            raise self._while("L332", "importing it", error) from error
        self.file = getattr(module, "__file__", None)
        found = getattr(module, self.kind, None)
        if not inspect.isclass(found):
            classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
            message = f'{self.file or self.module} has no class "{self.kind}"{did_you_mean(self.kind, classes)}'
            raise self._fail("L331", message, "layer")
        return found

    def _not_found(self) -> NetcError:
        looked = ", ".join(self.found.folders)
        hint = f"looked where Python itself looks, and in {looked}; PYTHONPATH adds folders"
        return self._fail("L331", f'there is no Python module "{self.module}"', "module", hint)

    def _instance(self, cls: Any, layer: Layer) -> Any:
        self._require(cls, "setup")
        user = self._call("L332", _new, cls, layer.param)
        user.param_str = user.param_str_ = layer.options.param_str
        user.phase, user.blobs, user.type = layer.phase, BlobVec(), layer.type
        return user

    def _require(self, found: Any, *methods: str) -> None:
        for name in methods:
            if not callable(getattr(found, name, None)):
                message = f"the class {self.kind} of {self.file} has no {name}(self, bottom, top)"
                raise self._fail("L333", message, "layer")

    # -- calling it ----------------------------------------------------------------------------------------------------

    def set_up(self, shapes: Sequence[Shape]) -> list[Shape]:
        """setup and reshape with bottoms of these shapes, all 0; returns the top shapes."""
        self.bottom = [Blob(tuple(shape)) for shape in shapes]
        self.top = [self.bottom[i] if self._works_in_place(i) else Blob() for i in range(self._tops)]
        self._call("L332", self.user.setup, self.bottom, self.top)
        self._require(self.user, "reshape", "forward")
        self._call("L332", self.user.reshape, self.bottom, self.top)
        return [blob.shape for blob in self.top]

    def _works_in_place(self, index: int) -> bool:
        return index < len(self._in_place) and self._in_place[index]

    def forward(self, bottoms: Sequence[Values], params: Sequence[Values]) -> list[Values]:
        """The tops' values. `bottoms` are the layer's to write over; writing into `params` changes the parameters."""
        self._hold(bottoms, params)
        self._call("R650", self.user.reshape, self.bottom, self.top)
        self._call("R650", self.user.forward, self.bottom, self.top)
        return [blob.data.copy() for blob in self.top]

    def backward(
        self,
        bottoms: Sequence[Values],
        params: Sequence[Values],
        tops: Sequence[Values],
        diffs: Sequence[Values],
        propagate_down: list[bool],
    ) -> tuple[list[Values], list[Values]]:
        """The gradients of bottoms and parameters, from the tops' (`diffs`) and the values of the forward pass."""
        if not callable(getattr(self.user, "backward", None)):
            message = f"the class {self.kind} has no backward(self, top, propagate_down, bottom)"
            raise self._fail("R650", message, "layer", "add it, or propagate_down: false")
        self._hold(bottoms, params)
        for blob, data, diff in zip(self.top, tops, diffs, strict=True):
            blob.hold(data)
            blob.take_gradient(diff)
        self._call("R650", self.user.backward, self.top, propagate_down, self.bottom)
        return [blob.diff.copy() for blob in self.bottom], [blob.diff.copy() for blob in self.user.blobs]

    def _hold(self, bottoms: Sequence[Values], params: Sequence[Values]) -> None:
        for blob, values in zip([*self.bottom, *self.user.blobs], [*bottoms, *params], strict=True):
            blob.hold(values)
        for i, blob in enumerate(self.top):
            if not self._works_in_place(i) and bottoms and blob.data.dtype != bottoms[0].dtype:
                blob.clear(bottoms[0].dtype)

    def _call(self, code: str, function: Any, *arguments: Any) -> Any:
        try:
            with doors.as_in_caffe(self.found):
                return function(*arguments)
        except NetcError:
            raise
        except Exception as error:
            raise self._while(code, f"{self.kind}.{getattr(function, '__name__', '')}", error) from error

    def _while(self, code: str, what: str, error: Exception) -> NetcError:
        message = f'layer "{self.name}" (Python, module "{self.module}"): {what} fails'
        hint = self._hint(error.name) if isinstance(error, ModuleNotFoundError) else None
        return failure(code, message, error, self.file, self.origin.place("python_param"), hint)

    def _hint(self, missing: str | None) -> str | None:
        """What to do where code that may run imports a file beside it, which may not yet."""
        if EVERY in self.found.modules or not self.found.beside(missing):
            return None
        also = ",".join([*sorted(self.found.modules), str(missing).partition(".")[0]])
        return f"a module of that name lies beside it; if you trust that file too: --allow-python-layers {also}"


def _new(cls: Any, param: Any) -> Any:
    """An instance as Caffe makes it. One of Caffe's own class is made without its C++ part, which needs a C++ net."""
    if issubclass(cls, Base):
        return cls(param)
    own: Any = type(cls.__name__, (cls,), {"blobs": None, "__module__": cls.__module__})
    user = own.__new__(own)
    if inspect.isfunction(cls.__init__):
        user.__init__()
    return user


_new.__name__ = "__init__"
