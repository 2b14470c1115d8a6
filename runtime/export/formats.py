"""The formats that a weight file is converted to, told by the names of files."""

from __future__ import annotations

from pathlib import Path

from netc.errors import NetcError

SUFFIXES = {
    "safetensors": ".safetensors",
    "torchvision": ".pth",
    "onnx": ".onnx",
    "pt2": ".pt2",
    "hdf5": ".caffemodel.h5",
    "npz": ".npz",
    "caffemodel": ".caffemodel",
}
"""The formats, and what their files are called."""


def format_of(to: str, out: str | None) -> str:
    """The format that was asked for, or that the file's name tells. Raises NetcError C160."""
    if to or not out:
        return to or "safetensors"
    lower = out.lower()
    found = next((format for format, suffix in SUFFIXES.items() if lower.endswith(suffix)), None)
    if found is None and lower.endswith(".h5"):
        found = "hdf5"
    if found is None:
        hint = "say which with --to, or let the name end in " + ", ".join(SUFFIXES.values())
        raise NetcError("C160", f'"{out}" does not tell the format', None, hint)
    return found


def default_out(path: str, format: str) -> Path:
    """Beside the source: its name with the format's suffix."""
    name = Path(path).name
    known = (*SUFFIXES.values(), ".h5")
    stem = next((name[: -len(suffix)] for suffix in known if name.endswith(suffix)), name)
    return Path(path).with_name(stem + SUFFIXES[format])
