"""Curves of a training run as a PNG: loss above, accuracy below, over the iterations.

panels, marks = panels_of(records)         # the records of a metrics.jsonl
save(draw(panels, "mini_vgg_A", marks), path)
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from netc.runtime.imageset.writer import write_file

Point = tuple[float, float]

WIDTH, PANEL_HEIGHT, TITLE_HEIGHT = 900, 300, 54
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 34, 44
_SCALE = 2
"""Everything is drawn this many times larger and then averaged down, for smooth lines."""

_COLORS = ("#1f6fb4", "#d9541e", "#2f9e44", "#8e44ad", "#b8860b", "#c2255c")
_INK, _FAINT, _MARK, _PAPER = "#222222", "#dddddd", "#999999", "#ffffff"


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line through (iteration, value) points; `dots`: few points, each shown."""

    name: str
    points: tuple[Point, ...]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves with one vertical axis. `bounds` fixes the axis; without it, the data do."""

    title: str
    curves: tuple[Curve, ...]
    bounds: tuple[float, float] | None = None


Mark = tuple[float, str]
"""An iteration at which something happened, and what."""


def panels_of(records: Iterable[Mapping[str, Any]]) -> tuple[list[Panel], list[Mark]]:
    """Loss and the other outputs of a metrics.jsonl, and a mark wherever the learning rate was changed."""
    rows = list(records)
    needed = {"train": {"iter", "loss", "lr"}, "test": {"iter", "net", "outputs"}}
    train, test = ([row for row in rows if row.get("kind") == kind and needed[kind] <= row.keys()] for kind in needed)
    losses = [Curve("training", _points((row["iter"], row["loss"]) for row in train))]
    losses += _tested(test, "validation" if len(_nets(test)) < 2 else "test", loss=True)
    panels = [Panel("loss", tuple(losses))]
    if scores := _tested(test, "", loss=False):
        shares = all(0 <= value <= 1 for curve in scores for _, value in curve.points)
        panels.append(Panel("validation", tuple(scores), (0.0, 1.0) if shares else None))
    return panels, _rate_marks(train)


def _nets(test: Sequence[Mapping[str, Any]]) -> set[int]:
    return {row["net"] for row in test}


def _tested(test: Sequence[Mapping[str, Any]], name: str, loss: bool) -> list[Curve]:
    """A curve for each single-valued test output, those named after a loss or the others."""
    found: dict[str, list[tuple[float, Any]]] = {}
    for row in test:
        number = f" #{row['net']}" if len(_nets(test)) > 1 else ""
        for output, value in row["outputs"].items():
            if ("loss" in output) == loss and not isinstance(value, list):
                found.setdefault((name or output) + number, []).append((row["iter"], value))
    return [Curve(key, _points(pairs), dots=True) for key, pairs in found.items()]


def _points(pairs: Iterable[tuple[float, float | None]]) -> tuple[Point, ...]:
    """Without the values that are not a number (null in the file), and those that no axis can hold."""
    return tuple((float(x), float(y)) for x, y in pairs if y is not None and max(abs(x), abs(y)) < _LARGEST)


_LARGEST = 1e30


def _rate_marks(train: Sequence[Mapping[str, Any]]) -> list[Mark]:
    pairs = itertools.pairwise(train)
    marks = [(after["iter"], f"rate {after['lr']:.3g}") for before, after in pairs if before["lr"] != after["lr"]]
    return marks if len(marks) <= 12 else []  # a rate that changes all the time is not an event


def draw(panels: Sequence[Panel], title: str, marks: Sequence[Mark] = ()) -> Image.Image:
    """A picture of the panels below one another, with one horizontal axis for all of them."""
    height = TITLE_HEIGHT + PANEL_HEIGHT * len(panels)
    large = Image.new("RGB", (WIDTH * _SCALE, height * _SCALE), _PAPER)
    pen = _Pen(ImageDraw.Draw(large))
    pen.text((LEFT, 16), title, 19)
    span = _span(point[0] for panel in panels for curve in panel.curves for point in curve.points)
    for number, panel in enumerate(panels):
        _draw_panel(pen, panel, span, TITLE_HEIGHT + number * PANEL_HEIGHT, marks)
    return large.reduce(_SCALE)


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG so that it is there whole or not at all. Raises O165, X166, X167."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    write_file(path, file.getvalue())


# -- one panel ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values from `low` to `high` on pixels from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, count: int) -> list[float]:
        """About `count` round values within the axis."""
        step = nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def nice_step(rough: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def _draw_panel(pen: _Pen, panel: Panel, span: Point, top: int, marks: Sequence[Mark]) -> None:
    x = _Axis(*span, LEFT, WIDTH - RIGHT)
    low, high = panel.bounds or _padded(_span(p[1] for curve in panel.curves for p in curve.points))
    y = _Axis(low, high, top + PANEL_HEIGHT - BOTTOM, top + TOP)
    _draw_grid(pen, x, y)
    for iteration, text in marks:
        pen.line([(x.at(iteration), y.start), (x.at(iteration), y.stop)], _MARK, 1)
        pen.text((x.at(iteration) + 3, y.stop), text, 10, _MARK)
    pen.text((LEFT, top + 8), panel.title, 15)
    names = []
    for curve, color in zip(panel.curves, _COLORS):
        pixels = [(x.at(a), y.at(min(max(b, low), high))) for a, b in curve.points]
        pen.line(pixels, color, 1.6)
        if curve.dots:
            pen.dots(pixels, color)
        if pixels:
            names.append((pixels[-1][1], f"{curve.name}  {format_value(curve.points[-1][1])}", color))
    _draw_names(pen, names, x.stop + 10, y.start)


def _draw_grid(pen: _Pen, x: _Axis, y: _Axis) -> None:
    for value in y.ticks(5):
        pen.line([(x.start, y.at(value)), (x.stop, y.at(value))], _FAINT, 1)
        pen.text((x.start - 8, y.at(value)), format_value(value), 12, anchor="rm")
    for value in x.ticks(8):
        pen.line([(x.at(value), y.start), (x.at(value), y.start + 5)], _INK, 1)
        pen.text((x.at(value), y.start + 8), format_value(value), 12, anchor="mt")
    pen.line([(x.start, y.stop), (x.start, y.start), (x.stop, y.start)], _INK, 1)
    pen.text((x.stop, y.start + 24), "iteration", 12, anchor="rt")


def _draw_names(pen: _Pen, names: list[tuple[float, str, str]], left: float, bottom: float) -> None:
    """Each curve's name and last value beside its end."""
    names = sorted(names)
    for (_, text, color), height in zip(names, apart([height for height, _, _ in names], 17, bottom)):
        pen.text((left, height), text, 12, color, "lm")


