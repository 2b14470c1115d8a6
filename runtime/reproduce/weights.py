"""The weight file of a step of a schedule, among those of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from netc.errors import NetcError, Place
from netc.solver.tables import Trained

ENDINGS = (".caffemodel", ".caffemodel.h5", ".safetensors", ".npz", ".h5", ".onnx", ".pt", ".pth")


def find(folder: str | os.PathLike[str], trained: Trained) -> str | None:
    """PREFIX with an ending of a weight file, else the newest of the snapshots PREFIX_iter_N; None where there is none.

    Raises NetcError F140 where there is no such folder.
    """
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        hint = "--weights-dir names the folder with the trained nets"
        raise NetcError("F140", f"no folder of weights: {error.strerror}", Place(os.fspath(folder)), hint) from None
    prefix = trained.prefix
    for ending in ENDINGS:
        if prefix + ending in there:
            return str(Path(folder) / (prefix + ending))
    snapshots = re.compile(rf"{re.escape(prefix)}_iter_(\d+)\.caffemodel(?:\.h5)?")
    found = [(int(match[1]), name) for name in there if (match := snapshots.fullmatch(name))]
    return str(Path(folder) / max(found)[1]) if found else None


def missing(folder: str | os.PathLike[str], needed: Sequence[Trained]) -> list[str]:
    """What the folder lacks, as names that it may have."""
    return [f"{one.prefix}.caffemodel" for one in needed if find(folder, one) is None]
