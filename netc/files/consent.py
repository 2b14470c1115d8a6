"""Nets that nobody can read before they run: those in weight files, binary nets, and the cards of converted files.

Such a net opens no file that it names (data, mean images, matrices), and writes none. A text can be read first, so it
may. The user lifts the rule with `--trust-net`, or for one net with `load_net(…, trust_net=True)`; a layer that writes
files (HDF5Output) does not run even then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from netc.errors import NetcError, Place

_unread: set[str] = set()
"""Paths of the files whose nets nobody can read."""

_trusted: set[str] = set()
_trusting: ContextVar[bool] = ContextVar("nets out of weight files may open files", default=False)


def mark_unread(path: str, unread: bool = True) -> None:
    """Note whether the net that was read from a file is one that nobody can read."""
    (_unread.add if unread else _unread.discard)(os.path.abspath(path))


def is_unread(path: str) -> bool:
    """Whether the net in this file is one that nobody can read."""
    return bool(path) and os.path.abspath(path) in _unread


def trust(path: str) -> None:
    """Let the net in this file open the files that it names."""
    _trusted.add(os.path.abspath(path))


@contextmanager
def trusting() -> Iterator[None]:
    """Let all nets open the files that they name, for the duration of a `with` block."""
    token = _trusting.set(True)
    try:
        yield
    finally:
        _trusting.reset(token)


def check_consent(name: str, near: str, what: str, place: Place | None) -> None:
    """Raises NetcError F130 where `near` names a file that it may not open."""
    if is_unread(near) and not _trusting.get() and os.path.abspath(near) not in _trusted:
        raise NetcError(
            "F130",
            f'the net in {near} names the {what} "{name}", and a net out of a weight file opens no files',
            place or Place(near),
            "write the net as a .prototxt and read it first, or let it: --trust-net, load_net(…, trust_net=True)",
        )
