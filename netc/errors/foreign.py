"""The user's own Python code inside a net: which of it may run, and what its exceptions look like.

A prototxt may name Python modules (`type: "Python"`). Reading a net that somebody else wrote must not run code, so a
module runs only where the user allows it by name: `--allow-python-layers`, or `allow_python_layers=[…]` in Python.
"""

from __future__ import annotations

import linecache
import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from netc.errors import NetcError, Place

EVERY = "*"
"""In place of a module's name: all that Python's own path finds, as in a program written for pycaffe."""

_allowed: ContextVar[frozenset[str]] = ContextVar("modules that may run", default=frozenset())


@contextmanager
def allowing(modules: Iterable[str]) -> Iterator[None]:
    """Allow the Python layers of these modules, besides those allowed already, for the duration of a `with` block."""
    names = [modules] if isinstance(modules, str) else modules
    token = _allowed.set(_allowed.get() | frozenset(names))
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed() -> frozenset[str]:
    """The modules that may run now."""
    return _allowed.get()


def is_allowed(module: str) -> bool:
    """Whether a module, or a package that it lies in, is allowed, or all are."""
    if EVERY in _allowed.get():
        return True
    parts = module.split(".")
    return any(".".join(parts[:end]) in _allowed.get() for end in range(1, len(parts) + 1))


def failure(
    code: str, what: str, error: BaseException, file: str | None, place: Place | None, hint: str | None = None
) -> NetcError:
    """An exception of the user's code as an error of ours, with the line of `file` (theirs) that it came through."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    where = raised_at(error, file)
    if where is not None and place is None:
        return NetcError(code, f"{what}: {text}", where, hint)
    return NetcError(code, f"{what}: {text}", place, hint, [] if where is None else [(where, "raised here")])


def raised_at(error: BaseException, file: str | None) -> Place | None:
    """The last line of `file` in the traceback; of any file where it has none of that one."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return Place(error.filename, error.lineno, error.offset or 1, 1, (error.text or "").rstrip("\n"))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if file and _same(frame.filename, file)]
    frame = next(reversed(theirs or frames), None)
    if frame is None or not frame.lineno:
        return None
    text = linecache.getline(frame.filename, frame.lineno).rstrip("\n")
    stripped = text.lstrip()
    return Place(frame.filename, frame.lineno, len(text) - len(stripped) + 1, max(1, len(stripped)), text)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
