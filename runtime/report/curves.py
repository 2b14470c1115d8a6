"""Curves of training runs as a PNG or SVG: loss above, accuracy below, over the iterations.

panels, marks = panels_of(records)             # the records of a metrics.jsonl
panels, marks = together({"a": records, …})    # of several runs
save(draw(panels, "mini_vgg_A", marks), path)
svg(panels, "mini_vgg_A", marks)
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageDraw, ImageFont

from netc.look.draw.svg import clean
from netc.runtime.imageset.writer import write_file

Point = tuple[float, float]

PLOT_WIDTH, PANEL_HEIGHT, TITLE_HEIGHT = 700, 300, 54
LEFT, RIGHT, TOP, BOTTOM = 70, 130, 34, 44
NAME_HEIGHT, LETTER = 17, 6.6
"""Of a curve's name beside its end."""
_SCALE = 2
"""Everything is drawn this many times larger and then averaged down, for smooth lines."""

_COLORS = ("#1f6fb4", "#d9541e", "#2f9e44", "#8e44ad", "#b8860b", "#c2255c", "#0b7f83", "#6b6b6b", "#7a4a21", "#5a7d00")
_INK, _FAINT, _MARK, _PAPER = "#222222", "#dddddd", "#999999", "#ffffff"


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line through (iteration, value) points; `dots`: few points, each shown. `color`: its number, where the
    curves of one run have one colour."""

    name: str
    points: tuple[Point, ...]
    dots: bool = False
    color: int | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves with one vertical axis. `bounds` fixes the axis; without it, the data do."""

    title: str
    curves: tuple[Curve, ...]
    bounds: tuple[float, float] | None = None


Mark = tuple[float, str]
"""An iteration at which something happened, and what."""


def panels_of(records: Iterable[Mapping[str, Any]], x: str = "iter") -> tuple[list[Panel], list[Mark]]:
    """Loss and the other outputs of a metrics.jsonl, and a mark wherever the learning rate was changed. `x`: the field
    that is the horizontal axis, "iter" or "seconds"."""
    rows = [{**row, "iter": row[x]} for row in records if x in row]
    needed = {"train": {"iter", "loss", "lr"}, "test": {"iter", "net", "outputs"}}
    train, test = ([row for row in rows if row.get("kind") == kind and needed[kind] <= row.keys()] for kind in needed)
    losses = [Curve("training", _points((row["iter"], row["loss"]) for row in train))]
    losses += _tested(test, "validation" if len(_nets(test)) < 2 else "test", loss=True)
    panels = [Panel("loss", tuple(losses))]
    if scores := _tested(test, "", loss=False):
        shares = all(0 <= value <= 1 for curve in scores for _, value in curve.points)
        panels.append(Panel("validation", tuple(scores), (0.0, 1.0) if shares else None))
    return panels, _rate_marks(train)


def together(runs: Mapping[str, Iterable[Mapping[str, Any]]], x: str = "iter") -> tuple[list[Panel], list[Mark]]:
    """The panels of several runs in one, by name: a colour a run, and no marks, which would be of one of them alone."""
    if len(runs) == 1:
        return panels_of(next(iter(runs.values())), x)
    found: dict[str, list[Curve]] = {}
    bounds: dict[str, list[Point | None]] = {}
    for number, (name, records) in enumerate(runs.items()):
        for panel in panels_of(records, x)[0]:
            curves = [Curve(f"{name}: {curve.name}", curve.points, curve.dots, number) for curve in panel.curves]
            found.setdefault(panel.title, []).extend(curves)
            bounds.setdefault(panel.title, []).append(panel.bounds)
    same = {title: each[0] if len(set(each)) == 1 else None for title, each in bounds.items()}
    return [Panel(title, tuple(curves), same[title]) for title, curves in found.items()], []


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
    return tuple((float(x), float(y)) for x, y in pairs if y is not None and abs(x) < _LARGEST and abs(y) < _LARGEST)


_LARGEST = 1e30


def _rate_marks(train: Sequence[Mapping[str, Any]]) -> list[Mark]:
    pairs = itertools.pairwise(row for row in train if row["lr"] == row["lr"])
    marks = [(after["iter"], f"rate {after['lr']:.3g}") for before, after in pairs if before["lr"] != after["lr"]]
    return marks if len(marks) <= 12 else []  # a rate that changes all the time is not an event


def draw(panels: Sequence[Panel], title: str, marks: Sequence[Mark] = (), axis: str = "iteration") -> Image.Image:
    """A picture of the panels below one another, with one horizontal axis for all of them, which is called `axis`."""
    width, height = size_of(panels)
    large = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
    _compose(_Pixels(ImageDraw.Draw(large)), panels, title, marks, axis)
    return large.reduce(_SCALE)


def svg(panels: Sequence[Panel], title: str, marks: Sequence[Mark] = (), axis: str = "iteration") -> str:
    """The same picture as SVG."""
    pen = _Vectors()
    _compose(pen, panels, title, marks, axis)
    width, height = size_of(panels)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    paper = f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>'
    return "\n".join([head, f"<title>{clean(title)}</title>", paper, *pen.parts, "</svg>\n"])


