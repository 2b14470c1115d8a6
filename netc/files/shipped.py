"""The nets that come with netc (folder models/), by name: `netc train vgg_E` needs no checkout."""

from __future__ import annotations

import os
from pathlib import Path

from netc.errors import NetcError, Place, did_you_mean

FOLDER = Path(__file__).parents[1] / "models"


def names() -> list[str]:
    """The names of the nets that come with netc."""
    return sorted(path.parent.name for path in FOLDER.glob("*/solver.prototxt"))


def tables() -> list[str]:
    """The names of the paper's tables that come with netc: "table3", …"""
    return sorted((path.stem for path in (FOLDER / "paper").glob("*.prototxt")), key=lambda name: (len(name), name))


def locate(name: str | os.PathLike[str], file: str) -> str:
    """The path that a command's argument means: a file is itself, a folder its own `file`, and a name without a
    folder that is neither is the net or table of that name that comes with netc. `file`: "solver.prototxt",
    say. NAME/FILE is a file of a net that comes with netc, where there is none here.

    Raises NetcError F103 for a name that is nothing of these, with the nearest net, and for a folder without the file.
    """
    path = Path(name)
    if path.is_dir():
        return _inside(path, file)
    if not os.path.lexists(path) and len(path.parts) == 2 and path.parts[0] in names():
        return _inside(FOLDER / path.parts[0], path.parts[1])
    if os.path.lexists(path) or path.suffix or path.parent != Path():
        return str(name)
    if path.name in tables():
        return str(FOLDER / "paper" / f"{path.name}.prototxt")
    if path.name not in names():
        raise _unknown(path.name)
    return str(FOLDER / path.name / file)


def _inside(folder: Path, file: str) -> str:
    if not (folder / file).exists():
        there = sorted(path.name for path in folder.glob("*.prototxt"))
        hint = f"name the file: it has {', '.join(there[:5])}" if there else "it has no prototxt at all"
        raise NetcError("F103", f"the folder has no {file}, which its name alone would mean", Place(str(folder)), hint)
    return str(folder / file)


def is_shipped(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of those that come with netc."""
    return FOLDER in Path(path).parents


def _unknown(name: str) -> NetcError:
    near = did_you_mean(name, names())
    hint = None if near else "nets: " + ", ".join(names())
    return NetcError("F103", f'"{name}" is neither a file here nor a net that comes with netc{near}', Place(name), hint)
