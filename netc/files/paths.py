"""Paths in a prototxt: relative to the working directory, as Caffe takes them, or to the file that names them.

A `*` in a file's name stands for anything; of several files the one with the highest number is meant, which is the
newest of a run's snapshots ("vgg_A_iter_*.caffemodel").
"""

from __future__ import annotations

import os
import re

from netc.errors import NetcError, Place, nearest
from netc.files.consent import check_consent
from netc.files.opening import is_there

_REMEDIES = {
    "database": "make it with `netc convert-imageset`, or run in the folder that holds it",
    "mean file": "make it with `netc image-mean DATABASE FILE`, or give mean_value",
    "file of colour components": "`netc image-mean` computes them",
}
"""What to do where nothing of a near name exists, by what is missing."""


def resolve(name: str, near: str = "", what: str = "file", place: Place | None = None) -> str:
    """The path of an existing `what` (file, database, …) called `name` in the prototxt `near`.

    Raises NetcError F120 naming every path that was tried, and the nearest name that exists; F102 for links that lead
    in a circle; F130 where `near` is a
    weight file, whose net opens nothing.
    """
    check_consent(name, near, what, place)
    tried = candidates(name, near)
    for path in tried:
        if is_there(path, place):
            return path
        if newest := _newest(path):
            return newest
    listed = " or ".join(os.path.abspath(path) for path in tried)
    raise NetcError(
        "F120",
        f'no {what} "{name}": there is no {listed}',
        place or (Place(near) if near else None),
        _hint(tried, what, os.path.join(os.path.dirname(near), os.path.basename(name))),
    )


def candidates(name: str, near: str = "") -> list[str]:
    """The places a path may mean, in the order they are tried."""
    folder = os.path.dirname(near)
    if os.path.isabs(name) or not folder or os.path.abspath(folder) == os.getcwd():
        return [name]
    return [name, os.path.join(folder, name)]


def _newest(pattern: str) -> str | None:
    """The file that fits a name with `*` and has the highest number; None where there is no `*` or nothing fits."""
    folder, base = os.path.split(pattern)
    if "*" not in base or not os.path.isdir(folder or "."):
        return None
    fits = re.compile(".*".join(re.escape(part) for part in base.split("*"))).fullmatch
    found = [name for name in os.listdir(folder or ".") if fits(name)]
    return os.path.join(folder, max(found, key=_numbers)) if found else None


def _numbers(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _hint(tried: list[str], what: str, beside: str) -> str | None:
    """`beside`: the same name without its folders, next to the file that names it."""
    if os.path.basename(beside) and os.path.exists(beside):
        return f"there is {beside}: name that one, or run in the folder from which the path holds"
    found = next((near for path in tried if (near := nearest_path(path))), None)
    return f"did you mean {found}?" if found else _REMEDIES.get(what)


def nearest_path(path: str) -> str | None:
    """What exists in the folder of `path` under the nearest name; None where nothing is near, or no such folder."""
    folder, base = os.path.split(os.path.normpath(path))
    try:
        hits = nearest(base, os.listdir(folder or "."))
    except OSError:
        return None
    return os.path.join(folder, hits[0]) if hits else None