def size_of(panels: Sequence[Panel]) -> tuple[int, int]:
    """Width and height in pixels: the names of the curves stand on the right."""
    names = max((len(curve.name) + 7 for panel in panels for curve in panel.curves), default=0)
    right = max(RIGHT, round(LETTER * names) + 16)
    return LEFT + PLOT_WIDTH + right, TITLE_HEIGHT + sum(map(_height, panels))


def _height(panel: Panel) -> int:
    return max(PANEL_HEIGHT, TOP + BOTTOM + NAME_HEIGHT * len(panel.curves))


def _compose(pen: Pen, panels: Sequence[Panel], title: str, marks: Sequence[Mark], axis: str) -> None:
    pen.text((LEFT, 16), title, 19)
    span = _span(point[0] for panel in panels for curve in panel.curves for point in curve.points)
    top = TITLE_HEIGHT
    for panel in panels:
        _draw_panel(pen, panel, span, top, marks, axis)
        top += _height(panel)


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG so that it is there whole or not at all. Raises O165, X166, X167."""
    write_file(path, png(picture))


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


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


def _draw_panel(pen: Pen, panel: Panel, span: Point, top: int, marks: Sequence[Mark], axis: str) -> None:
    x = _Axis(*span, LEFT, LEFT + PLOT_WIDTH)
    low, high = panel.bounds or _padded(_span(p[1] for curve in panel.curves for p in curve.points))
    y = _Axis(low, high, top + _height(panel) - BOTTOM, top + TOP)
    _draw_grid(pen, x, y, axis)
    for iteration, text in marks:
        pen.line([(x.at(iteration), y.start), (x.at(iteration), y.stop)], _MARK, 1)
        pen.text((x.at(iteration) + 3, y.stop), text, 10, _MARK)
    pen.text((LEFT, top + 8), panel.title, 15)
    names = []
    for number, curve in enumerate(panel.curves):
        color = _COLORS[(number if curve.color is None else curve.color) % len(_COLORS)]
        pixels = [(x.at(a), y.at(min(max(b, low), high))) for a, b in curve.points]
        pen.line(pixels, color, 1.6)
        if curve.dots:
            pen.dots(pixels, color)
        if pixels:
            names.append((pixels[-1][1], f"{curve.name}  {format_value(curve.points[-1][1])}", color))
    _draw_names(pen, names, x.stop + 10, y.start)


def _draw_grid(pen: Pen, x: _Axis, y: _Axis, axis: str) -> None:
    for value in y.ticks(5):
        pen.line([(x.start, y.at(value)), (x.stop, y.at(value))], _FAINT, 1)
        pen.text((x.start - 8, y.at(value)), format_value(value), 12, anchor="rm")
    for value in x.ticks(8):
        pen.line([(x.at(value), y.start), (x.at(value), y.start + 5)], _INK, 1)
        pen.text((x.at(value), y.start + 8), format_value(value), 12, anchor="mt")
    pen.line([(x.start, y.stop), (x.start, y.start), (x.stop, y.start)], _INK, 1)
    pen.text((x.stop, y.start + 24), axis, 12, anchor="rt")


def _draw_names(pen: Pen, names: list[tuple[float, str, str]], left: float, bottom: float) -> None:
    """Each curve's name and last value beside its end."""
    names = sorted(names)
    for (_, text, color), height in zip(names, apart([height for height, _, _ in names], NAME_HEIGHT, bottom)):
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


class Pen(Protocol):
    """What draws, in pixels. The anchor of a text is Pillow's: l, m or r across; a (ascender), t, m down."""

    def line(self, points: Sequence[Point], color: str, width: float) -> None: ...

    def dots(self, points: Sequence[Point], color: str, radius: float = 3) -> None: ...

    def text(self, at: Point, text: str, size: int, color: str = _INK, anchor: str = "la") -> None: ...


class _Vectors:
    """Drawing as the elements of an SVG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def line(self, points: Sequence[Point], color: str, width: float) -> None:
        if len(points) > 1:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            style = f'fill="none" stroke="{color}" stroke-width="{width:g}" stroke-linejoin="round"'
            self.parts.append(f'<polyline points="{path}" {style}/>')

    def dots(self, points: Sequence[Point], color: str, radius: float = 3) -> None:
        self.parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius:g}" fill="{color}"/>' for a, b in points]

    def text(self, at: Point, text: str, size: int, color: str = _INK, anchor: str = "la") -> None:
        across = {"l": "start", "m": "middle", "r": "end"}[anchor[0]]
        down = at[1] + size * {"a": 0.95, "t": 0.75, "m": 0.35}[anchor[1]]
        font = f'font-family="system-ui,sans-serif" font-size="{size}" text-anchor="{across}" fill="{color}"'
        self.parts.append(f'<text x="{at[0]:.1f}" y="{down:.1f}" {font}>{clean(text)}</text>')


class _Pixels:
    """Drawing on the enlarged picture."""

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
