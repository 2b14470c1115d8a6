"""Where a field of an upgraded layer stands in the old file: origins that look under the old names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from netc.errors import Place
from netc.errors.origin import Origin

Rename = Callable[[str], Sequence[str]]
"""A dotted field path of the newer format → the paths it may have had in the older one, the likeliest first."""


def renamed(origin: Origin, rename: Rename) -> Origin:
    """An origin for the newer format, given that of the older one."""

    def locate(path: str) -> Place | None:
        return next((place for old in rename(path) if (place := origin.locate(old)) is not None), None)

    return Origin(origin.start, locate)


def moved(path: str, old_of: Mapping[str, str]) -> Iterator[str]:
    """The old paths of `path`, given those of whole fields. A path that names a block whose fields came from several
    places stands for the first of them."""
    for new, old in old_of.items():
        rest = path[len(new) :]
        if path.startswith(new) and rest[:1] in ("", ".", "["):
            yield old + rest
            if rest.startswith("["):  # repeated now, singular then
                yield old + rest.partition("]")[2]
        elif new.startswith(f"{path}."):
            yield old
