"""Where a file may be written that a net names: below a folder that the user chose, and through no link.

    path = below(folder, "features/train.h5")

A net may come from anywhere, so the place that it names is checked like any other input. What stands between the
folder and the file must be folders themselves: a link would lead out of it, whatever the name says.
"""

from __future__ import annotations

import os
from pathlib import Path


class Outside(ValueError):
    """A name that leads out of the folder; its text says how."""


def below(folder: str | os.PathLike[str], name: str) -> Path:
    """The path that `name`, relative or absolute, has below `folder`. Raises `Outside`, OSError."""
    root = Path(os.path.abspath(folder))
    path = Path(os.path.abspath(root / name))  # without the ".." in it
    if "\0" in name or path == root or not path.is_relative_to(root):
        raise Outside(f"it lies outside {root}")
    at = root
    for part in path.relative_to(root).parts:
        at /= part
        if at.is_symlink():
            raise Outside(f"{at} is a link")
    return path
