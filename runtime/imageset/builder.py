"""A listing of pictures → an LMDB of Datums."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from netc.errors import NetcError, Place, counted, printable
from netc.layers.base import format_shape
from netc.runtime.data.image_list import missing_hint
from netc.runtime.imageset.boxes.base import Annotations, Box
from netc.runtime.imageset.boxes.fitting import Fitting
from netc.runtime.imageset.pictures import NO_FILE, Recipe, Record, Unusable, convert
from netc.runtime.imageset.sources import ListedImage, Listing, check_labels
from netc.runtime.imageset.writer import Database, refuse_others, write_file
from netc.runtime.net.cores import usable_cores

MAX_KEY = 511
"""LMDB's own limit."""

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """`path`: of the file that was tried; `hint`: what may be wrong with its line."""

    entry: ListedImage
    reason: str
    path: str
    hint: str | None = None


@dataclass(slots=True)
class Summary:
    """What a build did. `sizes` counts pictures by (channels, height, width), `per_label` by label. `turned`: files
    that were kept as they are, with an EXIF block that says how to turn them. `boxes`: how many are stored; `cut`:
    those that reached beyond their pictures, `left_out`: the others, that are not stored, and why."""

    database: Path
    pictures: int = 0
    kept: int = 0
    turned: int = 0
    datum_bytes: int = 0
    sizes: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    per_label: Counter[int] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    boxes: int = 0
    cut: list[Box] = field(default_factory=list)
    left_out: list[tuple[str, Box]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def reasons(self) -> list[tuple[str, int]]:
        """Why pictures were skipped, and how many for each reason, the commonest first."""
        return Counter(skip.reason for skip in self.skipped).most_common()


def build(
    listing: Listing,
    path: Path,
    recipe: Recipe,
    *,
    boxes: Annotations | None = None,
    check_size: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Convert every picture of `listing` into the new LMDB `path`; keys are `%08d_name` as Caffe writes them.

    `boxes`: where those of the pictures stand, which then are stored with them.
    Files that give no picture are left out, their numbers stay free, and the summary lists them. The labels' names, if
    known, go to `path`.labels.txt. Raises what `Database` raises, O140 where that file has other names already, D542
    where no picture was left, and D543 with `check_size` where two pictures differ in size, and with `boxes` D566
    (netc.runtime.imageset.boxes.fitting); no database is written then.
    """
    labels = "".join(f"{name}\n" for name in listing.classes).encode(errors="surrogateescape")
    if labels:
        refuse_others(labels_path(path), labels)
    summary = Summary(path, warnings=check_labels(listing))
    fitting = Fitting(boxes, listing.classes) if boxes is not None else None
    with Database(path) as database:
        for number, entry, outcome in _converted(listing, recipe, workers or usable_cores(), fitting):
            if isinstance(outcome, Unusable):
                summary.skipped.append(_skipped(listing, entry, str(outcome)))
            else:
                if check_size:
                    _check_size(summary, listing.path(entry), outcome)
                database.put(key(number, entry), outcome.datum)
                _count(summary, entry, outcome)
            if progress:
                progress(summary.pictures + len(summary.skipped), len(listing.entries))
        if not summary.pictures:
            raise _nothing_left(summary, listing)
        database.publish()
    if boxes is not None and (unused := boxes.unused(entry.name for entry in listing.entries)):
        summary.warnings.append(_unused(unused, boxes))
    if summary.turned and not recipe.upright:
        summary.warnings.append(_left_lying(summary))
    if labels:
        write_file(labels_path(path), labels)
    return summary


def key(number: int, entry: ListedImage) -> bytes:
    return b"%08d_%s" % (number, os.fsencode(entry.name))


def labels_path(database: Path) -> Path:
    return database.with_name(database.name + ".labels.txt")


Outcome = Record | Unusable


def _converted(
    listing: Listing, recipe: Recipe, workers: int, fitting: Fitting | None
) -> Iterator[tuple[int, ListedImage, Outcome]]:
    """(number, entry, record or the reason there is none), in order, a few pictures ahead on `workers` threads."""

    def work(number: int, entry: ListedImage) -> Outcome:
        try:
            if len(key(number, entry)) > MAX_KEY:
                raise Unusable(f"name too long for a key of {MAX_KEY} bytes")
            fit = partial(fitting.fit, entry.name, entry.label) if fitting is not None else None
            return convert(listing.path(entry), entry.label, recipe, fit)
        except Unusable as unusable:
            return unusable

    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[tuple[int, ListedImage, Future[Outcome]]] = deque()
        try:
            for number, entry in zip(map(int, listing.numbers), listing.entries, strict=True):
                ahead.append((number, entry, pool.submit(work, number, entry)))
                if len(ahead) > 4 * workers:
                    yield _next(ahead)
            while ahead:
                yield _next(ahead)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _next(ahead: deque[tuple[int, ListedImage, Future[Outcome]]]) -> tuple[int, ListedImage, Outcome]:
    number, entry, future = ahead.popleft()
    return number, entry, future.result()


def _count(summary: Summary, entry: ListedImage, record: Record) -> None:
    summary.pictures += 1
    summary.kept += record.kept
    summary.datum_bytes += len(record.datum)
    summary.sizes[record.channels, record.height, record.width] += 1
    summary.per_label[entry.label] += 1
    summary.turned += record.turned
    if record.fitted is not None:
        summary.boxes += len(record.fitted.boxes)
        summary.cut += record.fitted.cut
        summary.left_out += record.fitted.left_out


def _check_size(summary: Summary, path: Path, record: Record) -> None:
    size = record.channels, record.height, record.width
    for first in summary.sizes:
        if size != first:
            message = (
                f"{format_shape(size)} (channels×height×width), but the pictures before it are {format_shape(first)}"
            )
            hint = "--resize-width and --resize-height make them equal; without --check-size sizes may differ"
            raise NetcError("D543", message, Place(str(path)), hint)


def _left_lying(summary: Summary) -> str:
    files = f"{counted(summary.turned, 'file')} were kept with an EXIF block that turns them"
    return f"{files}: a data layer does so too, unless it has transform_param {{ ignore_orientation: true }}"


def _unused(names: list[str], boxes: Annotations) -> str:
    first = ", ".join(printable(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    return f"{boxes.path} has boxes of {counted(len(names), 'picture')} that are not listed: {first}"


def _skipped(listing: Listing, entry: ListedImage, reason: str) -> Skipped:
    missing = reason == NO_FILE
    hint = missing_hint(entry.name, listing.paths(entry)) if missing else None
    return Skipped(entry, reason, str(listing.path(entry)), hint)


def _nothing_left(summary: Summary, listing: Listing) -> NetcError:
    reason, count = summary.reasons()[0]
    first = next(skip for skip in summary.skipped if skip.reason == reason)
    lost = len(summary.skipped)
    where = f"{listing.file}, line {first.entry.line}: " if listing.file else ""
    message = f"no database: none of the {lost} pictures could be used ({count}: {reason}; first {where}{first.path})"
    hint = "is ROOT the folder that the names of the list start from?" if reason == NO_FILE else None
    return NetcError("D542", message, Place(str(summary.database)), first.hint or hint)
