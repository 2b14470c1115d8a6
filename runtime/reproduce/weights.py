"""The weight file of a step of a schedule, among those of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from netc.errors import NetcError, Place
from netc.solver.tables import Trained

ENDINGS = (".caffemodel", ".caffemodel.h5", ".safetensors", ".npz", ".h5", ".onnx", ".pt", ".pth")


PUBLISHED = {"vgg_D_jitter": "VGG_ILSVRC_16_layers", "vgg_E_jitter": "VGG_ILSVRC_19_layers"}
"""What the authors call the nets that they have published."""


def find(folder: str | os.PathLike[str], trained: Trained) -> str | None:
    """PREFIX with an ending of a weight file, else the newest of the snapshots PREFIX_iter_N, else the net that the
    authors have published; None where there is none.

    Raises NetcError F140 where there is no such folder.
    """
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        hint = "--weights-dir names the folder with the trained nets"
        raise NetcError("F140", f"no folder of weights: {error.strerror}", Place(os.fspath(folder)), hint) from None
    prefix = trained.prefix
    if whole := _whole(prefix, there):
        return str(Path(folder) / whole)
    snapshots = re.compile(rf"{re.escape(prefix)}_iter_(\d+)\.caffemodel(?:\.h5)?")
    found = [(int(match[1]), name) for name in there if (match := snapshots.fullmatch(name))]
    name = max(found)[1] if found else _whole(PUBLISHED.get(prefix, ""), there)
    return str(Path(folder) / name) if name else None


def _whole(prefix: str, there: Collection[str]) -> str | None:
    return next((prefix + ending for ending in ENDINGS if prefix and prefix + ending in there), None)


def missing(folder: str | os.PathLike[str], needed: Sequence[Trained]) -> list[str]:
    """What the folder lacks, as names that it may have."""
    return [f"{one.prefix}.caffemodel" for one in needed if find(folder, one) is None]