def apart(heights: Sequence[float], least: float, bottom: float) -> list[float]:
    """Ascending heights moved so that they are `least` apart and none is below `bottom` (y points down)."""
    down = list(itertools.accumulate(heights, lambda above, height: max(height, above + least)))
    up = itertools.accumulate(reversed(down), lambda below, height: min(height, below - least), initial=bottom + least)
    return list(up)[:0:-1]


def _span(values: Iterable[float]) -> Point:
    """The least and greatest value; some room around a single one, and those that are nearly one; 0 to 1 for none."""
    found = list(values)
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    largest = max(-low, high)
    if high - low > max(1e-30, 1e-9 * largest):
        return low, high
    room = max(0.5, 1e-6 * largest)
    return low - room, high + room


def _padded(span: Point) -> Point:
    low, high = span
    room = 0.06 * (high - low)
    return (0.0 if 0 <= low < high / 2 else low - room), high + room


def format_value(value: float) -> str:
    """A number in four digits at most, without an exponent where it can be avoided."""
    return "0" if abs(value) < 1e-12 else f"{value:.4g}"


class _Pen:
    """Drawing in final pixels on the enlarged picture."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def line(self, points: Sequence[Point], color: str, width: float) -> None:
        if len(points) > 1:
            large = [(a * _SCALE, b * _SCALE) for a, b in points]
            self._draw.line(large, fill=color, width=round(width * _SCALE), joint="curve")

    def dots(self, points: Sequence[Point], color: str, radius: float = 3) -> None:
        for a, b in points:
            box = [(a - radius) * _SCALE, (b - radius) * _SCALE, (a + radius) * _SCALE, (b + radius) * _SCALE]
            self._draw.ellipse(box, fill=color)

    def text(self, at: Point, text: str, size: int, color: str = _INK, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text((at[0] * _SCALE, at[1] * _SCALE), text, color, font, anchor)
